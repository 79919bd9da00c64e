"""What only long trainings show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from coolchic.architectures import find_architecture
from coolchic.config import Architecture, Layer
from coolchic.model import LARGEST_TAP, CoolChic, Filters
from coolchic.native import NativeEngine
from coolchic.presets import PRESETS, Preset
from coolchic.start import start
from coolchic.train import train

PHOTO = Path(__file__).parents[1] / "examples" / "city.png"
LAMBDA = 4e-3


def train_photo(
    picture: Image.Image, arch: Architecture, preset: Preset, lmbda: float
) -> tuple[CoolChic, NativeEngine]:
    samples = np.asarray(picture, np.float32).reshape(picture.height, picture.width, -1)
    target = torch.from_numpy(samples / 256).permute(2, 0, 1).contiguous()

    def make_engine(seed: int) -> tuple[CoolChic, NativeEngine]:
        model = CoolChic(arch, *target.shape[1:], seed)
        start("default", model, target, lmbda, seed)
        return model, NativeEngine(model, target, lmbda, seed=seed)

    return train(make_engine, preset)


def trained(iterations: int) -> CoolChic:
    """With steps that do not get smaller: as in the middle of a long preset."""
    preset = PRESETS["veryslow"].with_iterations(iterations)
    first, *_ = preset.stages
    preset = replace(preset, stages=(replace(first, final=1.0),))
    picture = Image.open(PHOTO).crop((100, 100, 164, 148))
    return train_photo(picture, Architecture(), preset, LAMBDA)[0]


def largest(model: CoolChic) -> float:
    return max(float(p.detach().abs().max()) for p in model.network_parameters())


def test_networks_stay_near_their_start() -> None:
    """Gains of grids that the picture hardly needs would fall without end, and weights go into
    the thousands; and nothing but their rate holds directions that the picture does not see."""
    assert largest(trained(5000)) < 6


def test_subbands_kernels_stay_codable(monkeypatch) -> None:
    """Kernels that grow while what reads the subbands shrinks are no loss in training: after some
    5000 iterations of a whole picture they had taps of 5, and the file 0.6 dB less."""
    preset = PRESETS["slow"].with_iterations(60)
    first, *_ = preset.stages
    preset = replace(preset, stages=(replace(first, network_lr=1.0, final=1.0),))
    picture = Image.open(PHOTO).crop((100, 100, 164, 148))

    def taps_of_subbands() -> torch.Tensor:
        model, _ = train_photo(picture, find_architecture("standard", 3), preset, 1e-3)
        return model.filters.taps.detach()[: 2 * model.filters.subbands]

    kept = taps_of_subbands()
    assert kept.abs().max() <= LARGEST_TAP and kept.unique().numel() > kept.numel() // 2
    monkeypatch.setattr(Filters, "keep_codable", lambda self: None)
    assert taps_of_subbands().abs().max() > LARGEST_TAP


def test_networks_leave_where_they_are_cheap(monkeypatch) -> None:
    """Without a default decoder, parameters begin near zero, where they cost least. Their rate must
    not keep them there: such decoders once had half as much loss again."""
    picture = Image.open(PHOTO).crop((200, 200, 296, 296))
    arch = replace(find_architecture("standard", 3), synthesis_hidden=(Layer(24),))
    preset = PRESETS["fast"].with_iterations(150)

    def loss() -> float:
        _, engine = train_photo(picture, arch, preset, 1e-3)
        return engine.evaluate().total(1e-3)

    with_rate = loss()
    monkeypatch.setattr("coolchic.train.FREE_SHARE", 1.0)
    assert with_rate < 1.1 * loss()


def test_networks_of_a_default_decoder_mind_their_rate_at_once(monkeypatch) -> None:
    """Only those without one are free of it at first."""
    picture = Image.open(PHOTO).crop((200, 200, 248, 248))
    preset = PRESETS["fast"].with_iterations(20)

    def loss() -> float:
        _, engine = train_photo(picture, find_architecture("standard", 3), preset, 1e-2)
        return engine.evaluate().total(1e-2)

    with_rate = loss()
    monkeypatch.setattr("coolchic.train.FREE_SHARE", 1.0)
    assert with_rate == loss()
    monkeypatch.setattr("coolchic.train.ParameterRate.add_gradients", lambda *arguments: None)
    assert with_rate != loss()
