"""The native training kernels against PyTorch in float64.

Gradients jump where a ReLU, a clamp or the floor of the probability switches, and rounding
decides on which side a value falls that is too near. So the examples are moved away from
these places first: ``avoid_kinks`` looks, in float64, for positions that are nearer than
KINK, and changes a latent that they depend on, until there are none. Nothing is left out
of the comparison.
"""

from __future__ import annotations

import copy
import platform
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from coolchic import engine as engines
from coolchic import model as reference
from coolchic import native
from coolchic.architectures import ARCHITECTURES as NAMED
from coolchic.architectures import nearest_context
from coolchic.config import PAPER_CONTEXT, Architecture, Layer
from coolchic.engine import StepSettings, TorchEngine
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.start import start

pytestmark = pytest.mark.skipif(not native.cpus(), reason="built without native kernels")

CPUS = [name for name, available in native.cpus().items() if available]
LAMBDA = 1e-3
TOLERANCE = 1e-5
KINK = 2e-5
SOFT_ROUND = StepSettings("soft_round", 0.3, 0.25, latent_lr=0.1, network_lr=1e-2)

WIDE_CONTEXT = tuple((dr, dc) for dr in range(4) for dc in range(-4, 5) if dr > 0 or dc < 0)[:24]
FAR_CONTEXT = ((7, -8), (7, 7), (3, 0), (1, 7), (0, -8), (0, -1))

ARCHITECTURES = {
    "paper": Architecture(),
    "plain": Architecture(
        channels=1,
        grids=1,
        arm_hidden=(Layer(5), Layer(5, residual=True)),
        synthesis_hidden=(Layer(16, activation="none"),),
    ),
    "24 contexts": Architecture(
        channels=4,
        grids=8,
        context=WIDE_CONTEXT,
        arm_hidden=(Layer(24, residual=True), Layer(16), Layer(16, residual=True)),
        synthesis_hidden=(Layer(24), Layer(24, residual=True), Layer(5)),
    ),
    "far contexts": Architecture(
        channels=2, grids=3, context=FAR_CONTEXT, arm_hidden=(Layer(12),), synthesis_hidden=()
    ),
    "one context": Architecture(
        channels=3,
        grids=5,
        context=((1, 0),),
        arm_hidden=(),
        synthesis_hidden=(Layer(64), Layer(1), Layer(12), Layer(12, residual=True)),
    ),
    "deep": Architecture(
        grids=2,
        context=PAPER_CONTEXT[5:],
        arm_hidden=(Layer(7, residual=True),) * 7,
        synthesis_hidden=(Layer(2, residual=True, activation="none"),) + (Layer(9),) * 6,
    ),
}

PARENTS = ((0, 0), (0, 1), (-1, 0), (-1, 1))
FAR_PARENTS = ((2, -2), (-2, 2), (1, 0), (-1, -2), (0, 2))
RESIDUAL_CONVOLUTION = Layer(3, residual=True, activation="none", kind="conv3x3")


def convolutions(channels: int, *kinds: tuple[bool, str]) -> tuple[Layer, ...]:
    """(residual, activation) of each."""
    return tuple(Layer(channels, *kind, kind="conv3x3") for kind in kinds)


