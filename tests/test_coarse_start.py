"""Starts at half the picture's size, for low rates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coolchic.architectures import find_architecture
from coolchic.coarse_start import finest_grids, start_coarse, without_finest
from coolchic.config import Architecture, Layer
from coolchic.engine import TorchEngine
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.presets import PRESETS
from coolchic.start import start
from coolchic.train import train

CITY = Path(__file__).parents[1] / "examples" / "city.png"
PRESET = PRESETS["fast"].with_iterations(60)


def _started(arch: Architecture, size: tuple[int, int], lmbda: float, preset=PRESET) -> CoolChic:
    target = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    model = CoolChic(arch, *size)
    start(preset.start, model, target, 2e-2, 0)
    start_coarse(model, target, lmbda, preset, TorchEngine)
    return model


WAVELET = Architecture(
    grids=9,
    parents=((0, 0), (-1, 1)),
    upsampling="wavelet",
    refinement=(Layer(3, residual=True, activation="none", kind="conv3x3"),),
)
SUBBANDS = replace(WAVELET, subband_weights=True)
EACH = pytest.mark.parametrize(
    "arch",
    [find_architecture("paper", 3), find_architecture("high-pyramid", 3), WAVELET, SUBBANDS],
    ids=["paper", "pyramid", "wavelet", "subbands"],
)


@EACH
@pytest.mark.parametrize("size", [(16, 24), (17, 9), (2, 2)])
def test_all_grids_but_the_finest_have_learned_and_no_network(arch, size) -> None:
    model, before = _started(arch, size, 2e-2), _started(arch, size, 2e-3)
    finest = finest_grids(model)
    assert finest == (3 if arch.wavelet else 1)
    assert not any(y.any() for y in list(model.latents)[:finest])
    assert any(y.any() for y in list(model.latents)[finest:])
    assert not any(y.any() for y in before.latents)
    pairs = zip(model.network_parameters(), before.network_parameters(), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize(
    ("arch", "size"),
    [
        (Architecture(), (1, 8)),
        (Architecture(grids=1), (8, 8)),
        (Architecture(synthesis_hidden=(Layer(7, residual=True),)), (8, 8)),
    ],
)
def test_nothing_happens_where_the_finest_grid_cannot_be_left_out(arch, size) -> None:
    assert not any(y.any() for y in _started(arch, size, 2e-2).latents)


def test_presets_without_a_coarse_start_have_none() -> None:
    preset = replace(PRESET, coarse_iterations=0)
    assert not any(y.any() for y in _started(Architecture(), (8, 8), 2e-2, preset).latents)
    assert PRESET.with_iterations(4).coarse_start().iterations == 2
    assert PRESET.with_iterations(3).coarse_start() is None


@pytest.mark.parametrize(
    ("name", "lmbda", "started"),
    [("standard", 4e-3, True), ("paper", 4e-3, False), ("paper", 8e-3, True)],
)
def test_an_arm_without_parents_has_one_at_lower_rates_only(name, lmbda, started) -> None:
    model = _started(find_architecture(name, 3), (16, 24), lmbda)
    assert any(y.any() for y in model.latents) is started


@EACH
def test_the_coarse_model_prices_its_grids_as_the_whole_one_does(arch) -> None:
    generator = torch.Generator().manual_seed(3)
    model = CoolChic(arch, 21, 30)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.3, generator=generator)
        for y in model.latents:
            y.mul_(5).round_()
    coarse = without_finest(model, 11, 15)
    finest = finest_grids(model)
    grids = list(model.latents)[finest:]
    others = model.arm.inputs(list(model.latents))[finest:]
    mean, log_scale = model.arm(torch.cat(others, dim=1))
    torch.testing.assert_close(
        torch.stack([mean, log_scale]), coarse.arm(torch.cat(coarse.arm.inputs(grids), dim=1))
    )
    assert torch.equal(coarse.synthesis[0].weight, model.synthesis[0].weight[:, finest:])
    if model.filters is not None:
        filters = coarse.arch.grids - 1
        assert torch.equal(coarse.filters.taps, model.filters.taps[-filters:])
    assert coarse.upsample(grids).shape == (arch.grids - finest, 11, 15)


def test_low_rates_gain_by_it() -> None:
    samples = np.asarray(Image.open(CITY).convert("RGB"))[:192, :288]
    target = torch.from_numpy(samples.astype(np.float32) / 256).permute(2, 0, 1).contiguous()
    lmbda, arch = 2e-2, find_architecture("standard", 3)
    preset = PRESETS["fast"].with_iterations(300)

    def loss(coarse: bool) -> float:
        def make(number: int) -> tuple[CoolChic, NativeEngine]:
            model = CoolChic(arch, *target.shape[1:], number)
            start(preset.start, model, target, lmbda, number)
            if coarse:
                start_coarse(model, target, lmbda, preset, NativeEngine)
            return model, NativeEngine(model, target, lmbda, seed=number)

        return train(make, preset)[1].evaluate().total(lmbda)

    assert loss(True) < 0.99 * loss(False)
