"""Single latents changed where that lowers the loss."""

import numpy as np
import pytest
import torch

from coolchic import _encoder, encode_image, encoder
from coolchic.architectures import ARCHITECTURES, find_architecture
from coolchic.bitstream import write_header
from coolchic.latent_search import search_model
from coolchic.model import CoolChic
from coolchic.presets import PRESETS
from coolchic.quantize import finely_quantised, integer_latents
from coolchic.start import start
from pictures import waves

SIZES = ((48, 64), (33, 21), (150, 17))
LAMBDA = 2e-3
PRESET = PRESETS["medium"]


class Started:
    """A model as it starts, with latents by chance, and what its file would cost."""

    def __init__(self, name: str, size: tuple[int, int], seed: int = 0) -> None:
        self.image = waves(*size)
        arch = find_architecture(name, 3)
        self.model = CoolChic(arch, *size)
        target = torch.from_numpy(self.image.astype(np.float32) / 256).permute(2, 0, 1)
        start("default", self.model, target.contiguous(), LAMBDA, 0)
        rng = np.random.default_rng(seed)
        self.latents = [
            rng.integers(-2, 3, y.shape, dtype=np.int32) * (rng.random(y.shape) < 0.3)
            for y in self.model.latents
        ]
        self.unrounded = [
            (y + rng.uniform(-0.5, 0.5, y.shape)).astype(np.float32) for y in self.latents
        ]
        self.header = write_header(arch, *size)
        quantised = finely_quantised(self.model, self.latents, self.header)
        self.coder = _encoder.Model(self.header, quantised.section)

    def search(self, *settings: int, unrounded=None, pairs=False) -> list[np.ndarray]:
        """Settings: grids, rounds, and threads."""
        return self.coder.search_latents(
            self.latents, unrounded, self.image, LAMBDA, *settings, pairs=pairs
        )

    def cost(self, latents: list[np.ndarray]) -> float:
        """Paper eq. 1, from the decoder's pixels and the coder's bits."""
        error = self.coder.synthesise(latents).astype(float) - self.image
        bpp = sum(self.coder.latent_bits(latents)) / (error.shape[0] * error.shape[1])
        return np.mean(np.square(error)) / 255**2 + LAMBDA * bpp


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("either_side", [True, False])
def test_finest_grid_ends_where_no_change_pays(name, size, either_side) -> None:
    started = Started(name, size)
    found = started.search(1, 200, unrounded=None if either_side else started.unrounded)
    cost = started.cost(found)
    assert cost < started.cost(started.latents)
    rng = np.random.default_rng(1)
    for _ in range(150):
        k = rng.integers(1 + started.model.arch.siblings)  # subbands count as one grid
        at = tuple(rng.integers(found[k].shape))
        back = np.sign(started.unrounded[k][at] - found[k][at]).astype(int)
        for change in (-1, 1) if either_side else (back,):
            other = [y.copy() for y in found]
            other[k][at] += change
            assert started.cost(other) > cost * (1 - 1e-6)


@pytest.mark.parametrize("name", ["paper", "standard-pyramid"])
@pytest.mark.parametrize("size", SIZES)
def test_with_pairs_no_change_of_two_neighbours_pays(name, size) -> None:
    started = Started(name, size)
    alone = started.search(1, 200, unrounded=started.unrounded)
    found = started.search(1, 200, unrounded=started.unrounded, pairs=True)
    cost = started.cost(found)
    assert cost < started.cost(alone)
    rng = np.random.default_rng(1)
    for _ in range(150):
        row, column = rng.integers(found[0].shape)
        down, right = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))[rng.integers(5)]
        rows, columns = [row, row + down], [column, column + right]
        if not (rows[1] < found[0].shape[0] and 0 <= columns[1] < found[0].shape[1]):
            continue
        other = [y.copy() for y in found]
        other[0][rows, columns] += np.sign(started.unrounded[0] - found[0])[rows, columns].astype(
            int
        )
        assert started.cost(other) > cost * (1 - 1e-6)


@pytest.mark.parametrize("either_side", [True, False])
def test_pairs_pay_in_grids_that_are_no_subbands(either_side) -> None:
    started = Started("standard", (48, 64))
    unrounded = None if either_side else started.unrounded
    alone, subbands, pairs = (
        started.search(grids, 2, unrounded=unrounded, pairs=pairs)
        for grids, pairs in ((2, False), (1, True), (2, True))
    )
    assert started.cost(pairs) < started.cost(alone)
    for y, z in zip(subbands, started.search(1, 2, unrounded=unrounded), strict=True):
        np.testing.assert_array_equal(y, z)


