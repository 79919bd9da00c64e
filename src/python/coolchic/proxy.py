"""What stands in for rounding the latents while they are learned (paper eq. 7)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PROXIES", "hard", "noise", "soft_round"]

UNIFORM_WIDTH = 12**0.5
"""Of a uniform distribution, over its standard deviation."""


def noise(y: Tensor, temperature: float, sigma: float, generator: torch.Generator) -> Tensor:
    """Uniform noise in ±0.5 (paper eq. 7; Ballé et al. 2017). The two numbers are unused."""
    return y + torch.rand(y.shape, generator=generator, device=y.device) - 0.5


def soft_round(y: Tensor, temperature: float, sigma: float, generator: torch.Generator) -> Tensor:
    """Soft-rounding, uniform noise, soft-rounding (Agustsson & Theis 2020).

    Args:
        y: latents, any shape.
        temperature: T of the soft-rounding; towards 0 it becomes rounding.
        sigma: standard deviation of the noise between the two.
    """
    disturbance = torch.rand(y.shape, generator=generator, device=y.device) - 0.5
    disturbance *= UNIFORM_WIDTH * sigma
    return _soft_round(_soft_round(y, temperature) + disturbance, temperature)


def _soft_round(y: Tensor, temperature: float) -> Tensor:
    low = torch.floor(y)
    scale = 2 * torch.tanh(torch.tensor(0.5 / temperature))
    return low + 0.5 + torch.tanh((y - low - 0.5) / temperature) / scale


def hard(y: Tensor, temperature: float, sigma: float, generator: torch.Generator) -> Tensor:
    """Rounding; no gradient reaches the latents. The two numbers are unused."""
    return torch.round(y).detach()


PROXIES = {"noise": noise, "soft_round": soft_round, "hard": hard}
