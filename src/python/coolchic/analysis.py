"""Where the latents of the two finest grids begin: a linear analysis of the picture.

From zero, all grids move towards the picture at once, and what each of them comes to say is
decided within some dozens of iterations, by how fast it moves. Long trainings slowly mend that. A
filter for each of the two finest grids, learned on other pictures for a default decoder as it is
(``benchmarks/train_analysis.py``), says at once what they should, but for what is this picture's
own; coarser grids begin at zero. Filters are the encoder's affair: no decoder knows of them.
"""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from coolchic.architectures import DEFAULTS, find_architecture
from coolchic.model import CoolChic
from coolchic.start import nearest_default
from coolchic.threads import one_thread

__all__ = ["SIDE", "analyse", "patches", "pyramid", "start_fine", "table_name"]

SIDE = 7
"""Rows and columns of samples that a latent comes from, at its grid's resolution."""
TABLES = "analysis_filters.npz"


def pyramid(target: Tensor, grids: int) -> list[Tensor]:
    """The picture at the resolutions of the finest grids, centred: (C, H / 2^k, W / 2^k) each.

    Args:
        target: (C, H, W), samples divided by 2^depth.
    """
    levels = [4 * (target - 0.5)]
    for _ in range(grids - 1):
        levels.append(F.avg_pool2d(levels[-1][None], 2, ceil_mode=True)[0])
    return levels


def patches(level: Tensor, side: int = SIDE) -> Tensor:
    """(C · side², H · W): the samples around each, repeated beyond the edges."""
    reach = side // 2
    return F.unfold(F.pad(level[None], (reach,) * 4, mode="replicate"), side)[0]


def analyse(filters: Tensor, target: Tensor) -> list[Tensor]:
    """Latents of as many grids as there are filters, finest first.

    Args:
        filters: (grids, C · SIDE² + 1), each with its bias last.
        target: (C, H, W), samples divided by 2^depth.
    """
    channels = target.shape[0]
    latents = []
    for weights, level in zip(filters, pyramid(target, len(filters)), strict=True):
        kernel = weights[:-1].reshape(1, channels, SIDE, SIDE)
        padded = F.pad(level[None], (SIDE // 2,) * 4, mode="replicate")
        latents.append(F.conv2d(padded, kernel, weights[-1:])[0, 0])
    return latents


def table_name(name: str, number: int) -> str:
    """Of the filters for default decoder ``number`` of a named architecture, in the table."""
    return f"{name} {number}"


@functools.cache
def _tables() -> dict[str, np.ndarray]:
    with resources.files("coolchic").joinpath(TABLES).open("rb") as file:
        return dict(np.load(file))


@torch.no_grad()
def start_fine(model: CoolChic, target: Tensor, lmbda: float) -> bool:
    """Set the latents of the finest grids, for networks that are the default decoder's.

    Args:
        model: of any architecture; without a default decoder, or if there are no filters for the
            one nearest to λ, it stays as it is.
        target: (C, H, W), samples divided by 2^depth.
        lmbda: weight of the rate that training begins with.

    Returns:
        Whether there were filters.
    """
    name = next((n for n in DEFAULTS if model.arch == find_architecture(n, 3)), None)
    filters = _tables().get(table_name(name, nearest_default(lmbda))) if name else None
    if filters is None:
        return False
    with one_thread():  # the same sums for every number of threads
        found = analyse(torch.from_numpy(filters).to(target.device), target)
    for y, latent in zip(model.latents, found, strict=False):
        y.copy_(latent)
    return True
