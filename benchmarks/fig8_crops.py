"""Crops of an image at two rates, beside HEVC at the same rates (paper Fig. 8).

    python benchmarks/fig8_crops.py --images DIR [--name kodim19] [--lambdas 2e-2 1e-3]
        [--crops 225,95,160,160 …] [--files DIR]

HEVC is x265 in 4:4:4 by pillow-heif, at the quality whose file is nearest in size; without it,
the columns are left out. Our files are taken from --files where they are, or encoded.
Writes RESULTS/fig8_crops.json and OUTPUT/fig8_crops.png.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import coolchic
import other_codecs
from common import find_images, make_parser, plot
from coolchic.image import as_samples
from coolchic.metrics import psnr
from points import Job, Points, add_encoding, add_preset
from report import environment, write_json

CROPS = [(225, 95, 160, 160), (20, 450, 160, 160)]


@dataclass(frozen=True)
class Column:
    """A whole picture, and what is written over it."""

    title: str
    samples: np.ndarray
    bpp: float | None = None
    psnr: float | None = None


def crop(text: str) -> tuple[int, int, int, int]:
    """An argument like ``225,95,160,160``: left, top, width, height."""
    left, top, width, height = map(int, text.split(","))
    if min(left, top) < 0 or min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"not a crop: {text}")
    return left, top, width, height


def coded(title: str, data: bytes, decoded: np.ndarray, original: np.ndarray) -> Column:
    bpp = 8 * len(data) / (original.shape[0] * original.shape[1])
    return Column(title, decoded, bpp, psnr(decoded, original))


def hevc_of_size(picture: Image.Image, size: int) -> bytes:
    """The HEVC file whose size is nearest, by bisection over the quality."""
    codec = other_codecs.CODECS["hevc"]
    low, high = 0, 100
    files = {}
    while low <= high:
        quality = (low + high) // 2
        files[quality] = codec.encode(picture, quality)
        if len(files[quality]) < size:
            low = quality + 1
        else:
            high = quality - 1
    return min(files.values(), key=lambda data: abs(len(data) - size))


def draw(path: Path, columns: list[Column], crops: list, what: str) -> None:
    caption = f"Crops beside HEVC 4:4:4 at the same rates: {what}."
    with plot(path, caption) as pyplot:
        if pyplot is None:
            return
        figure, grid = pyplot.subplots(
            len(crops),
            len(columns),
            figsize=(2.1 * len(columns), 2.1 * len(crops) + 0.5),
            squeeze=False,
        )
        for axes_row, (left, top, width, height) in zip(grid, crops, strict=True):
            for axes, column in zip(axes_row, columns, strict=True):
                part = column.samples[top : top + height, left : left + width]
                axes.imshow(part.squeeze(), cmap="gray", vmin=0, vmax=255)
                axes.set_axis_off()
        for axes, column in zip(grid[0], columns, strict=True):
            text = column.title
            if column.bpp is not None:
                text += f"\n{column.bpp:.3f} bpp, {column.psnr:.2f} dB"
            axes.set_title(text, fontsize=8)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--name", default="kodim19", help="(default: %(default)s)")
    add_encoding(parser, lambdas=(2e-2, 1e-3), names=False)
    add_preset(parser)
    parser.add_argument(
        "--crops",
        nargs="+",
        type=crop,
        default=CROPS,
        metavar="X,Y,W,H",
        help="parts to show, in pixels",
    )
    arguments = parser.parse_args()
    (image,), store = find_images(arguments.images, [arguments.name]), Points(arguments)
    picture = Image.open(image)
    original = as_samples(picture)
    height, width, _ = original.shape
    for x, y, w, h in arguments.crops:
        if x + w > width or y + h > height:
            parser.error(f"the crop {x},{y},{w},{h} leaves the picture of {width}x{height}")

    hevc = other_codecs.available(["hevc"])
    columns = [Column("original", original)]
    for lmbda in arguments.lambdas:
        data = store.file(Job(image, lmbda, arguments.preset, arguments.iterations, arguments.seed))
        if data is None:
            continue
        if hevc:
            theirs = hevc_of_size(picture, len(data))
            decoded = other_codecs.decode(theirs, picture.mode)
            columns.append(coded("HEVC", theirs, decoded, original))
        columns.append(coded(f"coolchic, λ={lmbda:g}", data, coolchic.decode(data), original))

    rows = [{"title": c.title, "bpp": c.bpp, "psnr": c.psnr} for c in columns[1:]]
    for row in rows:
        print(f"{row['bpp']:.4f} bpp {row['psnr']:>6.2f} dB  {row['title']}")
    write_json(arguments.results / "fig8_crops.json", {**environment(), "columns": rows})
    if rows:
        what = f"{arguments.name}, preset {arguments.preset}"
        draw(arguments.output / "fig8_crops.png", columns, arguments.crops, what)


if __name__ == "__main__":
    main()
