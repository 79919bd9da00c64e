"""JPEG, JPEG XL, WebP, AVIF and HEVC on the same images: real files, decoded by their own decoders.

    python benchmarks/other_codecs.py --images DIR [--names kodim03 …] [--codecs jpeg webp …]

Settings are the codecs' best for PSNR at a bearable speed; all but lossy WebP, which cannot,
keep the chroma's resolution (4:4:4). Sizes are of whole files: the containers of
AVIF and HEVC take 300 to 600 bytes, which counts at the lowest rates.

Needs Pillow; HEVC also needs pillow-heif, JPEG XL pillow-jxl-plugin. Points already in
RESULTS/codecs.json are not made again unless a codec's version or settings differ.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, features

from bdrate import Curve, mean
from common import Table, add_names, find_images, fingerprint, make_parser, ms_ssim, skipped
from coolchic.image import as_samples
from coolchic.metrics import psnr

QUALITIES = (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95)
HEVC_QUALITIES = (0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60)  # beyond, over 43 dB


@dataclass(frozen=True)
class Codec:
    """An encoder and its settings.

    Attributes:
        label: what the plots call it.
        format: Pillow's name of the format.
        options: for Pillow's ``save``, beside the quality.
        feature: of Pillow, without which there is no such codec; empty if it needs none.
        qualities: the points of its curve.
    """

    label: str
    format: str
    options: dict = field(default_factory=dict)
    feature: str = ""
    qualities: tuple[int, ...] = QUALITIES

    def missing(self) -> str | None:
        """Why the codec cannot be used; None if it can."""
        if self.format == "HEIF":
            return _register_heif()
        if self.format == "JXL":
            return _register_jxl()
        if self.feature and not features.check(self.feature):
            return f"this Pillow has no {self.feature}"
        return None

    def version(self) -> str:
        import PIL

        if self.format == "HEIF":
            import pillow_heif

            encoder = pillow_heif.libheif_info()["HEIF"]
            return f"pillow-heif {pillow_heif.__version__}, {encoder}"
        if self.format == "JXL":
            from importlib.metadata import version

            return f"pillow-jxl-plugin {version('pillow-jxl-plugin')}"
        library = features.version(self.feature) if self.feature else None
        return f"Pillow {PIL.__version__}" + (f", {self.feature} {library}" if library else "")

    def encode(self, picture: Image.Image, quality: float) -> bytes:
        file = io.BytesIO()
        # Copies: pillow-heif adds to the options that it is given.
        options = {k: dict(v) if isinstance(v, dict) else v for k, v in self.options.items()}
        picture.save(file, self.format, quality=quality, **options)
        return file.getvalue()


X265 = {  # what x265 does for the eye costs PSNR
    "preset": "slow",
    "tune": "psnr",
    "x265:rdoq-level": "2",
    "x265:psy-rd": "0",
    "x265:psy-rdoq": "0",
    "x265:aq-mode": "0",
}
CODECS = {
    "jpeg": Codec("JPEG 4:4:4", "JPEG", {"subsampling": 0, "optimize": True}, "jpg"),
    "jxl": Codec("JPEG XL", "JXL", {"effort": 7}),
    "webp": Codec("WebP", "WEBP", {"method": 6}, "webp"),
    "avif": Codec(
        "AVIF 4:4:4",
        "AVIF",
        {"subsampling": "4:4:4", "speed": 4, "advanced": {"tune": "psnr"}},
        "avif",
    ),
    "hevc": Codec(
        "HEVC 4:4:4 (x265)",
        "HEIF",
        {"chroma": 444, "enc_params": X265},
        qualities=HEVC_QUALITIES,
    ),
}


def _register_heif() -> str | None:
    try:
        import pillow_heif
    except ImportError:
        return "pillow-heif is not installed"
    if not pillow_heif.libheif_info()["HEIF"]:
        return "this pillow-heif has no HEVC encoder"
    pillow_heif.register_heif_opener()
    return None


def _register_jxl() -> str | None:
    try:
        import pillow_jxl  # noqa: F401  registers itself with Pillow
    except ImportError:
        return "pillow-jxl-plugin is not installed"
    return None


def decode(data: bytes, mode: str) -> np.ndarray:
    """The pixels (H, W, C) of a file of any of the codecs, as L or RGB."""
    return as_samples(Image.open(io.BytesIO(data)).convert(mode))


def available(names: Iterable[str]) -> dict[str, Codec]:
    """The named codecs that can be used; says which cannot, and why."""
    usable = {}
    for name in names:
        reason = CODECS[name].missing()
        if reason:
            skipped(f"{CODECS[name].label} ({reason})")
        else:
            usable[name] = CODECS[name]
    return usable


def measure(name: str, image: Path, quality: int, table: Table) -> dict:
    """Rate and distortion of one image at one quality, from the table if it is there."""
    codec, picture = CODECS[name], Image.open(image)
    samples = as_samples(picture)
    key = {
        "codec": name,
        "version": codec.version(),
        "settings": codec.options,
        "image": image.stem,
        "pixels": fingerprint(samples),
        "quality": quality,
    }
    row = table.find(key)
    if row is None:
        start = time.perf_counter()
        data = codec.encode(picture, quality)
        seconds = time.perf_counter() - start
        decoded = decode(data, picture.mode)
        row = {
            **key,
            "bytes": len(data),
            "bpp": 8 * len(data) / (samples.shape[0] * samples.shape[1]),
            "psnr": psnr(decoded, samples),
            "ms_ssim": ms_ssim(decoded, samples),
            "seconds": seconds,
        }
        table.add(key, row)
    return row


def ladder(name: str, images: Iterable[Path], table: Table) -> dict[str, list[dict]]:
    """All qualities of each image."""
    return {
        image.stem: [measure(name, image, quality, table) for quality in CODECS[name].qualities]
        for image in images
    }


def curves(rows: dict[str, list[dict]]) -> dict[str, Curve]:
    return {image: Curve.of((row["bpp"], row["psnr"]) for row in r) for image, r in rows.items()}


def open_table(results: Path) -> Table:
    return Table(results / "codecs.json")


def add_codecs(parser: argparse.ArgumentParser, default: tuple[str, ...]) -> None:
    parser.add_argument(
        "--codecs",
        nargs="*",
        choices=tuple(CODECS),
        default=list(default),
        metavar="CODEC",
        help=f"of {', '.join(CODECS)} (default: {' '.join(default) or 'none'})",
    )


def main() -> None:
    parser = make_parser(__doc__)
    add_names(parser)
    add_codecs(parser, tuple(CODECS))
    arguments = parser.parse_args()
    images, table = find_images(arguments.images, arguments.names), open_table(arguments.results)
    for name, codec in available(arguments.codecs).items():
        rows = ladder(name, images, table)
        print(f"{codec.label}, {codec.version()}: means of {len(images)} images")
        print("quality      bpp  PSNR dB   MS-SSIM  encode s")
        for at_quality in zip(*rows.values(), strict=True):
            bpp, db, seconds = (mean(r[k] for r in at_quality) for k in ("bpp", "psnr", "seconds"))
            similarity = mean(r["ms_ssim"] for r in at_quality if r["ms_ssim"] is not None)
            print(
                f"{at_quality[0]['quality']:>7} {bpp:>8.4f} {db:>8.2f} "
                f"{'–' if similarity is None else f'{similarity:.4f}':>9} {seconds:>9.2f}"
            )


if __name__ == "__main__":
    main()
