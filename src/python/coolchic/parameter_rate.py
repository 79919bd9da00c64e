"""What the networks' parameters will cost in the file, as a part of the loss that trains them.

The cost that quantisation minimises (paper eq. 15) counts R_MLP, so training should: along what
hardly matters to the picture, parameters stay where they are cheap, in short trainings and in long
ones, whatever the optimiser does with gradients that are hardly more than noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coolchic.model import CoolChic
from coolchic.parameter_groups import grouped_parameters
from coolchic.start import default_values

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

    Attributes:
        from_default: whether values are coded from a default decoder.
    """

    def __init__(self, model: CoolChic, lmbda: float) -> None:
        grouped = grouped_parameters(model)
        self.parameters = [p for p, _ in grouped]
        self.sizes = [p.numel() for p in self.parameters]
        device = self.parameters[0].device
        origin = default_values(model.arch, lmbda)
        self.from_default = origin is not None
        self.origin = (torch.zeros(sum(self.sizes)) if origin is None else origin).to(device)
        groups = torch.tensor([group for _, group in grouped])
        self.groups = groups.repeat_interleave(torch.tensor(self.sizes)).to(device)
        self.counts = self.groups.bincount()

    @torch.no_grad()
    def bits(self) -> float:
        """Less what all models have."""
        return float((self.counts * self._spreads(self._distances()[1].double()).log2()).sum())

    @torch.no_grad()
    def add_gradients(self, weight: float) -> None:
        """Add the gradient of the bits to those that parameters have.

        Args:
            weight: of a bit, in units of the loss that these are of.
        """
        differences, distances = self._distances()
        slopes = weight / math.log(2) / self._spreads(distances)
        gradient = differences / distances * slopes[self.groups]
        for p, own in zip(self.parameters, gradient.split(self.sizes), strict=True):
            p.grad.add_(own.view_as(p))

    def _distances(self) -> tuple[Tensor, Tensor]:
        """(P,) differences from the origin, and how far that is."""
        differences = torch.cat([p.flatten() for p in self.parameters]) - self.origin
        return differences, (differences.square() + STEP**2).sqrt()

    def _spreads(self, distances: Tensor) -> Tensor:
        """(groups,) means."""
        return (
            torch.zeros_like(self.counts, dtype=distances.dtype).index_add_(
                0, self.groups, distances
            )
            / self.counts
        )
