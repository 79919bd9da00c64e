"""Gauss-Newton matrices of the networks, from a sample of latents and pixels.

The loss (paper eq. 1) is a smooth function, the squared error or the code length, of the
outputs of a small network at many positions. Leaving out second derivatives of the network
itself, its Hessian by the parameters is the sum over positions of J' C J, where J is the
Jacobian of the outputs and C the curvature of the loss by them (Schraudolph 2002). With a few
hundred parameters the whole matrix is cheap, and a few thousand positions show its shape.

What a pixel is made of lies around it where there are convolutions, so that the synthesis is looked
at in patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coolchic.config import SUBBANDS
from coolchic.model import (
    LOG_SCALE_OFFSET,
    LOG_SCALE_RANGE,
    Arm,
    CoolChic,
    LinearLayer,
    enlarge_by_two,
    subband_kernels,
)

__all__ = [
    "arm_curvature",
    "blocks",
    "curvatures",
    "filters_curvature",
    "sample_contexts",
    "sample_pixels",
    "subbands_curvature",
    "synthesis_curvature",
]

LEAST_SCALE = 0.3
"""Below it, the curvature by the mean stops growing: a bin of width 1 hides the peak."""

COLUMNS = 4096
"""Positions whose Jacobian is held at once."""

PATCHES = 512
"""Pixels that are looked at at once, with all that are around them."""

FEWER_PATCHES = 8
"""Of the pixels, if convolutions need patches, one in so many is enough for the filters."""

CUBIC = -0.75
"""PyTorch's parameter of bicubic interpolation (Keys 1981)."""

Taps = tuple[Tensor, Tensor]
"""Indices and weights, (4, N) each, of the rows or columns that positions are made of."""


def blocks(model: CoolChic) -> list[list[nn.Parameter]]:
    """Parameters that share a matrix when networks learn, in the order of ``model.networks()``:
    those of each layer, the filters', and each subband's own."""
    _, _, *others = model.networks()
    return [*(_parameters(layer) for layer in [*model.arm, *model.synthesis]), *others]


def _parameters(layer: LinearLayer) -> list[nn.Parameter]:
    """But for subbands' own."""
    return [layer.weight, layer.bias]


def _sizes(layers: Sequence[LinearLayer], joint: bool) -> list[int]:
    """Numbers of parameters of each layer, or of all of them."""
    sizes = [sum(p.numel() for p in _parameters(layer)) for layer in layers]
    return [sum(sizes)] if joint else sizes


@torch.no_grad()
def curvatures(
    model: CoolChic,
    latents: Sequence[Tensor],
    lmbda: float,
    samples: int,
    generator: torch.Generator,
    *,
    joint: bool = False,
) -> list[Tensor]:
    """Matrices of ``blocks(model)``, in the order of their parameters.

    Args:
        latents: (proxies of) quantised grids.
        lmbda: weight of the rate in the loss.
        samples: number of latents, and of pixels, that are looked at.
        generator: of the positions, on the CPU.
        joint: matrices of ``model.networks()``.

    Returns:
        Float32 matrices (P, P) on the model's device: Hessians of the loss.
    """
    matrices = [m * lmbda for m in arm_curvature(model, latents, samples, generator, joint=joint)]
    matrices += synthesis_curvature(model, latents, samples, generator, joint=joint)
    if model.filters is not None:
        matrices.append(filters_curvature(model, latents, samples, generator))
    if model.arch.subband_weights:
        matrices += subbands_curvature(model, latents, samples, generator) * lmbda
    return matrices


@torch.no_grad()
def arm_curvature(
    model: CoolChic,
    latents: Sequence[Tensor],
    samples: int,
    generator: torch.Generator,
    *,
    joint: bool = False,
) -> list[Tensor]:
    """(P, P) of each layer, or of all jointly, of the rate in bits per pixel: the Fisher matrix of
    the Laplace distribution."""
    contexts = sample_contexts(model.arm, latents, samples, generator)
    layers = list(model.arm)
    sizes = _sizes(layers, joint)
    matrices = [contexts.new_zeros(size, size) for size in sizes]
    for columns in contexts.split(COLUMNS, dim=1):
        for slopes in _slopes(layers, columns, _laplace_curvature):
            parts = []
            for slope, a in slopes:
                parts += [(slope[:, None] * a[None]).flatten(0, 1), slope]
            for matrix, jacobian in zip(matrices, torch.cat(parts).split(sizes), strict=True):
                matrix.addmm_(jacobian, jacobian.T)
    weight = _bits_per_pixel(model, latents, contexts.shape[1])
    return [matrix * weight for matrix in matrices]


