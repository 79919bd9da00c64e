"""One training iteration behind one small interface, in PyTorch or in native code.

The training loop (``coolchic.train``) knows only :class:`Engine`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from coolchic.model import CoolChic
from coolchic.optimizer import GridAdam
from coolchic.proxy import PROXIES

__all__ = ["Engine", "Losses", "StepSettings", "TorchEngine", "clipped_error", "white_of"]

BETAS = (0.9, 0.99)
"""Of Adam, for the networks. Latents have the second, and the first where it is not said."""


@dataclass(frozen=True)
class StepSettings:
    """What varies from iteration to iteration; see ``coolchic.presets.Stage``.

    An engine may take the networks' gradients from all rows, whatever ``network_rows`` says.
    """

    proxy: str
    temperature: float
    sigma: float
    latent_lr: float
    network_lr: float
    gain_lr: float = 0.0
    latent_share: float = 0.0
    latent_momentum: float = BETAS[0]
    network_rows: int = 1


@dataclass(frozen=True)
class Losses:
    """Distortion and rate of one forward pass.

    Attributes:
        mse: mean squared error over pixels and channels, samples in 0 … 1, of the picture as it
            will be clipped where it should be black or white (:func:`clipped_error`).
        bpp: rate of the latents, bits per pixel.
    """

    mse: float
    bpp: float

    def total(self, lmbda: float) -> float:
        """Paper eq. 1."""
        return self.mse + lmbda * self.bpp


def white_of(depth: int) -> float:
    """The highest sample of so many bits, in units of 2^depth."""
    return 1 - 2.0**-depth


def clipped_error(picture: Tensor, target: Tensor, white: float) -> Tensor:
    """Picture less target, but nothing where the decoder, which clips to 0 … ``white``, will make
    them equal: above a white sample and below a black one."""
    error = picture - target
    error = torch.where(target >= white, error.clamp_max(0), error)
    return torch.where(target <= 0, error.clamp_min(0), error)


class Engine(Protocol):
    """Trains a :class:`CoolChic` in place; its parameters are always up to date.

    Attributes:
        lmbda: weight of the rate in bits per pixel; may be changed between steps.
    """

    lmbda: float

    def step(self, settings: StepSettings) -> None:
        """One iteration: proxy, forward, backward, Adam on latents and networks."""

    def last(self) -> Losses:
        """Losses of the forward pass of the last :meth:`step`, before its update."""

    def latent_products(self) -> Tensor:
        """Of each grid, the sum of the latents, as the last :meth:`step` found them, times their
        gradients, float32 (L,): the derivative of the loss by the logarithm of a common factor.
        """

    def evaluate(self) -> Losses:
        """Losses with latents rounded, of the current parameters."""


class TorchEngine:
    """The readable truth: eager PyTorch on any device.

    Args:
        model: trained in place, on the device of ``target``.
        target: (C, H, W) float32, samples divided by 2^depth.
        lmbda: weight of the rate in bits per pixel.
        depth: bits per sample of the image.
        seed: of the quantisation noise.
    """

    def __init__(
        self, model: CoolChic, target: Tensor, lmbda: float, depth: int = 8, seed: int = 0
    ) -> None:
        self.model, self.target, self.lmbda = model, target, lmbda
        self.pixels = model.height * model.width
        # The decoder's real output is in units of 2^depth; white is (2^depth - 1) of them.
        self.white = white_of(depth)
        self.mse_gain = self.white**-2
        self.generator = torch.Generator(device=target.device).manual_seed(seed)
        self.latent_optimizer = GridAdam(list(model.latents), BETAS[1])
        self.network_optimizer = torch.optim.Adam(
            model.all_but_latents(), lr=0.0, betas=BETAS, foreach=True
        )
        self._last: tuple[Tensor, Tensor] | None = None
        self._products: list[Tensor] = []

    def step(self, settings: StepSettings) -> None:
        proxy = PROXIES[settings.proxy]
        self.network_optimizer.param_groups[0]["lr"] = settings.network_lr
        self.model.zero_grad(set_to_none=True)
        y = [
            proxy(latent, settings.temperature, settings.sigma, self.generator)
            for latent in self.model.latents
        ]
        mse, bpp = self.losses(y)
        (mse + self.lmbda * bpp).backward()
        self._products = [
            torch.zeros(()) if y.grad is None else (y.detach() * y.grad).sum()
            for y in self.model.latents
        ]
        self.latent_optimizer.step(
            settings.latent_lr, settings.latent_share, settings.latent_momentum
        )
        self.network_optimizer.step()
        self._last = mse.detach(), bpp.detach()

    def last(self) -> Losses:
        if self._last is None:
            raise RuntimeError("no step has been made")
        return Losses(*(float(v) for v in self._last))

    def latent_products(self) -> Tensor:
        return torch.stack(self._products).cpu()

    @torch.no_grad()
    def evaluate(self) -> Losses:
        mse, bpp = self.losses([torch.round(y) for y in self.model.latents])
        return Losses(float(mse), float(bpp))

    def losses(self, y: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Mean squared error and bits per pixel of latents as they are, with gradients."""
        picture, bits = self.model(y)
        error = clipped_error(picture, self.target, self.white)
        mse = error.square().mean() * self.mse_gain
        return mse, bits / self.pixels