ALL_MODULES = Architecture(
    parents=PARENTS, upsampling="filtered", refinement=(RESIDUAL_CONVOLUTION,)
)
EXTENSIONS = {
    **{name: make(3) for name, make in NAMED.items() if name != "paper"},
    "parents": Architecture(parents=PARENTS),
    "far parents": Architecture(
        channels=1, context=FAR_CONTEXT, parents=FAR_PARENTS, arm_hidden=(Layer(5), Layer(7))
    ),
    "filters": Architecture(upsampling="filtered"),
    "wavelet": Architecture(grids=8, upsampling="wavelet"),
    "wavelet and all": replace(ALL_MODULES, grids=9, upsampling="wavelet"),
    "wavelet, one grid besides": Architecture(
        grids=4, upsampling="wavelet", parents=FAR_PARENTS, context=FAR_CONTEXT, arm_hidden=()
    ),
    "weights of subbands": replace(
        ALL_MODULES, grids=9, upsampling="wavelet", subband_weights=True
    ),
    "weights of subbands, no hidden layer": Architecture(
        grids=4, upsampling="wavelet", subband_weights=True, arm_hidden=()
    ),
    "one convolution": Architecture(refinement=(RESIDUAL_CONVOLUTION,)),
    "gray convolutions": Architecture(
        channels=1, refinement=convolutions(1, (False, "relu"), (True, "relu"), (False, "none"))
    ),
    "two channels": Architecture(
        channels=2, refinement=convolutions(2, (True, "relu"), (False, "none"))
    ),
    "four convolutions": Architecture(
        channels=4,
        refinement=convolutions(
            4, (True, "relu"), (False, "none"), (False, "relu"), (True, "none")
        ),
    ),
    "fewer outputs": Architecture(
        parents=PARENTS,
        arm_hidden=(Layer(10, residual=True), Layer(6, residual=True)),
        synthesis_hidden=(Layer(5, residual=True), Layer(12), Layer(4, residual=True)),
    ),
    "all": ALL_MODULES,
    "all, one grid": replace(
        ALL_MODULES, grids=1, synthesis_hidden=(Layer(8),), upsampling="filtered"
    ),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch's own threads are in the way on small tensors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def photo(height: int, width: int, channels: int = 3) -> Tensor:
    """A smooth picture with an edge and some texture."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    generator = torch.Generator().manual_seed(7)
    planes = [
        0.5
        + 0.2 * torch.sin(5 * x + c) * torch.cos(4 * y)
        + 0.2 * (x + 0.6 * y > 0.8)
        + 0.02 * torch.randn(height, width, generator=generator)
        for c in range(channels)
    ]
    return torch.stack(planes).clamp(0, 1)


def random_model(arch: Architecture, height: int, width: int, seed: int = 0) -> CoolChic:
    """A model with weights and latents of the usual sizes."""
    generator = torch.Generator().manual_seed(seed)
    model = CoolChic(arch, height, width)
    with torch.no_grad():
        for p in model.network_parameters():
            fan_in = p[0].numel() if p.dim() == 4 else p.shape[-1]
            p.normal_(0, 0.7 * fan_in**-0.5, generator=generator)
        for y in model.latents:
            y.normal_(0, 1.5, generator=generator)
    return model


def _near_zero(network: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Columns where a ReLU is near its kink, and the output."""
    near = torch.zeros(x.shape[1], dtype=torch.bool)
    for layer in network:
        y = layer.linear(x)
        y = y + x[: len(y)] if layer.residual else y
        if layer.relu:
            near |= (y.abs() < KINK).any(dim=0)
            y = y.relu()
        x = y
    return near, x


def _near_zero_in_convolutions(
    layers: list[reference.ConvolutionLayer], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Pixels where a ReLU of the convolutions is near its kink, and the output."""
    near = torch.zeros(x.shape[1:], dtype=torch.bool)
    for layer in layers:
        y = layer(x)
        if layer.relu:
            before = layer.linear(x)
            before = before + x if layer.residual else before
            near |= (before.abs() < KINK).any(dim=0)
        x = y
    return near, x


@torch.no_grad()
def avoid_kinks(model: CoolChic, latents: list[Tensor]) -> None:
    """Change float32 latents, in place, until no position of the model is near a kink."""
    exact = copy.deepcopy(model).double()
    generator = torch.Generator().manual_seed(1)
    for _ in range(50):
        y = [t.double() for t in latents]
        near, picture = _near_zero(exact.synthesis.pixelwise(), exact.upsample(y).flatten(1))
        near = near.reshape(model.height, model.width)
        picture = picture.reshape(-1, model.height, model.width)
        near |= _near_zero_in_convolutions(exact.synthesis.convolutions(), picture)[0]
        found = int(near.sum())
        at = tuple(position >> model.arch.levels[0] for position in near.nonzero(as_tuple=True))
        latents[0][at] += 0.1 * torch.randn(found, generator=generator)
        for k, (grid, values, inputs) in enumerate(
            zip(latents, y, exact.arm.inputs(y), strict=True)
        ):
            near, (mean, log_scale) = _near_zero(exact.arm, inputs)
            raw = log_scale - reference.LOG_SCALE_OFFSET
            for bound in reference.LOG_SCALE_RANGE:
                near |= (raw - bound).abs() < KINK
            bits = reference.laplace_bits(values.flatten(), mean, log_scale)
            near |= (15.999 < bits) & (bits < 16)
            scale = raw.clamp(*reference.LOG_SCALE_RANGE).exp()
            far = ((values.flatten() - mean).abs() - 0.5) / scale > 10
            near |= far & ~near & _floored_soon(values.flatten(), mean, scale)
            # The value itself and its neighbours, on which its mean and scale depend.
            index = near.nonzero().flatten()
            found += len(index)
            flat = grid.view(-1)
            for i in (index, (index - 1).clamp_min(0), (index - grid.shape[1]).clamp_min(0)):
                flat[i] += 0.1 * torch.randn(len(i), generator=generator)
            parent = model.arch.parent_of(k)
            if model.arch.parents and parent is not None:
                shift = model.arch.levels[parent] - model.arch.levels[k]
                parents = index // grid.shape[1] >> shift, index % grid.shape[1] >> shift
                latents[parent][parents] += 0.1 * torch.randn(len(index), generator=generator)
        if not found:
            return
    raise AssertionError("kinks everywhere")


def _floored_soon(y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Where the probability is within a thousandth of its floor."""
    near, far = ((y - mean).abs() - 0.5) / scale, ((y - mean).abs() + 0.5) / scale
    p = 0.5 * (torch.exp(-near) - torch.exp(-far))
    return (p / reference.MIN_PROBABILITY - 1).abs() < 1e-3


def exact_gradients(
    model: CoolChic, target: Tensor, latents: list[Tensor]
) -> tuple[float, float, list[Tensor]]:
    """MSE, bits per pixel and gradients in float64, by latents and then by networks."""
    exact = copy.deepcopy(model).double()
    y = [t.detach().double().requires_grad_() for t in latents]
    picture, bits = exact(y)
    target = target.double()
    clipped = ((target == 0) & (picture < 0)) | ((target == 255 / 256) & (picture > target))
    mse = (picture - target).masked_fill(clipped, 0).square().mean() * (256 / 255) ** 2
    bpp = bits / (model.height * model.width)
    (mse + LAMBDA * bpp).backward()
    parameters = (*y, *exact.network_parameters())
    # One grid alone has no filters.
    return (
        mse.item(),
        bpp.item(),
        [torch.zeros_like(t) if t.grad is None else t.grad for t in parameters],
    )


def relative_error(computed: Tensor, exact: Tensor, least: float = 1e-30) -> float:
    """Largest difference by the largest value, or by the least that counts."""
    if exact.numel() == 0:
        return 0.0
    return float((computed.double() - exact).abs().max() / exact.abs().max().clamp_min(least))


def check_gradients(engine: NativeEngine, target: Tensor, latents: list[Tensor]) -> None:
    mse, bpp, exact = exact_gradients(engine.model, target, latents)
    losses, gradients = engine.gradients(latents)
    # Of a few pixels, errors and gradients may be differences of much larger numbers.
    least = 1e-3 if target[0].numel() < 8 else 1e-30
    assert losses.mse == pytest.approx(mse, rel=1e-6, abs=5e-8)
    assert losses.bpp == pytest.approx(bpp, rel=1e-6)
    errors = [
        relative_error(c, e, least)
        for c, e in zip((*gradients.latents, *gradients.networks), exact, strict=True)
    ]
    assert max(errors) <= TOLERANCE, errors


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 31), (1, 200), (130, 3)])
def test_gradients_of_the_papers_model(size: tuple[int, int], cpu: str) -> None:
    model, target = random_model(Architecture(), *size), photo(*size)
    latents = [y.detach().clone() for y in model.latents]
    avoid_kinks(model, latents)
    check_gradients(NativeEngine(model, target, LAMBDA, threads=2, cpu=cpu), target, latents)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("arch", [Architecture(), ALL_MODULES], ids=["paper", "all"])
