"""Files of our codec and of others at about the same rate, made once and kept."""

from __future__ import annotations

import copy
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from common import fingerprint, skipped
from coolchic.config import Architecture
from coolchic.image import as_samples
from coolchic.metrics import psnr
from other_codecs import CODECS, Codec, decode
from points import Job, Points

OURS_WITHIN = 0.1
"""How far our file's rate may be from the one that was asked for."""
THEIRS_WITHIN = 0.03
"""How far another codec's rate may be from our file's."""
ATTEMPTS = 4
FIRST_GUESS = (3.5e-4, 1.0)
"""A λ and the bits per pixel that it gave for a photo."""
SLOPE = -0.585
"""d log(bpp) / d log(λ), roughly, where there is one point only."""
CHROMA_OFFSETS = (0, 1, -1, 2, -2, 3, -3, 4, -4)
"""Of HEVC's quantiser, whose whole steps are 11 % of the rate apart."""


@dataclass(frozen=True)
class Coded:
    """A file, and how far it is from the picture.

    Attributes:
        data: the file.
        bpp: bits per pixel.
        psnr: dB.
        seconds: of encoding; None if the file was there.
    """

    data: bytes
    bpp: float
    psnr: float
    seconds: float | None = None


def our_file(
    points: Points,
    image: Path,
    bpp: float,
    *,
    preset: str,
    iterations: int | None,
    arch: Architecture | None = None,
) -> tuple[dict, bytes] | None:
    """The point and file nearest to a rate, trying λ until it is within OURS_WITHIN."""

    def job(lmbda: float) -> Job:
        return Job(image, lmbda, preset, iterations, arch=arch)

    def error(point: dict) -> float:
        return abs(math.log(point["bpp"] / bpp))

    known = points.at_any_rate(job(0.0))
    for _ in range(ATTEMPTS):
        known.sort(key=error)
        if known and error(known[0]) < OURS_WITHIN:
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
    """By a power law through the nearest points, which come first."""
    (lmbda, rate), slope = FIRST_GUESS, SLOPE
    if known:
        lmbda, rate = known[0]["lambda"], known[0]["bpp"]
    if len(known) > 1:
        rise = math.log(known[1]["bpp"] / rate)
        slope = min(-0.2, rise / math.log(known[1]["lambda"] / lmbda))
    return float(f"{lmbda * (bpp / rate) ** (1 / slope):.2g}")


def their_file(name: str, image: Path, bpp: float, folder: Path) -> Coded | None:
    """Another codec's file of the same rate; None, and it says so, if there is none."""
    codec, picture = CODECS[name], Image.open(image)
    samples = as_samples(picture)
    identity = f"{codec.version()} {codec.options} {CHROMA_OFFSETS} {fingerprint(samples)}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    path = folder / f"{image.stem}_{bpp:.4f}_{digest}.{name}"
    if not path.exists():
        data = _search(codec, picture, bpp)
        if data is None:
            skipped(
                f"{codec.label} of {image.stem} (no setting within "
                f"{100 * THEIRS_WITHIN:.0f} % of {bpp:.3f} bpp)"
            )
            return None
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    data = path.read_bytes()
    pixels = picture.width * picture.height
    return Coded(data, 8 * len(data) / pixels, psnr(decode(data, picture.mode), samples))


def _search(codec: Codec, picture: Image.Image, bpp: float) -> bytes | None:
    size = bpp * picture.width * picture.height / 8

    def error(data: bytes) -> float:
        return abs(math.log(len(data) / size))

    files: dict[int, bytes] = {}

    def at(quality: int) -> bytes:
        if quality not in files:
            files[quality] = codec.encode(picture, quality)
        return files[quality]

    quality = _crossing(lambda q: len(at(q)) >= size, 1, 99)
    best = min((quality - 1, quality), key=lambda q: error(at(q)))
    candidates = [at(best)]
    if codec.format == "HEIF" and error(at(best)) > math.log1p(THEIRS_WITHIN):
        for offset in CHROMA_OFFSETS:
            options = copy.deepcopy(codec.options)
            names = ("x265:cbqpoffs", "x265:crqpoffs")
            options["enc_params"] |= dict.fromkeys(names, str(offset))
            file = io.BytesIO()
            picture.save(file, codec.format, quality=best, **options)
            candidates.append(file.getvalue())
    nearest = min(candidates, key=error)
    return nearest if error(nearest) <= math.log1p(THEIRS_WITHIN) else None


def _crossing(reached: Callable[[int], bool], low: int, high: int) -> int:
    """The first of low + 1 … high at which a monotonic condition holds, else high."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
