"""Curvature, the optimiser that uses it, and rounding with compensation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from coolchic.architectures import find_architecture
from coolchic.config import Architecture, Layer
from coolchic.curvature import (
    FEWER_PATCHES,
    arm_curvature,
    blocks,
    curvatures,
    filters_curvature,
    sample_contexts,
    sample_pixels,
    subbands_curvature,
    synthesis_curvature,
)
from coolchic.model import CoolChic
from coolchic.optimizer import EigenAdam, GridAdam
from coolchic.parameter_rate import ParameterRate
from coolchic.rounding import CompensatedRounding
from coolchic.start import start

OTHER = Architecture(
    channels=1,
    grids=4,
    context=((0, -1), (0, -3), (1, 4), (2, -5)),
    arm_hidden=(Layer(5),),
    synthesis_hidden=(Layer(6), Layer(6, residual=True)),
)
RICHER = Architecture(
    parents=((0, 0), (-1, 1), (2, -2)),
    upsampling="filtered",
    refinement=(Layer(3, residual=True, activation="none", kind="conv3x3"),),
)
WAVELET = replace(RICHER, upsampling="wavelet", grids=6, arm_hidden=(Layer(5),))
SUBBANDS = replace(WAVELET, subband_weights=True)
ARCHITECTURES = pytest.mark.parametrize(
    "arch",
    [Architecture(), OTHER, RICHER, WAVELET, SUBBANDS],
    ids=["paper", "other", "richer", "wavelet", "subbands"],
)
SIZE = 13, 21


def a_model(arch: Architecture) -> CoolChic:
    generator = torch.Generator().manual_seed(1)
    model = CoolChic(arch, *SIZE)
    with torch.no_grad():
        for p in model.network_parameters():
            p.normal_(0, 0.3, generator=generator)
        model.arm[-1].bias[1] += 6
        for y in model.latents:
            y.normal_(0, 2, generator=generator)
    return model


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@ARCHITECTURES
def test_samples_are_columns_of_the_whole(arch):
    model = a_model(arch)
    y = [latent.detach() for latent in model.latents]

    contexts = torch.cat(model.arm.inputs(y), dim=1)
    chosen = torch.randint(contexts.shape[1], (300,), generator=seeded()).sort().values
    assert torch.equal(sample_contexts(model.arm, y, 300, seeded()), contexts[:, chosen])

    row, column = pixels(300)
    expected = model.upsample(y)[:, row, column]
    torch.testing.assert_close(sample_pixels(model, model.filter(y), row, column), expected)


def test_each_position_is_looked_at_once_where_there_are_no_more_than_samples():
    model = a_model(RICHER)
    y = [latent.detach() for latent in model.latents]
    contexts = torch.cat(model.arm.inputs(y), dim=1)
    assert torch.equal(sample_contexts(model.arm, y, contexts.shape[1], seeded()), contexts)

    # An average over all pixels does not depend on their order.
    samples = SIZE[0] * SIZE[1]
    found = [
        [
            *synthesis_curvature(model, y, samples, generator),
            filters_curvature(model, y, samples * FEWER_PATCHES, generator),
        ]
        for generator in (seeded(), torch.Generator().manual_seed(6))
    ]
    for one, another in zip(*found, strict=True):
        assert_close(one, another)


def pixels(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Those that ``seeded()`` draws."""
    generator = seeded()
    return tuple(torch.randint(n, (samples,), generator=generator) for n in SIZE)


def sum_over_jacobians(outputs: torch.Tensor, parameters: list[nn.Parameter]) -> torch.Tensor:
    """Of outputs (C, N): the Gauss-Newton matrix of their mean square."""
    total = 0
    for value in outputs.flatten():
        gradient = torch.autograd.grad(value, parameters, retain_graph=True)
        row = torch.cat([g.flatten() for g in gradient])
        total = total + torch.outer(row, row)
    return total * 2 / outputs.numel()