def test_beyond_black_and_white_there_are_no_errors(arch: Architecture, cpu: str) -> None:
    model, target = random_model(arch, 33, 31), photo(33, 31)
    target = (3 * target - 1).clamp(0, 255 / 256)
    latents = [y.detach().clone() for y in model.latents]
    avoid_kinks(model, latents)
    picture = model.decode(latents)
    assert ((picture > target) & (target == 255 / 256)).any()
    assert ((picture < 0) & (target == 0)).any()
    check_gradients(NativeEngine(model, target, LAMBDA, threads=2, cpu=cpu), target, latents)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_of_other_architectures(name: str, cpu: str) -> None:
    arch = ARCHITECTURES[name]
    model, target = random_model(arch, 41, 83), photo(41, 83, arch.channels)
    latents = [y.detach().clone() for y in model.latents]
    avoid_kinks(model, latents)
    check_gradients(NativeEngine(model, target, LAMBDA, cpu=cpu), target, latents)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 5), (37, 53), (68, 260)])
@pytest.mark.parametrize("name", EXTENSIONS)
def test_gradients_of_further_modules(name: str, size: tuple[int, int], cpu: str) -> None:
    arch = EXTENSIONS[name]
    model, target = random_model(arch, *size), photo(*size, arch.channels)
    latents = [y.detach().clone() for y in model.latents]
    avoid_kinks(model, latents)
    check_gradients(NativeEngine(model, target, LAMBDA, threads=2, cpu=cpu), target, latents)


