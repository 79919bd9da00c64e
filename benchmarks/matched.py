"""Files of our codec and of others at about the same rate, made once and kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from common import fingerprint, skipped
from coolchic.config import Architecture
from coolchic.image import as_samples
from coolchic.metrics import psnr
from other_codecs import CODECS, Codec, decode
from points import Job, Points

WITHIN = 0.03
"""How far the rates of two files may be apart."""
ATTEMPTS = 6
FIRST_GUESS = (3.5e-4, 1.0)
"""A λ and the bits per pixel that it gave for a photo."""
SLOPE = -0.585
"""d log(bpp) / d log(λ), roughly, where there is one point only."""
APART = 0.1
"""Difference of two logarithms of rates that gives a slope."""
CHROMA_OFFSETS = (1, -1, 2, -2, 3, -3, 4, -4)
"""Of HEVC's quantiser, whose whole steps are 11 % of the rate apart."""
FRACTIONS = tuple(k / 8 for k in range(-7, 8) if k)
"""Of the qualities of JPEG XL and WebP."""


@dataclass(frozen=True)
class Coded:
    """A file, and how far it is from the picture.

    Attributes:
        data: the file.
        bpp: bits per pixel.
        psnr: dB.
    """

    data: bytes
    bpp: float
    psnr: float


def our_file(
    points: Points,
    image: Path,
    bpp: float,
    *,
    preset: str,
    iterations: int | None,
    arch: Architecture | None = None,
) -> tuple[dict, bytes] | None:
    """The point and file nearest to a rate, trying λ until it is within 3 %."""

    def job(lmbda: float) -> Job:
        return Job(image, lmbda, preset, iterations, arch=arch)

    def error(point: dict) -> float:
        return abs(math.log(point["bpp"] / bpp))

    known = points.at_any_rate(job(0.0))
    for _ in range(ATTEMPTS):
        known.sort(key=error)
        if known and error(known[0]) < WITHIN / 2:
            break
        lmbda = _next_lambda(known, bpp)
        if any(point["lambda"] == lmbda for point in known):
            break
        found = points.get([job(lmbda)])
        if not found:
            return None
        known += found
    nearest = min(known, key=error)
    data = points.file(job(nearest["lambda"]))
    return None if data is None else (nearest, data)


def _next_lambda(known: list[dict], bpp: float) -> float:
    """By a power law: through the nearest points on both sides, or two on one side.

    Those must be apart: two that are close say nothing of what is far from them.

    Args:
        known: points, the nearest first.
        bpp: the rate wanted.
    """
    (lmbda, rate), slope = FIRST_GUESS, SLOPE
    if known:
        lmbda, rate = known[0]["lambda"], known[0]["bpp"]
        beyond = [p for p in known if (p["bpp"] < bpp) != (rate < bpp)]
        apart = [p for p in known if abs(math.log(p["bpp"] / rate)) > APART]
        for other in (beyond or apart)[:1]:
            rise = math.log(other["bpp"] / rate)
            slope = min(-0.2, rise / math.log(other["lambda"] / lmbda))
    return float(f"{lmbda * (bpp / rate) ** (1 / slope):.3g}")


def reachable(name: str, image: Path, bpp: float) -> float:
    """The rate nearest to one asked for that a codec can give."""
    picture = Image.open(image)
    data = _nearest(CODECS[name], picture, bpp)
    return 8 * len(data) / (picture.width * picture.height)


def their_file(name: str, image: Path, bpp: float, folder: Path) -> Coded | None:
    """Another codec's file of the same rate; None, and it says so, if there is none."""
    codec, picture = CODECS[name], Image.open(image)
    samples = as_samples(picture)
    identity = f"{codec.version()} {codec.options} {fingerprint(samples)}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    path = folder / f"{image.stem}_{bpp:.4f}_{digest}.{name}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_nearest(codec, picture, bpp))
    data = path.read_bytes()
    rate = 8 * len(data) / (picture.width * picture.height)
    if abs(math.log(rate / bpp)) > math.log1p(WITHIN):
        skipped(
            f"{codec.label} of {image.stem} (no setting within {100 * WITHIN:.0f} % of "
            f"{bpp:.3f} bpp, the nearest gives {rate:.3f})"
        )
        return None
    return Coded(data, rate, psnr(decode(data, picture.mode), samples))


def _nearest(codec: Codec, picture: Image.Image, bpp: float) -> bytes:
    """The file whose rate is nearest, by the quality and what else moves the rate a little."""
    size = bpp * picture.width * picture.height / 8
    files: dict[float, bytes] = {}

    def at(quality: float) -> bytes:
        if quality not in files:
            files[quality] = codec.encode(picture, quality)
        return files[quality]

    def error(data: bytes) -> float:
        return abs(math.log(len(data) / size))

    quality = _crossing(lambda q: len(at(q)) >= size, 1, 99)
    best = min((quality - 1, quality), key=lambda q: error(at(q)))
    candidates = [at(best)]
    if error(at(best)) > WITHIN / 2:
        if codec.format in ("JXL", "WEBP"):
            candidates += [at(best + fraction) for fraction in FRACTIONS]
        elif codec.format == "HEIF":
            candidates += [
                replace(codec, options=_with_chroma_offset(codec.options, offset)).encode(
                    picture, best
                )
                for offset in CHROMA_OFFSETS
            ]
    return min(candidates, key=error)


def _with_chroma_offset(options: dict, offset: int) -> dict:
    moved = dict.fromkeys(("x265:cbqpoffs", "x265:crqpoffs"), str(offset))
    return {**options, "enc_params": {**options["enc_params"], **moved}}


def _crossing(reached: Callable[[int], bool], low: int, high: int) -> int:
    """The first of low + 1 … high at which a monotonic condition holds, else high."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
