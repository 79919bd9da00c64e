"""The search of single parameters: what it changes pays, by the true cost of the file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from coolchic import _encoder, decode, encode_image, encoder
from coolchic.architectures import find_architecture
from coolchic.bitstream import write_header
from coolchic.config import Architecture
from coolchic.engine import Engine, StepSettings
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.parameter_search import search_parameters
from coolchic.presets import PRESETS
from coolchic.quantize import QuantisedModel, default_origins, integer_latents, quantise
from coolchic.start import start
from pictures import waves

LAMBDA = 1e-3
NAMES = ["standard", "high", "paper"]
TRIES = 60


@dataclass
class Coded:
    """A small model that has trained a little, and what it is coded as."""

    image: np.ndarray
    header: bytes
    model: CoolChic
    engine: Engine
    latents: list[np.ndarray]
    quantised: QuantisedModel

    def searched(self, quantised: QuantisedModel | None = None, tries: int = TRIES):
        start = quantised or self.quantised
        return search_parameters(
            start, self.model, self.engine, self.latents, self.image, LAMBDA, self.header, tries
        )

    def cost(self, quantised: QuantisedModel) -> float:
        """D + λR of paper eq. 15."""
        decoder = _encoder.Model(self.header, quantised.section)
        error = decoder.synthesise(self.latents) / 255 - self.image / 255
        bits = sum(decoder.latent_bits(self.latents)) + 8 * len(quantised.section)
        return float(np.mean(error**2)) + LAMBDA * bits / (error.shape[0] * error.shape[1])

    def with_change(self, place: int, change: int) -> QuantisedModel:
        values = self.quantised.values.copy()
        values[place] += change
        q = self.quantised
        section = _encoder.encode_weights(self.header, q.precision, q.exponents, values)
        return replace(q, values=values, section=section)


def coded(arch: Architecture) -> Coded:
    image = waves(48, 64)
    target = torch.from_numpy(image.astype(np.float32) / 256).permute(2, 0, 1).contiguous()
    model = CoolChic(arch, 48, 64)
    start("default", model, target, LAMBDA, 0)
    engine = NativeEngine(model, target, LAMBDA, threads=1)
    for i in range(150):
        left = 1 - i / 150
        engine.step(StepSettings("soft_round", 0.2, 0.2, 0.1 * left, 3e-3 * left))
    latents, header = integer_latents(model), write_header(arch, 48, 64)
    quantised = quantise(model, latents, image, LAMBDA, header)
    return Coded(image, header, model, engine, latents, quantised)


@pytest.fixture(scope="module", params=NAMES)
def network(request) -> Coded:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield coded(find_architecture(request.param, 3))
    torch.set_num_threads(before)


def test_what_is_found_costs_less_and_only_integers_differ_a_little(network):
    found, before = network.searched(), network.quantised
    # Sizes are of whole words; bits decide.
    assert network.cost(found) < network.cost(before) + LAMBDA * 16 / (48 * 64)
    assert (found.precision, found.exponents) == (before.precision, before.exponents)
    changes = found.values - before.values
    assert changes.any() and np.abs(changes).max() <= TRIES
    assert np.count_nonzero(changes) <= TRIES
    expected = _encoder.encode_weights(
        network.header, found.precision, found.exponents, found.values
    )
    assert found.section == expected
    again = network.searched()
    assert np.array_equal(again.values, found.values)


def test_the_model_becomes_what_is_coded(network):
    found = network.searched()
    parameters = np.concatenate(
        [p.detach().numpy().ravel() for p in network.model.network_parameters()]
    )
    other = CoolChic(network.model.arch, 48, 64)
    found.load_into(other)
    expected = np.concatenate([p.detach().numpy().ravel() for p in other.network_parameters()])
    assert np.array_equal(parameters, expected)
    for y, integers in zip(network.model.latents, network.latents, strict=True):
        assert np.array_equal(y.detach().round().numpy(), integers)


def test_an_integer_that_is_wrong_is_put_right(network):
    """The last bias of the synthesis, which is the picture's brightness, and the ARM's."""
    sizes = [sum(p.numel() for p in part) for part in network.model.networks()]
    arm, synthesis = sizes[0] - 1, sizes[0] + sizes[1] - 1
    for place in (arm, synthesis):
        wrong = network.with_change(place, 8)
        found = network.searched(wrong)
        repaired = network.cost(found) - network.cost(network.quantised)
        assert repaired < 0.3 * (network.cost(wrong) - network.cost(network.quantised))


def test_no_tries_no_changes(network):
    assert np.array_equal(network.searched(tries=0).values, network.quantised.values)


def test_threads_do_not_matter(network):
    alone = network.searched()
    torch.set_num_threads(2)
    together = network.searched()
    torch.set_num_threads(1)
    assert np.array_equal(alone.values, together.values)


def test_origins_are_zeros_and_default_decoders_in_steps():
    arch = find_architecture("standard", 3)
    steps = np.full(arch.parameters(), 2.0**-5)
    zeros, *defaults = default_origins(arch, steps)
    assert not zeros.any() and len(defaults) == 4
    for origins in defaults:
        assert np.array_equal(origins, np.rint(origins)) and origins.any()
    grey = find_architecture("standard", 1)
    assert len(default_origins(grey, np.full(grey.parameters(), 0.25))) == 1


def test_presets_search_parameters_and_gain(monkeypatch):
    image = waves(72, 96)
    plan = replace(PRESETS["fast"].with_iterations(150), search_parameters=100)
    phases = []
    searched = encode_image(image, lmbda=LAMBDA, preset=plan, threads=1, on_phase=phases.append)
    assert phases[-3:] == ["latent search", "parameter search", "latent search"]
    assert searched.psnr > 25 and decode(searched.data).shape == image.shape
    monkeypatch.setattr(encoder, "search_parameters", lambda quantised, *others: quantised)
    as_rounded = encode_image(image, lmbda=LAMBDA, preset=plan, threads=1)
    assert file_cost(searched) < file_cost(as_rounded)


def file_cost(encoded) -> float:
    return 10 ** (-encoded.psnr / 10) + LAMBDA * encoded.bpp
