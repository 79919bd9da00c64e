"""What each module of the decoder gives, and costs, alone and in combination.

    python benchmarks/modules.py --images DIR [--names kodim05 kodim19] [--lambdas 2e-2 …]
        [--side 384] [--iterations 600] [--seeds 0 …] [--only NAME …]
        [--output benchmarks/results/modules.json]

Encodes the middle of every picture (SIDE columns and two thirds as many rows) with the preset
``fast`` stretched to N iterations, once for each of two series: ADDED adds modules to the paper's
decoder, CHANGED takes one away from ``standard``, or changes it. So that only the module differs,
no decoder in a series has anything that another lacks: latents begin at zero; networks from the
paper's default decoder, with what is added at zero, in the one, and from a linear synthesis in the
other; and headers describe all of them, none by its number, so that parameters are coded as they
are, not as differences from a default decoder. Rate is the file without its header.

Prints, as a table in Markdown: BD-rate over the first of the series, the mean of all pictures;
multiplications per pixel, all counted; milliseconds that decoding takes, and a training iteration,
for 768x512 pixels (processor time of one thread, the fastest of several: decoding of the picture
with the smallest λ, by its pixels); and bytes of the networks at the largest and the smallest λ.
Points already in the output file are not made again.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np

import coolchic
from bdrate import Curve, bd_rate, mean
from common import percent
from coolchic import _decoder, bitstream, parameter_rate, quantize
from coolchic.architectures import ARCHITECTURES, PARENTS, find_architecture
from coolchic.config import Architecture, Layer
from coolchic.native import NativeEngine
from coolchic.presets import PRESETS
from report import RESULTS
from train_step import LAMBDA, Timed, random_model
from variants import add_arguments, compare, measured

WIDTH, HEIGHT = 768, 512
DECODES, STEPS = 9, 10
LINEAR_CONVOLUTION = Layer(3, residual=True, activation="none", kind="conv3x3")
RELU_CONVOLUTION = Layer(3, residual=True, activation="relu", kind="conv3x3")

PAPER = find_architecture("paper", 3)
ALL = replace(PAPER, parents=PARENTS, upsampling="filtered", refinement=(LINEAR_CONVOLUTION,))
TWO = replace(ALL, refinement=(RELU_CONVOLUTION, LINEAR_CONVOLUTION))
ADDED: dict[str, Architecture] = {
    "`paper`": PAPER,
    "filters": replace(PAPER, upsampling="filtered"),
    "a convolution": replace(PAPER, refinement=(LINEAR_CONVOLUTION,)),
    "two convolutions": replace(PAPER, refinement=TWO.refinement),
    "one parent": replace(PAPER, parents=PARENTS[:1]),
    "four parents": replace(PAPER, parents=PARENTS),
    "filters, a convolution": replace(ALL, parents=()),
    "filters, a convolution, parents": ALL,
    "filters, two convolutions, parents": TWO,
}

_standard = functools.partial(ARCHITECTURES["standard"], 3)
"""``standard`` with other arguments of ``with_modules``."""
STANDARD = _standard()
PYRAMID = _standard(wavelet=False, subband_weights=False)
CHANGED: dict[str, Architecture] = {
    "`standard`": STANDARD,
    "without weights of subbands": _standard(subband_weights=False),
    "without the wavelet, and so without these": PYRAMID,
    "… and without filters": replace(PYRAMID, upsampling="bicubic"),
    "without parents": replace(STANDARD, parents=()),
    "without its convolution": _standard(convolutions=0),
    "two convolutions": _standard(convolutions=2),
    "the ARM's layers not residual": replace(STANDARD, arm_hidden=(Layer(8), Layer(8))),
    "one hidden layer in the ARM": _standard(arm=(8,)),
    "the ARM of width 12": _standard(arm=(12, 12)),
    "5 contexts": _standard(context=5),
    "24 contexts": _standard(context=24),
    "synthesis of width 12": _standard(synthesis=(12,)),
    "synthesis of width 64": _standard(synthesis=(64,)),
    "synthesis of two hidden layers": _standard(synthesis=(26, 26)),
    "all of `lite`": find_architecture("lite", 3),
    "all of `high`": find_architecture("high", 3),
}

STARTS = {"added to the paper's decoder": "default", "instead of `standard`": "linear"}
SERIES = dict(zip(STARTS, (ADDED, CHANGED), strict=True))
VARIANTS = {
    f"{series}: {name}": (STARTS[series], arch)
    for series, decoders in SERIES.items()
    for name, arch in decoders.items()
}
"""The start and the decoder of each variant."""


def decode_milliseconds(data: bytes, pixels: int) -> float:
    def decode() -> object:
        return _decoder.decode_bytes(data, threads=1)

    fastest = min(_processor_seconds(decode) for _ in range(DECODES))
    return 1e3 * fastest * WIDTH * HEIGHT / pixels


@functools.cache
def training_milliseconds(arch: Architecture) -> float:
    model, target = random_model(arch, WIDTH, HEIGHT)
    native = Timed("native", 1, NativeEngine(model, target, LAMBDA, threads=1))
    native.run(STEPS)
    return 1e3 * min(native.cpu_seconds)


def _processor_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measure(
    variant: str, samples: np.ndarray, *, lmbda: float, seed: int, iterations: int, threads: int
) -> dict:
    start, arch = VARIANTS[variant]
    preset = replace(
        PRESETS["fast"].with_iterations(iterations),
        start=start,
        fine_start=False,
        coarse_iterations=0,
    )
    with (
        mock.patch.object(quantize, "default_values", return_value=None),
        mock.patch.object(parameter_rate, "default_values", return_value=None),
        mock.patch.object(bitstream, "IDS", {}),
    ):
        encoded = coolchic.encode_image(
            samples, lmbda=lmbda, preset=preset, seed=seed, threads=threads, arch=arch
        )
    pixels = samples.shape[0] * samples.shape[1]
    row = measured(encoded, lmbda)
    body = row["bytes"] - coolchic.info(encoded.data)["bytes"]["header"]
    return row | {
        "J": 10 ** (-encoded.psnr / 10) + lmbda * 8 * body / pixels,
        "bpp_without_header": 8 * body / pixels,
        "decode_ms": decode_milliseconds(encoded.data, pixels),
        "train_ms": training_milliseconds(arch),
    }


def curves(rows: list[dict]) -> list[Curve]:
    """Of each picture and seed, in one order for all variants."""
    points: dict[tuple, list] = {}
    for row in rows:
        key = (row["image"], row["seed"])
        points.setdefault(key, []).append((row["bpp_without_header"], row["psnr"]))
    return [Curve.of(of_one) for of_one in points.values()]


def table_line(name: str, rows: list[dict], base: list[dict]) -> str:
    rates = [bd_rate(a, b) for a, b in zip(curves(base), curves(rows), strict=True)]
    low, high = (pick(row["lambda"] for row in rows) for pick in (min, max))

    def of(key: str, lmbda: float) -> float:
        return float(np.mean([row[key] for row in rows if row["lambda"] == lmbda]))

    columns = (
        name,
        percent(mean(rate for rate in rates if rate is not None), 0),
        ", ".join(percent(rate, 0) for rate in rates),
        f"{of('mac_per_pixel', low):.0f}",
        f"{of('decode_ms', low):.1f}",
        f"{rows[0]['train_ms']:.1f}",
        f"{of('weights_bytes', high):.0f}, {of('weights_bytes', low):.0f}",
    )
    return f"| {' | '.join(columns)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, VARIANTS, RESULTS / "modules.json")
    parser.set_defaults(names=["kodim05", "kodim19"], lambdas=[2e-2, 4e-3, 1e-3, 4e-4])
    arguments = parser.parse_args()
    settings = {"iterations": arguments.iterations, "threads": arguments.threads}
    chosen = arguments.only
    lines = []
    for series, decoders in SERIES.items():
        names = {f"{series}: {name}": name for name in decoders}
        arguments.only = [variant for variant in names if variant in chosen]
        if not arguments.only:
            continue
        first = next(iter(names))
        found = compare(arguments, first, functools.partial(measure, **settings))
        lines += [
            f"\n| {series} | BD-rate | by picture | MAC/pixel | decoding, ms | training, ms | "
            "networks, bytes |",
            "|---|---|---|---|---|---|---|",
            *(table_line(names[key], rows, found[first]) for key, rows in found.items()),
        ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
