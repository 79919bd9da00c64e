"""coolchic: an image codec that overfits a tiny neural network to each image.

``decode`` and ``info`` need NumPy only; ``encode`` imports PyTorch when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coolchic._decoder import DecodeError
from coolchic.decoder import decode, info

if TYPE_CHECKING:
    from coolchic.config import Architecture, Layer
    from coolchic.encoder import encode, encode_image

__all__ = ["Architecture", "DecodeError", "Layer", "decode", "encode", "encode_image", "info"]
__version__ = "0.1.0"

_LAZY = {
    "Architecture": "coolchic.config",
    "Layer": "coolchic.config",
    "encode": "coolchic.encoder",
    "encode_image": "coolchic.encoder",
}


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