def assert_close(computed: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(computed, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


@ARCHITECTURES
def test_synthesis_curvature_is_the_sum_over_jacobians(arch):
    model = a_model(arch)
    y = [latent.detach() for latent in model.latents]
    row, column = pixels(40)
    outputs = model.decode(y)[:, row, column]
    expected = sum_over_jacobians(outputs, list(model.synthesis.parameters()))
    (matrix,) = synthesis_curvature(model, y, 40, seeded(), joint=True)
    assert_close(matrix, expected)


def test_blocks_are_those_of_the_networks_matrices():
    model = a_model(replace(SUBBANDS, refinement=RICHER.refinement * 2))
    y = [latent.detach() for latent in model.latents]
    together = curvatures(model, y, 0.3, 64, seeded(), joint=True)
    apart = curvatures(model, y, 0.3, 64, seeded())
    parts = blocks(model)
    assert [p for part in parts for p in part] == model.network_parameters()
    sizes = [
        [sum(p.numel() for p in part) for part in parts] for parts in (model.networks(), parts)
    ]
    assert [[len(m) for m in found] for found in (together, apart)] == sizes
    assert len(sizes[1]) == len(model.arm) + len(model.synthesis) + 1 + 3
    whole = torch.block_diag(*together)
    inside = torch.block_diag(*(torch.ones_like(m) for m in apart))
    torch.testing.assert_close(torch.block_diag(*apart), whole * inside)
    for matrix in together[:2]:
        first = sizes[1][0 if matrix is together[0] else len(model.arm)]
        assert matrix[:first, first:].abs().max() > 0.01 * matrix.abs().max()


def test_synthesis_curvature_predicts_what_a_change_does_behind_two_convolutions():
    """Of which the edge, where outputs of the first are repeated, is not quite as assumed."""
    relu = replace(RICHER.refinement[0], activation="relu")
    model = CoolChic(replace(RICHER, refinement=(relu, *RICHER.refinement)), 48, 64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in [*model.network_parameters(), *model.latents]:
            p.normal_(0, 0.3, generator=generator)
    y = [latent.detach() for latent in model.latents]
    (matrix,) = synthesis_curvature(model, y, 48 * 64, seeded(), joint=True)
    matrix = matrix.double()
    before = model.decode(y).detach()
    for _ in range(3):
        change = torch.randn(len(matrix), generator=generator) * 1e-3
        start = 0
        with torch.no_grad():
            for p in model.synthesis.parameters():
                p += change[start : start + p.numel()].view_as(p)
                start += p.numel()
            rise = (model.decode(y) - before).double().square().mean()
            start = 0
            for p in model.synthesis.parameters():
                p -= change[start : start + p.numel()].view_as(p)
                start += p.numel()
        predicted = 0.5 * change.double() @ matrix @ change.double()
        assert float(predicted) == pytest.approx(float(rise), rel=0.05)


@pytest.mark.parametrize("arch", [RICHER, WAVELET], ids=["richer", "wavelet"])
def test_filters_curvature_is_the_sum_over_jacobians(arch):
    model = a_model(arch)
    y = [latent.detach() for latent in model.latents]
    row, column = pixels(30)
    expected = sum_over_jacobians(model.decode(y)[:, row, column], [model.filters.taps])
    assert_close(filters_curvature(model, y, 30 * FEWER_PATCHES, seeded()), expected)


def test_arm_curvature_predicts_the_mean_rise_of_the_rate():
    """For latents drawn from the ARM's own distributions, as Fisher's matrix assumes."""
    model = a_model(OTHER)
    y = [latent.detach() * 3 for latent in model.latents]
    (matrix,) = arm_curvature(model, y, 20000, seeded(), joint=True)
    matrix = matrix.double()
    contexts = torch.cat([model.arm.context(latent) for latent in y], dim=1).detach()
    parameters = list(model.arm.parameters())

    def distributions() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            mean, log_scale = model.arm(contexts).double()
        return mean, (log_scale - 4).clamp(-26 / 8, 37 / 8).exp()

    mean, scale = distributions()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        change = torch.randn(len(matrix), generator=generator) * 3e-3
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, c in zip(parameters, change.split([p.numel() for p in parameters]), strict=True):
                p += c.view_as(p)
        mean2, scale2 = distributions()
        # Relative entropy of two Laplace distributions, in nats.
        d = (mean - mean2).abs()
        rise = torch.log(scale2 / scale) + (scale * torch.exp(-d / scale) + d) / scale2 - 1
        with torch.no_grad():
            for p, b in zip(parameters, before, strict=True):
                p.copy_(b)
        bits_per_pixel = float(rise.sum()) / np.log(2) / (SIZE[0] * SIZE[1])
        predicted = float(0.5 * change.double() @ matrix @ change.double())
        assert predicted == pytest.approx(bits_per_pixel, rel=0.15)


def test_subbands_curvature_is_the_sum_over_jacobians():
    model = a_model(SUBBANDS)
    y = [latent.detach() for latent in model.latents]
    samples = 60
    contexts = torch.cat(model.arm.inputs(y), dim=1)
    chosen = torch.randint(contexts.shape[1], (samples,), generator=seeded()).sort().values
    outputs = model.arm(contexts[:, chosen])
    values = outputs * torch.stack([laplace_root(outputs.detach(), row) for row in range(2)])
    bits_per_pixel = contexts.shape[1] / (SIZE[0] * SIZE[1] * np.log(2))
    computed = subbands_curvature(model, y, samples, seeded())
    for matrix, own in zip(computed, model.arm.subband_weights(), strict=True):
        expected = sum_over_jacobians(values, [own])  # the mean over twice as many, times two
        assert_close(matrix, expected * bits_per_pixel)


def laplace_root(outputs: torch.Tensor, output: int) -> torch.Tensor:
    """Of the Fisher information about the mean, or about the log-scale."""
    log_scale = outputs[1] - 4
    clamped = log_scale.clamp(-26 / 8, 37 / 8)
    if output == 0:
        return 1 / clamped.exp().clamp_min(0.3)
    return (log_scale == clamped).float()


def test_curvatures_weigh_the_rate_with_lambda():
    model = a_model(Architecture())
    y = [latent.detach() for latent in model.latents]
    arm, synthesis = curvatures(model, y, 0.5, 100, seeded(), joint=True)
    (expected,) = arm_curvature(model, y, 100, seeded(), joint=True)
    torch.testing.assert_close(arm, 0.5 * expected)
    assert synthesis.shape == (291, 291)


def test_eigen_adam_is_adam_without_turning_and_ignores_conditioning_with_it():
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    hessian = turn @ torch.diag(torch.logspace(-5, 0, 6)) @ turn.T
    start = torch.randn(6, generator=generator)

    def trained(matrix, steps=400):
        p = nn.Parameter(start.clone())
        optimizer = EigenAdam([[p]], betas=(0.9, 0.99))
        if matrix is not None:
            optimizer.turn([matrix])
        for i in range(steps):
            p.grad = hessian @ p.detach()
            optimizer.step(0.05 * (1 - i / steps))
        return p.detach()

    p = nn.Parameter(start.clone())
    adam = torch.optim.Adam([p], betas=(0.9, 0.99))
    for i in range(400):
        p.grad = hessian @ p.detach()
        adam.param_groups[0]["lr"] = 0.05 * (1 - i / 400)
        adam.step()
    plain, turned = trained(None), trained(hessian)
    torch.testing.assert_close(plain, p.detach(), rtol=1e-3, atol=1e-4)
    loss = [float(q @ hessian @ q) for q in (plain, turned)]
    assert loss[1] < 0.01 * loss[0]


@pytest.mark.parametrize(
    "arch", [find_architecture("standard", 3), RICHER], ids=["default", "zero"]
)
def test_gradients_of_the_parameters_rate(arch):
    """Central differences of the bits, from a default decoder and from zero."""
    model = CoolChic(arch, 8, 8, seed=3)
    rate = ParameterRate(model, 1e-3)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.network_parameters():
            p.copy_(torch.randn(p.shape, generator=random) * 0.3)
            p.grad = torch.ones_like(p)
    rate.add_gradients(2.0)
    for p in model.network_parameters():
        direction = torch.randn(p.shape, generator=random)
        bits = []
        for step in (1e-3, -2e-3):
            with torch.no_grad():
                p += step * direction
            bits.append(rate.bits())
        with torch.no_grad():
            p += 1e-3 * direction
        expected = float(((p.grad - 1) / 2 * direction).sum())
        assert (bits[0] - bits[1]) / 2e-3 == pytest.approx(expected, rel=0.01, abs=0.02)


def test_parameters_that_do_not_matter_return_to_where_they_are_cheapest():
    model = CoolChic(find_architecture("standard", 3), 8, 8)
    start("default", model, torch.zeros(3, 8, 8), 1e-3, 0)
    parameters = model.network_parameters()
    before = [p.detach().clone() for p in parameters]
    rate, optimizer = ParameterRate(model, 1e-3), EigenAdam([parameters])
    with torch.no_grad():
        for p in parameters:
            p += 0.5
    for i in range(400):
        for p in parameters:
            p.grad = torch.zeros_like(p)
        parameters[0].grad[0, 0] = parameters[0][0, 0].item() - 3.0
        rate.add_gradients(1e-6)
        optimizer.step(0.02 * (1 - i / 400))
    assert parameters[0][0, 0].item() == pytest.approx(3.0, abs=0.1)
    with torch.no_grad():
        parameters[0][0, 0] = before[0][0, 0]
        for p, start_value in zip(parameters[:-4], before, strict=False):
            torch.testing.assert_close(p, start_value, rtol=0, atol=0.02)


def test_turning_keeps_what_is_known_where_axes_stay():
    p = nn.Parameter(torch.zeros(3))
    optimizer = EigenAdam([[p]])
    p.grad = torch.tensor([1.0, 2.0, 3.0])
    optimizer.step(0.0)
    group = optimizer.groups[0]
    before = group.second.clone()
    optimizer.turn([torch.diag(torch.tensor([3.0, 1.0, 2.0]))])
    torch.testing.assert_close(group.second, before[[1, 2, 0]])


def a_quadratic(size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    factor = random.normal(size=(size, size // 2))
    return random.normal(size=size), factor @ factor.T + 1e-3 * np.eye(size)


def test_compensated_rounding_costs_less_than_rounding_to_the_nearest():
    parameters, hessian = a_quadratic()
    steps, kinds = np.full(40, 0.25), np.zeros(40, int)
    integers = CompensatedRounding(parameters, [hessian], 1e-3).round(
        steps, kinds, 0.0, np.zeros(40)
    )

    def rise(values: np.ndarray) -> float:
        error = values * steps - parameters
        return float(error @ hessian @ error)

    assert rise(integers) < 0.3 * rise(np.rint(parameters / steps))


def test_blocks_are_rounded_on_their_own():
    parameters, hessian = a_quadratic()
    steps, kinds = np.full(80, 0.25), np.arange(80) // 40
    both = CompensatedRounding(np.tile(parameters, 2), [hessian, hessian], 1e-3)
    whole = np.kron(np.eye(2), hessian)
    one_by_one = CompensatedRounding(parameters, [hessian], 1e-3)
    integers = both.round(steps, kinds, 1e-3, np.zeros(80))
    expected = one_by_one.round(steps[:40], kinds[:40], 1e-3, np.zeros(40))
    np.testing.assert_array_equal(integers, np.tile(expected, 2))
    together = CompensatedRounding(np.tile(parameters, 2), [whole], 1e-3)
    np.testing.assert_array_equal(integers, together.round(steps, kinds, 1e-3, np.zeros(80)))


def test_rounding_without_correlation_or_price_is_to_the_nearest():
    parameters = np.array([0.26, -1.7, 0.0, 3.49, -0.12])
    rounding = CompensatedRounding(parameters, [np.diag([1.0, 5.0, 2.0, 0.3, 1.0])], 1e-3)
    integers = rounding.round(np.full(5, 0.5), np.array([0, 0, 1, 1, 1]), 0.0, np.zeros(5))
    assert integers.tolist() == [1, -3, 0, 7, 0]


def test_the_price_of_bits_is_weighed():
    parameters, hessian = a_quadratic()
    rounding = CompensatedRounding(parameters, [hessian], 0.1)
    steps, kinds = np.full(40, 0.1), np.zeros(40, int)
    free, priced, dear = (
        rounding.round(steps, kinds, price, np.zeros(40)) for price in (0.0, 1.0, 1e3)
    )

    def cost(values: np.ndarray, price: float) -> float:
        error = values * steps - parameters
        spread = np.abs(values).mean()
        return 0.5 * error @ hessian @ error + price * 40 * np.log2(2 * np.e * spread)

    assert cost(priced, 1.0) < cost(free, 1.0)
    assert cost(free, 0.0) < cost(priced, 0.0)
    assert not dear.any()


def test_parameters_that_do_not_matter_become_what_is_cheapest():
    hessian = np.zeros((3, 3))
    hessian[0, 0] = 1.0
    rounding = CompensatedRounding(np.array([1.0, 2.0, -3.0]), [hessian], 1e-3)
    for origins in ([0, 0, 0], [1, 3, -5]):
        integers = rounding.round(np.full(3, 0.5), np.zeros(3, int), 1e-3, np.array(origins))
        assert integers.tolist() == [2, *origins[1:]]


def test_axes_stay_where_there_are_no_eigenvectors():
    p = nn.Parameter(torch.ones(3))
    optimizer = EigenAdam([[p]])
    optimizer.turn([torch.full((3, 3), float("nan"))])
    p.grad = torch.ones(3)
    optimizer.step(0.1)
    torch.testing.assert_close(p.detach(), torch.full((3,), 0.9))


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_without_a_share_grids_learn_by_adam(momentum: float) -> None:
    start = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizer = GridAdam([ours], decay=0.99)
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(momentum, 0.99))
    for i in range(6):
        gradient = torch.randn(5, 7, generator=torch.Generator().manual_seed(i))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step(0.1, share=0.0, momentum=momentum)
        adam.step()
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_share_divides_by_the_grids_root(share: float) -> None:
    """With constant gradients all roots are known: the gradients' own, and the grid's."""
    gradient = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    y = torch.nn.Parameter(torch.zeros(2, 2))
    y.grad = gradient
    optimizer = GridAdam([y], decay=0.99)
    optimizer.step(0.1, share, momentum=0.9)
    before = y.detach().clone()
    optimizer.step(0.1, share, momentum=0.9)
    root = (1 - share) * gradient + share * gradient.square().mean().sqrt()
    assert torch.allclose(before - y, 0.1 * gradient / root, atol=1e-6)
