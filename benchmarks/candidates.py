"""Modules that the format does not have, tried in PyTorch: would they pay?

    python benchmarks/candidates.py --images DIR [--names kodim03 …] [--lambdas 1e-3 …]
        [--side 384] [--iterations 600] [--seeds 0 …] [--only NAME …]
        [--output benchmarks/results/candidates.json]

Trains the middle of every picture (SIDE columns and two thirds as many rows) with the preset
``fast`` stretched to N iterations, as ``coolchic.research`` does, for ``standard`` and for it with
each of CANDIDATES, and reports the estimated J = D + λR, with the parameters' bits, against the
former's. All start from the default decoder, what is added without effect. Multiplications are
those of ``standard`` and what is added, per pixel. Estimates compare among each other, not with
files. Points already in the output file are not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coolchic.architectures import find_architecture
from coolchic.config import SUBBANDS
from coolchic.model import CoolChic, enlarge_by_two, laplace_bits
from coolchic.research import try_model
from report import RESULTS, environment
from variants import add_arguments, compare

ARCH = find_architecture("standard", 3)
LATENTS_PER_PIXEL = sum(4.0**-level for level in ARCH.levels)
NEAR = [(up, right) for up in (1, 2) for right in range(-3, 4)] + [(0, -1), (0, -2), (0, -3)]
"""Rows up and columns to the right of the 17 latents whose mean magnitude is a local energy."""


class Standard(CoolChic):
    """The decoder that candidates add to; its ARM can be given further features.

    Attributes:
        features: how many inputs the first layer of the ARM has besides context and parents.
        added_macs: multiplications per pixel besides the standard ones and the features'.
    """

    features = 0
    added_macs = 0.0

    def __init__(self, height: int, width: int) -> None:
        super().__init__(ARCH, height, width)
        first = self.arm[0].weight
        self.by_features = nn.Parameter(torch.zeros(len(first), self.features))

    @classmethod
    def macs(cls, height: int, width: int) -> float:
        fixed = sum(ARCH.macs_per_pixel(height, width).values())
        return fixed + cls.added_macs + cls.features * ARCH.arm[0].width * LATENTS_PER_PIXEL

    def more_features(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """(features, h·w) for each grid."""
        return [y.new_zeros(0, y.numel()) for y in latents]

    def rate_parameters(self, inputs: Tensor, features: Tensor) -> Tensor:
        """(2, N) means and log-scales for (C + P, N) inputs."""
        first = self.arm[0]
        return self.further_layers(
            first.finish(first.linear(inputs) + self.by_features @ features, inputs)
        )

    def further_layers(self, x: Tensor) -> Tensor:
        """(2, N) from the first layer's outputs."""
        for layer in list(self.arm)[1:]:
            x = layer(x)
        return x

    def grid_bits(self, latents: Sequence[Tensor]) -> Tensor:
        inputs = torch.cat(self.arm.inputs(latents), dim=1)
        features = torch.cat(self.more_features(latents), dim=1)
        y = torch.cat([y.reshape(-1) for y in latents])
        return self.symbol_bits(y, self.rate_parameters(inputs, features)).sum()

    def symbol_bits(self, y: Tensor, parameters: Tensor) -> Tensor:
        """(N,) bits of (N,) latents, from the ARM's outputs."""
        return laplace_bits(y, *parameters)

    def forward(self, latents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return self.decode(latents), self.grid_bits(latents)


class StabilisedArm(Standard):
    """A linear branch beside the ARM (Cool-chic v5)."""

    added_macs = 2 * ARCH.arm_inputs * LATENTS_PER_PIXEL

    def __init__(self, height: int, width: int) -> None:
        super().__init__(height, width)
        self.branch = nn.Parameter(torch.zeros(2, ARCH.arm_inputs))

    def rate_parameters(self, inputs: Tensor, features: Tensor) -> Tensor:
        return super().rate_parameters(inputs, features) + self.branch @ inputs


class StabilisedSynthesis(Standard):
    """A linear branch beside the pixel-wise synthesis, before its convolutions."""

    added_macs = 3 * ARCH.grids

    def __init__(self, height: int, width: int) -> None:
        super().__init__(height, width)
        self.branch = nn.Parameter(torch.zeros(3, ARCH.grids))

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        x = self.upsample(latents)
        y = x.flatten(1)
        for layer in self.synthesis.pixelwise():
            y = layer(y)
        y = (y + self.branch @ x.flatten(1)).reshape(-1, *x.shape[1:])
        for layer in self.synthesis.convolutions():
            y = layer(y)
        return y


class ScaledOutputs(Standard):
    """Each grid shifts and stretches the ARM's outputs."""

    added_macs = 2 * LATENTS_PER_PIXEL

    def __init__(self, height: int, width: int) -> None:
        super().__init__(height, width)
        self.shift = nn.Parameter(torch.zeros(2, ARCH.grids))
        self.stretch = nn.Parameter(torch.zeros(2, ARCH.grids))

    def rate_parameters(self, inputs: Tensor, features: Tensor) -> Tensor:
        sizes = torch.tensor([y.numel() for y in self.latents])
        shift, stretch = (
            p.repeat_interleave(sizes.to(p.device), dim=1) for p in (self.shift, self.stretch)
        )
        return super().rate_parameters(inputs, features) * (1 + stretch) + shift


class GridNumber(Standard):
    """The ARM's first layer has a bias of its own for each grid."""

    features = ARCH.grids
    added_macs = -ARCH.grids * ARCH.arm[0].width * LATENTS_PER_PIXEL

    def more_features(self, latents: Sequence[Tensor]) -> list[Tensor]:
        eye = torch.eye(len(latents), device=latents[0].device)
        return [one[:, None].expand(-1, y.numel()) for one, y in zip(eye, latents, strict=True)]


class FurtherSubbandWeights(Standard):
    """Each subband has weights of its own in all layers of the ARM, not the first alone."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__(height, width)
        self.differences = nn.ParameterList(
            torch.zeros(SUBBANDS, *layer.weight.shape) for layer in list(self.arm)[1:]
        )

    def further_layers(self, x: Tensor) -> Tensor:
        sizes = [y.numel() for y in self.latents[:SUBBANDS]]
        columns = x.split([*sizes, x.shape[1] - sum(sizes)], dim=1)
        return torch.cat([self.through(part, grid) for grid, part in enumerate(columns)], dim=1)

    def through(self, x: Tensor, grid: int) -> Tensor:
        """(2, N) of one subband, or of all other grids."""
        for layer, differences in zip(list(self.arm)[1:], self.differences, strict=True):
            y = layer.linear(x)
            x = layer.finish(y + differences[grid] @ x if grid < SUBBANDS else y, x)
        return x


class LocalEnergy(Standard):
    """The mean magnitude of 17 latents above and to the left, running sums."""

    features = 1

    def more_features(self, latents: Sequence[Tensor]) -> list[Tensor]:
        return [_energy(y) for y in latents]


class Grandparents(Standard):
    """The parent of the parent, enlarged."""

    features = 1
    added_macs = 2 * 8 * LATENTS_PER_PIXEL

    def more_features(self, latents: Sequence[Tensor]) -> list[Tensor]:
        return _from_above(latents, 2, lambda y: y)


class ParentEnergy(Standard):
    """The mean magnitude of 3x3 latents of the next coarser grid, enlarged by two."""

    features = 1
    added_macs = 8 * LATENTS_PER_PIXEL

    def more_features(self, latents: Sequence[Tensor]) -> list[Tensor]:
        return _from_above(latents, 1, lambda y: F.avg_pool2d(y.abs()[None], 3, 1, 1)[0])


class Hyperlatents(Standard):
    """A grid of a quarter of the picture's sides that only the ARM sees, as a feature of finer
    grids, and codes as if it were the coarsest (context-only grids of Cool-chic v5)."""

    features = 1
    added_macs = 8 * LATENTS_PER_PIXEL
    level = 2

    def __init__(self, height: int, width: int) -> None:
        super().__init__(height, width)
        alike = self.latents[ARCH.levels.index(self.level)]
        self.latents.append(nn.Parameter(torch.zeros_like(alike)))
        # With latents and weights at zero neither would have a gradient.
        nn.init.constant_(self.by_features, 0.05)

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        return super().decode(latents[: ARCH.grids])

    def grid_bits(self, latents: Sequence[Tensor]) -> Tensor:
        *grids, self.hyper = latents
        context = self.arm.context(self.hyper)
        others = context.new_zeros(ARCH.arm_inputs - len(context), self.hyper.numel())
        mean, log_scale = self.arm(torch.cat([context, others]))
        own = laplace_bits(self.hyper.reshape(-1), mean, log_scale).sum()
        return own + super().grid_bits(grids)

    def more_features(self, latents: Sequence[Tensor]) -> list[Tensor]:
        return [
            _enlarged(self.hyper, self.level, k, latents)
            if ARCH.levels[k] < self.level
            else y.new_zeros(1, y.numel())
            for k, y in enumerate(latents)
        ]


class CoarserHyperlatents(Hyperlatents):
    """The same of an eighth of the sides."""

    level = 3


def _energy(y: Tensor) -> Tensor:
    reach = 3
    h, w = y.shape
    padded = F.pad(y.abs(), (reach, reach, reach, 0))
    shifted = (
        padded[reach - up : reach - up + h, reach + right : reach + right + w] for up, right in NEAR
    )
    return (sum(shifted) / len(NEAR)).reshape(1, -1)


def _enlarged(plane: Tensor, level: int, grid: int, latents: Sequence[Tensor]) -> Tensor:
    """(1, h·w): a plane of a level at a finer grid's size."""
    shapes = {ARCH.levels[k]: y.shape for k, y in enumerate(latents)}
    for finer in reversed(range(ARCH.levels[grid], level)):
        plane = enlarge_by_two(plane, *shapes[finer])
    return plane.reshape(1, -1)


def _from_above(
    latents: Sequence[Tensor], generations: int, prepare: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """(1, h·w) of each grid: the parent's parent …, prepared and enlarged; else zero."""
    features = []
    for k, y in enumerate(latents):
        above: int | None = k
        for _ in range(generations):
            above = None if above is None else ARCH.parent_of(above)
        features.append(
            y.new_zeros(1, y.numel())
            if above is None
            else _enlarged(prepare(latents[above]), ARCH.levels[above], k, latents)
        )
    return features


CANDIDATES: dict[str, type[Standard]] = {
    "standard": Standard,
    "linear branch beside the ARM": StabilisedArm,
    "linear branch beside the synthesis": StabilisedSynthesis,
    "ARM's outputs scaled by grid": ScaledOutputs,
    "a bias of the ARM for each grid": GridNumber,
    "weights of subbands in all layers": FurtherSubbandWeights,
    "local energy": LocalEnergy,
    "grandparents": Grandparents,
    "parents' energy": ParentEnergy,
    "context-only grid at a quarter": Hyperlatents,
    "context-only grid at an eighth": CoarserHyperlatents,
}


def measure(
    candidate: str, samples: np.ndarray, *, lmbda: float, seed: int, iterations: int, threads: int
) -> dict:
    torch.set_num_threads(threads)
    model = CANDIDATES[candidate]
    estimate = try_model(model, samples, lmbda, iterations=iterations, seed=seed)
    return {
        "J": estimate.loss,
        "weights_bytes": estimate.parameter_bits / 8,
        "bpp": estimate.bpp,
        "psnr": estimate.psnr,
        "mac_per_pixel": model.macs(*samples.shape[:2]),
        **{name: environment()[name] for name in ("cpu", "commit")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, CANDIDATES, RESULTS / "candidates.json")
    arguments = parser.parse_args()
    settings = {"iterations": arguments.iterations, "threads": arguments.threads}
    compare(arguments, "standard", partial(measure, **settings))


if __name__ == "__main__":
    main()
