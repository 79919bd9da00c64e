"""Trying a changed model: train it, and estimate the file it would make, without any C++.

For a model whose modules the format does not have. The estimate is the float model's: latents
rounded, all parameters of the networks rounded to one power of two and coded by the format's
tables. It leaves out the header and what the integer decoder changes, and its networks cost
more than in a file, where rounding is compensated and default decoders help. So compare it with
the estimate of a model without the change, never with a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from coolchic import _encoder
from coolchic.beginning import begin
from coolchic.engine import TorchEngine
from coolchic.image import as_samples
from coolchic.metrics import psnr
from coolchic.model import CoolChic
from coolchic.presets import PRESETS, Preset
from coolchic.train import Progress, train

__all__ = ["Estimate", "estimate", "try_model"]

EXPONENTS = range(3, 11)


@dataclass(frozen=True)
class Estimate:
    """What a file would come to.

    Attributes:
        bpp: bits per pixel, of latents and parameters.
        psnr: dB, of 8-bit pixels.
        loss: mean squared error plus λ times bpp (paper eq. 1).
        parameter_bits: of all networks' parameters.
    """

    bpp: float
    psnr: float
    loss: float
    parameter_bits: float


def try_model(
    make_model: Callable[[int, int], CoolChic],
    image,
    lmbda: float,
    *,
    preset: str | Preset = "fast",
    iterations: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Estimate:
    """Train a model of one's own and estimate its file.

    Networks are trained by plain Adam, which knows nothing of their layers, with half the
    preset's step, and grids without gains, which would have to know them. Nor is there a coarse
    start, for which the finest grid would have to be left out, or a search of single latents, which
    is the integer decoder's.

    Args:
        make_model: from (height, width); anything derived from :class:`CoolChic` whose
            ``forward`` gives picture and bits. All its parameters but ``latents`` are networks'.
        image: as for :func:`coolchic.encode`.
        lmbda: weight of the rate.
        preset: stages of the training.
        iterations: instead of the preset's.
        seed: of the noise; the start is the model's own, then ``coolchic.beginning``'s.
        device: of PyTorch.
    """
    samples = as_samples(image)
    target = torch.from_numpy(samples.astype(np.float32) / 256).permute(2, 0, 1).to(device)
    plan = PRESETS[preset] if isinstance(preset, str) else preset
    plan = plan if iterations is None else plan.with_iterations(iterations)
    stages = tuple(
        replace(stage, network_lr=stage.network_lr / 2, gain_lr=0.0) for stage in plan.stages
    )
    plan = replace(plan, stages=stages, curvature_every=0, coarse_iterations=0)

    def make_engine(number: int) -> tuple[CoolChic, TorchEngine]:
        model = make_model(*samples.shape[:2]).to(device)
        engine = partial(TorchEngine, seed=number)
        return model, begin(model, target, lmbda, plan, engine, seed=number)

    model, _ = train(make_engine, plan, seed=seed, on_progress=on_progress)
    return estimate(model, samples, lmbda)


@torch.no_grad()
def estimate(model: CoolChic, samples: np.ndarray, lmbda: float) -> Estimate:
    """Of a trained model. Its parameters are left rounded, to the best power of two.

    Args:
        samples: uint8 (H, W, C).
    """
    parameters = model.all_but_latents()
    trained = [p.detach().clone() for p in parameters]
    latents = [torch.round(y) for y in model.latents]

    def rounded_to(exponent: int) -> Estimate:
        for p, value in zip(parameters, trained, strict=True):
            p.copy_(torch.round(value * 2.0**exponent) * 2.0**-exponent)
        return _measure(model, latents, samples, lmbda, _parameter_bits(parameters, exponent))

    best = min(EXPONENTS, key=lambda exponent: rounded_to(exponent).loss)
    return rounded_to(best)


def _measure(
    model: CoolChic, latents: list[Tensor], samples: np.ndarray, lmbda: float, bits: float
) -> Estimate:
    picture, latent_bits = model(latents)
    pixels = picture.mul(256).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    quality = psnr(pixels.cpu().numpy(), samples)
    bpp = (float(latent_bits) + bits) / (samples.shape[0] * samples.shape[1])
    return Estimate(bpp, quality, 10 ** (-quality / 10) + lmbda * bpp, bits)


def _parameter_bits(parameters: list[Tensor], exponent: int) -> float:
    """By the format's tables, with a scale for each tensor."""
    integers = [(p * 2.0**exponent).round().to(torch.int32).flatten().cpu() for p in parameters]
    return sum(6 + _encoder.best_scale(values.numpy())[1] for values in integers if len(values))
