"""What each module of the decoder gives, and costs: architectures compared by J = D + λR.

    python benchmarks/modules.py --images DIR [--names kodim03 …] [--lambdas 1e-3 …]
        [--side 384] [--iterations 600] [--seeds 0 …] [--only NAME …]
        [--output benchmarks/results/modules.json]

Encodes the middle of every picture (SIDE columns and two thirds as many rows) with the preset
``fast`` stretched to N iterations, for each of VARIANTS, and reports J of the real file (D from
decoded pixels, R from its bytes) against the paper's architecture, bytes of the networks,
multiplications per pixel, all counted, and the time. Points already in the output file are not
made again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

import numpy as np

import coolchic
from coolchic.architectures import ARCHITECTURES, PARENTS, nearest_context
from coolchic.config import Architecture, Layer
from report import RESULTS
from variants import add_arguments, compare, measured

PAPER = Architecture()
LINEAR_CONVOLUTION = Layer(3, residual=True, activation="none", kind="conv3x3")
RELU_CONVOLUTION = Layer(3, residual=True, activation="relu", kind="conv3x3")
ALL = replace(PAPER, parents=PARENTS, upsampling="filtered", refinement=(LINEAR_CONVOLUTION,))
TWO = replace(ALL, refinement=(RELU_CONVOLUTION, LINEAR_CONVOLUTION))


def _with_arm(arch: Architecture, contexts: int, width: int) -> Architecture:
    hidden = Layer(width, residual=True)
    return replace(arch, context=nearest_context(contexts), arm_hidden=(hidden, hidden))


VARIANTS: dict[str, Architecture] = {
    "paper": PAPER,
    "filters": replace(PAPER, upsampling="filtered"),
    "convolution": replace(PAPER, refinement=(LINEAR_CONVOLUTION,)),
    "two convolutions": replace(PAPER, refinement=(RELU_CONVOLUTION, LINEAR_CONVOLUTION)),
    "one parent": replace(PAPER, parents=PARENTS[:1]),
    "four parents": replace(PAPER, parents=PARENTS),
    "filters, convolution": replace(ALL, parents=()),
    "filters, convolution, parents": ALL,
    "all, two convolutions": TWO,
    "all, three convolutions": replace(TWO, refinement=(RELU_CONVOLUTION, *TWO.refinement)),
    "all, two convolutions, synthesis 7-16-16-3": replace(
        TWO, synthesis_hidden=(Layer(16), Layer(16, residual=True))
    ),
    "all, two convolutions, ARM of 16 contexts, width 16": _with_arm(TWO, 16, 16),
    "all, synthesis 7-12-3": replace(ALL, synthesis_hidden=(Layer(12),)),
    "all, synthesis 7-24-3": replace(ALL, synthesis_hidden=(Layer(24),)),
    "all, ARM of 8 contexts, width 12": _with_arm(ALL, 8, 12),
    "all, ARM of 8 contexts, width 8": _with_arm(ALL, 8, 8),
    **{name: make(3) for name, make in ARCHITECTURES.items() if name != "paper"},
}


def measure(
    variant: str, samples: np.ndarray, *, lmbda: float, seed: int, iterations: int, threads: int
) -> dict:
    encoded = coolchic.encode_image(
        samples,
        lmbda=lmbda,
        preset="fast",
        iterations=iterations,
        seed=seed,
        threads=threads,
        arch=VARIANTS[variant],
    )
    return measured(encoded, lmbda)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, VARIANTS, RESULTS / "modules.json")
    arguments = parser.parse_args()
    settings = {"iterations": arguments.iterations, "threads": arguments.threads}
    compare(arguments, "paper", partial(measure, **settings))


if __name__ == "__main__":
    main()
