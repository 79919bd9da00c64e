"""How the first weights of the networks decide where training ends.

    python benchmarks/starts.py --images DIR [--names kodim03 …] [--lambdas 1e-3] [--seeds 0 1]
        [--iterations N] [--output benchmarks/results/starts.json]

Trains every picture from every start in ``coolchic.start.STARTS`` with every seed, with the
preset ``fast`` stretched to N iterations, and reports the loss with hard-rounded latents
(float model; no file is written). Points already in the output file are not made again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from coolchic.config import Architecture
from coolchic.presets import PRESETS
from coolchic.start import STARTS
from float_training import train_float
from report import RESULTS, environment, write_json


def final_loss(picture: Path, kind: str, lmbda: float, seed: int, iterations: int) -> dict:
    preset = replace(PRESETS["fast"].with_iterations(iterations), start=kind)
    samples = np.asarray(Image.open(picture))
    _, engine = train_float(samples, Architecture(), preset, lmbda, seed)
    losses = engine.evaluate()
    return {
        "image": picture.stem,
        "start": kind,
        "lambda": lmbda,
        "seed": seed,
        "iterations": iterations,
        "loss": losses.total(lmbda),
        "commit": environment()["commit"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["kodim03", "kodim19"])
    parser.add_argument("--lambdas", nargs="+", type=float, default=[1e-3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=RESULTS / "starts.json")
    arguments = parser.parse_args()

    points = json.loads(arguments.output.read_text())["points"] if arguments.output.exists() else []
    keys = ("image", "start", "lambda", "seed", "iterations")
    done = {tuple(p[key] for key in keys) for p in points}
    for name in arguments.names:
        for lmbda in arguments.lambdas:
            for seed in arguments.seeds:
                for kind in STARTS:
                    if (name, kind, lmbda, seed, arguments.iterations) in done:
                        continue
                    path = arguments.images / f"{name}.png"
                    points.append(final_loss(path, kind, lmbda, seed, arguments.iterations))
                    result = {"command": environment()["command"], "points": points}
                    write_json(arguments.output, result)
    print("image    lambda  iterations  start    1000 x loss, by seed")
    for group in sorted({(p["image"], p["lambda"], p["iterations"], p["start"]) for p in points}):
        same = [
            p for p in points if (p["image"], p["lambda"], p["iterations"], p["start"]) == group
        ]
        losses = "  ".join(f"{1000 * p['loss']:.4f}" for p in same)
        print(f"{group[0]:<8} {group[1]:<7g} {group[2]:>10}  {group[3]:<8} {losses}")


if __name__ == "__main__":
    main()
