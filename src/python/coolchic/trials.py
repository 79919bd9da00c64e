"""Which of the named decoders suits a picture: a short training with each of them."""

from __future__ import annotations

from collections.abc import Callable

from coolchic.architectures import find_architecture
from coolchic.config import Architecture
from coolchic.engine import Engine
from coolchic.model import CoolChic
from coolchic.presets import Preset
from coolchic.rate_control import network_bytes
from coolchic.train import train

__all__ = ["CANDIDATES", "best_architecture"]

CANDIDATES = ("lite", "standard", "high")

SHARE, LEAST = 0.04, 40
"""Iterations of each trial: a share of the training's, at least so many."""


def best_architecture(
    make_engine: Callable[[Architecture, int, Preset], tuple[CoolChic, Engine]],
    plan: Preset,
    channels: int,
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
) -> Architecture:
    """The candidate with the least D + λR after a trial, R with what its networks will cost.

    Richer decoders are ahead on nearly all pictures, but for the bytes of their networks: so it
    is those, shared by the pixels, that mostly decide.

    Args:
        make_engine: a fresh model of an architecture, from a seed, as a preset starts it, and the
            engine to train it.
        plan: of the whole training.
        channels: of the picture.
        seed: of the trials.
        should_stop: asked after each iteration; True ends the trials.
    """
    short = plan.with_iterations(max(LEAST, round(SHARE * plan.iterations)))

    def loss(arch: Architecture) -> float:
        model, engine = train(
            lambda number: make_engine(arch, number, short),
            short,
            seed=seed,
            should_stop=should_stop,
        )
        pixels = model.height * model.width
        size = network_bytes(arch.parameters(), pixels, engine.lmbda)
        return engine.evaluate().total(engine.lmbda) + engine.lmbda * 8 * size / pixels

    return min((find_architecture(name, channels) for name in CANDIDATES), key=loss)
