"""The latent grids of an image at two rates, as pictures (paper Fig. 9).

    python benchmarks/fig9_latents.py --images DIR [--name kodim19] [--lambdas 2e-2 1e-3]
        [--grids 5] [--files DIR]

Latents are read by the reference decoder of the tests, which takes seconds; its picture is
checked against the real decoder's. Our files are taken from --files where they are, or
encoded. Writes RESULTS/fig9_latents.json and OUTPUT/fig9_latents.png.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

import coolchic
from common import find_images, make_parser, plot
from points import Job, Points, add_encoding, add_preset
from report import ROOT, environment, write_json

REFERENCE = ROOT / "tests" / "reference_decoder.py"
OUTLIERS = 0.5
"""Percent of a grid's values, on each side, that may be brighter or darker than shown."""


def load_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location(REFERENCE.stem, REFERENCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def read_latents(reference: ModuleType, data: bytes) -> list[np.ndarray]:
    """The grids of a file, finest first.

    Raises:
        RuntimeError: if the reference decoder makes another picture than the real one.
    """
    parsed = reference.parse(data)
    if not np.array_equal(reference.reconstruct(parsed), coolchic.decode(data)):
        raise RuntimeError("the reference decoder and the decoder disagree")
    return parsed.latents


def describe(grid: np.ndarray, size: int, pixels: int) -> dict:
    values, counts = np.unique(grid, return_counts=True)
    shares = counts / grid.size
    return {
        "shape": list(grid.shape),
        "bpp": 8 * size / pixels,
        "lowest": int(values[0]),
        "highest": int(values[-1]),
        "zero_percent": 100 * float(np.mean(grid == 0)),
        "entropy_bits": float((shares * np.log2(1 / shares)).sum()),
    }


def draw(path: Path, rows: list[dict], latents: list[list[np.ndarray]], what: str) -> None:
    caption = (
        f"Latent grids at two rates, finest first: {what}. Grey is 0; each grid has a scale of "
        "its own, symmetric about 0."
    )
    with plot(path, caption) as pyplot:
        if pyplot is None:
            return
        count = len(latents[0])
        height, width = latents[0][0].shape
        _, cells = pyplot.subplots(
            len(rows),
            count,
            figsize=(2 * count, (1.85 * height / width + 0.4) * len(rows)),
            squeeze=False,
        )
        for cells_row, row, grids in zip(cells, rows, latents, strict=True):
            for axes, grid, fields in zip(cells_row, grids, row["grids"], strict=True):
                extremes = np.abs(np.percentile(grid, (OUTLIERS, 100 - OUTLIERS)))
                limit = max(1.0, float(extremes.max()))
                axes.imshow(grid, cmap="gray", vmin=-limit, vmax=limit)
                axes.set_axis_off()
                h, w = fields["shape"]
                axes.set_title(
                    f"{w}x{h}: {fields['bpp']:.3f} bpp\n{fields['zero_percent']:.0f} % zero",
                    fontsize=7,
                )
            cells_row[0].text(
                -0.06,
                0.5,
                f"λ={row['lambda']:g}: {row['bpp']:.3f} bpp",
                transform=cells_row[0].transAxes,
                rotation="vertical",
                ha="right",
                va="center",
            )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--name", default="kodim19", help="(default: %(default)s)")
    add_encoding(parser, lambdas=(2e-2, 1e-3), names=False)
    add_preset(parser)
    parser.add_argument("--grids", type=int, default=5, metavar="N", help="how many (default: 5)")
    arguments = parser.parse_args()
    (image,), store = find_images(arguments.images, [arguments.name]), Points(arguments)

    reference = load_reference()
    rows, latents = [], []
    for lmbda in arguments.lambdas:
        data = store.file(Job(image, lmbda, arguments.preset, arguments.iterations, arguments.seed))
        if data is None:
            continue
        fields = coolchic.info(data)
        pixels = fields["width"] * fields["height"]
        grids = read_latents(reference, data)[: arguments.grids]
        described = [
            describe(grid, fields["bytes"][f"latents: grid {k}"], pixels)
            for k, grid in enumerate(grids)
        ]
        rows.append({"lambda": lmbda, "bpp": fields["bpp"], "grids": described})
        latents.append(grids)
        print(f"λ={lmbda:g}: {fields['bpp']:.4f} bpp")
        for grid in described:
            print(
                f"  {grid['shape'][1]:>4}x{grid['shape'][0]:<4} {grid['bpp']:.4f} bpp, "
                f"{grid['lowest']} to {grid['highest']}, {grid['zero_percent']:.1f} % zero, "
                f"{grid['entropy_bits']:.2f} bits of entropy per value"
            )
    write_json(arguments.results / "fig9_latents.json", {**environment(), "rows": rows})
    if rows:
        what = f"{arguments.name}, preset {arguments.preset}"
        draw(arguments.output / "fig9_latents.png", rows, latents, what)


if __name__ == "__main__":
    main()
