"""Where the latents of the finest grids begin: a linear analysis of the picture.

From zero, all grids move towards the picture at once, and what each of them comes to say is
decided within some dozens of iterations, by how fast it moves. Long trainings slowly mend that. A
filter for each of the finest grids, learned on other pictures for a default decoder as it is
(``benchmarks/train_analysis.py``), says at once what they should, but for what is this picture's
own; coarser grids begin at zero. Filters are the encoder's affair: no decoder knows of them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from coolchic.config import SUBBANDS, Architecture
from coolchic.model import CoolChic
from coolchic.start import default_name, nearest_default
from coolchic.threads import one_thread

__all__ = ["Sampling", "analyse", "finest", "patches", "sampling", "start_fine", "table_name"]

TABLES = "analysis_filters.npz"


@dataclass(frozen=True)
class Sampling:
    """Which samples a grid's latents come from.

    Attributes:
        level: of the picture, how often its sides are halved.
        side: rows and columns of samples around a latent.
        stride: samples from one latent to the next.
    """

    level: int
    side: int
    stride: int


def sampling(arch: Architecture, grid: int) -> Sampling:
    """Of a grid: 7×7 samples of its own resolution, of a subband 8×8 of twice that, which it is
    the details of."""
    level = arch.levels[grid]
    subband = arch.wavelet and grid < SUBBANDS
    return Sampling(level - 1, 8, 2) if subband else Sampling(level, 7, 1)


def finest(arch: Architecture) -> int:
    """How many grids begin with what filters say: those of half the picture's size and finer."""
    return sum(level <= 1 for level in arch.levels)


def pyramid(target: Tensor, level: int) -> Tensor:
    """The picture at 1 / 2^level of its size, centred: (C, H / 2^level, W / 2^level).

    Args:
        target: (C, H, W), samples divided by 2^depth.
    """
    smaller = 4 * (target - 0.5)
    for _ in range(level):
        smaller = F.avg_pool2d(smaller[None], 2, ceil_mode=True)[0]
    return smaller


def patches(target: Tensor, of: Sampling) -> Tensor:
    """(C · side², h · w): the samples around each latent of a grid, repeated beyond the edges.

    Args:
        target: (C, H, W), samples divided by 2^depth.
    """
    picture = pyramid(target, of.level)
    return F.unfold(_padded(picture, of)[None], of.side, stride=of.stride)[0]


def _padded(picture: Tensor, of: Sampling) -> Tensor:
    before = (of.side - 1) // 2
    # Of an odd size, the last of the latents two samples apart has one neighbour less behind it.
    down, right = (of.side - of.stride - before + n % of.stride for n in picture.shape[1:])
    return F.pad(picture[None], (before, right, before, down), mode="replicate")[0]


def analyse(filters: Tensor, target: Tensor, of: Sampling) -> Tensor:
    """Latents (h, w) of one grid.

    Args:
        filters: (C · side² + 1,), the bias last.
        target: (C, H, W), samples divided by 2^depth.
    """
    channels = target.shape[0]
    kernel = filters[:-1].reshape(1, channels, of.side, of.side)
    padded = _padded(pyramid(target, of.level), of)
    return F.conv2d(padded[None], kernel, filters[-1:], stride=of.stride)[0, 0]


def table_name(name: str, number: int, grid: int) -> str:
    """Of a grid's filter for default decoder ``number`` of a named architecture, in the table."""
    return f"{name} {number} {grid}"


@functools.cache
def _tables() -> dict[str, np.ndarray]:
    with resources.files("coolchic").joinpath(TABLES).open("rb") as file:
        return dict(np.load(file))


@torch.no_grad()
def start_fine(model: CoolChic, target: Tensor, lmbda: float) -> bool:
    """Set the latents of the finest grids, for networks that are the default decoder's.

    Args:
        model: of any architecture; without a default decoder, or if there are no filters for the
            one nearest to λ, it stays as it is. Grey pictures are filtered as those in colour.
        target: (C, H, W), samples divided by 2^depth.
        lmbda: weight of the rate that training begins with.

    Returns:
        Whether there were filters.
    """
    name = default_name(model.arch)
    if name is None:
        return False
    names = [table_name(name, nearest_default(lmbda), k) for k in range(finest(model.arch))]
    filters = [_tables().get(n) for n in names]
    if any(f is None for f in filters):
        return False
    colours = target.expand(3, -1, -1)
    with one_thread():  # the same sums for every number of threads
        for k, values in enumerate(filters):
            of = sampling(model.arch, k)
            found = analyse(torch.from_numpy(values).to(target.device), colours, of)
            model.latents[k].copy_(found)
    return True
