"""What each training technique gives, and costs: a preset with one thing changed at a time.

    python benchmarks/techniques.py --images DIR [--names kodim03 …] [--lambdas 1e-3 …]
        [--side 384] [--iterations 600] [--only NAME …]
        [--output benchmarks/results/techniques.json]

Encodes the middle of every picture (SIDE columns and two thirds as many rows) with the preset
``fast`` stretched to N iterations, and with each of VARIANTS, and reports J = D + λR of the real
file (D from decoded pixels, R from its bytes) against that of the preset, and the time.
Networks weigh more in such a file than in one of a whole picture. Points already in the output
file are not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

import coolchic
from common import Table, fingerprint, middle
from coolchic import quantize
from coolchic.presets import PRESETS, Preset
from points import network_bytes
from report import RESULTS, environment


def _main(**changes) -> Callable[[Preset], Preset]:
    """Settings of the stage in which latents learn."""
    return lambda preset: replace(
        preset, stages=(replace(preset.stages[0], **changes), *preset.stages[1:])
    )


def _adam(preset: Preset) -> Preset:
    return replace(_main(network_lr=1e-2)(preset), curvature_every=0)


def _hard_share(share: float) -> Callable[[Preset], Preset]:
    def change(preset: Preset) -> Preset:
        hard = round(share * preset.iterations)
        first, last = preset.stages
        return replace(
            preset,
            stages=(
                replace(first, iterations=preset.iterations - hard),
                replace(last, iterations=hard),
            ),
        )

    return change


VARIANTS: dict[str, Callable[[Preset], Preset]] = {
    "preset": lambda preset: preset,
    "networks by Adam": _adam,
    "axes renewed half as often": lambda preset: replace(preset, curvature_every=100),
    "network steps of half the size": _main(network_lr=1e-2),
    "uniform noise": _main(proxy="noise"),
    "temperature down to 0.08": _main(temperature=(0.35, 0.08)),
    "hard stage of 15 %": _hard_share(0.15),
    "linear start": lambda preset: replace(preset, start="linear"),
    "random start": lambda preset: replace(preset, start="random"),
    "latent steps of 0.12": _main(latent_lr=0.12),
    "parameters rounded one by one": lambda preset: preset,
}
ONE_BY_ONE = (1e6,)
"""Damping with which no parameter answers to another's rounding."""


def point(samples: np.ndarray, name: str, lmbda: float, iterations: int, threads: int) -> dict:
    preset = VARIANTS[name](PRESETS["fast"].with_iterations(iterations))
    before = quantize.DAMPINGS
    if name == "parameters rounded one by one":
        quantize.DAMPINGS = ONE_BY_ONE
    start = perf_counter()
    try:
        encoded = coolchic.encode_image(samples, lmbda=lmbda, preset=preset, threads=threads)
    finally:
        quantize.DAMPINGS = before
    return {
        "J": 10 ** (-encoded.psnr / 10) + lmbda * encoded.bpp,
        "bytes": len(encoded.data),
        "weights_bytes": network_bytes({"sections": coolchic.info(encoded.data)["bytes"]}),
        "psnr": encoded.psnr,
        "seconds": perf_counter() - start,
        "commit": environment()["commit"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["kodim03", "kodim13", "kodim19"])
    parser.add_argument("--lambdas", nargs="+", type=float, default=[1e-3])
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--output", type=Path, default=RESULTS / "techniques.json")
    arguments = parser.parse_args()

    table = Table(arguments.output)
    columns = [(name, lmbda) for name in arguments.names for lmbda in arguments.lambdas]
    for variant in dict.fromkeys(["preset", *arguments.only]):
        rows = []
        for name, lmbda in columns:
            picture = Image.open(arguments.images / f"{name}.png").convert("RGB")
            samples = middle(np.asarray(picture), arguments.side)
            key = {
                "image": name,
                "pixels": fingerprint(samples),
                "lambda": lmbda,
                "iterations": arguments.iterations,
                "variant": variant,
            }
            row = table.find(key)
            if row is None:
                made = point(samples, variant, lmbda, arguments.iterations, arguments.threads)
                table.add(key, row := key | made)
            rows.append(row)
        if variant == "preset":
            base = rows
        ratios = [row["J"] / other["J"] for row, other in zip(rows, base, strict=True)]
        mean = exp(sum(map(log, ratios)) / len(ratios))
        print(
            f"{variant:32} {100 * (mean - 1):+6.1f} %  ("
            + ", ".join(
                f"{name} {lmbda:g}: {100 * (r - 1):+.1f} %"
                for (name, lmbda), r in zip(columns, ratios, strict=True)
            )
            + f"), weights {np.mean([row['weights_bytes'] for row in rows]):.0f} bytes, "
            f"{np.mean([row['seconds'] for row in rows]):.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
