"""Named architectures, descriptions in TOML, and models of one's own."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import coolchic
from coolchic import encoder, trials
from coolchic.architectures import (
    ARCHITECTURES,
    CONTEXTS,
    PYRAMIDS,
    SMALLER,
    find_architecture,
    nearest_context,
)
from coolchic.bitstream import IDS, write_header
from coolchic.config import Architecture, Layer
from coolchic.model import CoolChic
from coolchic.research import try_model

LIMITS = {"lite": 350, "standard": 680, "high": 2000}
LIMITS |= {PYRAMIDS[name]: limit for name, limit in LIMITS.items()}
CITY = Path(__file__).parents[1] / "examples" / "city.png"


def picture() -> np.ndarray:
    y, x = np.mgrid[:32, :40]
    return np.stack([4 * y + x, 3 * x, 255 - 5 * y], axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", LIMITS)
def test_multiplications_are_within_the_promise(name):
    macs = find_architecture(name, 3).macs_per_pixel(512, 768)
    assert sum(macs.values()) <= LIMITS[name]


def test_the_paper_is_the_papers():
    arch = find_architecture("paper", 3)
    assert arch == Architecture()
    assert arch.parameters() == 629
    macs = arch.macs_per_pixel(512, 768)
    assert macs["arm"] + macs["synthesis"] == pytest.approx(680, abs=0.1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_files_of_every_name(name, channels):
    image = picture()[:, :, :channels]
    arch = find_architecture(name, channels)
    data = coolchic.encode(image, arch=name, iterations=5, threads=1)
    told = coolchic.info(data)
    assert told["parameters"] == arch.parameters()
    assert tuple(map(tuple, told["architecture"]["context"])) == arch.context
    assert coolchic.decode(data).shape == image.shape


def test_numbered_architectures_have_short_headers():
    sizes = {
        name: len(write_header(find_architecture(name, 3), 512, 768)) for name in ARCHITECTURES
    }
    assert all(sizes[name] == 11 for name in IDS)
    assert all(size > 30 for name, size in sizes.items() if name not in IDS)


class ChosenError(Exception):
    """Ends an encode where its decoder is chosen."""


def chosen(monkeypatch, image: np.ndarray, name: str, **goal) -> Architecture:
    """What an encode of few iterations takes by that name."""

    def stop(arch: Architecture, *_) -> None:
        raise ChosenError(arch)

    monkeypatch.setattr(encoder, "write_header", stop)
    with pytest.raises(ChosenError) as caught:
        coolchic.encode(image, arch=name, iterations=5, threads=1, **goal)
    return caught.value.args[0]


def test_auto_takes_what_the_trials_find(monkeypatch):
    """In a tiny picture the bytes of networks decide, elsewhere what they can do."""
    image = np.asarray(Image.open(CITY).convert("RGB").crop((100, 100, 116, 112)))
    told = coolchic.info(coolchic.encode(image, arch="auto", iterations=5, threads=1))
    assert told["parameters"] == find_architecture("lite", 3).parameters()
    monkeypatch.setattr(trials, "network_bytes", lambda parameters, *_: -1e6 * parameters)
    for goal in ({"lmbda": 1e-3}, {"size": 900}):
        assert chosen(monkeypatch, image, "auto", **goal) == find_architecture("high", 3)


def takes(monkeypatch, name: str, preferred: str, image: np.ndarray, **goal) -> bool:
    """Whether an encode by a name takes the decoder that trials prefer to all others."""
    wanted = find_architecture(preferred, image.shape[2])
    monkeypatch.setattr(trials, "network_bytes", lambda n, *_: 1e6 * (n != wanted.parameters()))
    arch = chosen(monkeypatch, image, name, **goal)
    assert arch in (wanted, find_architecture(name, image.shape[2]))
    return arch == wanted


@pytest.mark.parametrize("name", PYRAMIDS)
def test_at_high_rates_trials_tell_whether_it_is_a_pyramid(name, monkeypatch):
    """Of pictures with colours; elsewhere there is no trial."""
    pyramid = partial(takes, monkeypatch, name, PYRAMIDS[name])
    assert pyramid(picture(), lmbda=1e-4)
    assert pyramid(picture(), psnr=45)
    assert not pyramid(picture(), lmbda=1e-3)
    assert not pyramid(picture(), psnr=30)
    assert not pyramid(picture()[:, :, :1], lmbda=1e-4)
    assert takes(monkeypatch, name, name, picture(), lmbda=1e-4)


@pytest.mark.parametrize("name", SMALLER)
def test_at_low_rates_trials_tell_whether_it_is_a_smaller_one(name, monkeypatch):
    smaller = partial(takes, monkeypatch, name, SMALLER[name])
    assert smaller(picture(), lmbda=2e-2)
    assert smaller(picture()[:, :, :1], lmbda=2e-2)
    assert not smaller(picture(), lmbda=4e-3)
    assert not smaller(picture(), lmbda=1e-4)
    assert takes(monkeypatch, name, name, picture(), lmbda=2e-2)


def test_nearest_neighbours_are_causal_and_in_decoding_order():
    for count in range(1, len(CONTEXTS) + 1):
        context = nearest_context(count)
        assert len(set(context)) == count
        assert list(context) == sorted(context, key=lambda position: (-position[0], position[1]))
        Architecture(context=context, arm_hidden=(Layer(4),))
    with pytest.raises(ValueError, match="1 to 24"):
        nearest_context(25)


def test_the_example_is_the_standard_decoder():
    arch = find_architecture(str(Path(__file__).parents[1] / "examples" / "standard.toml"), 3)
    assert arch == find_architecture("standard", 3)
    assert sum(arch.macs_per_pixel(512, 768).values()) <= 680
    assert arch.parameters() == 1107


def test_a_wavelet_has_a_latent_for_each_pixel():
    arch = Architecture(grids=9, upsampling="wavelet")
    assert arch.levels == (1, 1, 1, 1, 2, 3, 4, 5, 6)
    shapes = arch.grid_shapes(512, 768)
    assert sum(h * w for h, w in shapes[:4]) == 512 * 768
    assert [arch.parent_of(k) for k in range(9)] == [3, 3, 3, 4, 5, 6, 7, 8, None]
    assert [arch.siblings_of(k) for k in range(4)] == [(1, 2), (2,), (), ()]
    with pytest.raises(ValueError, match="besides its 3 subbands"):
        Architecture(grids=3, upsampling="wavelet")


def test_weights_of_subbands_are_parameters_but_no_multiplications():
    plain = Architecture(grids=9, upsampling="wavelet")
    arch = replace(plain, subband_weights=True)
    assert arch.macs_per_pixel(512, 768) == plain.macs_per_pixel(512, 768)
    assert arch.parameters() - plain.parameters() == 3 * 12 * (12 + 2)
    assert sum(p.numel() for p in CoolChic(arch, 8, 8).network_parameters()) == arch.parameters()
    with pytest.raises(ValueError, match="need a wavelet"):
        Architecture(subband_weights=True)


@torch.no_grad()
def test_weights_of_a_subband_concern_no_other_grid():
    model = CoolChic(Architecture(grids=5, upsampling="wavelet", subband_weights=True), 24, 40)
    generator = torch.Generator().manual_seed(0)
    for p in (*model.arm.parameters(), *model.latents):
        p.normal_(0, 0.3, generator=generator)
    before = [model.arm(x) for x in model.arm.inputs(list(model.latents))]
    model.arm.subband_weights()[1].add_(0.1)
    after = [model.arm(x) for x in model.arm.inputs(list(model.latents))]
    assert [bool((a != b).any()) for a, b in zip(before, after, strict=True)] == [
        k == 1 for k in range(5)
    ]
    plain = model.arm[0].weight.clone()
    plain[:, :14] += model.arm.subband_weights()[0]
    first = model.arm[0]
    x = model.arm.inputs(list(model.latents))[0]
    expected = torch.relu(plain @ x + first.bias[:, None] + x[:12])
    torch.testing.assert_close(first(x), expected)


def test_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        """
        context = [[1, 0], [0, -1]]
        parents = [[0, 0]]
        arm = [{ width = 3, residual = true }]
        upsampling = "filtered"
        synthesis = [{ width = 5 }]
        refinement = [{ residual = true, activation = "none" }]
        """
    )
    assert find_architecture(str(path), 3) == Architecture(
        context=((1, 0), (0, -1)),
        parents=((0, 0),),
        arm_hidden=(Layer(3, residual=True),),
        upsampling="filtered",
        synthesis_hidden=(Layer(5),),
        refinement=(Layer(3, residual=True, activation="none", kind="conv3x3"),),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("context = 99", "1 to 24"),
        ("contexts = 3", "unknown field"),
        ("arm = [{ width = 0 }]", "width must be 1 to 64"),
        ("arm = [{ breadth = 3 }]", "breadth"),
        ("parents = [[3, 0]]", "too far away"),
        ("refinement = [{ activation = 'relu' }]", "no activation"),
        ("context = ", "Invalid value"),
    ],
)
def test_wrong_toml_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        find_architecture(str(path), 3)
    assert str(path) in str(caught.value)


def test_unknown_names_are_refused():
    with pytest.raises(
        ValueError, match="there are paper, lite, standard, high, .* and .toml files"
    ):
        find_architecture("papers", 3)
    with pytest.raises(ValueError, match="No such file"):
        find_architecture("none.toml", 3)


class _Gained(CoolChic):
    """As in docs/tutorial.md."""

    def __init__(self, height, width):
        super().__init__(find_architecture("standard", 3), height, width)
        self.gain = torch.nn.Parameter(torch.zeros(self.arch.grids))

    def upsample(self, latents):
        return super().upsample([y * (1 + g) for y, g in zip(latents, self.gain, strict=True)])


def test_a_model_of_ones_own_is_trained_and_estimated():
    made = []

    def make_model(height, width):
        made.append(_Gained(height, width))
        return made[-1]

    short, longer = (
        try_model(make_model, picture(), 1e-3, iterations=iterations) for iterations in (3, 80)
    )
    assert made[-1].gain.abs().max() > 0, "what a model adds is not trained"
    assert longer.loss < short.loss
    assert longer.loss == pytest.approx(10 ** (-longer.psnr / 10) + 1e-3 * longer.bpp)
    assert longer.bpp * 32 * 40 > longer.parameter_bits > 0
