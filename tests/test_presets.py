"""Schedules: what a stage does from its first to its last iteration, and for each λ."""

from dataclasses import replace

import pytest

from coolchic.presets import PRESETS, Stage
from coolchic.train import settings_at

STAGE = Stage(
    101,
    "soft_round",
    latent_lr=0.2,
    network_lr=0.02,
    gain_lr=0.002,
    latent_momentum=0.6,
    latent_decay=0.5,
    temperature=(0.3, 0.1),
    hottest=0.5,
    sigma=(0.3, 0.2),
)


def test_steps_fall_along_a_cosine_and_those_of_latents_along_its_power() -> None:
    first, middle, last = (settings_at(STAGE, i) for i in (0, 50, 100))
    assert (first.latent_lr, first.network_lr, first.gain_lr) == (0.2, 0.02, 0.002)
    assert middle.latent_lr == pytest.approx(0.2 * 0.5**0.5)
    assert middle.network_lr == pytest.approx(0.01)
    assert (last.latent_lr, last.network_lr, last.gain_lr) == (0, 0, 0)
    assert middle.temperature == pytest.approx(0.2)
    assert (middle.sigma, last.sigma) == (pytest.approx(0.25), pytest.approx(0.2))


def test_steps_fall_to_the_fraction_that_is_asked_for() -> None:
    last = settings_at(replace(STAGE, final=0.1), 100)
    assert last.latent_lr == pytest.approx(0.02)
    assert last.network_lr == pytest.approx(0.002)


def test_networks_steps_stay_for_a_share_of_the_iterations_and_then_fall() -> None:
    stage = replace(STAGE, network_hold=0.6)
    steps = [settings_at(stage, i).network_lr for i in (0, 60, 80, 100)]
    assert steps == pytest.approx([0.02, 0.02, 0.01, 0])
    falling = replace(stage, network_hold=0.0)
    for i in (30, 80):
        assert settings_at(stage, i).latent_lr == settings_at(falling, i).latent_lr
        assert settings_at(stage, i).gain_lr == settings_at(falling, i).gain_lr


@pytest.mark.parametrize("lmbda", [1e-3, 4e-3, 2e-2])
def test_stages_are_meant_for_lambda_of_a_thousandth_and_above(lmbda: float) -> None:
    assert STAGE.for_lambda(lmbda) == replace(STAGE, hottest=0.0)


def test_small_lambda_has_larger_steps_more_momentum_and_a_hotter_start() -> None:
    stages = [STAGE.for_lambda(lmbda) for lmbda in (1e-3, 4e-4, 2e-4, 1e-4, 6.25e-5)]
    steps = [stage.latent_lr for stage in stages]
    temperatures = [stage.temperature[0] for stage in stages]
    assert steps == sorted(set(steps))
    assert temperatures == sorted(temperatures)
    assert temperatures[1] == pytest.approx(0.3 * 2.5**0.36)
    assert temperatures[-1] == STAGE.hottest
    momenta = [stage.latent_momentum for stage in stages]
    assert momenta == sorted(momenta)
    assert momenta[1] == pytest.approx(0.6 * 2.5**0.36)
    assert momenta[-1] == 0.9
    assert {stage.temperature[1] for stage in stages} == {0.1}
    assert STAGE.for_lambda(0.0) == STAGE.for_lambda(1e-9)


def test_long_stages_at_low_rates_have_smaller_steps() -> None:
    """Of latents alone, and neither short ones nor those of higher rates."""
    long = replace(STAGE, iterations=9000)
    assert long.for_lambda(4e-3) == replace(long, hottest=0.0)
    calm = long.for_lambda(8e-3)
    assert calm == replace(long, hottest=0.0, latent_lr=calm.latent_lr)
    assert calm.latent_lr == pytest.approx(0.2 * 2**-0.43)
    steps = [long.for_lambda(lmbda).latent_lr for lmbda in (4e-3, 8e-3, 2e-2, 1.0)]
    assert steps == sorted(set(steps), reverse=True)
    assert steps[-1] == pytest.approx(0.2 * 3**-0.65)


def test_a_stage_without_a_hottest_temperature_keeps_its_own() -> None:
    hard = PRESETS["fast"].stages[-1]
    assert hard.for_lambda(1e-4).temperature == hard.temperature == (0, 0)
