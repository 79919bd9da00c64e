"""What a change of a preset or of the decoder does to the loss of training, without a file.

    python benchmarks/float_loss.py --images DIR [--names kodim03 …] [--lambdas 1e-3 …]
        [--arch standard] [--preset fast] [--iterations 600] [--side 384] [--seeds 0 …]
        [--changes latent_momentum=0.9 "arch=8x12-12:32+1" "latent_lr=0.2 hottest=0.4" …]
        [--output benchmarks/results/float_loss.json]

Trains the middle of every picture (SIDE columns and two thirds as many rows; 0 is all of it) as
the preset says, stretched to N iterations, and with each of the changes: D + λR with rounded
latents, the float model's, networks not counted. It is quicker than files (``techniques.py``) and
says less: what a change does to the networks' bytes does not show.

A change is one or more of NAME=VALUE with spaces between: a field of the preset, a field of its
stage in which latents learn (``coolchic.presets``), or ``arch``, a decoder as ``shared_loss.py``
knows them. Points already in the output file are not made again.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from common import Table, fingerprint, middle
from coolchic.model import laplace_bits
from coolchic.presets import PRESETS, Preset, Stage
from float_training import train_float
from report import RESULTS, environment
from shared_loss import find_decoder

UNCHANGED = "unchanged"


def parse_change(text: str) -> dict[str, object]:
    """Values by name, of Python's literals; what is none is text.

    Raises:
        ValueError: for a name that neither a preset nor a stage has.
    """
    known = {"arch", *(field.name for field in (*fields(Preset), *fields(Stage)))}
    values = {}
    for assignment in text.split():
        name, equals, value = assignment.partition("=")
        if not equals or name not in known:
            raise ValueError(f"{assignment!r} is not NAME=VALUE of a preset or its stage")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[name] = value
    return values


def changed(preset: Preset, values: dict[str, object]) -> Preset:
    """The preset with these values; those of a stage are for the one in which latents learn."""
    of_preset = {field.name for field in fields(Preset)}
    stage = {name: value for name, value in values.items() if name not in of_preset}
    first, *others = preset.stages
    preset = replace(preset, stages=(replace(first, **stage), *others))
    return replace(preset, **{name: v for name, v in values.items() if name in of_preset})


@torch.no_grad()
def grid_bpp(model) -> list[float]:
    """Bits per pixel of each grid's rounded latents by the float ARM, finest first."""
    y = [torch.round(latent) for latent in model.latents]
    mean, log_scale = model.arm(torch.cat(model.arm.inputs(y), dim=1))
    bits = laplace_bits(torch.cat([grid.reshape(-1) for grid in y]), mean, log_scale)
    pixels = model.height * model.width
    return [float(b.sum()) / pixels for b in bits.split([grid.numel() for grid in y])]


def measure(samples: np.ndarray, arguments: argparse.Namespace, text: str, lmbda, seed) -> dict:
    values = {} if text == UNCHANGED else parse_change(text)
    arch = find_decoder(str(values.pop("arch", arguments.arch)))
    preset = changed(PRESETS[arguments.preset].with_iterations(arguments.iterations), values)
    start = perf_counter()
    model, engine = train_float(samples, arch, preset, lmbda, seed)
    losses = engine.evaluate()
    return {
        "loss": losses.total(lmbda),
        "bpp": losses.bpp,
        "mse": losses.mse,
        "grid_bpp": grid_bpp(model),
        "seconds": perf_counter() - start,
        "commit": environment()["commit"],
    }


def line(rows: Iterable[dict], base: Iterable[dict]) -> str:
    """Losses of some rows, and over those of others."""
    pairs = list(zip(rows, base, strict=True))
    parts = [f"{1e3 * row['loss']:.4f}" for row, _ in pairs]
    ratios = [row["loss"] / other["loss"] for row, other in pairs]
    parts += [f"{100 * (ratio - 1):+.1f} %" for ratio in ratios]
    parts.append(f"mean {100 * (np.exp(np.mean(np.log(ratios))) - 1):+.2f} %")
    return "  ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["kodim03", "kodim13", "kodim19"])
    parser.add_argument("--lambdas", nargs="+", type=float, default=[1e-3])
    parser.add_argument("--arch", default="standard")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fast")
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--changes", nargs="+", default=[], metavar="CHANGE")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=RESULTS / "float_loss.json")
    arguments = parser.parse_args()
    for text in arguments.changes:
        try:
            parse_change(text)
        except ValueError as error:
            parser.error(str(error))
    torch.set_num_threads(arguments.threads)
    table = Table(arguments.output)
    same = {name: getattr(arguments, name) for name in ("arch", "preset", "iterations")}
    columns = list(product(arguments.names, arguments.lambdas, arguments.seeds))
    print("1000 x loss of", ", ".join(f"{name} at {lmbda:g}" for name, lmbda, _ in columns))
    base = None
    for text in (UNCHANGED, *arguments.changes):
        rows = []
        for name, lmbda, seed in columns:
            samples = np.asarray(Image.open(arguments.images / f"{name}.png").convert("RGB"))
            if arguments.side:
                samples = middle(samples, arguments.side)
            key = same | {"image": name, "pixels": fingerprint(samples), "lambda": lmbda}
            key |= {"seed": seed, "change": text}
            row = table.find(key)
            if row is None:
                row = key | measure(samples, arguments, text, lmbda, seed)
                table.add(key, row)
            rows.append(row)
        base = base or rows
        print(f"{text:32} {line(rows, base)}", flush=True)


if __name__ == "__main__":
    main()
