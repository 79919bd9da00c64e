"""Named decoders, and decoders described in TOML files.

A file has the fields of :class:`coolchic.config.Architecture`, layers as tables::

    context = 12                 # so many nearest neighbours, or a list of [rows above, columns]
    parents = [[0, 0], [0, 1], [-1, 0], [-1, 1]]
    arm = [{ width = 12, residual = true }, { width = 12, residual = true }]
    upsampling = "filtered"
    synthesis = [{ width = 12 }]
    refinement = [{ residual = true, activation = "none" }]

What is left out is as in the paper.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from coolchic.config import PAPER_CONTEXT, Architecture, Layer

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "ARCHITECTURES",
    "CONTEXTS",
    "DEFAULTS",
    "PARENTS",
    "PYRAMIDS",
    "SMALLER",
    "find_architecture",
    "nearest_context",
    "with_modules",
]

CONTEXTS = sorted(
    ((dr, dc) for dr in range(4) for dc in range(-3, 4) if dr > 0 or dc < 0),
    key=lambda position: (position not in PAPER_CONTEXT, position[0] ** 2 + position[1] ** 2),
)
"""24 causal neighbours in the order of their use: the paper's, then others from near to far."""

PARENTS = ((0, 0), (0, 1), (-1, 0), (-1, 1))
"""The enlarged coarser grid at a latent, and at those to the right and below, of which the
context knows nothing."""


def nearest_context(count: int) -> tuple[tuple[int, int], ...]:
    """The first positions of ``CONTEXTS``, in the order in which they are decoded."""
    if not 1 <= count <= len(CONTEXTS):
        raise ValueError(f"a context has 1 to {len(CONTEXTS)} nearest neighbours, not {count}")
    by_distance = sorted(CONTEXTS, key=lambda position: position[0] ** 2 + position[1] ** 2)
    chosen = CONTEXTS[:count] if count >= len(PAPER_CONTEXT) else by_distance[:count]
    return tuple(sorted(chosen, key=lambda position: (-position[0], position[1])))


def with_modules(
    channels: int,
    *,
    context: int,
    arm: tuple[int, ...],
    synthesis: tuple[int, ...],
    convolutions: int,
    wavelet: bool = False,
    subband_weights: bool = False,
) -> Architecture:
    """With parents, filters and convolutions.

    Args:
        channels: of the picture.
        context: nearest neighbours that the ARM sees, besides four parents.
        arm: widths of its hidden layers, all residual.
        synthesis: widths of hidden layers; all but the first are residual.
        convolutions: behind the synthesis; all but the last have a ReLU.
        wavelet: three subbands for the grid of the picture's size.
        subband_weights: each of which has weights of its own in the ARM's first layer.
    """
    activations = ["relu"] * (convolutions - 1) + ["none"]
    return Architecture(
        channels=channels,
        grids=9 if wavelet else 7,
        context=nearest_context(context),
        parents=PARENTS,
        arm_hidden=tuple(Layer(n, residual=True) for n in arm),
        upsampling="wavelet" if wavelet else "filtered",
        subband_weights=subband_weights,
        synthesis_hidden=tuple(Layer(n, residual=i > 0) for i, n in enumerate(synthesis)),
        refinement=tuple(
            Layer(channels, residual=True, activation=activation, kind="conv3x3")
            for activation in activations[:convolutions]
        ),
    )


_with_wavelet = partial(with_modules, wavelet=True)
_with_subbands = partial(_with_wavelet, subband_weights=True)

ARCHITECTURES: dict[str, Callable[[int], Architecture]] = {
    "paper": lambda channels: Architecture(channels=channels),
    "lite": partial(_with_subbands, context=5, arm=(7, 7), synthesis=(12,), convolutions=0),
    "standard": partial(_with_subbands, context=10, arm=(8, 8), synthesis=(26,), convolutions=1),
    "high": partial(_with_wavelet, context=24, arm=(16, 16), synthesis=(64,), convolutions=2),
    "lite-pyramid": partial(with_modules, context=5, arm=(7, 7), synthesis=(14,), convolutions=0),
    "standard-pyramid": partial(
        with_modules, context=8, arm=(10, 10), synthesis=(22,), convolutions=1
    ),
    "high-pyramid": partial(
        with_modules, context=16, arm=(16, 16), synthesis=(48,), convolutions=2
    ),
}
"""By name, a function from the number of channels."""

PYRAMIDS = {name: f"{name}-pyramid" for name in ("lite", "standard", "high")}
"""What pictures full of coloured detail have at high rates in the place of a decoder with a wavelet
(``coolchic.trials``)."""

SMALLER = {"high": "standard"}
"""What pictures of which little is kept at low rates have in the place of a decoder whose networks
would be half of their file (``coolchic.trials``)."""

DEFAULTS = {
    "paper": 9,
    "lite": 1,
    "standard": 1,
    "high": 1,
    "lite-pyramid": 5,
    "standard-pyramid": 1,
    "high-pyramid": 1,
}
"""Number of the first of the four default decoders that start the training, of all that an
architecture has (bitstream section 6.1)."""


def find_architecture(name: str, channels: int) -> Architecture:
    """The architecture of that name, or of the TOML file of that name.

    Raises:
        ValueError: there is neither, or the file describes no possible architecture.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name](channels)
    if not name.endswith(".toml"):
        raise ValueError(
            f"unknown architecture {name!r}; there are {', '.join(ARCHITECTURES)} and .toml files"
        )
    try:
        fields = tomllib.loads(Path(name).read_text(encoding="utf-8"))
        return _from_fields(fields, channels)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{name}: {error}") from error


def _from_fields(fields: dict, channels: int) -> Architecture:
    known = {
        "grids": lambda value: {"grids": int(value)},
        "context": lambda value: {"context": _context(value)},
        "parents": lambda value: {"parents": _positions(value)},
        "arm": lambda value: {"arm_hidden": _layers(value)},
        "upsampling": lambda value: {"upsampling": str(value)},
        "subband_weights": lambda value: {"subband_weights": bool(value)},
        "synthesis": lambda value: {"synthesis_hidden": _layers(value)},
        "refinement": lambda value: {
            "refinement": _layers(value, width=channels, kind="conv3x3"),
        },
    }
    arguments: dict = {"channels": channels}
    for name, value in fields.items():
        if name not in known:
            raise ValueError(f"unknown field {name!r}; there are {', '.join(known)}")
        arguments |= known[name](value)
    return Architecture(**arguments)


def _context(value: int | list) -> tuple[tuple[int, int], ...]:
    return nearest_context(value) if isinstance(value, int) else _positions(value)


def _positions(value: list) -> tuple[tuple[int, int], ...]:
    return tuple((int(dr), int(dc)) for dr, dc in value)


def _layers(value: list[dict], **defaults) -> tuple[Layer, ...]:
    return tuple(Layer(**{**defaults, **layer}) for layer in value)
