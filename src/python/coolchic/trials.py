"""Which of the named decoders suits a picture: short trainings with some of them."""

from __future__ import annotations

import functools
from collections.abc import Callable

from coolchic.architectures import PYRAMIDS, SMALLER, find_architecture
from coolchic.config import Architecture
from coolchic.engine import Engine
from coolchic.model import CoolChic
from coolchic.presets import Preset
from coolchic.rate_control import network_bytes
from coolchic.train import train

__all__ = ["AUTO", "CANDIDATES", "alternatives", "best_architecture"]

AUTO = "auto"
"""The name by which the best of ``CANDIDATES`` is taken."""

CANDIDATES = ("lite", "standard", "high")

PYRAMID_LAMBDA = 3e-4
"""λ below which pictures with colours may want a pyramid rather than a wavelet, which has no room
for detail of colour: one latent for each pixel, and three in four of them say what is grey."""

SMALLER_LAMBDA = 1e-2
"""λ above which the bytes of a large decoder's networks may be more than it saves."""

SHARE, LEAST = 0.04, 40
"""Iterations of each trial: a share of the training's, at least so many."""


def alternatives(name: str, channels: int, lmbda: float) -> tuple[str, ...]:
    """Names of the decoders that a picture may get by the name of one: itself; or its pyramid, at
    high rates; or a smaller one, at low rates."""
    if lmbda < PYRAMID_LAMBDA and channels > 1 and name in PYRAMIDS:
        return (name, PYRAMIDS[name])
    if lmbda > SMALLER_LAMBDA and name in SMALLER:
        return (name, SMALLER[name])
    return (name,)


def best_architecture(
    name: str,
    make_engine: Callable[[Architecture, int, Preset], tuple[CoolChic, Engine]],
    plan: Preset,
    channels: int,
    first_lambda: Callable[[Architecture], float],
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    on_trials: Callable[[], None] = lambda: None,
) -> Architecture:
    """The decoder of that name, or what short trials prefer to it.

    By ``AUTO``, it is the candidate with the least D + λR, R with what its networks will cost.
    Richer decoders are ahead on nearly all pictures, but for the bytes of their networks: so it
    is those, shared by the pixels, that mostly decide. Of alternatives, it is the better one.

    Args:
        name: ``AUTO``, or as :func:`coolchic.architectures.find_architecture` takes it.
        make_engine: a fresh model of an architecture, from a seed, as a preset starts it, and the
            engine to train it.
        plan: of the whole training.
        channels: of the picture.
        first_lambda: weight of the rate that the training of an architecture begins with.
        seed: of the trials.
        should_stop: asked after each iteration; True ends the trials.
        on_trials: called before the first trial, if there is one.

    Raises:
        ValueError: there is no such architecture.
    """
    short = plan.with_iterations(max(LEAST, round(SHARE * plan.iterations)))

    @functools.cache
    def loss(name: str) -> float:
        arch = find_architecture(name, channels)
        model, engine = train(
            lambda number: make_engine(arch, number, short),
            short,
            seed=seed,
            should_stop=should_stop,
        )
        pixels = model.height * model.width
        size = network_bytes(arch.parameters(), pixels, engine.lmbda)
        return engine.evaluate().total(engine.lmbda) + engine.lmbda * 8 * size / pixels

    def best(names: tuple[str, ...]) -> str:
        if len(names) == 1:
            return names[0]
        if not loss.cache_info().misses:
            on_trials()
        return min(names, key=loss)

    name = best(CANDIDATES if name == AUTO else (name,))
    lmbda = first_lambda(find_architecture(name, channels))
    return find_architecture(best(alternatives(name, channels, lmbda)), channels)
