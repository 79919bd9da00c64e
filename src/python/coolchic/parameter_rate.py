"""What the networks' parameters will cost in the file, as a part of the loss that trains them.

The cost that quantisation minimises (paper eq. 15) counts R_MLP, so training should: along what
hardly matters to the picture, parameters stay where they are cheap, in short trainings and in long
ones, whatever the optimiser does with gradients that are hardly more than noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from coolchic.model import CoolChic
from coolchic.parameter_groups import grouped_parameters
from coolchic.start import default_parameters

__all__ = ["ParameterRate"]

STEP = 0.02
"""About what parameters are rounded to: those nearer to where they are coded from are alike."""


class ParameterRate:
    """The rate of a model's parameters, to within a constant, and its gradient.

    Each group (bitstream section 6) is coded by a Laplace distribution as wide as its mean
    distance b from what values are coded from: a default decoder, or zero. So it takes N log2(b)
    bits and a constant; distances are hypotenuses over STEP, since rounding ends what is nearer.

    Args:
        model: whose parameters they are.
        lmbda: weight of the latents' rate, to which the default decoder belongs.
    """

    def __init__(self, model: CoolChic, lmbda: float) -> None:
        origins = default_parameters(model.arch, lmbda)
        if origins is None:
            origins = [torch.zeros_like(p) for p in model.network_parameters()]
        origin_of = dict(zip(map(id, model.network_parameters()), origins, strict=True))
        self.groups: dict[int, list[tuple[nn.Parameter, Tensor]]] = {}
        for p, group in grouped_parameters(model):
            self.groups.setdefault(group, []).append((p, origin_of[id(p)].to(p.device)))

    @torch.no_grad()
    def bits(self) -> float:
        """Less what all models have."""
        total = 0.0
        for members in self.groups.values():
            distances = [_distance(p - origin) for p, origin in members]
            total += sum(d.numel() for d in distances) * math.log2(_spread(distances))
        return total

    @torch.no_grad()
    def add_gradients(self, weight: float) -> None:
        """Add the gradient of the bits to those that parameters have.

        Args:
            weight: of a bit, in units of the loss that these are of.
        """
        for members in self.groups.values():
            differences = [p - origin for p, origin in members]
            distances = [_distance(difference) for difference in differences]
            scale = weight / (math.log(2) * _spread(distances))
            for (p, _), difference, distance in zip(members, differences, distances, strict=True):
                p.grad.add_(difference / distance, alpha=scale)


def _distance(difference: Tensor) -> Tensor:
    return (difference.square() + STEP**2).sqrt()


def _spread(distances: list[Tensor]) -> float:
    return float(sum(d.sum() for d in distances)) / sum(d.numel() for d in distances)
