"""Where a training begins: networks, finest grids and coarse grids of a fresh model."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from coolchic.analysis import start_fine
from coolchic.coarse_start import start_coarse
from coolchic.engine import Engine
from coolchic.model import CoolChic
from coolchic.presets import Preset
from coolchic.start import start

__all__ = ["begin"]


def begin(
    model: CoolChic,
    target: Tensor,
    lmbda: float,
    preset: Preset,
    make_engine: Callable[[CoolChic, Tensor, float], Engine],
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Engine:
    """Set networks and latents as the preset wants them for this λ, and make what trains them.

    Args:
        model: fresh; its latents are zero.
        target: (C, H, W), samples divided by 2^depth, on the model's device.
        lmbda: weight of the rate that training begins with.
        preset: of the whole training.
        make_engine: from (model, target, λ).
        seed: of random weights and of the noise.
        should_stop: asked after each iteration of a coarse start; True ends it.
    """
    start(preset.start, model, target, lmbda, seed)
    if preset.for_lambda(lmbda).fine_start:
        start_fine(model, target, lmbda)
    start_coarse(model, target, lmbda, preset, make_engine, seed=seed, should_stop=should_stop)
    return make_engine(model, target, lmbda)
