"""What only long trainings show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from coolchic.config import Architecture
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.presets import PRESETS
from coolchic.start import start
from coolchic.train import train

PHOTO = Path(__file__).parents[1] / "examples" / "city.png"
LAMBDA = 4e-3


def trained(iterations: int) -> CoolChic:
    """With steps that do not get smaller: as in the middle of a long preset."""
    samples = np.asarray(Image.open(PHOTO).crop((100, 100, 164, 148)), np.float32)
    target = torch.from_numpy(samples / 256).permute(2, 0, 1).contiguous()

    def make_engine(seed: int) -> tuple[CoolChic, NativeEngine]:
        model = CoolChic(Architecture(), *target.shape[1:], seed)
        start("default", model, target, LAMBDA, seed)
        return model, NativeEngine(model, target, LAMBDA, seed=seed)

    preset = PRESETS["veryslow"].with_iterations(iterations)
    first, *_ = preset.stages
    return train(make_engine, replace(preset, stages=(replace(first, final=1.0),)))[0]


def largest(model: CoolChic) -> float:
    return max(float(p.detach().abs().max()) for p in model.network_parameters())


def test_networks_stay_near_their_start() -> None:
    """Gains of grids that the picture hardly needs would fall without end, and weights go into
    the thousands; and nothing but their rate holds directions that the picture does not see."""
    assert largest(trained(5000)) < 6