@pytest.mark.parametrize("pairs", [False, True])
def test_latents_change_to_the_side_where_they_were(pairs) -> None:
    started = Started("standard", (48, 64))
    found = started.search(3, 1, unrounded=started.unrounded, pairs=pairs)
    moves = [y - z for y, z in zip(found, started.latents, strict=True)]
    assert sum(np.count_nonzero(move) for move in moves) > 100
    for move, y, z in zip(moves, started.unrounded, started.latents, strict=True):
        assert (move * np.sign(y - z) == np.abs(move)).all()
        assert np.abs(move).max() <= 1


@pytest.mark.parametrize("name", ["standard", "high"])
def test_each_grid_lowers_the_cost(name) -> None:
    started = Started(name, (48, 64))
    costs = [started.cost(started.latents)]
    costs += [started.cost(started.search(grids, 1)) for grids in range(1, 8)]
    assert all(later < earlier for earlier, later in zip(costs[:4], costs[1:5], strict=True))
    assert all(later <= earlier for earlier, later in zip(costs, costs[1:], strict=False))


def test_threads_do_not_matter() -> None:
    started = Started("standard", (150, 70))
    for unrounded in (None, started.unrounded):
        one, three = (
            started.search(3, 2, threads, unrounded=unrounded, pairs=True) for threads in (1, 3)
        )
        for y, z in zip(one, three, strict=True):
            np.testing.assert_array_equal(y, z)


def test_grids_of_zeros_stay_so_and_latents_in_range() -> None:
    started = Started("standard", (48, 64))
    started.latents[1][:] = 0
    started.latents[0][0, 0], started.latents[0][5, 5] = 32767, -32768
    found = started.search(7, 1)
    assert not found[1].any()
    assert any(y.any() for y in found)
    assert started.cost(found) < started.cost(started.latents)


def test_a_latent_at_the_end_of_the_range_is_alone_in_its_set() -> None:
    started = Started("paper", (4, 4))
    for end in (32767, -32768):
        started.latents[0][:] = end
        found = started.search(1, 1, pairs=True)
        assert started.cost(found) <= started.cost(started.latents)


def test_what_does_not_fit_is_refused() -> None:
    started = Started("standard", (48, 64))
    with pytest.raises(ValueError, match="image has a wrong shape"):
        started.coder.search_latents(started.latents, None, started.image[:-1], LAMBDA, 1, 1)
    with pytest.raises(ValueError, match="latent grid 0 has a wrong shape"):
        started.coder.search_latents(
            [started.latents[0][1:], *started.latents[1:]],
            started.unrounded,
            started.image,
            LAMBDA,
            1,
            1,
        )
    for unrounded in (started.unrounded[:-1], [y.T for y in started.unrounded]):
        with pytest.raises(ValueError, match="unrounded grid . has a wrong shape"):
            started.coder.search_latents(started.latents, unrounded, started.image, LAMBDA, 1, 1)


def test_float_models_are_searched_nearly_as_they_are() -> None:
    started = Started("standard", (48, 64))
    with torch.no_grad():
        for y, values in zip(started.model.latents, started.unrounded, strict=True):
            y.copy_(torch.from_numpy(values))
    networks = [p.clone() for p in started.model.network_parameters()]
    search_model(started.model, started.image, LAMBDA, started.header, PRESET)
    found = started.search(PRESET.search_grids, PRESET.search_rounds, unrounded=started.unrounded)
    for y, z in zip(integer_latents(started.model), found, strict=True):
        np.testing.assert_array_equal(y, z)
    for p, q in zip(started.model.network_parameters(), networks, strict=True):
        assert torch.equal(p, q)


def test_finely_quantised_is_nearly_the_float_model() -> None:
    started = Started("high", (48, 64))
    fine = finely_quantised(started.model, started.latents, started.header)
    before = [p.clone() for p in started.model.network_parameters()]
    fine.load_into(started.model)
    for p, q in zip(started.model.network_parameters(), before, strict=True):
        assert (p - q).abs().max() <= 2.0**-10


def test_presets_search_and_gain(monkeypatch) -> None:
    image = waves(72, 96)
    plan = PRESETS["fast"].with_iterations(150)
    searched = encode_image(image, lmbda=LAMBDA, preset=plan, threads=1)
    monkeypatch.setattr(encoder, "search_latents", lambda quantised, latents, *others: latents)
    trained = encode_image(image, lmbda=LAMBDA, preset=plan, threads=1)
    assert _cost(searched) < _cost(trained)


def _cost(encoded) -> float:
    return 10 ** (-encoded.psnr / 10) + LAMBDA * encoded.bpp


def test_a_stopped_encode_is_not_searched(monkeypatch) -> None:
    def searched(*arguments):
        raise AssertionError("a search")

    monkeypatch.setattr(encoder, "search_latents", searched)
    monkeypatch.setattr(encoder, "search_model", searched)
    encoded = encode_image(waves(48, 64), preset="fast", threads=1, should_stop=lambda: True)
    assert encoded.stopped
    with pytest.raises(AssertionError, match="a search"):
        encode_image(waves(48, 64), iterations=4, threads=1)
