"""Where encodes with a wanted rate or PSNR land.

python benchmarks/goals.py --picture FILE [--preset P] [--goals bpp=0.5 psnr=33 …]
    [--output benchmarks/results/goals.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import coolchic
from report import RESULTS, environment, write_json

GOALS = ["bpp=0.2", "bpp=0.5", "bpp=1", "psnr=30", "psnr=35", "size=8000"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--goals", nargs="+", default=GOALS)
    parser.add_argument("--output", type=Path, default=RESULTS / "goals.json")
    arguments = parser.parse_args()
    points = []
    for goal in arguments.goals:
        name, value = goal.split("=")
        options = {name: float(value) if name != "size" else int(value)}
        encoded = coolchic.encode_image(
            Image.open(arguments.picture), preset=arguments.preset, **options
        )
        points.append(
            {
                "goal": goal,
                "bytes": len(encoded.data),
                "bpp": encoded.bpp,
                "psnr": encoded.psnr,
                "lambda": encoded.lmbda,
                "seconds": encoded.seconds,
            }
        )
        write_json(arguments.output, {**environment(), "points": points})
        print(
            f"{goal:<10} {len(encoded.data):>7} bytes {encoded.bpp:.4f} bpp {encoded.psnr:.2f} dB "
            f"{encoded.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