@torch.no_grad()
def subbands_curvature(
    model: CoolChic, latents: Sequence[Tensor], samples: int, generator: torch.Generator
) -> Tensor:
    """(3, P, P), of the rate, likewise, for each subband's own weights."""
    contexts = sample_contexts(model.arm, latents, samples, generator)
    size = model.arm.subband_weights()[0].numel()
    matrices = contexts.new_zeros(SUBBANDS, size, size)
    for columns in contexts.split(COLUMNS, dim=1):
        plain, tells = columns[:-SUBBANDS], columns[-SUBBANDS:] > 0
        for (slope, _), *_ in _slopes(list(model.arm), columns, _laplace_curvature):
            for matrix, here in zip(matrices, tells, strict=True):
                jacobian = (slope[:, None, here] * plain[None, :, here]).flatten(0, 1)
                matrix.addmm_(jacobian, jacobian.T)
    return matrices * _bits_per_pixel(model, latents, contexts.shape[1])


def _bits_per_pixel(model: CoolChic, latents: Sequence[Tensor], samples: int) -> float:
    """What nats of a sample of latents are in a picture's bits per pixel."""
    total = sum(y.numel() for y in latents)
    return total / (samples * model.height * model.width * math.log(2))


@torch.no_grad()
def synthesis_curvature(
    model: CoolChic,
    latents: Sequence[Tensor],
    samples: int,
    generator: torch.Generator,
    *,
    joint: bool = False,
) -> list[Tensor]:
    """(P, P) of each layer, or of all jointly, of the mean squared error."""
    filtered = model.filter(latents)
    row, column = _draw_pixels(model, samples, generator)
    sizes = _sizes(model.synthesis, joint)
    matrices = [torch.zeros(size, size, device=row.device) for size in sizes]
    for places in zip(row.split(PATCHES), column.split(PATCHES), strict=True):
        x = sample_pixels(model, filtered, *_around(model, *places))
        for slopes, _ in _picture_slopes(model, x, len(places[0])):
            parts = [((s @ a.mT).flatten(1), s.sum(2)) for s, a in slopes]
            jacobian = torch.cat([part for both in parts for part in both], dim=1)
            for matrix, own in zip(matrices, jacobian.split(sizes, dim=1), strict=True):
                matrix.addmm_(own.T, own)
    return [matrix * (2 / (len(row) * model.arch.channels)) for matrix in matrices]


