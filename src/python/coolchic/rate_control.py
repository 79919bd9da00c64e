"""λ steered during the one training, so that the file comes near a wanted size or PSNR.

After each evaluation log λ moves by a share of the distance to the goal, as the file would
miss it by the end of training if λ stayed: the size and the PSNR that hard-rounded latents
have half-way are corrected by what typically comes after. ``coolchic.landing`` makes up for
what is left of the distance in the finished file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from coolchic.engine import Losses

__all__ = ["Goal", "RateControl", "lambda_or_goal", "network_bytes", "quality_lambda"]

DEFAULT_LAMBDA = 1e-3

RANGES = {
    # Far beyond the λ at which every latent is zero, and far from overflow.
    "lambda": (1e-9, 1e3),
    "quality": (0, 100),
    "bpp": (1e-4, 1e3),
    "PSNR": (1, 200),
    "size": (1, 2**40),
}

SIZE_SLOPE = -0.68
"""Typical d log(size of the latents) / d log(λ) between the points of one picture,"""

PSNR_SLOPE = -2.9
"""and d PSNR / d log(λ), in dB."""

TYPICAL_LAMBDA, TYPICAL_BPP, TYPICAL_PSNR = 1e-3, 0.44, 33.5
"""A typical photograph's, bits of its latents only, from which the first guess of λ starts."""

SIZE_AIM, LEAST_SHARE = 0.99, 0.98
"""Shares of a wanted size: what is steered to, since it may not be exceeded, and the least that
is taken for it."""

PSNR_TOLERANCE = 0.05
"""dB."""

LEAST_FOR_LATENTS = 0.02
"""Share of a wanted size that is left to them, however large the networks are."""

FRAME_BYTES = 25
"""Header, lengths, checksum, and the final states of a substream, about."""

STEERED_LAMBDAS, FEW_PIXELS = (1e-6, 1.0), 4096
"""Beyond these, files hardly become larger or smaller; but networks of fewer pixels do, whose bits
are dearer, so that the lower bound falls in proportion."""


@dataclass(frozen=True)
class Goal:
    """What a file should come to; exactly one is given.

    Attributes:
        size: bytes of the whole file, not to be exceeded.
        psnr: dB.
    """

    size: int | None = None
    psnr: float | None = None

    @property
    def aim(self) -> float:
        """The middle of the tolerance."""
        return self.psnr if self.size is None else SIZE_AIM * self.size

    def meets(self, value: float) -> bool:
        """Whether a value, bytes or dB, is within the tolerance."""
        if self.size is None:
            return abs(value - self.psnr) <= PSNR_TOLERANCE
        return LEAST_SHARE * self.size <= value <= self.size

    def admits(self, value: float) -> bool:
        """Whether a file may have this value, however far from the goal."""
        return self.size is None or value <= self.size

    def prefers(self, value: float, other: float) -> bool:
        """Whether a value is better than another: not above the size, then near the goal."""
        if self.admits(value) != self.admits(other):
            return self.admits(value)
        return abs(value - self.aim) < abs(other - self.aim)

    def distance(self, value: float) -> float:
        """By how much log(λ) is too low, as is typical."""
        if self.size is None:
            return (self.aim - value) / PSNR_SLOPE
        return math.log(self.aim / max(value, 0.01 * self.aim)) / SIZE_SLOPE

    def of_losses(self, losses: Losses, pixels: int) -> float:
        """The value of a float model: bytes of the latents, or dB."""
        if self.size is None:
            return -10 * math.log10(max(losses.mse, 1e-20))
        return losses.bpp * pixels / 8

    def for_latents(self, pixels: int, parameters: int, lmbda: float) -> float:
        """What networks of so many parameters, trained for λ, leave of a wanted size, in bytes."""
        other = FRAME_BYTES + network_bytes(parameters, pixels, lmbda)
        return max(self.aim - other, LEAST_FOR_LATENTS * self.aim)

    def first_lambda(self, pixels: int, parameters: int) -> float:
        """λ that gives a typical photograph this size or PSNR."""
        if self.size is None:
            lmbda = TYPICAL_LAMBDA * math.exp((self.psnr - TYPICAL_PSNR) / PSNR_SLOPE)
            return steered(lmbda, pixels)
        typical = TYPICAL_BPP * pixels / 8
        wanted = self.for_latents(pixels, parameters, TYPICAL_LAMBDA)
        return steered(TYPICAL_LAMBDA * (wanted / typical) ** (1 / SIZE_SLOPE), pixels)


