"""Gauss-Newton matrices of both networks, from a sample of latents and pixels.

The loss (paper eq. 1) is a smooth function, the squared error or the code length, of the
outputs of a small network at many positions. Leaving out second derivatives of the network
itself, its Hessian by the parameters is the sum over positions of J' C J, where J is the
Jacobian of the outputs and C the curvature of the loss by them (Schraudolph 2002). With a few
hundred parameters the whole matrix is cheap, and a few thousand positions show its shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from coolchic.model import LOG_SCALE_OFFSET, LOG_SCALE_RANGE, Arm, CoolChic, Network

__all__ = ["arm_curvature", "curvatures", "sample_contexts", "sample_pixels", "synthesis_curvature"]

LEAST_SCALE = 0.3
"""Below it, the curvature by the mean stops growing: a bin of width 1 hides the peak."""

COLUMNS = 4096
"""Positions whose Jacobian is held at once."""

CUBIC = -0.75
"""PyTorch's parameter of bicubic interpolation (Keys 1981)."""


@torch.no_grad()
def curvatures(
    model: CoolChic,
    latents: Sequence[Tensor],
    lmbda: float,
    samples: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Matrices of the ARM and of the synthesis, in the order of their parameters.

    Args:
        latents: (proxies of) quantised grids.
        lmbda: weight of the rate in the loss.
        samples: number of latents, and of pixels, that are looked at.
        generator: of the positions, on the CPU.

    Returns:
        Two float32 matrices (P, P) on the model's device: Hessians of the loss.
    """
    return (
        arm_curvature(model, latents, samples, generator) * lmbda,
        synthesis_curvature(model, latents, samples, generator),
    )


@torch.no_grad()
def arm_curvature(
    model: CoolChic, latents: Sequence[Tensor], samples: int, generator: torch.Generator
) -> Tensor:
    """(P, P), of the rate in bits per pixel: the Fisher matrix of the Laplace distribution."""
    contexts = sample_contexts(model.arm, latents, samples, generator)
    matrix = _gauss_newton(model.arm, contexts, _laplace_curvature)
    total = sum(y.numel() for y in latents)
    return matrix * (total / (samples * model.height * model.width * math.log(2)))


@torch.no_grad()
def synthesis_curvature(
    model: CoolChic, latents: Sequence[Tensor], samples: int, generator: torch.Generator
) -> Tensor:
    """(P, P), of the mean squared error."""
    pixels = sample_pixels(latents, model.height, model.width, samples, generator)
    matrix = _gauss_newton(model.synthesis, pixels, torch.ones_like)
    return matrix * (2 / (samples * model.arch.channels))


def sample_contexts(
    arm: Arm, latents: Sequence[Tensor], samples: int, generator: torch.Generator
) -> Tensor:
    """(C, N) contexts, as ``arm.context`` has them, of latents drawn from all grids alike."""
    total = sum(y.numel() for y in latents)
    chosen = torch.randint(total, (samples,), generator=generator).sort().values
    parts, first = [], 0
    for y in latents:
        here = chosen[(chosen >= first) & (chosen < first + y.numel())].to(y.device) - first
        first += y.numel()
        row, column = here // y.shape[1], here % y.shape[1]
        neighbours = []
        for dr, dc in arm.positions:
            r, c = row - dr, column + dc
            inside = (r >= 0) & (c >= 0) & (c < y.shape[1])
            neighbours.append(y[r.clamp_min(0), c.clamp(0, y.shape[1] - 1)] * inside)
        parts.append(torch.stack(neighbours))
    return torch.cat(parts, dim=1)


def sample_pixels(
    latents: Sequence[Tensor], height: int, width: int, samples: int, generator: torch.Generator
) -> Tensor:
    """(L, N) columns, drawn at random, of what ``coolchic.model.upsample`` makes."""
    row = torch.randint(height, (samples,), generator=generator).to(latents[0].device)
    column = torch.randint(width, (samples,), generator=generator).to(latents[0].device)
    values = [latents[0][row, column]]
    for k, y in enumerate(latents[1:], start=1):
        rows, vertical = _bicubic_taps(row, k, y.shape[0])
        columns, horizontal = _bicubic_taps(column, k, y.shape[1])
        window = y[rows[:, None, :], columns[None, :, :]]
        values.append(torch.einsum("rn,rcn,cn->n", vertical, window, horizontal))
    return torch.stack(values)


def _bicubic_taps(position: Tensor, k: int, size: int) -> tuple[Tensor, Tensor]:
    """Indices and weights, (4, N) each, of the values that a position is made of."""
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


def _gauss_newton(network: Network, x: Tensor, curvature: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum over positions and outputs of J' C J.

    Args:
        x: (I, N) inputs.
        curvature: from outputs (O, N) to the square roots of C's diagonal (O, N).
    """
    size = sum(p.numel() for p in network.parameters())
    matrix = torch.zeros(size, size, device=x.device)
    for columns in x.split(COLUMNS, dim=1):
        for jacobian in _jacobians(network, columns, curvature):
            matrix.addmm_(jacobian, jacobian.T)
    return matrix


def _jacobians(
    network: Network, x: Tensor, curvature: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    """For one output after the other, its derivatives (P, N), times its curvature's root."""
    inputs, masks = [], []
    for layer in network:
        inputs.append(x)
        x = layer(x)
        masks.append(x > 0 if layer.relu else None)
    roots = curvature(x)
    for output in range(len(x)):
        slope = torch.zeros_like(x)
        slope[output] = roots[output]
        parts = []
        for layer, a, mask in zip(
            reversed(network), reversed(inputs), reversed(masks), strict=True
        ):
            if mask is not None:
                slope = slope * mask
            parts += [slope, (slope[:, None] * a[None]).flatten(0, 1)]
            slope = layer.weight.T @ slope + (slope if layer.residual else 0)
        yield torch.cat(parts[::-1])
