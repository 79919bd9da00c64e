"""The integer model against the float model, and the choice of quantisation steps."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from coolchic import Architecture, _encoder, decode, encode_image, info
from coolchic.architectures import find_architecture
from coolchic.bitstream import write_header
from coolchic.encoder import write
from coolchic.engine import StepSettings, TorchEngine
from coolchic.metrics import psnr
from coolchic.model import CoolChic
from coolchic.quantize import finely_quantised, integer_latents, quantise
from coolchic.start import start
from pictures import waves

LAMBDAS = (1e-4, 1e-3, 2e-2)
ITERATIONS = 200


@pytest.mark.parametrize("lmbda", LAMBDAS)
def test_file_against_the_float_model(lmbda):
    image = waves(72, 96)
    encoded = encode_image(image, lmbda=lmbda, iterations=150, threads=1)
    # Searches go by the decoder's integers, and make use of how these are rounded.
    assert -0.02 <= encoded.psnr - encoded.float_psnr <= 0.05
    allowance = 0.005 * encoded.estimate_bytes + 40
    assert abs(len(encoded.data) - encoded.estimate_bytes) <= allowance


def test_file_against_the_float_model_when_a_grid_is_all_zero():
    flat = np.full((200, 200, 3), 100, np.uint8)
    encoded = encode_image(flat, lmbda=1e-2, iterations=60, threads=1)
    assert info(encoded.data)["bytes"]["latents: grid 0"] == 0
    allowance = 0.005 * encoded.estimate_bytes + 40
    assert abs(len(encoded.data) - encoded.estimate_bytes) <= allowance


class Trained:
    """A small model, and the true cost (paper eq. 15) of coding it with given exponents."""

    def __init__(self, lmbda: float) -> None:
        self.image, self.lmbda = waves(48, 64), lmbda
        height, width, channels = self.image.shape
        arch = Architecture(channels=channels)
        target = torch.from_numpy(self.image.astype(np.float32) / 256).permute(2, 0, 1).contiguous()
        self.model = CoolChic(arch, height, width)
        engine = TorchEngine(self.model, target, lmbda)
        for i in range(ITERATIONS):
            left = 1 - i / ITERATIONS
            engine.step(StepSettings("soft_round", 0.2, 0.2, 0.1 * left, 0.01 * left))
        self.latents = integer_latents(self.model)
        self.header = write_header(arch, height, width)
        self.chosen = quantise(self.model, self.latents, self.image, lmbda, self.header)

    def cost(self, exponents: tuple[int, ...]) -> float:
        tensors = self.model.network_parameters()
        # Weights and biases alternate; the ARM has three layers.
        groups = [2 * (i >= 6) + i % 2 for i in range(len(tensors))]
        values = np.concatenate(
            [
                np.rint(t.detach().numpy().ravel() * 2.0 ** exponents[g])
                for t, g in zip(tensors, groups, strict=True)
            ]
        )
        section = _encoder.encode_weights(
            self.header, self.chosen.precision, exponents, values.astype(np.int32)
        )
        return self.cost_of(section)

    def cost_of(self, section: bytes) -> float:
        decoder = _encoder.Model(self.header, section)
        error = decoder.synthesise(self.latents) / 255 - self.image / 255
        bits = sum(decoder.latent_bits(self.latents)) + 8 * len(section)
        return np.mean(error**2) + self.lmbda * bits / (error.shape[0] * error.shape[1])


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Trained(1e-3)
    torch.set_num_threads(before)


def test_chosen_parameters_cost_less_than_the_nearest_of_any_step_around(trained):
    best = trained.chosen.exponents
    cost = trained.cost_of(trained.chosen.section)
    for group in range(4):
        for step in (-2, -1, 0, 1, 2):
            other = tuple(e + step * (g == group) for g, e in enumerate(best))
            assert min(other) < 0 or trained.cost(other) > cost
    assert trained.cost((12, 12, 12, 12)) > 1.1 * cost


@torch.no_grad()
def test_quantised_weights_in_the_float_model(trained):
    model = CoolChic(Architecture(), 48, 64)
    trained.chosen.load_into(model)
    steps = [2.0**-e for e in trained.chosen.exponents]
    for i, (quantised, exact) in enumerate(
        zip(model.network_parameters(), trained.model.network_parameters(), strict=True)
    ):
        step = steps[2 * (i >= 6) + i % 2]
        assert quantised.shape == exact.shape and not torch.equal(quantised, exact)
        assert torch.equal(torch.round(quantised / step) * step, quantised)


@pytest.mark.parametrize("name", ["standard", "high"])
def test_taps_that_wandered_off_are_coded_within_what_the_format_allows(name):
    image = waves(24, 32)
    model = CoolChic(find_architecture(name, 3), 24, 32)
    start("default", model, torch.from_numpy(image / 256).permute(2, 0, 1).float(), 1e-3, 0)
    with torch.no_grad():
        model.filters.taps += torch.linspace(-3, 3, model.filters.taps.numel()).view_as(
            model.filters.taps
        )
    header, latents = write_header(model.arch, 24, 32), integer_latents(model)
    for quantised in (
        quantise(model, latents, image, 1e-3, header),
        finely_quantised(model, latents, header),
    ):
        _encoder.Model(header, quantised.section)


def test_file_holds_what_was_chosen(trained):
    data = write(trained.model, trained.header, trained.chosen, trained.latents)
    told = info(data)
    assert told["step_exponents"] == list(trained.chosen.exponents)
    assert tuple(told["precision"].values()) == trained.chosen.precision
    assert psnr(decode(data), trained.image) > 25


@pytest.mark.parametrize("lmbda", [2.5e-3, 1.2e-2])
def test_rounding_goes_to_what_is_coded_for_nothing(monkeypatch, lmbda):
    """Of a default decoder with noise, latents being zero, hardly any noise is worth its bits."""
    image = waves(48, 64)
    arch = find_architecture("standard", 3)
    model = CoolChic(arch, 48, 64)
    start("default", model, torch.from_numpy(image / 256).permute(2, 0, 1).float(), lmbda, 0)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.network_parameters():
            p += 0.02 * torch.randn(p.shape, generator=random)
    latents = integer_latents(model)
    header = write_header(arch, 48, 64)
    knowing = quantise(model, latents, image, lmbda, header)
    monkeypatch.setattr("coolchic.quantize.default_values", lambda arch, lmbda: None)
    ignorant = quantise(model, latents, image, lmbda, header)
    assert len(knowing.section) < 0.7 * len(ignorant.section)
