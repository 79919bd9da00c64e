"""Where the latents of the finest grids begin."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coolchic.analysis import analyse, finest, patches, sampling, start_fine
from coolchic.architectures import DEFAULTS, find_architecture
from coolchic.config import Architecture, Layer
from coolchic.encoder import encode_image
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.presets import PRESETS
from coolchic.start import start
from coolchic.train import train

CITY = Path(__file__).parents[1] / "examples" / "city.png"


def _target(height: int, width: int, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(channels, height, width, generator=generator)


def _middle_of_city(side: int) -> tuple[np.ndarray, torch.Tensor]:
    picture = np.asarray(Image.open(CITY).convert("RGB"))
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    picture = np.ascontiguousarray(picture[top : top + side, left : left + side])
    target = torch.from_numpy(picture.astype(np.float32) / 256).permute(2, 0, 1).contiguous()
    return picture, target


@pytest.mark.parametrize("upsampling", ["bicubic", "wavelet"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (17, 9), (40, 64)])
def test_latents_are_products_of_filters_and_the_samples_around_them(size, upsampling) -> None:
    target, generator = _target(*size), torch.Generator().manual_seed(0)
    model = CoolChic(Architecture(grids=5, upsampling=upsampling), *size)
    for k in range(finest(model.arch)):
        of = sampling(model.arch, k)
        values = torch.randn(3 * of.side**2 + 1, generator=generator)
        y = analyse(values, target, of)
        assert y.shape == model.latents[k].shape
        expected = values[:-1] @ patches(target, of) + values[-1]
        torch.testing.assert_close(y.ravel(), expected, rtol=1e-4, atol=1e-4)


def test_a_subband_comes_from_the_samples_that_it_changes() -> None:
    """Those that its kernels reach, with the same latent in the middle."""
    arch = Architecture(grids=5, upsampling="wavelet")
    target = torch.zeros(1, 20, 30)
    target[:, 2 * 4 - 3 : 2 * 4 + 5, 2 * 7 - 3 : 2 * 7 + 5] = 1
    model = CoolChic(arch, 20, 30)
    with torch.no_grad():
        model.latents[0][4, 7] = 1
        changed = model.upsample(list(model.latents))[0] != 0
    assert not changed[target[0] == 0].any()
    around = patches(target, sampling(arch, 0)).reshape(64, 10, 15)
    assert (around[:, 4, 7] == 4 * 0.5).all()
    assert (around[:, 4, 7] > around.mean(dim=0)[4, 8]).all()


@pytest.mark.parametrize("name", list(DEFAULTS))
@pytest.mark.parametrize("lmbda", [1e-4, 1e-3, 2e-3])
def test_named_decoders_start_with_their_finest_grids_alone(name, lmbda) -> None:
    target = _target(24, 33)
    model = CoolChic(find_architecture(name, 3), 24, 33)
    before = [p.detach().clone() for p in model.network_parameters()]
    assert start_fine(model, target, lmbda)
    count = finest(model.arch)
    assert [bool(y.any()) for y in model.latents] == [k < count for k in range(model.arch.grids)]
    assert all(torch.equal(p, q) for p, q in zip(before, model.network_parameters(), strict=True))


def test_grey_pictures_start_as_the_same_in_colour() -> None:
    grey = _target(24, 33, 1)
    found = []
    for target in (grey, grey.repeat(3, 1, 1)):
        model = CoolChic(find_architecture("standard", len(target)), 24, 33)
        assert start_fine(model, target, 1e-3)
        found.append([y.detach() for y in model.latents])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_threads_change_nothing() -> None:
    target, threads = _target(200, 300), torch.get_num_threads()
    found = []
    for number in (1, 2):
        torch.set_num_threads(number)
        try:
            model = CoolChic(find_architecture("standard", 3), 200, 300)
            start_fine(model, target, 1e-3)
        finally:
            torch.set_num_threads(threads)
        found.append([y.detach() for y in model.latents])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("arch", "lmbda"),
    [
        (find_architecture("standard", 2), 1e-3),
        (Architecture(synthesis_hidden=(Layer(8),)), 1e-3),
        (find_architecture("standard", 3), 2e-2),
    ],
)
def test_others_start_from_zero(arch, lmbda) -> None:
    model = CoolChic(arch, 16, 16)
    assert not start_fine(model, _target(16, 16, arch.channels), lmbda)
    assert not any(y.any() for y in model.latents)


def test_presets_say_for_which_lambda() -> None:
    preset = PRESETS["fast"].with_iterations(60)
    assert preset.for_lambda(1e-3).fine_start and not preset.for_lambda(1e-3).coarse_iterations
    assert preset.for_lambda(4e-3).coarse_iterations and not preset.for_lambda(4e-3).fine_start
    assert not replace(preset, fine_start=False).for_lambda(1e-3).fine_start


@pytest.mark.parametrize("lmbda", [1e-4, 1e-3])
def test_the_loss_of_a_short_training_is_lower_with_it(lmbda) -> None:
    picture, target = _middle_of_city(128)

    def loss(fine: bool) -> float:
        def make(seed: int):
            model = CoolChic(find_architecture("standard", 3), 128, 128, seed)
            start("default", model, target, lmbda, seed)
            if fine:
                start_fine(model, target, lmbda)
            return model, NativeEngine(model, target, lmbda, seed=seed)

        return train(make, PRESETS["fast"].with_iterations(100))[1].evaluate().total(lmbda)

    assert loss(True) < loss(False)


def test_encodes_use_it_where_their_preset_says_so() -> None:
    picture, _ = _middle_of_city(64)
    preset = PRESETS["fast"].with_iterations(20)
    files = {
        (start, fine): encode_image(
            picture, lmbda=1e-3, preset=replace(preset, start=start, fine_start=fine)
        ).data
        for start in ("default", "linear")
        for fine in (False, True)
    }
    assert files["default", True] != files["default", False]
    assert files["linear", True] == files["linear", False]
