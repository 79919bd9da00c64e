"""The gains of the latent grids, which neither latents nor weights can change alone.

A grid whose latents are twice as large, with synthesis weights half as large, gives the same
picture with half the error of rounding, for about a bit more per latent. The best gain depends on
λ and the picture, and the way there is long: any latent that grows alone makes the picture worse,
and so does any weight that shrinks. Here all go at once, along the derivative of the loss by the
logarithm of each grid's gain.
"""

from __future__ import annotations

import torch
from torch import Tensor

from coolchic.engine import Engine
from coolchic.model import CoolChic

__all__ = ["Gains"]

BETAS = (0.9, 0.99)

MOST_LOG_GAIN = 1.4
"""All of a grid's steps together come to no more, either way. A grid that the picture hardly needs
is cheaper the smaller its latents are, without end: its weights would go into the thousands."""


class Gains:
    """Adam on the logarithms of the gains of all grids.

    Args:
        model: whose latents and weights of the synthesis's first layer are changed in place.
        engine: that trains it.
    """

    def __init__(self, model: CoolChic, engine: Engine) -> None:
        self.model, self.engine = model, engine
        self.first = model.synthesis.pixelwise()[0]
        self.mean, self.square = (torch.zeros(model.arch.grids) for _ in range(2))
        self.log_gains = torch.zeros(model.arch.grids)
        self.steps = 0

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step of about ``lr`` in the logarithm of each gain, up to ``MOST_LOG_GAIN``.

        To be made after a step of the engine that moved latents, when the gradients of the
        networks are still there. (Adam's moments of latents and weights stay as they are.)
        """
        weight = self._weight()
        by_weights = (weight * self.first.weight.grad).sum(dim=0).cpu()
        gradient = self.engine.latent_products() - by_weights
        self.steps += 1
        self.mean.lerp_(gradient, 1 - BETAS[0])
        self.square.lerp_(gradient.square(), 1 - BETAS[1])
        mean = self.mean / (1 - BETAS[0] ** self.steps)
        root = (self.square / (1 - BETAS[1] ** self.steps)).sqrt_().add_(1e-20)
        before = self.log_gains
        self.log_gains = (before - lr * mean / root).clamp_(-MOST_LOG_GAIN, MOST_LOG_GAIN)
        gains = (self.log_gains - before).exp_()
        for y, gain in zip(self.model.latents, gains, strict=True):
            y.mul_(gain)
        self.first.weight.add_(weight * (1 / gains - 1).to(weight.device))

    def _weight(self) -> Tensor:
        """Of the first layer, with the identity that a residual one adds."""
        weight = self.first.weight
        return weight + torch.eye(*weight.shape).to(weight) if self.first.residual else weight
