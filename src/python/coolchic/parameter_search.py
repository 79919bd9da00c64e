"""Single parameters of quantised networks, changed by one where that lowers the file's cost.

Rounding goes by a second-order model of the loss, of all parameters at once
(``coolchic.rounding``), which is right for small errors only; and since then, single latents have
changed. So here one integer at a time goes up or down, where the same model says, renewed from the
true gradient every few changes; and the cost that decides is the decoder's own
(``coolchic._encoder``).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from coolchic import _encoder
from coolchic.engine import Engine, StepSettings
from coolchic.latent_search import move_latents
from coolchic.model import CoolChic
from coolchic.parameter_groups import grouped_parameters
from coolchic.quantize import (
    ARM,
    SUBBANDS,
    QuantisedModel,
    default_origins,
    network_curvatures,
)
from coolchic.rounding import FEWEST_STEPS

__all__ = ["search_parameters"]

AS_CODED = StepSettings("hard", temperature=0.0, sigma=0.0, latent_lr=0.0, network_lr=0.0)
CHANGES, FAILURES = 8, 25
"""A gradient is good for so many changes, and for so many tries in a row that are none."""
SLACK = 8.0
"""Bits that a change may cost by the model and is tried nevertheless."""
LEAST_GAIN, POOR_ROUNDS = 2.0, 3
"""The search ends when so many gradients in a row have led to less than so many bits each."""


def search_parameters(
    quantised: QuantisedModel,
    model: CoolChic,
    engine: Engine,
    latents: list[np.ndarray],
    image: np.ndarray,
    lmbda: float,
    header: bytes,
    tries: int,
) -> QuantisedModel:
    """Better integers for the same steps.

    Args:
        quantised: what is to be coded.
        model: the float model, whose parameters and latents become those that are coded.
        engine: the model's, for gradients.
        latents: int32 grids, finest first.
        image: uint8 (H, W, C).
        lmbda: weight of the rate in bits per pixel.
        header: the file's header, which names the architecture.
        tries: how many changes may be tried, each of which takes as long as a decode, or the
            half of one.
    """
    move_latents(model, latents)
    search = _Search(quantised, model, latents, image, lmbda, header)
    poor = 0
    while poor < POOR_ROUNDS and search.tried < tries:
        search.quantised().load_into(model)
        engine.step(AS_CODED)
        gradient = [p.grad.cpu().double().numpy().ravel() for p, _ in grouped_parameters(model)]
        before = search.cost
        search.descend(np.concatenate(gradient), tries)
        poor = poor + 1 if before - search.cost < LEAST_GAIN * search.bit else 0
    found = search.quantised()
    found.load_into(model)
    return found


class _Search:
    """The integers so far, and what they cost.

    Attributes:
        bit: what a bit costs, in units of the loss.
        cost: of latents and picture, and of the parameters to within a constant.
        tried: changes so far, of those made and those not.
    """

    def __init__(self, quantised, model, latents, image, lmbda, header) -> None:
        self.start, self.latents, self.header = quantised, latents, header
        self.image = image
        self.values = quantised.values.astype(np.int64)
        self.bit = lmbda / (image.shape[0] * image.shape[1])
        self.groups = np.concatenate(
            [np.full(p.numel(), group) for p, group in grouped_parameters(model)]
        )
        self.steps = 2.0 ** -np.asarray(quantised.exponents, float)[self.groups]
        self.origins = self._nearest_origins(model)
        quantised.load_into(model)
        self.matrices = network_curvatures(model, latents, lmbda)
        self.ends = np.cumsum([len(matrix) for matrix in self.matrices])
        self.curvature = np.concatenate([np.diag(matrix) for matrix in self.matrices])
        self.modules = np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))
        self.rates = (self.modules == ARM) | (self.modules >= SUBBANDS)
        self.costs = {rate: self._measure(self.values, rate) for rate in (True, False)}
        self.parameter_cost = 0.0
        self.tried = 0

    @property
    def cost(self) -> float:
        return sum(self.costs.values()) + self.parameter_cost

    def quantised(self) -> QuantisedModel:
        values = self.values.astype(np.int32)
        return replace(self.start, values=values, section=self._section(self.values))

    def descend(self, gradient: np.ndarray, tries: int) -> None:
        """Make up to ``CHANGES`` changes, the most promising first.

        Args:
            gradient: (P,) of the loss by the parameters; follows the changes to second order.
            tries: of all that may be tried.
        """
        spreads = [
            max(FEWEST_STEPS, float(np.abs((self.values - self.origins)[self.groups == g]).mean()))
            for g in range(self.groups.max() + 1)
        ]
        dearness = self.bit / (np.asarray(spreads)[self.groups] * math.log(2))
        done = {-1: np.zeros(len(gradient), bool), 1: np.zeros(len(gradient), bool)}
        bowl = 0.5 * self.curvature * self.steps**2
        changes = 0
        failures = {True: 0, False: 0}
        while changes < CHANGES and self.tried < tries:
            bits = {
                sign: dearness * np.where(sign * (self.values - self.origins) >= 0, 1.0, -1.0)
                for sign in done
            }
            tired = np.where(self.rates, failures[True], failures[False]) >= FAILURES
            expected = {
                sign: np.where(
                    made | tired, np.inf, sign * gradient * self.steps + bowl + bits[sign]
                )
                for sign, made in done.items()
            }
            sign = min(expected, key=lambda s: expected[s].min())
            place = int(expected[sign].argmin())
            if expected[sign][place] > SLACK * self.bit:
                return
            done[sign][place] = True
            rate = bool(self.rates[place])
            self.tried += 1
            if self._try(place, sign, rate, bits[sign][place]):
                module = self.modules[place]
                first = self.ends[module] - len(self.matrices[module])
                column = self.matrices[module][:, place - first]
                gradient[first : self.ends[module]] += column * self.steps[place] * sign
                changes += 1
                failures[rate] = 0
            else:
                failures[rate] += 1

    def _try(self, place: int, sign: int, rate: bool, bits: float) -> bool:
        """Make a change if it pays."""
        values = self.values.copy()
        values[place] += sign
        try:
            cost = self._measure(values, rate)
        except ValueError:  # what does not fit
            return False
        if cost + bits >= self.costs[rate]:
            return False
        self.values, self.costs[rate] = values, cost
        self.parameter_cost += bits
        return True

    def _measure(self, values: np.ndarray, rate: bool) -> float:
        """The latents' rate or the distortion, which change with different parameters."""
        coder = _encoder.Model(self.header, self._section(values))
        if rate:
            return self.bit * sum(coder.latent_bits(self.latents))
        picture = coder.synthesise(self.latents, threads=torch.get_num_threads())
        error = np.subtract(picture, self.image, dtype=np.float32)
        return float(np.mean(np.square(error, out=error))) / 255**2

    def _section(self, values: np.ndarray) -> bytes:
        return _encoder.encode_weights(
            self.header, self.start.precision, self.start.exponents, values.astype(np.int32)
        )

    def _nearest_origins(self, model: CoolChic) -> np.ndarray:
        """(P,) integers that values are coded as differences from: of a default decoder or zeros,
        whichever are nearest."""
        return min(
            default_origins(model.arch, self.steps),
            key=lambda origins: float(np.abs(self.values - origins).sum()),
        )
