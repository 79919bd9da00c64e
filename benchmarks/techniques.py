"""What each training technique gives, and costs: a preset with one thing changed at a time.

    python benchmarks/techniques.py --images DIR [--names kodim03 …] [--lambdas 1e-3 …]
        [--arch standard] [--preset fast] [--side 384] [--iterations 600] [--seeds 0 …]
        [--only NAME …] [--output benchmarks/results/techniques.json]

Encodes the middle of every picture (SIDE columns and two thirds as many rows) with the preset
stretched to N iterations, and with each of VARIANTS and REPLACED, and reports J = D + λR of the
real file (D from decoded pixels, R from its bytes) against that of the preset, and the time.
Networks weigh more in such a file than in one of a whole picture. Points already in the output
file are not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np

import coolchic
from coolchic import quantize, train
from coolchic.architectures import ARCHITECTURES
from coolchic.parameter_rate import ParameterRate
from coolchic.presets import PRESETS, Preset
from report import RESULTS
from variants import add_arguments, compare, measured


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
    "latent steps along a plain cosine": _main(latent_decay=1.0),
    "temperature from 0.35 at every λ": _main(hottest=0.0),
    "no coarse start at low rates": lambda preset: replace(preset, coarse_iterations=0),
    "finest grids from zero": lambda preset: replace(preset, fine_start=False),
    "no search of single latents": lambda preset: replace(preset, search_rounds=0),
    "search of three grids, twice": lambda preset: replace(preset, search_grids=3, search_rounds=2),
    "hard stage in two, another search between": lambda preset: replace(
        preset,
        stages=(
            preset.stages[0],
            *2 * (replace(preset.stages[1], iterations=preset.stages[1].iterations // 2),),
        ),
    ),
    "latents by Adam": _main(latent_share=0.0),
    "latents' momentum 0.9 at every λ": _main(latent_momentum=0.9),
    "gains of grids left to latents and weights": _main(gain_lr=0.0),
}


class _FreeAtFirst(ParameterRate):
    """Networks do not mind it at first, whatever they are coded from."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.from_default = False


REPLACED: dict[str, tuple[object, str, object]] = {
    # A damping with which no parameter answers to another's rounding.
    "parameters rounded one by one": (quantize, "DAMPINGS", (1e6,)),
    "networks free of their rate at first": (train, "ParameterRate", _FreeAtFirst),
}
"""What is no preset's: of a module, this attribute is another value."""

NAMES = (*VARIANTS, *REPLACED)


def measure(variant: str, samples: np.ndarray, *, lmbda: float, seed: int, arguments) -> dict:
    preset = PRESETS[arguments.preset].with_iterations(arguments.iterations)
    change = VARIANTS.get(variant, VARIANTS["preset"])
    replaced = mock.patch.object(*REPLACED[variant]) if variant in REPLACED else nullcontext()
    with replaced:
        encoded = coolchic.encode_image(
            samples,
            lmbda=lmbda,
            preset=change(preset),
            seed=seed,
            threads=arguments.threads,
            arch=arguments.arch,
        )
    return measured(encoded, lmbda)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, NAMES, RESULTS / "techniques.json")
    parser.add_argument("--arch", choices=tuple(ARCHITECTURES), default="standard")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fast")
    arguments = parser.parse_args()
    settings = {"arch": arguments.arch, "preset": arguments.preset}
    compare(arguments, "preset", partial(measure, arguments=arguments), settings)


if __name__ == "__main__":
    main()
