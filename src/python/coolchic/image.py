"""Pictures in and out: what is coded as it is, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["as_samples", "check_picture", "lost_metadata", "to_picture"]

MODES = {"L": 1, "RGB": 3}
DESCRIPTIONS = {
    "1": "1 bit per sample",
    "P": "a palette",
    "PA": "a palette and alpha",
    "LA": "grey and alpha",
    "RGBA": "RGB and alpha",
    "RGBX": "RGB and padding",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "L*a*b*",
    "HSV": "HSV",
    "I": "32-bit integers",
    "F": "floating-point samples",
}
METADATA = {"icc_profile": "ICC profile", "exif": "Exif", "xmp": "XMP"}


def check_picture(picture: Image.Image) -> None:
    """Refuse what would not come back as it was: only 8-bit grey and RGB are coded.

    To be called before the pixels are loaded: afterwards Pillow no longer tells that it
    has cut 16-bit samples to 8.

    Raises:
        ValueError: naming what the picture has and the format lacks.
    """
    mode = picture.mode
    for codec, raw in _raw_modes(picture):
        if codec.startswith("ppm") and isinstance(raw, tuple) and raw[1] != 255:
            raise ValueError(f"pictures with samples up to {raw[1]} are not supported")
        if ";16" in str(raw):
            raise ValueError("pictures with 16 bits per sample are not supported")
        if re.search(r"\bL;[24]", str(raw)):
            raise ValueError("pictures with 2 or 4 bits per sample are not supported")
    if mode.startswith("I;16"):
        raise ValueError("pictures with 16 bits per sample are not supported")
    if mode not in MODES:
        what = DESCRIPTIONS.get(mode, f"mode {mode}")
        raise ValueError(f"pictures with {what} are not supported, only 8-bit grey and RGB")
    if "transparency" in picture.info:
        raise ValueError("pictures with a transparent colour are not supported")
    if getattr(picture, "n_frames", 1) > 1:
        raise ValueError("pictures with several frames are not supported")


def _raw_modes(picture: Image.Image) -> Iterator[tuple[str, object]]:
    """(codec, how the file stores its samples) of the parts that Pillow is about to load."""
    for tile in getattr(picture, "tile", []):
        codec, parameters = tile[0], tile[3] if len(tile) > 3 else None
        yield codec, parameters


def lost_metadata(picture: Image.Image) -> list[str]:
    """Names of the metadata in a picture that the format does not keep."""
    return [name for key, name in METADATA.items() if picture.info.get(key)]


def as_samples(image) -> np.ndarray:
    """A PIL image or an array as a uint8 array (H, W, C) with 1 or 3 channels.

    Raises:
        ValueError: if it is neither 8-bit grey nor 8-bit RGB, or empty.
    """
    if hasattr(image, "mode") and hasattr(image, "getbands"):
        check_picture(image)
    samples = np.asarray(image)
    if samples.dtype != np.uint8:
        raise ValueError(f"samples must be uint8, not {samples.dtype}")
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.ndim != 3 or samples.shape[2] not in MODES.values():
        raise ValueError(f"the shape must be (H, W), (H, W, 1) or (H, W, 3), not {samples.shape}")
    if 0 in samples.shape:
        raise ValueError("the picture is empty")
    return np.ascontiguousarray(samples)


def to_picture(samples: np.ndarray) -> Image.Image:
    """A decoded array (H, W, C) as a PIL image of mode L, LA, RGB or RGBA."""
    from PIL import Image

    return Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