@pytest.mark.parametrize("arch", [Architecture(), ALL_MODULES], ids=["paper", "all"])
def test_gradients_of_a_large_image(arch: Architecture) -> None:
    model, target = random_model(arch, 577, 575), photo(577, 575)
    latents = [y.detach().clone() for y in model.latents]
    avoid_kinks(model, latents)
    check_gradients(NativeEngine(model, target, LAMBDA), target, latents)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("name", ["paper", "all", "standard", "high"])
def test_gradients_from_one_row_of_four_are_those_of_all_in_the_mean(name: str, cpu: str) -> None:
    arch = {"paper": Architecture(), "all": ALL_MODULES}.get(name) or NAMED[name](3)
    model, target = random_model(arch, 270, 70), photo(270, 70)
    latents = [y.detach().clone() for y in model.latents]
    avoid_kinks(model, latents)
    _, _, exact = exact_gradients(model, target, latents)
    engine = NativeEngine(model, target, LAMBDA, threads=2, cpu=cpu)
    of_four = StepSettings("given", 0.0, 0.0, 0.0, 0.0, network_rows=4)
    found = [engine.gradients(latents, of_four, iteration)[1] for iteration in range(4)]
    for gradients in found:
        errors = map(relative_error, gradients.latents, exact)
        assert max(errors) <= TOLERANCE
    by_tensor = zip(*(gradients.networks for gradients in found), strict=True)
    means = [torch.stack(tensors).double().mean(0) for tensors in by_tensor]
    errors = [relative_error(m, e) for m, e in zip(means, exact[len(latents) :], strict=True)]
    assert max(errors) <= TOLERANCE, errors
    assert not torch.equal(found[0].networks[0], found[1].networks[0])


@pytest.mark.parametrize("arch", [Architecture(), NAMED["standard"](3)], ids=["paper", "standard"])
def test_gradients_from_one_row_of_four_know_no_other_row(arch: Architecture) -> None:
    model, target = random_model(arch, 270, 70), photo(270, 70)
    latents = [y.detach().clone() for y in model.latents]
    layers = slice(2 * len(arch.arm), 2 * len(arch.arm) + 2 * len(arch.synthesis))

    def by_synthesis(changed_row: int) -> list[Tensor]:
        picture = target.clone()
        picture[:, changed_row::4] = 0.25
        engine = NativeEngine(model, picture, LAMBDA)
        settings = StepSettings("given", 0.0, 0.0, 0.0, 0.0, network_rows=4)
        return engine.gradients(latents, settings, iteration=6)[1].networks[layers]

    first, second, taken = by_synthesis(0), by_synthesis(3), by_synthesis(2)
    if not arch.refinement:  # a convolution hands errors on to the rows around
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, taken, strict=True))


def test_small_pictures_give_gradients_from_all_rows() -> None:
    model, target = random_model(Architecture(), 127, 70), photo(127, 70)
    engine = NativeEngine(model, target, LAMBDA)
    latents = list(model.latents)
    all_rows, one_of_nine = (
        engine.gradients(latents, StepSettings("given", 0.0, 0.0, 0.0, 0.0, network_rows=n))[1]
        for n in (1, 9)
    )
    for a, b in zip(all_rows.networks, one_of_nine.networks, strict=True):
        assert torch.equal(a, b)


@pytest.fixture(scope="module")
def trained() -> tuple[CoolChic, Tensor]:
    """A model after some iterations: most coarse latents small, confident scales."""
    target = photo(96, 72)
    model = CoolChic(Architecture(), 96, 72)
    start("random", model, target, 1e-3, seed=0)
    engine = NativeEngine(model, target, LAMBDA)
    for _ in range(300):
        engine.step(SOFT_ROUND)
    return model, target


