"""A start for low rates: coarse grids learn first, without the finest, on a smaller picture.

At low rates the finest grid costs more than it is worth, and yet a training that begins with
all grids at zero fills it, before the coarser ones have found what they can say, and takes long to
empty it again, if it ever does. The picture at half its size needs all grids but the finest, which
then stays nearly empty, and costs a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from coolchic.config import SUBBANDS
from coolchic.engine import Engine
from coolchic.model import CoolChic
from coolchic.presets import Preset
from coolchic.train import train

__all__ = ["finest_grids", "start_coarse", "without_finest"]

LAMBDA_FACTOR = 0.5
"""λ at half size over λ. With a quarter, bits would cost the same as in the whole picture, but
the finest grid will add to what coarser ones say, so that they are to say less."""
LEAST_LAMBDA_WITHOUT_PARENTS = 8e-3
"""Of an ARM that does not see the coarser grid: by the finest grid's own neighbours, which are zero
after this start, it expects the grid to be empty for good, where the picture would want it."""


def start_coarse(
    model: CoolChic,
    target: Tensor,
    lmbda: float,
    preset: Preset,
    make_engine: Callable[[CoolChic, Tensor, float], Engine],
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Set the latents of all grids but the finest, for the networks as they are.

    Nothing is done if the preset has no such start for this λ, if λ is too small for an ARM
    without parents, if the picture has a side of one pixel, or if there is no model without the
    finest grid.

    Args:
        model: with networks to start from; its latents are changed.
        target: (C, H, W), samples divided by 2^depth.
        lmbda: weight of the rate that training begins with.
        preset: of the whole training.
        make_engine: from (model, target, λ).
        seed: of the noise.
        should_stop: asked after each iteration; True ends this start.
    """
    plan = preset.for_lambda(lmbda).coarse_start()
    if plan is None or min(target.shape[1:]) < 2 or not _may_lack_finest(model):
        return
    if not model.arch.parents and lmbda < LEAST_LAMBDA_WITHOUT_PARENTS:
        return
    smaller = F.avg_pool2d(target[None], 2, ceil_mode=True)[0].contiguous()

    def make_start(_: int) -> tuple[CoolChic, Engine]:
        coarse = without_finest(model, *smaller.shape[1:])
        return coarse, make_engine(coarse, smaller, lmbda * LAMBDA_FACTOR)

    coarse, _ = train(make_start, plan, seed=seed, should_stop=should_stop)
    with torch.no_grad():
        for y, found in zip(
            list(model.latents)[finest_grids(model) :], coarse.latents, strict=True
        ):
            y.copy_(found)


def _may_lack_finest(model: CoolChic) -> bool:
    return model.arch.grids > 1 and not model.arch.synthesis[0].residual


@torch.no_grad()
def without_finest(model: CoolChic, height: int, width: int) -> CoolChic:
    """The same networks for a picture of half the size, whose grids are all but the finest."""
    finest = finest_grids(model)
    upsampling = "filtered" if model.arch.wavelet else model.arch.upsampling
    arch = replace(
        model.arch,
        grids=model.arch.grids - finest,
        upsampling=upsampling,
        subband_weights=False,
    )
    coarse = CoolChic(arch, height, width).to(model.latents[0].device)
    # What the coarse one lacks, each subband's own weights, comes last.
    networks = zip(coarse.network_parameters(), model.network_parameters(), strict=False)
    for p, whole in networks:
        if whole is model.synthesis[0].weight:
            whole = whole[:, finest:]
        elif model.filters is not None and whole is model.filters.taps:
            whole = whole[len(whole) - len(p) :]
        elif whole is model.arm[0].weight:
            whole = whole[:, : p.shape[1]]
        p.copy_(whole)
    return coarse


def finest_grids(model: CoolChic) -> int:
    """How many grids a picture of half the size does without."""
    return SUBBANDS if model.arch.wavelet else 1
