"""From a trained float model to the integer one that is coded (paper 2.4).

Candidates for the parameters' steps are judged on D + lambda (R_latents + R_MLP) of paper
eq. 15, with the distortion from the decoder's own integer synthesis and the rates from the
coder's own tables (``coolchic._encoder``). With given steps, parameters are rounded to a
second-order model of the same cost (``coolchic.rounding``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from coolchic import _encoder
from coolchic.bands import largest_activations
from coolchic.config import Architecture
from coolchic.curvature import curvatures
from coolchic.model import LARGEST_TAP, CoolChic
from coolchic.parameter_groups import group_names, grouped_parameters
from coolchic.rounding import CompensatedRounding
from coolchic.start import DEFAULT_LAMBDAS, default_values
from coolchic.threads import one_thread

__all__ = [
    "QuantisedModel",
    "default_origins",
    "finely_quantised",
    "integer_latents",
    "network_curvatures",
    "quantise",
]

ARM, SYNTHESIS, FILTERS, SUBBANDS = 0, 1, 2, 3
"""Modules, in the order of ``CoolChic.networks``; the last is all subbands' own weights."""
SEARCH_ORDER = (SYNTHESIS, FILTERS, SUBBANDS, ARM)
FIRST_EXPONENT = {
    "ARM weights": 5,
    "ARM biases": 5,
    "synthesis weights": 6,
    "synthesis biases": 7,
    "convolution weights": 7,
    "filter taps": 6,
    "subbands' weights": 4,
}
"""Where the search of each group of parameters begins."""
CURVATURE_SAMPLES = 16384
DAMPINGS = (1e-3, 0.1, 1.0)
"""Of the second-order model, which is the less true the shorter the training was."""
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
    exponents: tuple[int, ...]
    values: np.ndarray
    section: bytes

    def load_into(self, model: CoolChic) -> None:
        """Replace the networks' parameters by their quantised values."""
        start = 0
        with torch.no_grad():
            for parameter, group in grouped_parameters(model):
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
    """Choose one group's exponent after the other, each for the lowest cost (eq. 15).

    Args:
        model: trained; not changed.
        latents: int32 grids, finest first.
        image: uint8 (H, W, C).
        lmbda: weight of the rate in bits per pixel.
        header: the file's header, which names the architecture.
    """
    search = _Search(model, latents, image, lmbda, header)
    plan = search.first_plan()
    for module in SEARCH_ORDER:
        if module >= len(search.modules):
            continue
        plan, cost = search.descend(plan, module)
        for damping in DAMPINGS[1:]:
            damped = plan.with_damping(module, damping)
            if search.cost(damped, module) < cost:
                plan, cost = search.descend(damped, module)
    return search.model_with(plan)


def finely_quantised(model: CoolChic, latents: list[np.ndarray], header: bytes) -> QuantisedModel:
    """The model nearly as it is, whatever its parameters cost.

    Args:
        model: not changed.
        latents: int32 grids, finest first, for which activations must fit.
        header: the file's header, which names the architecture.
    """
    parameters, groups = _flat_parameters(model)
    largest = _largest_parameters(model)
    precision = _calibrate(model, latents)
    for finest in range(FINEST_EXPONENT, -1, -1):
        exponents = tuple(
            min(finest, _finest_exponent(parameters[groups == group]))
            for group in range(len(group_names(model)))
        )
        scales = 2.0 ** np.asarray(exponents, float)[groups]
        values = np.rint(parameters * scales)
        values = values.clip(-largest * scales, largest * scales).astype(np.int32)
        section = _encoder.encode_weights(header, precision, exponents, values)
        try:
            _encoder.Model(header, section)
        except ValueError:  # sums that do not fit
            continue
        break
    return QuantisedModel(precision, exponents, values, section)