def test_gradients_of_a_trained_model(trained: tuple[CoolChic, Tensor]) -> None:
    model, target = trained
    engine = NativeEngine(model, target, LAMBDA)
    latents, _ = engine.proxy(list(model.latents), SOFT_ROUND)
    avoid_kinks(model, latents)
    check_gradients(engine, target, latents)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("value", [0.0, 1e4, -1e4, 1e30])
def test_extreme_latents_give_finite_numbers(value: float, cpu: str) -> None:
    model, target = random_model(Architecture(), 33, 31), photo(33, 31)
    engine = NativeEngine(model, target, LAMBDA, cpu=cpu)
    latents = [torch.full_like(y, value) for y in model.latents]
    if abs(value) <= 1e4:
        mse, bpp, _ = exact_gradients(model, target, latents)
        losses, gradients = engine.gradients(latents)
        assert losses.mse == pytest.approx(mse, rel=1e-5)
        assert losses.bpp == pytest.approx(bpp, rel=1e-5, abs=1e-6)
        assert all(g.isfinite().all() for g in (*gradients.latents, *gradients.networks))
    else:  # squares of the gradients overflow, NaN is still not allowed
        losses, gradients = engine.gradients(latents)
        assert not any(g.isnan().any() for g in gradients.latents)
    with torch.no_grad():
        for y in model.latents:
            y.fill_(value)
    if abs(value) <= 1e4:
        engine.step(SOFT_ROUND)
        assert all(p.isfinite().all() for p in model.parameters())


def run_steps(arch: Architecture, threads: int, cpu: str) -> list[Tensor]:
    model, target = random_model(arch, 200, 150), photo(200, 150)
    engine = NativeEngine(model, target, LAMBDA, threads=threads, cpu=cpu)
    for proxy in ("soft_round", "noise", "soft_round", "hard"):
        engine.step(replace(SOFT_ROUND, proxy=proxy, network_rows=3))
    losses = engine.last(), engine.evaluate()
    values = torch.tensor([(v.mse, v.bpp) for v in losses], dtype=torch.float64)
    return [values, *(p.detach() for p in model.parameters())]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("arch", [Architecture(), ALL_MODULES], ids=["paper", "all"])
def test_any_number_of_threads_gives_the_same_bits(arch: Architecture, cpu: str) -> None:
    one = run_steps(arch, 1, cpu)
    for threads in (2, 3, 8):
        other = run_steps(arch, threads, cpu)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("arch", [Architecture(), ALL_MODULES], ids=["paper", "all"])
def test_instruction_sets_agree(arch: Architecture) -> None:
    model, target = random_model(arch, 70, 130), photo(70, 130)
    latents = [y.detach().clone() for y in model.latents]
    avoid_kinks(model, latents)
    _, expected = NativeEngine(model, target, LAMBDA, cpu=CPUS[-1]).gradients(latents)
    for cpu in CPUS[:-1]:
        _, computed = NativeEngine(model, target, LAMBDA, cpu=cpu).gradients(latents)
        for c, e in zip(
            (*computed.latents, *computed.networks),
            (*expected.latents, *expected.networks),
            strict=True,
        ):
            assert relative_error(c, e.double()) <= TOLERANCE


def soft_round_once(y: Tensor, temperature: float) -> Tensor:
    low = torch.floor(y)
    scale = 2 * torch.tanh(torch.tensor(0.5 / temperature, dtype=y.dtype))
    return low + 0.5 + torch.tanh((y - low - 0.5) / temperature) / scale


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("temperature", [0.08, 0.35, 100.0])
def test_soft_rounding_and_its_derivative(temperature: float, cpu: str) -> None:
    model, target = random_model(Architecture(), 61, 67), photo(61, 67)
    engine = NativeEngine(model, target, LAMBDA, cpu=cpu, seed=5)
    settings = StepSettings("soft_round", temperature, 0.25, 0.0, 0.0)
    zeros = [torch.zeros_like(y) for y in model.latents]
    noise, _ = engine.proxy(zeros, replace(settings, proxy="noise"), iteration=3)
    noise = [n.double() * 12**0.5 * settings.sigma for n in noise]
    values, slopes = engine.proxy(list(model.latents), settings, iteration=3)
    for y, n, value, slope in zip(model.latents, noise, values, slopes, strict=True):
        y = y.detach().double().requires_grad_()
        inner = soft_round_once(y, temperature)
        exact = soft_round_once(inner + n, temperature)
        exact.sum().backward()
        # The second rounding is steep, and jumps where its input crosses an integer.
        steep = (inner + n).detach()
        smooth = (steep - steep.round()).abs() > 1e-5
        assert ((value - exact).abs() * smooth).max() <= 2e-5
        assert ((slope - y.grad).abs() * smooth).max() <= 1e-5 * y.grad.max()


