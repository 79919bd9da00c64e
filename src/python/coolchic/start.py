"""Where training starts: the networks' first weights.

What a start decides is whether the finest grids are used from the beginning; a synthesis
that hardly looks at them teaches the coarser ones to do without, and does not recover.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coolchic import _encoder
from coolchic.architectures import DEFAULTS, find_architecture
from coolchic.bitstream import IDS
from coolchic.config import Architecture
from coolchic.model import CoolChic

__all__ = [
    "DEFAULT_LAMBDAS",
    "STARTS",
    "default_name",
    "default_values",
    "nearest_default",
    "start",
]

DEFAULT_LAMBDAS = (1.5e-4, 6e-4, 2.5e-3, 1.2e-2)
"""λ that the four default decoders of an architecture were trained for
(benchmarks/train_default.py)."""

DEFAULT_BITS = 12
STRENGTH, NOISE = 0.077, 0.01
"""Of the linear start: what a latent of 1 in one grid does to the samples, in units of 2^depth, as
a vector's length, and what makes units differ."""
SHARED = ("channels", "grids", "context", "arm_hidden", "synthesis_hidden")
"""What an architecture that starts from another's default decoders has in common with it."""


def nearest_default(lmbda: float) -> int:
    """The place in ``DEFAULT_LAMBDAS`` of the one nearest to λ by its logarithm."""
    distances = [abs(math.log(lmbda / trained)) for trained in DEFAULT_LAMBDAS]
    return distances.index(min(distances))


def start(kind: str, model: CoolChic, target: Tensor, lmbda: float, seed: int) -> None:
    """Set the networks' weights; latents stay as they are, at zero.

    Args:
        kind: one of ``STARTS``. ``"default"`` falls back to ``"linear"`` for architectures
            that have no default decoder.
        target: (C, H, W), samples divided by 2^depth.
        lmbda: weight of the rate that training begins with.
        seed: of random weights.
    """
    STARTS[kind](model, target, lmbda, seed)


def _random(model: CoolChic, target: Tensor, lmbda: float, seed: int) -> None:
    """The initialisation of the reference's first release, which the model comes with."""
    _mean_colour(model, target)


@torch.no_grad()
def _linear(model: CoolChic, target: Tensor, lmbda: float, seed: int) -> None:
    """Each grid for one direction of colour: hidden units come in pairs of opposite sign, so that
    through ReLUs the synthesis is linear. Units beyond them begin with noise, and a synthesis with
    hidden layers that are not residual, which pairs would not pass, stays random."""
    layers = model.synthesis.pixelwise()
    colours = _colours(model.arch) * STRENGTH
    first, last = layers[0], layers[-1]
    if first is last:
        last.weight.copy_(colours.T)
    elif all(layer.residual for layer in layers[1:-1]):
        generator = torch.Generator().manual_seed(seed)
        for layer in (first, last):
            layer.weight.normal_(generator=generator).mul_(NOISE)
        for k in range(min(model.arch.grids, last.weight.shape[1] // 2)):
            for unit, sign in ((2 * k, 1), (2 * k + 1, -1)):
                first.weight[unit, k] += sign * STRENGTH**0.5
                last.weight[:, unit] += sign * colours[k] / STRENGTH**0.5
    _mean_colour(model, target)


def _colours(arch: Architecture) -> Tensor:
    """(grids, channels): which direction of colour each grid is for.

    Directions are those of the channels' cosine transform: of RGB grey, red against blue, and
    green against both. One grid each has those that are not grey, from that of a quarter of the
    picture's size on; all others are for grey.
    """
    channels = arch.channels
    c = torch.arange(channels)
    basis = torch.cos(math.pi * c[:, None] * (c + 0.5) / channels)
    basis /= basis.norm(dim=1, keepdim=True)
    chosen = [level - 1 if 2 <= level <= channels else 0 for level in arch.levels]
    return basis[chosen]


def default_name(arch: Architecture) -> str | None:
    """Of a named architecture whose default decoders start its training.

    Those with a ReLU behind a convolution do not start grey pictures: where it ends dark parts,
    there is no other channel by which they would be found again.
    """
    ends = any(layer.activation == "relu" for layer in arch.refinement)
    if arch.channels != 3 and (arch.channels != 1 or ends):
        return None
    return next((n for n in DEFAULTS if arch == find_architecture(n, arch.channels)), None)


def default_values(arch: Architecture, lmbda: float) -> Tensor | None:
    """(P,) parameters of the architecture's default decoder for the nearest λ (bitstream section
    6.1), in the order of the file and of ``CoolChic.network_parameters``; None if it has none, as
    for all pictures but those of 3 channels.
    """
    name = default_name(arch)
    if name is None or arch.channels != 3:
        return None
    table = _encoder.default_decoder(IDS[name], DEFAULTS[name] + nearest_default(lmbda))
    return torch.from_numpy(table * 2.0**-DEFAULT_BITS).float()


@torch.no_grad()
def _default(model: CoolChic, target: Tensor, lmbda: float, seed: int) -> None:
    """The shipped decoder that was trained for the nearest λ (bitstream section 6.1).

    Grey pictures start from what it says of grey ones. The paper's also start architectures that
    add to it, and what is added starts at zero, without effect.
    """
    name = default_name(model.arch)
    known = find_architecture(name or "paper", 3)
    if name is None and any(getattr(model.arch, f) != getattr(known, f) for f in SHARED):
        _linear(model, target, lmbda, seed)
        return
    for p in model.network_parameters():
        p.zero_()
    shapes = [p.shape for p in CoolChic(known, 1, 1).network_parameters()]
    tables = default_values(known, lmbda).split([shape.numel() for shape in shapes])
    channels = model.arch.channels
    for p, shape, table in zip(model.network_parameters(), shapes, tables, strict=False):
        values = table.reshape(shape)
        if channels < known.channels and p.shape != shape:
            values = _of_grey(values)
        p[tuple(map(slice, values.shape))] = values


def _of_grey(values: Tensor) -> Tensor:
    """A layer's weights, of all channels, or biases for pictures whose channels are alike."""
    if values.dim() == 4:  # a convolution's, from each channel to each
        values = values.sum(dim=1, keepdim=True)
    return values.mean(dim=0, keepdim=True)


@torch.no_grad()
def _mean_colour(model: CoolChic, target: Tensor) -> None:
    model.synthesis.pixelwise()[-1].bias.copy_(target.mean(dim=(1, 2)))


STARTS = {"default": _default, "linear": _linear, "random": _random}
