"""What a decoder can do when pictures share its networks: architectures compared.

    python benchmarks/shared_loss.py --images FILE… [--decoders 8x12-12:14+1 high FILE.toml …]
        [--lambdas 6e-4 2.5e-3] [--side 256] [--iterations 600] [--seeds 0 1]
        [--output benchmarks/results/shared_loss.json]

As train_default.py trains default decoders: one set of network weights for all pictures, latents
of their own for each, from a linear synthesis, and prints the mean loss with rounded latents,
networks not counted, of each λ and seed. A decoder is a name, a TOML file, or CxW-X…:A-B…+N: an
ARM of C contexts, four parents and hidden layers of widths W, X …, filtered upsampling, a synthesis
with hidden layers of widths A, B …, and N 3x3 convolutions behind it; with w at its end, three
subbands for the finest grid. Points already in the output file are not made again.
"""

from __future__ import annotations

import argparse
import re
from itertools import product
from pathlib import Path

import torch

from common import Table
from coolchic.architectures import find_architecture, with_modules
from coolchic.config import Architecture
from report import RESULTS, environment
from train_default import linear_start, load, train_shared

SHORT = re.compile(r"(\d+)x(\d+(?:-\d+)*):(\d+(?:-\d+)*)\+(\d)(w?)")


def find_decoder(name: str) -> Architecture:
    short = SHORT.fullmatch(name)
    if short is None:
        return find_architecture(name, 3)
    context, arm, synthesis, convolutions, wavelet = short.groups()
    return with_modules(
        3,
        context=int(context),
        arm=tuple(map(int, arm.split("-"))),
        synthesis=tuple(map(int, synthesis.split("-"))),
        convolutions=int(convolutions),
        wavelet=bool(wavelet),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", type=Path, required=True)
    parser.add_argument("--decoders", nargs="+", default=["paper", "lite", "standard", "high"])
    parser.add_argument("--lambdas", nargs="+", type=float, default=[6e-4, 2.5e-3])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=RESULTS / "shared_loss.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = Table(arguments.output)
    targets = [load(path, arguments.side) for path in arguments.images]
    for name in arguments.decoders:
        arch = find_decoder(name)
        losses = []
        for lmbda, seed in product(arguments.lambdas, arguments.seeds):
            key = {
                "images": sorted(path.name for path in arguments.images),
                "side": arguments.side,
                "iterations": arguments.iterations,
                "lambda": lmbda,
                "decoder": name,
                "seed": seed,
            }
            row = table.find(key)
            if row is None:
                start = linear_start(arch, seed)
                _, loss = train_shared(arch, targets, lmbda, arguments.iterations, start)
                row = key | {
                    "loss": loss,
                    "parameters": arch.parameters(),
                    "mac_per_pixel": sum(arch.macs_per_pixel(512, 768).values()),
                    "commit": environment()["commit"],
                }
                table.add(key, row)
            losses.append(1e3 * row["loss"])
        numbers = "  ".join(f"{loss:.4f}" for loss in losses)
        print(f"{name:20} {row['mac_per_pixel']:6.0f} {row['parameters']:5}  {numbers}", flush=True)


if __name__ == "__main__":
    main()