def quality_lambda(quality: float) -> float:
    """λ of a quality from 0 to 100: 4e-2 at 0, 1e-3 at 50, 2.5e-5 at 100, evenly in its log."""
    return 4e-2 * (2.5e-5 / 4e-2) ** (quality / 100)


def lambda_or_goal(
    pixels: int,
    *,
    lmbda: float | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    size: int | None = None,
) -> float | Goal:
    """λ, or the goal to steer it to, from the one argument that is given; by default 1e-3.

    Raises:
        ValueError: several are given, or one is out of range.
    """
    named = {"lambda": lmbda, "quality": quality, "bpp": bpp, "PSNR": psnr, "size": size}
    given = {name: value for name, value in named.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other")
    for name, value in given.items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"{name} must be {low:g} to {high:g}, not {value}")
    if bpp is not None:
        size = max(1, math.floor(bpp * pixels / 8))
    if size is not None or psnr is not None:
        return Goal(size=size, psnr=psnr)
    if quality is not None:
        return quality_lambda(quality)
    return DEFAULT_LAMBDA if lmbda is None else lmbda


class RateControl:
    """λ that leads to a goal.

    Args:
        goal: to be reached.
        pixels: of the picture.
        parameters: of the networks.
        interval: iterations between two evaluations.

    Attributes:
        lmbda: the present value.
    """

    HOLD = 40
    """Iterations in which latents and networks first find each other,"""

    HORIZON = 40
    """how far ahead the trend is followed, since latents answer late,"""

    RESPONSE = 15
    """and how many the control takes to make up for most of a distance."""

    FARTHEST = 1.5
    """Largest distance, in log(λ), that is believed at once."""

    END = 0.85
    """Share of the training after which λ stays: latents hardly answer any more."""

    RATE_FALL, PSNR_RISE = 0.7, 1.0
    """What is to come, λ staying, from the start of a training on: the fall of log(rate), and
    dB; the part that is still to come falls as (1 - progress)^2.5."""

    def __init__(self, goal: Goal, pixels: int, parameters: int, interval: int) -> None:
        self.goal, self.pixels, self.parameters = goal, pixels, parameters
        self.interval = interval
        self.lmbda = goal.first_lambda(pixels, parameters)
        self.iterations = 0
        self.before: float | None = None

    def observe(self, losses: Losses, progress: float) -> None:
        """Take note of an evaluation with hard rounding, and move λ.

        Args:
            progress: share of the stage that is done, 0 … 1.
        """
        self.iterations += self.interval
        distance = self._distance(losses, progress)
        trend = 0.0 if self.before is None else (distance - self.before) / self.interval
        self.before = distance
        if self.iterations <= self.HOLD or progress > self.END:
            return
        expected = distance + self.HORIZON * trend
        gain = 1 - math.exp(-self.interval / self.RESPONSE)
        move = gain * max(-self.FARTHEST, min(self.FARTHEST, expected))
        self.lmbda = steered(self.lmbda * math.exp(move), self.pixels)

    def _distance(self, losses: Losses, progress: float) -> float:
        """By how much log(λ) is too low."""
        to_come = (1 - progress) ** 2.5
        value = self.goal.of_losses(losses, self.pixels)
        if self.goal.size is None:
            return self.goal.distance(value + self.PSNR_RISE * to_come)
        # Networks hardly answer to λ, so it is the latents that must make up for a distance.
        wanted = self.goal.for_latents(self.pixels, self.parameters, self.lmbda)
        expected = max(value * math.exp(-self.RATE_FALL * to_come), 0.01 * wanted)
        return math.log(wanted / expected) / SIZE_SLOPE


def network_bytes(parameters: int, pixels: int, lmbda: float) -> float:
    """About what quantised networks take in a file: finer steps for more pixels, lower λ.

    A fit to files of 64x64 to 384x256 pixels, λ from 5e-5 to 2e-2, to 20 %.
    """
    bits = 4.8 + 0.4 * math.log(pixels / 1e5 * 1e-3 / lmbda)
    return parameters * max(0.5, bits) / 8


def steered(lmbda: float, pixels: int) -> float:
    """The nearest λ that is worth training for."""
    low, high = STEERED_LAMBDAS
    return min(high, max(low * min(1, pixels / FEW_PIXELS), lmbda))
