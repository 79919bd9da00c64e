"""Steering λ during one training so that the file lands on a wanted rate or PSNR.

Two parts. While the latents learn, λ follows the distance of each evaluation from the goal
(:class:`RateControl`). What is left of it at the end is taken up by the rounding: a dead
zone around zero, found by bisection with the real coder (:func:`fit_rounding`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from coolchic.engine import Losses
from coolchic.model import CoolChic

__all__ = ["Goal", "LambdaControl", "RateControl", "fit_rounding", "goal_of", "quality_lambda"]

DEFAULT_LAMBDA = 1e-3

RANGES = {
    "lambda": (1e-9, 1e3),
    "quality": (0, 100),
    "bpp": (1e-4, 100),
    "PSNR": (1, 100),
    "size": (1, 2**32),
}

RATE_SLOPE = -0.68
"""Typical d log(bpp) / d log(λ) between the published points of a picture,"""

PSNR_SLOPE = -2.9
"""and d PSNR / d log(λ), in dB."""

TYPICAL = (1e-3, 0.45, 33.5)
"""λ, bpp and PSNR where the first guess of λ starts from."""

LAMBDA_RANGE = (1e-6, 1.0)

HOLD = 60
"""Iterations in which latents and networks first find each other,"""

HORIZON = 60
"""how far ahead the trend is followed, since latents answer late,"""

RESPONSE = 120
"""and how many the control takes to make up for most of a distance."""

DRIFT = 0.15
"""Share of the rate that falls away, λ staying the same, from the start of a stage."""

FARTHEST = 1.5
"""Largest distance, in log(λ), that is believed at once."""

AIM = 0.995
"""Share of the wanted rate that the control steers to: files may not exceed it."""

BISECTIONS = 10


@dataclass(frozen=True)
class Goal:
    """What a file should come to; exactly one is given.

    Attributes:
        bpp: bits per pixel of the whole file, not to be exceeded.
        psnr: dB.
    """

    bpp: float | None = None
    psnr: float | None = None

    def first_lambda(self) -> float:
        """λ that gives a typical photograph this rate or PSNR."""
        lmbda, bpp, psnr = TYPICAL
        if self.bpp is not None:
            move = math.log(self.bpp / bpp) / RATE_SLOPE
        else:
            move = (self.psnr - psnr) / PSNR_SLOPE
        return _clamp(lmbda * math.exp(move))


def quality_lambda(quality: float) -> float:
    """λ of a quality from 0 to 100: 4e-2 at 0, 1e-3 at 50, 2.5e-5 at 100, evenly in its log."""
    return 4e-2 * (2.5e-5 / 4e-2) ** (quality / 100)


def goal_of(
    pixels: int,
    *,
    lmbda: float | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    size: int | None = None,
) -> float | Goal:
    """λ, or the goal to steer it to, from the one argument that is not None.

    Raises:
        ValueError: several are given, or one is out of range.
    """
    given = {"lambda": lmbda, "quality": quality, "bpp": bpp, "PSNR": psnr, "size": size}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other")
    for name, value in given.items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"{name} must be {low:g} to {high:g}, not {value}")
    if size is not None:
        bpp = 8 * size / pixels
    if bpp is not None or psnr is not None:
        return Goal(bpp=bpp, psnr=psnr)
    if quality is not None:
        return quality_lambda(quality)
    return DEFAULT_LAMBDA if lmbda is None else lmbda


class LambdaControl:
    """λ of a training: this one stays where it is.

    Attributes:
        lmbda: the present value.
    """

    def __init__(self, lmbda: float) -> None:
        self.lmbda = lmbda

    def observe(self, model: CoolChic, losses: Losses, left: float) -> None:
        """Take note of an evaluation with hard rounding; ``left``: 1 … 0 of the stage."""


class RateControl(LambdaControl):
    """λ that leads to a goal: proportional to the distance that is to be expected.

    Args:
        goal: to be reached.
        fixed_bpp: rate of what is in a model's file besides latents.
        interval: iterations between two evaluations.
    """

    def __init__(self, goal: Goal, fixed_bpp: Callable[[CoolChic], float], interval: int) -> None:
        super().__init__(goal.first_lambda())
        self.goal, self.fixed_bpp, self.interval = goal, fixed_bpp, interval
        self.iterations = 0
        self.before: float | None = None

    def observe(self, model: CoolChic, losses: Losses, left: float) -> None:
        self.iterations += self.interval
        distance = self._distance(model, losses, left)
        trend = 0.0 if self.before is None else (distance - self.before) / self.interval
        self.before = distance
        if self.iterations <= HOLD:
            return
        expected = distance + HORIZON * trend
        gain = 1 - math.exp(-self.interval / RESPONSE)
        # Latents that hardly move any more answer to λ no longer: do not wind it up.
        move = gain * min(1.0, 4 * left) * max(-FARTHEST, min(FARTHEST, expected))
        self.lmbda = _clamp(self.lmbda * math.exp(move))

    def _distance(self, model: CoolChic, losses: Losses, left: float) -> float:
        """By how much log(λ) is off, if losses answered at once and as is typical."""
        if self.goal.bpp is not None:
            wanted = max(AIM * self.goal.bpp - self.fixed_bpp(model), 0.02 * self.goal.bpp)
            wanted *= 1 + DRIFT * left
            return math.log(wanted / max(losses.bpp, 0.01 * wanted)) / RATE_SLOPE
        return (self.goal.psnr + 10 * math.log10(losses.mse)) / PSNR_SLOPE


def fit_rounding(
    latents: Sequence[np.ndarray], excess: Callable[[list[np.ndarray]], float]
) -> list[np.ndarray]:
    """Integer latents with the narrowest dead zone that is acceptable.

    Args:
        latents: float grids, unrounded.
        excess: how far beyond the goal integer latents are; positive is too many bits, or
            too good a picture.

    Returns:
        int32 grids; plain rounding if that is acceptable, and zeros if nothing is.
    """
    plain = _round(latents, 0.0)
    if excess(plain) <= 0:
        return plain
    low, high, best = 0.0, 0.25, None
    while best is None:
        candidate = _round(latents, high)
        if excess(candidate) <= 0 or not any(np.any(y) for y in candidate):
            best = candidate
        else:
            low, high = high, 2 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        candidate = _round(latents, middle)
        if excess(candidate) <= 0:
            high, best = middle, candidate
        else:
            low = middle
    return best


def _round(latents: Sequence[np.ndarray], dead_zone: float) -> list[np.ndarray]:
    """Round, but to zero whatever lies less than the dead zone above a half."""
    return [
        np.where(np.abs(y) < 0.5 + dead_zone, 0, np.rint(y)).clip(-32768, 32767).astype(np.int32)
        for y in latents
    ]


def _clamp(lmbda: float) -> float:
    return min(LAMBDA_RANGE[1], max(LAMBDA_RANGE[0], lmbda))