def test_chain_rule_of_the_proxy() -> None:
    model, target = random_model(Architecture(), 61, 67), photo(61, 67)
    engine = NativeEngine(model, target, LAMBDA)
    latents = list(model.latents)
    values, slopes = engine.proxy(latents, SOFT_ROUND, iteration=9)
    _, direct = engine.gradients(values)
    _, chained = engine.gradients(latents, SOFT_ROUND, iteration=9)
    for d, slope, c in zip(direct.latents, slopes, chained.latents, strict=True):
        assert relative_error(c, (d * slope).double()) <= 1e-6


@pytest.mark.parametrize("cpu", CPUS)
def test_noise_has_the_right_distribution(cpu: str) -> None:
    model, target = CoolChic(Architecture(), 500, 400), photo(500, 400)
    engine = NativeEngine(model, target, LAMBDA, cpu=cpu, seed=11)
    zeros = list(model.latents)
    settings = StepSettings("noise", 0.0, 0.0, 0.0, 0.0)
    grids, _ = engine.proxy(zeros, settings)
    u = torch.cat([g.flatten() for g in grids]).double()
    count = len(u)
    assert u.min() >= -0.5 and u.max() < 0.5
    assert abs(u.mean()) < 4 * (12 * count) ** -0.5
    assert abs(u.var() * 12 - 1) < 4 * (0.8 / count) ** 0.5
    steps = torch.arange(1, count + 1, dtype=torch.float64) / count
    distance = (u.sort().values + 0.5 - steps).abs().max()
    assert distance < 1.95 * count**-0.5  # Kolmogorov-Smirnov, 0.1 %
    covariance = 4 / 12 * grids[0].numel() ** -0.5
    assert abs((grids[0][1:] * grids[0][:-1]).mean()) < covariance
    assert abs((grids[0][:, 1:] * grids[0][:, :-1]).mean()) < covariance

    (other, *_), _ = engine.proxy(zeros, settings, iteration=2)
    assert abs((other * grids[0]).mean()) < covariance
    first = NativeEngine(model, target, LAMBDA, cpu=CPUS[-1], seed=11)
    (same, *_), _ = first.proxy(zeros, settings)
    assert torch.allclose(same, grids[0], atol=1e-5)


