"""Encode a few images at a few λ and set each point beside the published first release.

    python benchmarks/encode_table.py --images DIR [--names kodim03 …] [--lambdas 4e-3 …]
        [--preset P] [--iterations N] [--output benchmarks/results/NAME.json]

Rates are file sizes, PSNR is of the C++ decoder's pixels. Points already in the output file
are not made again. "Rate against v1.0" is our rate over that of the published curve of the
same image at our PSNR (log-rate over PSNR, PCHIP; a curve has 4 points).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image

import coolchic
from bdrate import published, rate_at_equal_psnr
from report import RESULTS, environment, write_json


def rate_against_v1(name: str, bpp: float, psnr: float) -> float | None:
    """Percent of rate over the first release's at the same PSNR; None outside its range."""
    curve = published()["v1.0"].get(name)
    return rate_at_equal_psnr(curve, bpp, psnr) if curve else None


def make_point(path: Path, lmbda: float, arguments: argparse.Namespace) -> dict:
    encoded = coolchic.encode_image(
        Image.open(path),
        lmbda=lmbda,
        preset=arguments.preset,
        iterations=arguments.iterations,
        threads=arguments.threads,
    )
    if arguments.files:
        arguments.files.mkdir(parents=True, exist_ok=True)
        (arguments.files / f"{path.stem}_{lmbda:g}.cool").write_bytes(encoded.data)
    sections = coolchic.info(encoded.data)["bytes"]
    return {
        "image": path.stem,
        "lambda": lmbda,
        "iterations": encoded.iterations,
        "bytes": len(encoded.data),
        "bpp": encoded.bpp,
        "psnr": encoded.psnr,
        "seconds": encoded.seconds,
        "estimate_bytes": encoded.estimate_bytes,
        "float_psnr": encoded.float_psnr,
        "weights_bytes": sum(n for name, n in sections.items() if name.startswith("weights")),
        "rate_vs_v1_percent": rate_against_v1(path.stem, encoded.bpp, encoded.psnr),
        **{key: environment()[key] for key in ("cpu", "cores", "commit")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["kodim03", "kodim13", "kodim19"])
    parser.add_argument("--lambdas", nargs="+", type=float, default=[4e-3, 5e-4])
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--files", type=Path, help="folder to keep the .cool files in")
    parser.add_argument("--output", type=Path, default=RESULTS / "encode_table.json")
    arguments = parser.parse_args()

    table = {"command": environment()["command"], "preset": arguments.preset, "points": []}
    if arguments.output.exists():
        table["points"] = json.loads(arguments.output.read_text())["points"]
    done = {(p["image"], p["lambda"]) for p in table["points"]}
    for name in arguments.names:
        for lmbda in arguments.lambdas:
            if (name, lmbda) in done:
                continue
            table["points"].append(make_point(arguments.images / f"{name}.png", lmbda, arguments))
            write_json(arguments.output, table)
    print("image    lambda  iterations    bytes     bpp  PSNR dB  seconds  rate vs v1.0")
    for p in table["points"]:
        rate = p["rate_vs_v1_percent"]
        print(
            f"{p['image']:<8} {p['lambda']:<7g} {p['iterations']:>10} {p['bytes']:>8} "
            f"{p['bpp']:>7.4f} {p['psnr']:>8.2f} {p['seconds']:>8.0f}  "
            + ("outside" if rate is None else f"{rate:+.1f} %")
        )


if __name__ == "__main__":
    main()
