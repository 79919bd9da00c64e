"""A float model trained natively on one picture, for scripts that want no file."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from coolchic.beginning import begin
from coolchic.config import Architecture
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.presets import Preset
from coolchic.train import train


def train_float(
    samples: np.ndarray, arch: Architecture, preset: Preset, lmbda: float, seed: int = 0
) -> tuple[CoolChic, NativeEngine]:
    """The best model seen, and its engine.

    Args:
        samples: uint8 (H, W, C).
    """
    target = torch.from_numpy(samples.astype(np.float32) / 256).permute(2, 0, 1).contiguous()

    def make_engine(number: int) -> tuple[CoolChic, NativeEngine]:
        model = CoolChic(arch, *samples.shape[:2], number)
        engine = partial(NativeEngine, seed=number)
        return model, begin(model, target, lmbda, preset, engine, seed=number)

    return train(make_engine, preset, seed=seed)
