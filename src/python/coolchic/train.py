"""The training loop: starts, stages, schedules, and the best state seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coolchic.curvature import blocks, curvatures
from coolchic.engine import Engine, Losses, StepSettings
from coolchic.gains import Gains
from coolchic.model import CoolChic
from coolchic.optimizer import EigenAdam
from coolchic.parameter_rate import ParameterRate
from coolchic.presets import Preset, Stage
from coolchic.proxy import PROXIES
from coolchic.rate_control import RateControl
from coolchic.threads import one_thread

__all__ = ["Progress", "settings_at", "train"]

PROGRESS_EVERY = 10
FREE_SHARE = 0.3
"""Of the iterations, in which networks without a default decoder do not yet mind what they will
cost: that holds weights the more, the nearer all of them are to where they are coded from, and
those that begin near zero would never leave."""


@dataclass(frozen=True)
class Progress:
    """What a caller is told while training goes on.

    Attributes:
        iteration: iterations done, of all starts and stages.
        total: iterations planned.
        losses: of the last evaluation with hard rounding; None before the first.
        lmbda: the present weight of the rate.
    """

    iteration: int
    total: int
    losses: Losses | None
    lmbda: float


def settings_at(stage: Stage, iteration: int) -> StepSettings:
    """Settings of one iteration of a stage: cosine for step sizes, linear for the proxy."""
    t = iteration / max(1, stage.iterations - 1)

    def falling(step: float, power: float = 1.0, hold: float = 0.0) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * max(0.0, t - hold) / (1 - hold)))
        return step * (stage.final + (1 - stage.final) * cosine**power)

    return StepSettings(
        proxy=stage.proxy,
        temperature=stage.temperature[0] + t * (stage.temperature[1] - stage.temperature[0]),
        sigma=stage.sigma[0] + t * (stage.sigma[1] - stage.sigma[0]),
        latent_lr=falling(stage.latent_lr, stage.latent_decay),
        network_lr=falling(stage.network_lr, hold=stage.network_hold),
        gain_lr=falling(stage.gain_lr),
        latent_share=stage.latent_share,
        latent_momentum=stage.latent_momentum,
        network_rows=stage.network_rows,
    )


# Sums of many products are not the same for every number of threads, hence one_thread() around
# all that PyTorch does between iterations of the engine. Its second thread, once awake, also
# keeps a core from the native kernels for a while.


class _Networks:
    """Trains the networks along the axes of their curvature, renewed now and then, for the loss and
    what they cost themselves."""

    def __init__(self, model: CoolChic, engine: Engine, preset: Preset, seed: int) -> None:
        self.model, self.engine, self.preset = model, engine, preset
        self.optimizer = EigenAdam(blocks(model))
        self.rate = ParameterRate(model, engine.lmbda)
        self.positions = torch.Generator().manual_seed(seed)
        self.noise = torch.Generator(device=model.latents[0].device).manual_seed(seed)

    def step(self, settings: StepSettings) -> None:
        """After an iteration of the engine with these settings, which left gradients."""
        with one_thread(), torch.no_grad():
            if self.optimizer.steps % self.preset.curvature_every == 0:
                self._turn(settings)
            free = 0 if self.rate.from_default else FREE_SHARE
            if self.optimizer.steps >= free * self.preset.iterations:
                self.rate.add_gradients(self.engine.lmbda / (self.model.height * self.model.width))
            self.optimizer.step(settings.network_lr)

    def _turn(self, settings: StepSettings) -> None:
        proxy = PROXIES[settings.proxy]
        y = [
            proxy(latent, settings.temperature, settings.sigma, self.noise)
            for latent in self.model.latents
        ]
        samples = self.preset.curvature_samples
        self.optimizer.turn(curvatures(self.model, y, self.engine.lmbda, samples, self.positions))


class _Start:
    """A model, what trains it, and the best parameters it has had."""

    def __init__(self, model: CoolChic, engine: Engine, preset: Preset, seed: int) -> None:
        self.model, self.engine = model, engine
        self.networks = _Networks(model, engine, preset, seed) if preset.curvature_every else None
        gains = any(stage.gain_lr > 0 for stage in preset.stages)
        self.gains = Gains(model, engine) if gains else None
        self.best_loss = math.inf
        self._best: list[Tensor] = []

    def step(self, settings: StepSettings) -> None:
        if self.networks is None:
            self.engine.step(settings)
        else:
            self.engine.step(replace(settings, network_lr=0.0))
            self.networks.step(settings)
        if self.model.filters is not None and settings.network_lr > 0:
            self.model.filters.keep_codable()
        if self.gains is not None and settings.gain_lr > 0:
            with one_thread():
                self.gains.step(settings.gain_lr)

    def move_to(self, lmbda: float) -> None:
        """Train for another λ, by which what was best before is not to be judged."""
        if lmbda != self.engine.lmbda:
            self.engine.lmbda = lmbda
            self.best_loss = math.inf

    def offer(self, losses: Losses) -> None:
        """Keep the present parameters if they are the best, or the first, to be judged."""
        loss = losses.total(self.engine.lmbda)
        if self._best and not loss < self.best_loss:
            return
        self.best_loss = loss
        if not self._best:
            self._best = [torch.empty_like(p) for p in self.model.parameters()]
        for kept, p in zip(self._best, self.model.parameters(), strict=True):
            kept.copy_(p.detach())

    @torch.no_grad()
    def restore_best(self) -> None:
        """Of those offered; nothing, if training was stopped before the first."""
        if not self._best:
            return
        for kept, p in zip(self._best, self.model.parameters(), strict=True):
            p.copy_(kept)


class _Loop:
    """Runs iterations, evaluates now and then, and reports."""

    def __init__(
        self,
        preset: Preset,
        on_progress: Callable[[Progress], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self.preset = preset
        self.on_progress, self.should_stop = on_progress, should_stop
        self.done = 0
        self.losses: Losses | None = None

    def run(
        self, start: _Start, stage: Stage, iterations: int, control: RateControl | None = None
    ) -> None:
        """The first ``iterations`` of a stage, or fewer if asked to stop; λ follows ``control``."""
        for i in range(iterations):
            start.step(settings_at(stage.for_lambda(start.engine.lmbda), i))
            self.done += 1
            stop = self.should_stop()
            last = stop or i + 1 == iterations
            if last or (i + 1) % self.preset.evaluate_every == 0:
                self.losses = start.engine.evaluate()
                if control is not None:
                    control.observe(self.losses, (i + 1) / stage.iterations)
                    start.move_to(control.lmbda)
                start.offer(self.losses)
            if last or self.done % PROGRESS_EVERY == 0:
                total, lmbda = self.preset.iterations, start.engine.lmbda
                self.on_progress(Progress(self.done, total, self.losses, lmbda))
            if stop:
                return


def train(
    make_engine: Callable[[int], tuple[CoolChic, Engine]],
    preset: Preset,
    *,
    seed: int = 0,
    control: RateControl | None = None,
    refine: Callable[[CoolChic, float], None] = lambda model, lmbda: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[CoolChic, Engine]:
    """Train one image for the best model seen with hard-rounded latents.

    Args:
        make_engine: makes a fresh model, from a seed, and the engine that trains it for
            some λ, the weight of the rate (paper eq. 1).
        preset: stages and their settings.
        seed: of the first random start; the others follow.
        control: moves λ while latents learn; None leaves it as it is.
        refine: changes the latents of the best model, for some λ, before each stage in which
            networks learn alone.
        on_progress: called every few iterations.
        should_stop: asked after each iteration; True ends training at once.

    Returns:
        The best model, and its engine, which can go on from there.
    """
    loop = _Loop(preset, on_progress, should_stop)

    def make_start(start_seed: int) -> _Start:
        return _Start(*make_engine(start_seed), preset, start_seed)

    start = make_start(seed)
    if preset.restarts > 1:
        loop.run(start, preset.stages[0], preset.restart_iterations)
        for number in range(1, preset.restarts):
            if should_stop():
                break
            other = make_start(seed + number)
            loop.run(other, preset.stages[0], preset.restart_iterations)
            start = min(start, other, key=lambda s: s.best_loss)
    for number, stage in enumerate(preset.stages):
        if should_stop():
            break
        if number > 0:
            start.restore_best()
            if stage.latent_lr == 0:
                refine(start.model, start.engine.lmbda)
                start.offer(start.engine.evaluate())
        loop.run(start, stage, stage.iterations, control if stage.latent_lr > 0 else None)
    start.restore_best()
    return start.model, start.engine
