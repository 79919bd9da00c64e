"""From a trained float model to the integer one that is coded (paper 2.4).

Every candidate is judged on D + lambda (R_latents + R_MLP) of paper eq. 15, with the
distortion from the decoder's own integer synthesis and the rates from the coder's own
tables (``coolchic._encoder``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from coolchic import _encoder
from coolchic.bands import largest_activations
from coolchic.model import CoolChic

__all__ = ["QuantisedModel", "integer_latents", "quantise"]

GROUPS = ("ARM weights", "ARM biases", "synthesis weights", "synthesis biases")
SEARCH_ORDER = (2, 3, 0, 1)
FIRST_EXPONENT = (6, 6, 7, 9)
FINEST_EXPONENT = 12
MAX_PARAMETER = 32767
INT16 = 32767
MARGIN = 0.8
"""Share of an int16's range that calibrated activations may fill."""


@dataclass(frozen=True)
class QuantisedModel:
    """Everything of a file but its latents.

    Attributes:
        precision: fractional bits of activations, (F_arm, F_up, F_syn).
        exponents: one per group of parameters; a parameter is value * 2^-exponent.
        values: int32, all parameters in the file's order.
        section: the weights section, without its length.
    """

    precision: tuple[int, int, int]
    exponents: tuple[int, int, int, int]
    values: np.ndarray
    section: bytes

    def load_into(self, model: CoolChic) -> None:
        """Replace the networks' parameters by their quantised values."""
        start = 0
        with torch.no_grad():
            for parameter, group in _grouped_parameters(model):
                values = self.values[start : start + parameter.numel()]
                start += parameter.numel()
                flat = torch.from_numpy(values * 2.0 ** -self.exponents[group])
                parameter.copy_(flat.reshape(parameter.shape))


def integer_latents(model: CoolChic) -> list[np.ndarray]:
    """The model's latents rounded, as int32 arrays, finest first."""
    return [
        y.detach().cpu().round().clamp(-INT16 - 1, INT16).to(torch.int32).numpy()
        for y in model.latents
    ]


def quantise(
    model: CoolChic, latents: list[np.ndarray], image: np.ndarray, lmbda: float, header: bytes
) -> QuantisedModel:
    """Choose one exponent after the other, each for the lowest cost (eq. 15).

    While one group is searched, those before it have their choice and those after it
    are as fine as they go.

    Args:
        model: trained; not changed.
        latents: int32 grids, finest first.
        image: uint8 (H, W, C).
        lmbda: weight of the rate in bits per pixel.
        header: the file's header, which names the architecture.
    """
    search = _Search(model, latents, image, lmbda, header)
    finest = [search.finest_exponent(group) for group in range(len(GROUPS))]
    exponents = list(finest)
    for group in SEARCH_ORDER:
        exponents[group] = _descend(
            lambda exponent, group=group: search.cost(
                (*exponents[:group], exponent, *exponents[group + 1 :]), group
            ),
            min(FIRST_EXPONENT[group], finest[group]),
            finest[group],
        )
    return search.model_with(tuple(exponents))


def _descend(cost: Callable[[int], float], first: int, finest: int) -> int:
    """The exponent where a walk from ``first`` finds no lower cost within two steps."""
    costs = {first: cost(first)}
    best = first
    for direction in (-1, 1):
        exponent = best
        while abs(exponent - best) < 2 and 0 <= exponent + direction <= finest:
            exponent += direction
            if exponent not in costs:
                costs[exponent] = cost(exponent)
            if costs[exponent] < costs[best]:
                best = exponent
    return best


class _Search:
    def __init__(self, model, latents, image, lmbda, header) -> None:
        self.latents, self.image, self.header = latents, image, header
        self.rate_weight = lmbda / (image.shape[0] * image.shape[1])
        self.parameters = [
            (p.detach().cpu().double().numpy().ravel(), group)
            for p, group in _grouped_parameters(model)
        ]
        self.precision = _calibrate(model, latents)

    def finest_exponent(self, group: int) -> int:
        """The finest that leaves integer weights room for a residual layer's identity."""
        largest = max(float(np.abs(p).max()) for p, g in self.parameters if g == group)
        if largest == 0:
            return FINEST_EXPONENT
        return max(0, min(FINEST_EXPONENT, math.floor(math.log2(MAX_PARAMETER / 2 / largest))))

    def model_with(self, exponents: tuple[int, ...]) -> QuantisedModel:
        values = np.concatenate([np.rint(p * 2.0 ** exponents[g]) for p, g in self.parameters])
        values = values.clip(-MAX_PARAMETER, MAX_PARAMETER).astype(np.int32)
        section = _encoder.encode_weights(self.header, self.precision, exponents, values)
        return QuantisedModel(self.precision, exponents, values, section)

    def cost(self, exponents: tuple[int, ...], group: int) -> float:
        """Of the module that the group belongs to; infinite if the integers do not fit."""
        try:
            quantised = self.model_with(exponents)
            decoder = _encoder.Model(self.header, quantised.section)
        except ValueError:
            return math.inf
        cost = self.rate_weight * 8 * len(quantised.section)
        if GROUPS[group].startswith("ARM"):
            return cost + self.rate_weight * sum(decoder.latent_bits(self.latents))
        error = decoder.synthesise(self.latents).astype(np.float32) - self.image
        return cost + float(np.mean(np.square(error))) / 255**2


def _grouped_parameters(model: CoolChic) -> list[tuple[nn.Parameter, int]]:
    """(parameter, index in GROUPS) in the file's order."""
    return [
        (parameter, first + kind)
        for first, network in ((0, model.arm), (2, model.synthesis))
        for layer in network
        for kind, parameter in enumerate((layer.weight, layer.bias))
    ]


def _calibrate(model: CoolChic, latents: list[np.ndarray]) -> tuple[int, int, int]:
    """Fractional bits that keep every activation of this image inside 16 bits."""
    device = model.latents[0].device
    arm, upsampled, synthesis = largest_activations(
        model, [torch.from_numpy(y).to(device, torch.float32) for y in latents]
    )
    # Horizontal interpolation alone may overshoot more than both together.
    return (_bits(arm, 4, 10), _bits(1.3 * upsampled, 0, 8), _bits(synthesis, 4, 13))


def _bits(largest: float, low: int, high: int) -> int:
    if largest == 0:
        return high
    return min(high, max(low, math.floor(math.log2(MARGIN * INT16 / largest))))