@pytest.mark.parametrize("share, momentum", [(0.0, 0.9), (0.5, 0.9), (1.0, 0.9), (0.5, 0.5)])
def test_steps_follow_pytorchs(
    share: float, momentum: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without noise both engines walk the same way."""
    monkeypatch.setitem(engines.PROXIES, "given", lambda y, *_: y)
    settings = StepSettings("given", 0.0, 0.0, 0.02, 2e-3, 0.0, share, momentum)
    target = photo(40, 50)
    models = [random_model(Architecture(), 40, 50) for _ in range(2)]
    walkers = TorchEngine(models[0], target, LAMBDA), NativeEngine(models[1], target, LAMBDA)
    for _ in range(5):
        for walker in walkers:
            walker.step(settings)
        assert walkers[1].last().mse == pytest.approx(walkers[0].last().mse, rel=1e-4)
        assert walkers[1].last().bpp == pytest.approx(walkers[0].last().bpp, rel=1e-4)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        # Adam's first steps go by the gradient's sign, which rounding decides now and then.
        assert (a - b).abs().mean() <= 2e-4


def test_hard_rounding_trains_networks_only() -> None:
    model, target = random_model(Architecture(), 33, 31), photo(33, 31)
    before = [p.detach().clone() for p in model.parameters()]
    engine = NativeEngine(model, target, LAMBDA)
    engine.step(replace(SOFT_ROUND, proxy="hard"))
    grids = len(model.latents)
    same = [torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert all(same[:grids]) and not any(same[grids:])


@pytest.mark.parametrize("channels", [1, 3])
def test_evaluation_is_pytorchs(channels: int) -> None:
    arch = Architecture(channels=channels)
    model, target = random_model(arch, 65, 43), photo(65, 43, channels)
    with torch.no_grad():  # halves go to the even neighbour
        model.latents[0][:2] = torch.tensor([0.5, 1.5])[:, None]
    expected = TorchEngine(model, target, LAMBDA, depth=10).evaluate()
    computed = NativeEngine(model, target, LAMBDA, depth=10).evaluate()
    assert computed.mse == pytest.approx(expected.mse, rel=1e-5)
    assert computed.bpp == pytest.approx(expected.bpp, rel=1e-5)


@pytest.mark.parametrize("proxy", ["soft_round", "noise"])
def test_both_engines_learn_alike(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same start with the same noise; another noise moves this loss by 10 %."""
    target = photo(64, 64)
    settings = replace(SOFT_ROUND, proxy=proxy)
    models = [CoolChic(Architecture(), 64, 64, seed=1) for _ in range(2)]
    for model in models:
        start("random", model, target, 1e-3, seed=0)
    pytorch = TorchEngine(models[0], target, LAMBDA)
    kernels = NativeEngine(models[1], target, LAMBDA)
    zeros = [torch.zeros_like(y) for y in models[0].latents]
    disturbances: list[Tensor] = []

    def rounded(y: Tensor, temperature: float, *_: object) -> Tensor:
        inner = soft_round_once(y, temperature)
        width = 12**0.5 * settings.sigma
        return soft_round_once(inner + width * disturbances.pop(0), temperature)

    monkeypatch.setitem(engines.PROXIES, "soft_round", rounded)
    monkeypatch.setitem(engines.PROXIES, "noise", lambda y, *_: y + disturbances.pop(0))
    for iteration in range(1, 201):
        decay = 1 - iteration / 201
        settings = replace(settings, latent_lr=0.05 * decay, network_lr=5e-3 * decay)
        disturbances, _ = kernels.proxy(zeros, replace(settings, proxy="noise"), iteration)
        pytorch.step(settings)
        kernels.step(settings)
    expected, computed = (e.evaluate().total(LAMBDA) for e in (pytorch, kernels))
    assert computed == pytest.approx(expected, rel=0.01)


def test_floating_point_mode_is_left_alone() -> None:
    def denormals_work() -> bool:
        return bool((torch.tensor([1e-40]) * 0.5 + 0).item() != 0)

    model, target = random_model(Architecture(), 33, 31), photo(33, 31)
    engine = NativeEngine(model, target, LAMBDA, threads=2)
    assert denormals_work()
    engine.step(SOFT_ROUND)
    assert denormals_work()
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(denormals_work()))
    thread.start()
    thread.join()
    assert results == [True]


class OtherCoolChic(CoolChic):
    pass


@pytest.mark.parametrize("widths", [(12, 8), (12, 12), (10, 6), (11, 4)])
def test_architectures_are_not_refused_by_chance(widths: tuple[int, int]) -> None:
    """In the example for (12, 8), rounding decides a ReLU before a grid of one latent."""
    arch = Architecture(
        context=nearest_context(8),
        parents=PARENTS,
        arm_hidden=tuple(Layer(width, residual=True) for width in widths),
        upsampling="filtered",
    )
    assert native.unsupported(CoolChic(arch, 20, 30), photo(20, 30)) is None


def test_unknown_models_are_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(change=lambda model: None, target: Tensor | None = None) -> str | None:
        model = CoolChic(Architecture(), 20, 30)
        change(model)
        return native.unsupported(model, photo(20, 30) if target is None else target)

    assert reason() is None
    assert "frozen" in reason(lambda m: m.latents[0].requires_grad_(False))
    assert "float32" in reason(lambda m: m.double())
    assert "hooks" in reason(lambda m: m.arm.register_forward_hook(lambda *_: None))
    assert "hooks" in reason(lambda m: m.latents[1].register_hook(lambda g: g))
    assert "parameters" in reason(lambda m: setattr(m, "gain", torch.nn.Parameter(torch.ones(1))))
    assert "module" in reason(lambda m: m.synthesis.append(torch.nn.ReLU()))
    assert "replaced" in reason(lambda m: setattr(m.arm, "bits", lambda y: y[0].sum()))
    assert "layers" in reason(lambda m: setattr(m.arm[0], "relu", False))
    assert "image" in reason(target=photo(20, 31))
    assert "float32" in reason(target=photo(20, 30).double())
    assert "OtherCoolChic" in native.unsupported(OtherCoolChic(Architecture(), 9, 9), photo(9, 9))

    bits = reference.laplace_bits
    monkeypatch.setattr(reference, "laplace_bits", lambda *a: 1.05 * bits(*a))
    assert "does not compute" in reason()
    with pytest.raises(ValueError, match="does not compute"):
        NativeEngine(CoolChic(Architecture(), 20, 30), photo(20, 30), LAMBDA)


