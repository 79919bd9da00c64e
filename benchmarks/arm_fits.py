"""What further features, or another distribution, would save of the latents' rate.

    python benchmarks/arm_fits.py --images DIR [--names kodim03 …] [--lambdas 4e-3 …]
        [--side 384] [--iterations 800] [--fit 300] [--only NAME …]
        [--output benchmarks/results/arm_fits.json]

Trains the middle of every picture (SIDE columns and two thirds as many rows) with
``standard``, the preset ``fast`` and N iterations. Then rounded latents are fixed, and its
ARM learns on for FIT iterations, as it is and with each of FITS added, at zero, without effect.
What more context can tell about such latents shows within a minute and without the chance of whole
trainings; what latents would be, had they been trained with it, does not. Points already in the
output file are not made again.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from candidates import (
    ARCH,
    Grandparents,
    GridNumber,
    LocalEnergy,
    ParentEnergy,
    ScaledOutputs,
    StabilisedArm,
    Standard,
)
from common import Table, fingerprint, middle
from coolchic.model import LOG_SCALE_OFFSET, LOG_SCALE_RANGE, MIN_PROBABILITY, CoolChic
from coolchic.presets import PRESETS
from float_training import train_float
from report import RESULTS, environment

STEP = 1e-2


class Gaussian(Standard):
    """A normal distribution for the Laplace distribution, of about the same spread."""

    def symbol_bits(self, y: Tensor, parameters: Tensor) -> Tensor:
        mean, log_scale = parameters
        inverse = torch.exp(-(log_scale - LOG_SCALE_OFFSET).clamp(*LOG_SCALE_RANGE)) * 0.9
        upper, lower = ((y - mean + half) * inverse for half in (0.5, -0.5))
        return _bits(torch.special.ndtr(upper) - torch.special.ndtr(lower))


class Logistic(Standard):
    """A logistic distribution for the Laplace distribution, of about the same spread."""

    def symbol_bits(self, y: Tensor, parameters: Tensor) -> Tensor:
        mean, log_scale = parameters
        inverse = torch.exp(-(log_scale - LOG_SCALE_OFFSET).clamp(*LOG_SCALE_RANGE)) * 1.8
        upper, lower = ((y - mean + half) * inverse for half in (0.5, -0.5))
        return _bits(torch.sigmoid(upper) - torch.sigmoid(lower))


FITS: dict[str, type[Standard]] = {
    "standard": Standard,
    "linear branch": StabilisedArm,
    "outputs scaled by grid": ScaledOutputs,
    "a bias for each grid": GridNumber,
    "local energy": LocalEnergy,
    "grandparents": Grandparents,
    "parents' energy": ParentEnergy,
    "Gaussian": Gaussian,
    "logistic": Logistic,
}


def _bits(probability: Tensor) -> Tensor:
    return -torch.log2(probability.clamp_min(MIN_PROBABILITY))


def fitted_bytes(kind: type[Standard], model: CoolChic, iterations: int) -> float:
    """Bytes of the model's rounded latents after its ARM has learned on."""
    fit = kind(model.height, model.width)
    fit.load_state_dict(model.state_dict(), strict=False)
    latents = [torch.round(y.detach()) for y in model.latents]
    others = ("latents.", "synthesis.", "filters.")
    parameters = [p for name, p in fit.named_parameters() if not name.startswith(others)]
    optimizer = torch.optim.Adam(parameters, lr=STEP, betas=(0.9, 0.99))
    count = sum(y.numel() for y in latents)
    for i in range(iterations):
        optimizer.param_groups[0]["lr"] = STEP * 0.5 * (1 + math.cos(math.pi * i / iterations))
        optimizer.zero_grad()
        (fit.grid_bits(latents) / count).backward()
        optimizer.step()
    with torch.no_grad():
        return float(fit.grid_bits(latents)) / 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["kodim03", "kodim13", "kodim19"])
    parser.add_argument("--lambdas", nargs="+", type=float, default=[4e-3, 4e-4])
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--fit", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(FITS), default=list(FITS))
    parser.add_argument("--output", type=Path, default=RESULTS / "arm_fits.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = Table(arguments.output)
    preset = PRESETS["fast"].with_iterations(arguments.iterations)
    ratios: dict[str, list[float]] = {}
    for name in arguments.names:
        picture = Image.open(arguments.images / f"{name}.png").convert("RGB")
        samples = middle(np.asarray(picture), arguments.side)
        for lmbda in arguments.lambdas:
            model = base = None
            for fit in dict.fromkeys(["standard", *arguments.only]):
                key = {
                    "image": name,
                    "pixels": fingerprint(samples),
                    "lambda": lmbda,
                    "iterations": arguments.iterations,
                    "fit iterations": arguments.fit,
                    "fit": fit,
                }
                row = table.find(key)
                if row is None:
                    model = model or train_float(samples, ARCH, preset, lmbda)[0]
                    size = fitted_bytes(FITS[fit], model, arguments.fit)
                    row = key | {"bytes": size, "commit": environment()["commit"]}
                    table.add(key, row)
                base = base or row["bytes"]
                ratios.setdefault(fit, []).append(row["bytes"] / base)
    for fit, values in ratios.items():
        each = ", ".join(f"{100 * (r - 1):+.2f} %" for r in values)
        print(f"{fit:24} {100 * (sum(values) / len(values) - 1):+.2f} %  ({each})")


if __name__ == "__main__":
    main()
