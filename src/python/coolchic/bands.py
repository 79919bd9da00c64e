"""The float model on a whole picture, band by band: no tensor of hidden activations, and
so no memory, in proportion to the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from coolchic.model import Arm, CoolChic, laplace_bits, upsample

__all__ = ["largest_activations", "picture", "rate"]

COLUMNS = 1 << 17
"""Latents or pixels that go through a network at once."""


@torch.no_grad()
def rate(model: CoolChic, latents: Sequence[Tensor]) -> float:
    """Bits of quantised latents by the float ARM, as ``model.arm.bits`` but for grids of
    zeros, which are free."""
    bits = 0.0
    for y in latents:
        if not torch.any(y):  # the file has a flag for it
            continue
        for values, context in _arm_bands(model.arm, y):
            mean, log_scale = model.arm(context)
            bits += float(laplace_bits(values, mean, log_scale).sum(dtype=torch.float64))
    return bits


@torch.no_grad()
def picture(model: CoolChic, latents: Sequence[Tensor]) -> Tensor:
    """(C, H, W) from quantised latents, as ``model.decode``."""
    parts = [model.synthesis(z) for z in _pixel_bands(model, latents)]
    return torch.cat(parts, dim=1).reshape(model.arch.channels, model.height, model.width)


@torch.no_grad()
def largest_activations(model: CoolChic, latents: Sequence[Tensor]) -> tuple[float, float, float]:
    """Largest magnitudes in the ARM's layers, of upsampled latents and in the synthesis.

    The ARM's outputs count, the synthesis's do not; of latents, both before and after
    upsampling.
    """
    arm = max(
        _largest(model.arm, context) for y in latents for _, context in _arm_bands(model.arm, y)
    )
    upsampled = max(float(y.abs().max()) for y in latents)
    synthesis = 0.0
    for z in _pixel_bands(model, latents):
        upsampled = max(upsampled, float(z.abs().max()))
        synthesis = max(synthesis, _largest(list(model.synthesis)[:-1], z))
    return arm, upsampled, synthesis


def _arm_bands(arm: Arm, latent: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """(values, contexts) of bands of rows of a grid."""
    above = max(dr for dr, _ in arm.positions)
    rows, columns = latent.shape
    height = max(1, COLUMNS // columns)
    for start in range(0, rows, height):
        first = max(0, start - above)
        band = latent[first : start + height]
        skip = (start - first) * columns
        yield band.reshape(-1)[skip:], arm.context(band)[:, skip:]


def _pixel_bands(model: CoolChic, latents: Sequence[Tensor]) -> Iterator[Tensor]:
    """Upsampled latents (L, N) of runs of pixels."""
    full = upsample(latents, model.height, model.width).reshape(len(latents), -1)
    yield from full.split(COLUMNS, dim=1)


def _largest(layers: Iterable[nn.Module], x: Tensor) -> float:
    largest = 0.0
    for layer in layers:
        x = layer(x)
        largest = max(largest, float(x.abs().max()))
    return largest