class OtherFilters(reference.Filters):
    pass


class OtherConvolution(reference.ConvolutionLayer):
    pass


def test_changed_modules_are_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(change=lambda model: None) -> str | None:
        model = CoolChic(ALL_MODULES, 20, 30)
        change(model)
        return native.unsupported(model, photo(20, 30))

    assert reason() is None
    assert "parents" in reason(lambda m: setattr(m.arm, "parents", FAR_PARENTS[:4]))
    assert "layers" in reason(lambda m: setattr(m.synthesis[3], "relu", True))
    assert "filters" in reason(lambda m: setattr(m, "filters", None))
    assert "OtherFilters" in reason(lambda m: setattr(m, "filters", OtherFilters(ALL_MODULES)))
    convolution = OtherConvolution(3, RESIDUAL_CONVOLUTION, None)
    assert "OtherConvolution" in reason(lambda m: m.synthesis.__setitem__(3, convolution))
    linear = reference.LinearLayer(3, Layer(3), None)
    assert "synthesis.3" in reason(lambda m: m.synthesis.__setitem__(3, linear))
    assert "replaced" in reason(lambda m: setattr(m.arm, "parent_context", lambda *_: None))
    for name in ("enlarge_by_two", "filtered"):
        with monkeypatch.context() as patch:
            function = getattr(reference, name)
            patch.setattr(reference, name, lambda *a, f=function: 1.05 * f(*a))
            assert "does not compute" in reason()
    with monkeypatch.context() as patch:
        forward = reference.ConvolutionLayer.forward
        patch.setattr(reference.ConvolutionLayer, "forward", lambda self, x: forward(self, x.abs()))
        assert "does not compute" in reason()


def test_wrong_arguments_are_refused() -> None:
    model, target = CoolChic(Architecture(), 20, 30), photo(20, 30)
    with pytest.raises(ValueError, match="no kernels"):
        NativeEngine(model, target, LAMBDA, cpu="abacus")
    engine = NativeEngine(model, target, LAMBDA)
    with pytest.raises(RuntimeError, match="no step"):
        engine.last()
    with pytest.raises(ValueError, match="does not|do not know the proxy"):
        engine.step(replace(SOFT_ROUND, proxy="unheard-of"))
    with pytest.raises(ValueError, match="temperature"):
        engine.step(replace(SOFT_ROUND, temperature=0.0))
    with pytest.raises(ValueError, match="grid is"):
        engine.gradients([y.T for y in model.latents])


def test_environment_chooses_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    model, target = CoolChic(Architecture(), 8, 8), photo(8, 8)
    for cpu in CPUS:
        monkeypatch.setenv(native.CPU_VARIABLE, cpu)
        assert NativeEngine(model, target, LAMBDA).trainer.cpu == cpu


SOURCES = Path(__file__).resolve().parent.parent / "src" / "cpp" / "train"
ARM64_TOOLS = ("aarch64-linux-gnu-g++", "qemu-aarch64")


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not all(map(shutil.which, (*ARM64_TOOLS, "g++"))),
    reason="needs g++, a cross compiler and an emulator for arm64",
)
def test_arm64_computes_what_x86_computes(tmp_path: Path) -> None:
    """The same self-test on SSE2, here, and on NEON, emulated; no ReLU flips in it."""

    def gradients(compiler: str, emulator: list[str]) -> Tensor:
        program = tmp_path / compiler
        flags = ["-O2", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]
        names = "selftest kernels kernels_baseline trainer enlargement thread_pool".split()
        files = [str(SOURCES / f"{name}.cpp") for name in names]
        define = "-DCOOLCHIC_BASELINE_ONLY"
        subprocess.run(
            [compiler, *flags, define, *files, "-static", "-pthread", "-o", program], check=True
        )
        lines = subprocess.run([*emulator, program], check=True, capture_output=True, text=True)
        assert ("neon" if emulator else "sse2") in lines.stderr
        return torch.tensor([float(v) for v in lines.stdout.split()], dtype=torch.float64)

    x86, arm64 = gradients("g++", []), gradients(ARM64_TOOLS[0], [ARM64_TOOLS[1]])
    assert x86.isfinite().all()
    assert ((arm64 - x86).abs() <= 1e-4 * x86.abs() + 1e-8).all()
