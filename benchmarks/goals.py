"""Where encodes with a wanted size, rate or PSNR land, and what they cost.

    python benchmarks/goals.py --images DIR [--names kodim03 …] [--goals bpp=0.3 psnr=32 …]
        [--side N] [--preset P] [--threads N] [--results DIR]

SIDE takes the middle of every picture, so many columns and two thirds as many rows. Every picture
is also encoded without a goal, at the default λ; "extra" is the CPU time of an encode with a goal
over that. Points already in RESULTS/goals.json are not made
again. Deviations are of the whole file's bytes, or of the PSNR of the C++ decoder's pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import process_time

import numpy as np
from PIL import Image

import coolchic
from common import Table, add_names, find_images, fingerprint, make_parser, middle
from report import environment

GOALS = ["bpp=0.3", "bpp=1.0", "psnr=32", "psnr=36", "size=20000"]
PLAIN = "none"


def point(path: Path, goal: str, arguments: argparse.Namespace, table: Table) -> dict:
    samples = np.asarray(Image.open(path))
    if arguments.side is not None:
        samples = middle(samples, arguments.side)
    key = {
        "image": path.stem,
        "pixels": fingerprint(samples),
        "preset": arguments.preset,
        "threads": arguments.threads,
        "size": f"{samples.shape[1]}x{samples.shape[0]}",
        "goal": goal,
    }
    row = table.find(key)
    if row is None:
        start = process_time()
        encoded = coolchic.encode_image(
            samples, preset=arguments.preset, threads=arguments.threads, **_options(goal)
        )
        row = key | {
            "lambda": encoded.lmbda,
            "bytes": len(encoded.data),
            "bpp": encoded.bpp,
            "psnr": encoded.psnr,
            "seconds": encoded.seconds,
            "cpu_seconds": process_time() - start,
            **{name: environment()[name] for name in ("command", "cpu", "cores", "commit")},
        }
        table.add(key, row)
    return row


def deviation(row: dict) -> str:
    """From the goal, in percent or dB."""
    name, _, value = row["goal"].partition("=")
    if name == "psnr":
        return f"{row['psnr'] - float(value):+.3f} dB"
    landed = row["bytes"] if name == "size" else row["bpp"]
    return f"{100 * (landed / float(value) - 1):+.2f} %"


def _options(goal: str) -> dict:
    if goal == PLAIN:
        return {}
    name, _, value = goal.partition("=")
    return {name: int(value) if name == "size" else float(value)}


def main() -> None:
    parser = make_parser(__doc__)
    add_names(parser)
    parser.add_argument("--goals", nargs="+", default=GOALS, metavar="NAME=VALUE")
    parser.add_argument("--side", type=int, metavar="N", help="columns (default: all)")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    table = Table(arguments.results / "goals.json")
    columns = ("image", "size", "goal", "bytes", "bpp", "PSNR dB", "λ", "deviation", "s", "extra")
    layout = "{:8} {:8} {:12} {:>8} {:>7} {:>8} {:>9} {:>10} {:>7} {:>8}"
    print(layout.format(*columns))
    for path in find_images(arguments.images, arguments.names):
        plain = point(path, PLAIN, arguments, table)
        for goal in arguments.goals:
            row = point(path, goal, arguments, table)
            extra = 100 * (row["cpu_seconds"] / plain["cpu_seconds"] - 1)
            figures = (
                f"{row['bytes']}",
                f"{row['bpp']:.4f}",
                f"{row['psnr']:.3f}",
                f"{row['lambda']:.3g}",
                deviation(row),
                f"{row['seconds']:.1f}",
                f"{extra:+.1f} %",
            )
            print(layout.format(row["image"], row["size"], goal, *figures), flush=True)


if __name__ == "__main__":
    main()
