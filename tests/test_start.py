"""The networks' first weights (coolchic.start)."""

import pytest
import torch

from coolchic.architectures import ARCHITECTURES, DEFAULTS, find_architecture
from coolchic.config import Architecture, Layer
from coolchic.model import CoolChic
from coolchic.start import STRENGTH, start

GREY = torch.full((3,), 3**-0.5)


def _started(arch: Architecture, seed: int = 0) -> CoolChic:
    model = CoolChic(arch, 8, 8, seed)
    start("linear", model, torch.full((arch.channels, 8, 8), 0.25), 1e-3, seed)
    return model


def _response(model: CoolChic, value: float) -> torch.Tensor:
    """(L, C): what one grid at that value changes in the samples, without convolutions."""

    def samples(x: torch.Tensor) -> torch.Tensor:
        for layer in model.synthesis.pixelwise():
            x = layer(x)
        return x

    grids = model.arch.grids
    with torch.no_grad():
        return (samples(value * torch.eye(grids)) - samples(torch.zeros(grids, 1))).T


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("value", [1.0, -3.0])
def test_each_grid_has_a_direction_of_colour(name, value) -> None:
    model = _started(find_architecture(name, 3))
    level = model.arch.levels
    change = _response(model, value) / (value * STRENGTH)
    pairs = model.synthesis.pixelwise()[-1].weight.shape[1] // 2
    for k, direction in enumerate(change[:pairs]):
        if level[k] == 2:
            expected = torch.tensor([1.0, 0.0, -1.0]) / 2**0.5
        elif level[k] == 3:
            expected = torch.tensor([1.0, -2.0, 1.0]) / 6**0.5
        else:
            expected = GREY
        assert torch.allclose(direction, expected, atol=0.25), k
    assert (change[pairs:].abs() < 0.2).all()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_numbers_of_channels(channels) -> None:
    arch = find_architecture("standard-pyramid", channels)
    directions = _response(_started(arch), 1.0) / STRENGTH
    assert torch.allclose(directions.norm(dim=1), torch.ones(7), atol=0.25)
    gram = directions[[0, *range(2, channels + 1)]] @ directions[[0, *range(2, channels + 1)]].T
    assert torch.allclose(gram, torch.eye(channels), atol=0.3)


def test_one_layer_is_the_map_itself() -> None:
    model = _started(Architecture(synthesis_hidden=()))
    assert torch.allclose(_response(model, 1.0)[0], STRENGTH * GREY, atol=1e-6)


def test_mean_colour_and_seeds() -> None:
    arch = Architecture(synthesis_hidden=(Layer(32), Layer(16, residual=True)))
    assert torch.allclose(_started(arch)(_started(arch).latents)[0], torch.tensor(0.25), atol=1e-6)
    weights = [_started(arch, seed).synthesis[0].weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert not torch.equal(_started(arch).synthesis[0].weight[30], torch.zeros(7))


def test_a_stack_that_is_not_residual_keeps_its_random_weights() -> None:
    arch = Architecture(synthesis_hidden=(Layer(8), Layer(9)))
    before = CoolChic(arch, 8, 8, 0).synthesis[0].weight
    assert torch.equal(_started(arch).synthesis[0].weight, before)


@pytest.mark.parametrize("name", ["high", "high-pyramid"])
def test_convolutions_with_relu_start_grey_pictures_linearly(name) -> None:
    model = CoolChic(find_architecture(name, 1), 8, 8)
    start("default", model, torch.full((1, 8, 8), 0.25), 1e-3, 0)
    assert not any(layer.weight.any() for layer in model.synthesis.convolutions())
    assert not model.arm[0].weight.any()


@pytest.mark.parametrize("name", [name for name in DEFAULTS if not name.startswith("high")])
def test_grey_pictures_start_as_the_same_in_colour(name) -> None:
    grey, colour = (CoolChic(find_architecture(name, channels), 8, 8) for channels in (1, 3))
    for model in (grey, colour):
        start("default", model, torch.zeros(model.arch.channels, 8, 8), 1e-3, 0)
    generator = torch.Generator().manual_seed(0)
    latents = [torch.randn(y.shape, generator=generator) for y in grey.latents]
    with torch.no_grad():
        assert torch.equal(*(m.arm(torch.cat(m.arm.inputs(latents), 1))[0] for m in (grey, colour)))
        samples = [m.upsample(latents).flatten(1) for m in (grey, colour)]
        for layers in zip(*(m.synthesis.pixelwise() for m in (grey, colour)), strict=True):
            samples = [layer(x) for layer, x in zip(layers, samples, strict=True)]
        assert torch.allclose(samples[0], samples[1].mean(dim=0, keepdim=True), atol=1e-6)
        x = samples[0].reshape(1, 8, 8)
        for layers in zip(*(m.synthesis.convolutions() for m in (grey, colour)), strict=True):
            found, expected = (
                layer.linear(x.repeat(n, 1, 1)) for layer, n in zip(layers, (1, 3), strict=True)
            )
            assert torch.allclose(found, expected.mean(dim=0, keepdim=True), atol=1e-6)
