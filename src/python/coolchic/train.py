"""The training loop: starts, stages, schedules, and the best state seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coolchic.engine import Engine, Losses, StepSettings
from coolchic.model import CoolChic
from coolchic.presets import Preset, Stage

__all__ = ["Progress", "settings_at", "train"]


@dataclass(frozen=True)
class Progress:
    """What a caller is told while training goes on.

    Attributes:
        iteration: iterations done, of all starts and stages.
        total: iterations planned.
        losses: of the last evaluation with hard rounding; None before the first.
    """

    iteration: int
    total: int
    losses: Losses | None


def settings_at(stage: Stage, iteration: int, of: int) -> StepSettings:
    """Settings of one iteration of a stage: cosine for step sizes, linear for the proxy."""
    t = iteration / max(1, of - 1)
    decay = stage.final + (1 - stage.final) * 0.5 * (1 + math.cos(math.pi * t))
    return StepSettings(
        proxy=stage.proxy,
        temperature=stage.temperature[0] + t * (stage.temperature[1] - stage.temperature[0]),
        sigma=stage.sigma[0] + t * (stage.sigma[1] - stage.sigma[0]),
        latent_lr=stage.latent_lr * decay,
        network_lr=stage.network_lr * decay,
    )


class _Best:
    """The parameters with the lowest loss seen."""

    def __init__(self) -> None:
        self.loss = math.inf
        self._state: list[Tensor] = []

    def offer(self, model: CoolChic, loss: float) -> None:
        if loss < self.loss or not self._state:
            self.loss = loss
            if not self._state:
                self._state = [torch.empty_like(p) for p in model.parameters()]
            for kept, p in zip(self._state, model.parameters(), strict=True):
                kept.copy_(p.detach())

    @torch.no_grad()
    def restore(self, model: CoolChic) -> None:
        for kept, p in zip(self._state, model.parameters(), strict=True):
            p.copy_(kept)


def train(
    make_engine: Callable[[int], tuple[CoolChic, Engine]],
    lmbda: float,
    preset: Preset,
    *,
    seed: int = 0,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> CoolChic:
    """Train one image and return the best model seen with hard-rounded latents.

    Args:
        make_engine: makes a fresh model, from a seed, and the engine that trains it.
        lmbda: weight of the rate (paper eq. 1), as given to the engine.
        preset: stages and their settings.
        seed: of the first random start; the others follow.
        on_progress: called every few iterations.
        should_stop: asked after each iteration; True ends training at once.
    """
    done = 0
    losses: Losses | None = None

    def iterate(engine: Engine, stage: Stage, iterations: int, best: _Best, model: CoolChic):
        nonlocal done, losses
        for i in range(iterations):
            engine.step(settings_at(stage, i, stage.iterations))
            done += 1
            stop = should_stop()
            if stop or (i + 1) % preset.evaluate_every == 0 or i + 1 == iterations:
                losses = engine.evaluate()
                best.offer(model, losses.total(lmbda))
            if done % 10 == 0 or stop or done == preset.iterations:
                on_progress(Progress(done, preset.iterations, losses))
            if stop:
                return

    model, engine = make_engine(seed)
    best = _Best()
    if preset.restarts > 1:
        iterate(engine, preset.stages[0], preset.restart_iterations, best, model)
        for start in range(1, preset.restarts):
            if should_stop():
                break
            other, other_engine = make_engine(seed + start)
            other_best = _Best()
            iterate(other_engine, preset.stages[0], preset.restart_iterations, other_best, other)
            if other_best.loss < best.loss:
                model, engine, best = other, other_engine, other_best
    for number, stage in enumerate(preset.stages):
        if should_stop():
            break
        if number > 0:
            best.restore(model)
        iterate(engine, stage, stage.iterations, best, model)
    best.restore(model)
    return model
