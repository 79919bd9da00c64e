"""Train the default decoders that every encode starts from.

    python benchmarks/train_default.py --images FILE… [--architectures paper standard]
        [--lambdas 1.5e-4 …] [--iterations N]

For each architecture and λ, one set of network weights is shared by all pictures, while each
picture has latents of its own: after each iteration the pictures' weights are averaged. Pictures
are cut to their middle. None of them may be one that results are reported on. Tables of
architectures that are not named stay as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from coolchic import _encoder
from coolchic.architectures import DEFAULTS, find_architecture
from coolchic.config import Architecture
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.presets import Stage
from coolchic.start import DEFAULT_BITS
from coolchic.start import start as start_networks
from coolchic.train import settings_at
from report import ROOT

STAGE = Stage(
    iterations=1,
    proxy="soft_round",
    latent_lr=0.12,
    network_lr=1e-2,
    temperature=(0.35, 0.12),
    sigma=(0.30, 0.18),
)


def load(path: Path, side: int) -> torch.Tensor:
    """The middle of a picture, (3, H, W), in units of 256."""
    picture = Image.open(path).convert("RGB")
    left, top = (max(0, (n - side) // 2) for n in picture.size)
    picture = picture.crop(
        (left, top, min(left + side, picture.width), min(top + side, picture.height))
    )
    return torch.from_numpy(np.asarray(picture, np.float32) / 256).permute(2, 0, 1).contiguous()


def train_shared(
    arch: Architecture,
    targets: list[torch.Tensor],
    lmbda: float,
    iterations: int,
    start: list[torch.Tensor],
) -> list[torch.Tensor]:
    """Weights shared by all targets, in the order of ``CoolChic.network_parameters``."""
    models = [CoolChic(arch, *target.shape[1:]) for target in targets]
    engines = [
        NativeEngine(model, target, lmbda, seed=number)
        for number, (model, target) in enumerate(zip(models, targets, strict=True))
    ]
    stage = replace(STAGE, iterations=iterations)
    shared = start
    for number in range(iterations):
        for model, engine in zip(models, engines, strict=True):
            set_networks(model, shared)
            engine.step(settings_at(stage, number))
        shared = [
            torch.stack([p.detach() for p in same]).mean(dim=0)
            for same in zip(*(model.network_parameters() for model in models), strict=True)
        ]
        if number % 100 == 99:
            for model in models:
                set_networks(model, shared)
            losses = [1e3 * engine.evaluate().total(lmbda) for engine in engines]
            print(f"λ {lmbda:g} iteration {number + 1}: loss {np.mean(losses):.4f}e-3", flush=True)
    return shared


@torch.no_grad()
def set_networks(model: CoolChic, values: list[torch.Tensor]) -> None:
    for parameter, value in zip(model.network_parameters(), values, strict=True):
        parameter.copy_(value)


def write_tables(tables: list[np.ndarray]) -> None:
    """The normative text and its C++ twin, from integer tables in the order of their numbers."""
    rows = [
        [", ".join(map(str, table[i : i + 16])) for i in range(0, len(table), 16)]
        for table in tables
    ]
    text = ["# Default decoders: docs/bitstream.md section 6.1. Units of 2^-12."]
    for number, lines in enumerate(rows, start=1):
        text += [f"table {number}", *lines]
    (ROOT / "docs" / "default_decoders.txt").write_text("\n".join(text) + "\n")
    code = [
        "// Made by benchmarks/train_default.py, with docs/default_decoders.txt.",
        '#include "decoder/default_parameters.h"',
        "",
        "namespace coolchic {",
        "",
        "// clang-format off",
        *(
            line
            for number, lines in enumerate(rows, start=1)
            for line in (
                f"static const int16_t kTable{number}[] = {{",
                *(f"    {line}," for line in lines),
                "};",
            )
        ),
        "",
        "const DefaultDecoder kDefaultDecoder[kDefaultTables] = {",
        *(
            f"    {{kTable{number}, sizeof kTable{number} / sizeof *kTable{number}}},"
            for number in range(1, len(rows) + 1)
        ),
        "};",
        "// clang-format on",
        "",
        "}  // namespace coolchic",
    ]
    source = ROOT / "src" / "cpp" / "decoder" / "default_parameters.cpp"
    source.write_text("\n".join(code) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", type=Path, required=True)
    parser.add_argument(
        "--architectures", nargs="+", choices=list(DEFAULTS), default=list(DEFAULTS)
    )
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--lambdas", nargs="+", type=float, default=[6e-4, 1.5e-4, 2.5e-3, 1.2e-2])
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    targets = [load(path, arguments.side) for path in arguments.images]
    tables = []
    for name, first in DEFAULTS.items():
        if name in arguments.architectures:
            tables += train_tables(find_architecture(name, 3), targets, arguments)
        else:
            numbers = range(first, first + len(arguments.lambdas))
            tables += [_encoder.default_decoder(number).astype(int) for number in numbers]
    write_tables(tables)


def train_tables(
    arch: Architecture, targets: list[torch.Tensor], arguments: argparse.Namespace
) -> list[np.ndarray]:
    """Integers in units of 2^-12, a table for each λ, in ascending order."""
    model = CoolChic(arch, 1, 1, arguments.seed)
    start_networks("linear", model, torch.full((3, 1, 1), 0.5), 1e-3, arguments.seed)
    start = [p.detach().clone() for p in model.network_parameters()]
    found = {}
    for lmbda in arguments.lambdas:
        found[lmbda] = train_shared(arch, targets, lmbda, arguments.iterations, start)
        start = found[arguments.lambdas[0]]
    return [
        np.rint(np.concatenate([p.numpy().ravel() for p in found[lmbda]]) * 2.0**DEFAULT_BITS)
        .clip(-32768, 32767)
        .astype(int)
        for lmbda in sorted(found)
    ]


if __name__ == "__main__":
    main()
