"""Distortion as every figure of ours uses it."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["psnr"]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB of two uint8 arrays of one shape; infinite if they are equal.

    The MSE is averaged over pixels and channels.
    """
    total = 0
    for x, y in zip(a, b, strict=True):
        difference = x.astype(np.int32) - y
        total += int(np.sum(difference * difference, dtype=np.int64))
    return math.inf if total == 0 else 10 * math.log10(255**2 * a.size / total)
