"""The float model on a whole picture, band by band: no tensor of hidden activations, and
so no memory, in proportion to the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from coolchic.model import Arm, CoolChic, laplace_bits

__all__ = ["largest_activations", "picture", "rate"]

COLUMNS = 1 << 17
"""Latents or pixels that go through a network at once."""


@torch.no_grad()
def rate(model: CoolChic, latents: Sequence[Tensor]) -> float:
    """Bits of quantised latents by the float ARM, as ``model.arm.bits`` but for grids of
    zeros, which are free."""
    bits = 0.0
    for k, y in enumerate(latents):
        if not torch.any(y):  # the file has a flag for it
            continue
        for values, context in _arm_bands(model.arm, latents, k):
            mean, log_scale = model.arm(context)
            bits += float(laplace_bits(values, mean, log_scale).sum(dtype=torch.float64))
    return bits


@torch.no_grad()
def picture(model: CoolChic, latents: Sequence[Tensor]) -> Tensor:
    """(C, H, W) from quantised latents, as ``model.decode``."""
    layers = model.synthesis.pixelwise()
    parts = [_outputs(layers, z)[-1] for z in _pixel_bands(model, latents)]
    x = torch.cat(parts, dim=1).reshape(-1, model.height, model.width)
    return _outputs([nn.Identity(), *model.synthesis.convolutions()], x)[-1]


@torch.no_grad()
def largest_activations(model: CoolChic, latents: Sequence[Tensor]) -> tuple[float, float, float]:
    """Largest magnitudes in the ARM's layers, of upsampled latents and in the synthesis.

    The ARM's outputs count, the synthesis's do not; of latents, both before and after
    upsampling.
    """
    arm = max(
        _largest(_outputs(model.arm, context))
        for k in range(len(latents))
        for _, context in _arm_bands(model.arm, latents, k)
    )
    upsampled = _largest([*latents, *model.filter(latents)])
    synthesis, layers = 0.0, model.synthesis.pixelwise()
    convolutions = model.synthesis.convolutions()
    last = []
    for z in _pixel_bands(model, latents):
        upsampled = max(upsampled, float(z.abs().max()))
        outputs = _outputs(layers, z)
        if convolutions:
            last.append(outputs[-1])
        else:
            outputs.pop()
        synthesis = max(synthesis, _largest(outputs))
    if convolutions:
        x = torch.cat(last, dim=1).reshape(-1, model.height, model.width)
        synthesis = max(synthesis, _largest(_outputs(convolutions, x)[:-1]))
    return arm, upsampled, synthesis


def _arm_bands(arm: Arm, latents: Sequence[Tensor], grid: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(values, inputs of the ARM) of bands of rows of a grid."""
    above = max(dr for dr, _ in arm.positions)
    latent = latents[grid]
    rows, columns = latent.shape
    surroundings = arm.surroundings(latents, grid)
    height = max(1, COLUMNS // columns)
    for start in range(0, rows, height):
        first = max(0, start - above)
        band = latent[first : start + height]
        skip = (start - first) * columns
        here = surroundings[:, start * columns : (start + height) * columns]
        yield band.reshape(-1)[skip:], torch.cat([arm.context(band)[:, skip:], here])


def _pixel_bands(model: CoolChic, latents: Sequence[Tensor]) -> Iterator[Tensor]:
    """Upsampled latents (L, N) of runs of pixels."""
    yield from model.upsample(latents).flatten(1).split(COLUMNS, dim=1)


def _outputs(layers: Iterable[nn.Module], x: Tensor) -> list[Tensor]:
    """Of each layer in turn."""
    outputs = []
    for layer in layers:
        outputs.append(x := layer(x))
    return outputs


def _largest(tensors: Iterable[Tensor]) -> float:
    return max((float(x.abs().max()) for x in tensors), default=0.0)
