"""From a trained and quantised model near its goal to one whose file meets it.

The networks stay as quantised. Latents go on learning for them in small steps, with λ a little
higher or lower, until the file is within the goal's tolerance: every change is one that
training for that λ would make.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from coolchic.engine import Engine, StepSettings
from coolchic.model import CoolChic
from coolchic.quantize import integer_latents
from coolchic.rate_control import Goal

__all__ = ["land"]

CHECK_EVERY = 2
"""Iterations between two looks at the distance."""

PUSH, FARTHEST_PUSH = 18.0, 3.0
"""By how much log(λ) moves, for a distance in log(λ); and at most."""

PATIENCE = 100
"""Iterations after which a distance that stays has moved log(λ) as far again."""

LATENT_STEP = 0.006
"""Adam step of the latents, in quantisation steps. With larger ones, noise costs more than
the distance is worth, and raises the rate."""

FORCED_ITERATIONS, FORCE = 800, 80.0
"""Iterations that may follow for a file above a wanted size, and in how many of them log(λ)
grows by 1."""

Latents = list[np.ndarray]


def land(
    goal: Goal,
    engine: Engine,
    model: CoolChic,
    settings: StepSettings,
    iterations: int,
    measure: Callable[[Latents], float],
) -> Latents:
    """Train latents until the file of a trained and quantised model meets its goal.

    Args:
        engine: the model's, with the λ of its training, which is changed.
        model: with the quantised networks; its latents are changed.
        settings: of the iterations.
        iterations: how many there may be for a file that the goal admits; none are made if
            the goal is met already.
        measure: of int32 grids, what the goal is about: bytes of the file, or PSNR in dB.

    Returns:
        int32 grids, finest first: the nearest to the goal of those measured, if possible not
        above a wanted size.
    """
    lmbda, pixels = engine.lmbda, model.height * model.width
    best = integer_latents(model)
    value = best_value = measure(best)
    if goal.meets(value):
        return best
    # The float model is off by little, and always by about the same.
    error = value - goal.of_losses(engine.evaluate(), pixels)
    settings = replace(settings, latent_lr=LATENT_STEP, network_lr=0.0)
    lasting = 0.0
    for i in range(1, iterations + FORCED_ITERATIONS + 1):
        forced = max(0, i - iterations)
        if forced and goal.admits(best_value):
            break
        distance = goal.distance(value)
        lasting += distance / PATIENCE
        push = max(-FARTHEST_PUSH, min(FARTHEST_PUSH, PUSH * (distance + lasting)))
        engine.lmbda = lmbda * math.exp(push + forced / FORCE)
        engine.step(settings)
        if i % CHECK_EVERY and i != iterations:
            continue
        expected = goal.of_losses(engine.evaluate(), pixels)
        value = expected + error
        if goal.meets(value) or i == iterations or (forced and goal.admits(value)):
            latents = integer_latents(model)
            value = measure(latents)
            error = value - expected
            if goal.prefers(value, best_value):
                best, best_value = latents, value
            if goal.meets(value):
                break
    return best