def _around(model: CoolChic, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns, (N·K,) each, of the K pixels around each of N that convolutions see, which
    are itself if there are none; the edge's for those outside."""
    reach = len(model.synthesis.convolutions())
    steps = torch.arange(-reach, reach + 1, device=row.device)
    rows, columns = torch.broadcast_tensors(
        row[:, None, None] + steps[:, None], column[:, None, None] + steps
    )
    rows, columns = rows.clamp(0, model.height - 1), columns.clamp(0, model.width - 1)
    return rows.flatten(), columns.flatten()


def _picture_slopes(
    model: CoolChic, x: Tensor, pixels: int
) -> Iterator[tuple[list[tuple[Tensor, Tensor]], Tensor]]:
    """For one channel of the picture after the other, its derivatives at N pixels: by the linear
    part of each layer (N, outputs, K) at the K places that matter, with the layer's inputs there
    (N, inputs, K); and by x.

    Args:
        x: (L, N·K) inputs of the synthesis around the pixels (:func:`_around`).
        pixels: N.
    """
    pixelwise, convolutions = model.synthesis.pixelwise(), model.synthesis.convolutions()
    outputs, before = _forward(pixelwise, x)
    side = 2 * len(convolutions) + 1
    y = outputs.unflatten(1, (pixels, side, side)).transpose(0, 1)
    behind = []
    for layer in convolutions:
        z = F.conv2d(y, layer.weight, layer.bias)
        if layer.residual:
            z = z + y[:, : z.shape[1], 1:-1, 1:-1]
        behind.append((F.unfold(y, 3), z > 0 if layer.relu else None))
        y = F.relu(z) if layer.relu else z

    def by_pixel(values: Tensor) -> Tensor:
        return values.unflatten(1, (pixels, -1)).transpose(0, 1)

    for output in range(y.shape[1]):
        slope = torch.zeros_like(y)
        slope[:, output] = 1
        slopes = []
        for layer, (a, mask) in zip(reversed(convolutions), reversed(behind), strict=True):
            if mask is not None:
                slope = slope * mask
            slopes.append((slope.flatten(2), a))
            by_inputs = F.conv_transpose2d(slope, layer.weight)
            if layer.residual:
                by_inputs[:, : slope.shape[1], 1:-1, 1:-1] += slope
            slope = by_inputs
        first, by_x = _backward(pixelwise, before, slope.transpose(0, 1).flatten(1))
        yield [*((by_pixel(s), by_pixel(a)) for s, a in first), *reversed(slopes)], by_x


@torch.no_grad()
def filters_curvature(
    model: CoolChic, latents: Sequence[Tensor], samples: int, generator: torch.Generator
) -> Tensor:
    """(P, P), of the mean squared error; parameters as in ``Filters.taps``, grid by grid."""
    taps = model.filters.taps.detach()
    if model.synthesis.convolutions():
        samples = max(1, samples // FEWER_PATCHES)
    row, column = _draw_pixels(model, samples, generator)
    pixels = len(row)
    row, column = _around(model, row, column)
    subbands = SUBBANDS if model.arch.wavelet else 0
    first = subbands or 1
    places = _places(model, latents, row, column)
    by_taps = []
    for tap in range(taps.shape[1]):
        # Taps of other grids do not matter, so all grids share a difference; it is the derivative,
        # since a filter in two directions is quadratic in its taps.
        step = torch.zeros_like(taps)
        step[:, tap] = 0.5
        above, below = (model.filters.apply_taps(t, latents) for t in (taps + step, taps - step))
        slopes = [a - b for a, b in zip(above[first:], below[first:], strict=True)]
        by_taps.append(_sample_all(slopes, places[first:]))
    by_taps = torch.stack(by_taps, dim=1)
    grid = torch.arange(first, len(latents))
    if subbands:
        by_kernels = _slopes_by_kernels(model, latents, row, column)
        by_taps = torch.cat([by_kernels, by_taps])
        grid = torch.cat([torch.arange(subbands).repeat_interleave(2), grid])
    matrix = torch.zeros(taps.numel(), taps.numel(), device=taps.device)
    x = _sample_all(model.filter(latents), places)
    for _, slope in _picture_slopes(model, x, pixels):
        jacobian = (by_taps * slope[grid][:, None]).flatten(0, 1)
        jacobian = jacobian.unflatten(1, (pixels, -1)).sum(2)
        matrix.addmm_(jacobian, jacobian.T)
    return matrix * (2 / (pixels * model.arch.channels))


def _slopes_by_kernels(
    model: CoolChic, latents: Sequence[Tensor], row: Tensor, column: Tensor
) -> Tensor:
    """(6, 4, N): of each subband enlarged, derivatives by its vertical and its horizontal taps."""
    kernels = model.filters.subband_kernels().detach()
    by_taps = []
    for tap in range(model.filters.taps.shape[1]):
        unit = torch.zeros_like(model.filters.taps[: 2 * SUBBANDS])
        unit[:, tap] = 1
        slopes = subband_kernels(unit) - subband_kernels(torch.zeros_like(unit))
        for direction in range(2):
            both = kernels.clone()
            both[:, direction] = slopes[:, direction]
            by_taps += [
                _sample(y, _kernel_taps(row, v, y.shape[0]), _kernel_taps(column, h, y.shape[1]))
                for y, (v, h) in zip(latents, both, strict=False)
            ]
    return torch.stack(by_taps).unflatten(0, (4, 2, SUBBANDS)).permute(2, 1, 0, 3).flatten(0, 1)


def _draw_pixels(
    model: CoolChic, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows and columns, (N,) each, drawn at random; each pixel once if there are no more than
    samples."""
    device = model.latents[0].device
    if model.height * model.width <= samples:
        pixels = torch.randperm(model.height * model.width, generator=generator).to(device)
        return pixels // model.width, pixels % model.width
    row = torch.randint(model.height, (samples,), generator=generator)
    column = torch.randint(model.width, (samples,), generator=generator)
    return row.to(device), column.to(device)


def sample_contexts(
    arm: Arm, latents: Sequence[Tensor], samples: int, generator: torch.Generator
) -> Tensor:
    """(C + P, N) inputs, as ``arm.inputs`` has them, of latents drawn from all grids alike; of all
    latents if there are no more than samples."""
    arch = arm.arch
    total = sum(y.numel() for y in latents)
    chosen = torch.arange(total)
    if total > samples:
        chosen = torch.randint(total, (samples,), generator=generator).sort().values
    parts, first = [], 0
    for k, y in enumerate(latents):
        here = chosen[(chosen >= first) & (chosen < first + y.numel())].to(y.device) - first
        first += y.numel()
        row, column = here // y.shape[1], here % y.shape[1]
        neighbours = [_at(y, row - dr, column + dc) for dr, dc in arm.positions]
        if arm.parents:
            parent = arch.parent_of(k)
            plane = torch.zeros_like(y) if parent is None else latents[parent]
            if parent is not None and arch.levels[parent] > arch.levels[k]:
                plane = enlarge_by_two(plane, *y.shape)
            neighbours += [_at(plane, row - dr, column + dc) for dr, dc in arm.parents]
        if arch.wavelet:
            nothing = y.new_zeros(len(here))
            others = arch.siblings_of(k)
            neighbours += [_at(latents[other], row, column) for other in others]
            neighbours += [nothing] * (arch.siblings - len(others))
            neighbours += [nothing + (i == k) for i in range(arch.indicators)]
        parts.append(torch.stack(neighbours))
    return torch.cat(parts, dim=1)


def _at(y: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Values (N,) of a grid, zero outside."""
    height, width = y.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return y[row.clamp(0, height - 1), column.clamp(0, width - 1)] * inside


def sample_pixels(model: CoolChic, grids: Sequence[Tensor], row: Tensor, column: Tensor) -> Tensor:
    """(L, N) columns of what ``CoolChic.upsample`` makes of grids behind their filters, at
    pixels (N,)."""
    return _sample_all(grids, _places(model, grids, row, column))


def _places(
    model: CoolChic, grids: Sequence[Tensor], row: Tensor, column: Tensor
) -> list[tuple[Taps, Taps]]:
    """Of each grid, from which rows and columns pixels come."""
    kernels = model.filters.subband_kernels() if model.arch.wavelet else ()
    return [
        tuple(
            _kernel_taps(position, kernels[k][direction], size)
            if k < len(kernels)
            else _bicubic_taps(position, level, size)
            for direction, (position, size) in enumerate(zip((row, column), y.shape, strict=True))
        )
        for k, (level, y) in enumerate(zip(model.arch.levels, grids, strict=True))
    ]


def _sample_all(grids: Sequence[Tensor], places: Sequence[tuple[Taps, Taps]]) -> Tensor:
    """(L, N) values of grids, each at its places."""
    return torch.stack([_sample(y, *place) for y, place in zip(grids, places, strict=True)])


def _sample(y: Tensor, vertical: Taps, horizontal: Taps) -> Tensor:
    """(N,) values of a grid from its rows and columns."""
    rows, by_row = vertical
    columns, by_column = horizontal
    window = y[rows[:, None, :], columns[None, :, :]]
    return torch.einsum("rn,rcn,cn->n", by_row, window, by_column)


def _kernel_taps(position: Tensor, kernel: Tensor, size: int) -> Taps:
    """As :func:`_bicubic_taps`, of enlargement by two with a kernel (8,): its even places are
    for every second position, its odd ones for the others."""
    low = (position - 1) >> 1
    parity = (position - 1) & 1
    backward = kernel.flip(0)
    weights = torch.stack([backward[1::2], backward[::2]])[parity].T
    return torch.stack([low + i for i in (-1, 0, 1, 2)]).clamp(0, size - 1), weights


def _bicubic_taps(position: Tensor, k: int, size: int) -> Taps:
    """Of enlargement by 2^k; for k = 0 all weights but one are zero."""
    source = (position.double() + 0.5) / 2**k - 0.5
    low = source.floor()
    t = source - low
    distance = torch.stack([1 + t, t, 1 - t, 2 - t])
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
    far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    weights = torch.where(distance <= 1, near, far).float()
    return torch.stack([low + i for i in (-1, 0, 1, 2)]).long().clamp(0, size - 1), weights


def _laplace_curvature(outputs: Tensor) -> Tensor:
    """Square roots of the Fisher information, in nats, about mean and log-scale."""
    log_scale = outputs[1] - LOG_SCALE_OFFSET
    clamped = log_scale.clamp(*LOG_SCALE_RANGE)
    return torch.stack([1 / clamped.exp().clamp_min(LEAST_SCALE), (log_scale == clamped).float()])


def _slopes(
    layers: Sequence[LinearLayer], x: Tensor, curvature: Callable[[Tensor], Tensor]
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """For one output after the other, times its curvature's root, derivatives by the linear
    part of each layer, with the layer's inputs."""
    outputs, before = _forward(layers, x)
    roots = curvature(outputs)
    for output in range(len(outputs)):
        slope = torch.zeros_like(outputs)
        slope[output] = roots[output]
        yield _backward(layers, before, slope)[0]


def _forward(
    layers: Sequence[LinearLayer], x: Tensor
) -> tuple[Tensor, list[tuple[Tensor, Tensor | None]]]:
    """Outputs, and of each layer its inputs and where its ReLU, if any, lets them pass."""
    states = []
    for layer in layers:
        y = layer(x)
        states.append((x, y > 0 if layer.relu else None))
        x = y
    return x, states


def _backward(
    layers: Sequence[LinearLayer], states: Sequence[tuple[Tensor, Tensor | None]], slope: Tensor
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """From derivatives by the outputs to those by the linear part of each layer, with the layer's
    inputs, and by the first inputs."""
    slopes = []
    for layer, (a, mask) in zip(reversed(layers), reversed(states), strict=True):
        if mask is not None:
            slope = slope * mask
        slopes.append((slope, a))
        before = layer.weight.T @ slope
        if layer.residual:
            before[: len(slope)] += slope
        slope = before
    return slopes[::-1], slope