def network_curvatures(
    model: CoolChic, latents: list[np.ndarray], lmbda: float
) -> list[np.ndarray]:
    """Hessians of the loss, float64, by the parameters of each of ``model.networks()``.

    Args:
        latents: int32 grids, finest first.
        lmbda: weight of the rate in bits per pixel.
    """
    device = model.latents[0].device
    y = [torch.from_numpy(grid).to(device, torch.float32) for grid in latents]
    generator = torch.Generator().manual_seed(0)
    with one_thread():  # the same sums for every number of threads
        matrices = curvatures(model, y, lmbda, CURVATURE_SAMPLES, generator, joint=True)
    return [matrix.cpu().double().numpy() for matrix in matrices]


def default_origins(arch: Architecture, steps: np.ndarray) -> list[np.ndarray]:
    """What parameters with these steps, (P,), may be coded as differences from: zeros, and default
    decoders, in steps."""
    return [np.zeros(len(steps)), *(_origins(values, steps) for values in _defaults(arch))]


def _defaults(arch: Architecture) -> list[np.ndarray]:
    """Parameters of the architecture's default decoders, if it has any."""
    found = [default_values(arch, trained) for trained in DEFAULT_LAMBDAS]
    return [values.double().numpy() for values in found if values is not None]


def _origins(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """A default decoder's values in steps (bitstream section 6.1)."""
    return np.floor(values / steps + 0.5)


@dataclass(frozen=True)
class _Plan:
    """How to round: exponents by group, trust in the second-order model by module, and the place of
    the default decoder, if any, whose differences the bits are of."""

    exponents: tuple[int, ...]
    dampings: tuple[float, ...]
    default: int | None

    def with_exponent(self, group: int, exponent: int) -> _Plan:
        return replace(self, exponents=_replaced(self.exponents, group, exponent))

    def with_damping(self, module: int, damping: float) -> _Plan:
        return replace(self, dampings=_replaced(self.dampings, module, damping))


def _replaced(values: tuple, index: int, value) -> tuple:
    return (*values[:index], value, *values[index + 1 :])


def _descend(cost: Callable[[int], float], first: int, finest: int) -> tuple[int, float]:
    """Where a walk from ``first`` finds no lower cost within two steps, and that cost."""
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
    return best, costs[best]


class _Search:
    def __init__(self, model, latents, image, lmbda, header) -> None:
        self.latents, self.image, self.header = latents, image, header
        self.rate_weight = lmbda / (image.shape[0] * image.shape[1])
        self.groups_present = group_names(model)
        self.modules = _modules(model)
        self.parameters, self.groups = _flat_parameters(model)
        self.largest = _largest_parameters(model)
        self.precision = _calibrate(model, latents)
        self.hessians = self._hessians(model, lmbda)
        self.defaults = _defaults(model.arch)
        self.rounded = functools.cache(self._rounded)
        self.rounding = functools.cache(self._rounding)

    def _hessians(self, model: CoolChic, lmbda: float) -> list[list[np.ndarray]]:
        """Of each module, the blocks of its Hessian."""
        matrices = network_curvatures(model, self.latents, lmbda)
        blocks = [*([matrix] for matrix in matrices[:SUBBANDS]), matrices[SUBBANDS:]]
        return [b for b in blocks if b]

    def first_plan(self) -> _Plan:
        """Differences from a default decoder, or not, as costs least at first."""
        exponents = tuple(
            min(FIRST_EXPONENT[name], self.finest_exponent(group))
            for group, name in enumerate(self.groups_present)
        )
        dampings = (DAMPINGS[0],) * len(self.modules)
        choices = (None, *range(len(self.defaults)))
        plans = [_Plan(exponents, dampings, default) for default in choices]
        return min(plans, key=lambda plan: self.cost(plan, ARM) + self.cost(plan, SYNTHESIS))

    def finest_exponent(self, group: int) -> int:
        return _finest_exponent(self.parameters[self.groups == group])

    def descend(self, plan: _Plan, module: int) -> tuple[_Plan, float]:
        """The plan with better exponents of a module, and its cost."""
        cost = math.inf
        for group in self.modules[module]:
            exponent, cost = _descend(
                lambda e, plan=plan, group=group: self.cost(plan.with_exponent(group, e), module),
                plan.exponents[group],
                self.finest_exponent(group),
            )
            plan = plan.with_exponent(group, exponent)
        return plan, cost

    def model_with(self, plan: _Plan) -> QuantisedModel:
        parts = []
        for module, (groups, damping) in enumerate(zip(self.modules, plan.dampings, strict=True)):
            exponents = tuple(plan.exponents[group] for group in groups)
            parts.append(self.rounded(module, exponents, damping, plan.default))
        values = np.concatenate(parts)
        section = _encoder.encode_weights(self.header, self.precision, plan.exponents, values)
        return QuantisedModel(self.precision, plan.exponents, values, section)

    def _rounded(
        self, module: int, exponents: tuple[int, ...], damping: float, default: int | None
    ) -> np.ndarray:
        own = self._own(module)
        kinds = np.searchsorted(self.modules[module], self.groups[own])
        steps = 2.0 ** -np.asarray(exponents, float)[kinds]
        origins = np.zeros(len(steps))
        if default is not None:
            origins = _origins(self.defaults[default][own], steps)
        values = self.rounding(module, damping).round(steps, kinds, self.rate_weight, origins)
        largest = np.minimum(MAX_PARAMETER, np.floor(self.largest[own] / steps))
        return values.clip(-largest, largest).astype(np.int32)

    def _rounding(self, module: int, damping: float) -> CompensatedRounding:
        return CompensatedRounding(
            self.parameters[self._own(module)], self.hessians[module], damping
        )

    def _own(self, module: int) -> np.ndarray:
        return np.isin(self.groups, self.modules[module])

    def cost(self, plan: _Plan, module: int) -> float:
        """Of a module; infinite if the integers do not fit."""
        try:
            quantised = self.model_with(plan)
            decoder = _encoder.Model(self.header, quantised.section)
        except ValueError:
            return math.inf
        cost = self.rate_weight * 8 * len(quantised.section)
        if module in (ARM, SUBBANDS):
            return cost + self.rate_weight * sum(decoder.latent_bits(self.latents))
        error = decoder.synthesise(self.latents).astype(np.float32) - self.image
        return cost + float(np.mean(np.square(error))) / 255**2


def _finest_exponent(parameters: np.ndarray) -> int:
    """The finest that leaves integer weights room for a residual layer's identity."""
    largest = float(np.abs(parameters).max())
    if largest == 0:
        return FINEST_EXPONENT
    return max(0, min(FINEST_EXPONENT, math.floor(math.log2(MAX_PARAMETER / 2 / largest))))


def _flat_parameters(model: CoolChic) -> tuple[np.ndarray, np.ndarray]:
    """All parameters in the file's order, and the group of each."""
    grouped = grouped_parameters(model)
    parameters = [p.detach().cpu().double().numpy().ravel() for p, _ in grouped]
    groups = [np.full(p.numel(), group) for p, group in grouped]
    return np.concatenate(parameters), np.concatenate(groups)


def _largest_parameters(model: CoolChic) -> np.ndarray:
    """(P,) magnitudes that the format allows, in the file's order."""
    parts = []
    for p, _ in grouped_parameters(model):
        allowed = np.full(p.shape, np.inf)
        if model.filters is not None and p is model.filters.taps:
            allowed[: 2 * model.filters.subbands] = LARGEST_TAP
        parts.append(allowed.ravel())
    return np.concatenate(parts)


def _modules(model: CoolChic) -> list[tuple[int, ...]]:
    """The groups of each module."""
    groups = [group for _, group in grouped_parameters(model)]
    sizes = [len(parameters) for parameters in model.networks()]
    ends = np.cumsum(sizes).tolist()
    found = [
        tuple(sorted(set(groups[end - size : end]))) for size, end in zip(sizes, ends, strict=True)
    ]
    return list(dict.fromkeys(found))


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
