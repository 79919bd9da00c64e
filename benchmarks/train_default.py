"""Train the default decoders that every encode starts from.

    python benchmarks/train_default.py --images FILE… [--architectures paper standard …]
        [--lambdas 6e-4 …] [--linear 1.5e-4 …] [--from NUMBER] [--iterations N]

For each architecture and λ, one set of network weights is shared by all pictures, while each
picture has latents of its own. The shared weights learn as those of an encode do
(coolchic.optimizer), by the means over pictures of gradients and curvatures. Pictures are cut to
their middle. The first λ starts from a linear synthesis, as do those of ``--linear``, the others
from what the first led to, and take two thirds of the iterations. With ``--from`` networks start
from the tables of the architecture of that number (bitstream section 4.1), to which the one to be
trained adds parameters at the end, at first zero, and latents as those of an encode do; then only
the ARM learns, so that filters of ``train_analysis.py`` stay right. None of the pictures may be one
that results are reported on. Tables of architectures that are not named stay as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from coolchic.analysis import start_fine
from coolchic.architectures import DEFAULTS, find_architecture
from coolchic.bitstream import IDS
from coolchic.coarse_start import start_coarse
from coolchic.config import Architecture
from coolchic.curvature import blocks, curvatures
from coolchic.engine import StepSettings
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.optimizer import EigenAdam
from coolchic.presets import PRESETS, Stage
from coolchic.proxy import PROXIES
from coolchic.start import DEFAULT_BITS, nearest_default
from coolchic.start import start as start_networks
from coolchic.train import settings_at
from report import ROOT

STAGE = Stage(
    iterations=1,
    proxy="soft_round",
    latent_lr=0.12,
    network_lr=2e-2,
    latent_share=0.5,
    temperature=(0.35, 0.12),
    sigma=(0.30, 0.18),
)
TEXT = ROOT / "docs" / "default_decoders.txt"

CURVATURE_EVERY, CURVATURE_SAMPLES = 50, 8192
"""Iterations between two looks at the networks' curvature, and latents and pixels of one."""


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
    refine: bool = False,
) -> tuple[list[torch.Tensor], float]:
    """Weights shared by all targets, in the order of ``CoolChic.network_parameters``, and the
    mean loss at the end, with rounded latents.

    Args:
        refine: latents start as those of an encode, and only the ARM learns.
    """
    models = [CoolChic(arch, *target.shape[1:]) for target in targets]
    engines = [
        NativeEngine(model, target, lmbda, seed=number)
        for number, (model, target) in enumerate(zip(models, targets, strict=True))
    ]
    stage = replace(STAGE, iterations=iterations).for_lambda(lmbda)
    set_networks(models, start)
    if refine:
        start_latents(models, targets, lmbda)
    shared = models[0]
    parts = blocks(shared)
    arm = {id(p) for p in shared.arm.parameters()}
    learning = [k for k, part in enumerate(parts) if not refine or id(part[0]) in arm]
    optimizer = EigenAdam([parts[k] for k in learning])
    generator = torch.Generator().manual_seed(0)
    for number in range(iterations):
        settings = settings_at(stage, number)
        for engine in engines:
            engine.step(replace(settings, network_lr=0.0))
        if number % CURVATURE_EVERY == 0:
            found = mean_curvatures(models, settings, lmbda, generator)
            optimizer.turn([found[k] for k in learning])
        networks = [model.network_parameters() for model in models]
        for same in zip(*networks, strict=True):
            same[0].grad = torch.stack([p.grad for p in same]).mean(dim=0)
        optimizer.step(settings.network_lr)
        set_networks(models, shared.network_parameters())
        if number % 100 == 99 or number == iterations - 1:
            loss = float(np.mean([engine.evaluate().total(lmbda) for engine in engines]))
            print(f"λ {lmbda:g} iteration {number + 1}: loss {1e3 * loss:.4f}e-3", flush=True)
    return [p.detach().clone() for p in shared.network_parameters()], loss


def start_latents(models: list[CoolChic], targets: list[torch.Tensor], lmbda: float) -> None:
    preset = PRESETS["fast"]
    for model, target in zip(models, targets, strict=True):
        if preset.for_lambda(lmbda).fine_start:
            start_fine(model, target, lmbda)
        start_coarse(model, target, lmbda, preset, NativeEngine)


def linear_start(arch: Architecture, seed: int) -> list[torch.Tensor]:
    model = CoolChic(arch, 1, 1, seed)
    start_networks("linear", model, torch.full((3, 1, 1), 0.5), 1e-3, seed)
    return [p.detach().clone() for p in model.network_parameters()]


def mean_curvatures(
    models: list[CoolChic], settings: StepSettings, lmbda: float, generator: torch.Generator
) -> list[torch.Tensor]:
    """Over pictures, of each of ``blocks``, with samples of all of them."""
    proxy, samples = PROXIES[settings.proxy], CURVATURE_SAMPLES // len(models)
    found = []
    for model in models:
        y = [proxy(p, settings.temperature, settings.sigma, generator) for p in model.latents]
        found.append(curvatures(model, y, lmbda, samples, generator))
    return [torch.stack(same).mean(dim=0) for same in zip(*found, strict=True)]


@torch.no_grad()
def set_networks(models: list[CoolChic], values: list[torch.Tensor]) -> None:
    for model in models:
        for parameter, value in zip(model.network_parameters(), values, strict=True):
            parameter.copy_(value)


Tables = dict[tuple[int, int], np.ndarray]
"""Integers in units of 2^-12, by architecture (bitstream section 4.1) and number."""


def read_tables() -> Tables:
    """Those of the normative text."""
    tables = {}
    for part in TEXT.read_text().split("architecture ")[1:]:
        title, *rows = part.strip().splitlines()
        architecture, number = map(int, title.split(" table "))
        tables[architecture, number] = np.array(
            [int(value) for row in rows for value in row.rstrip(",").split(",")]
        )
    return tables


def write_tables(tables: Tables) -> None:
    """The normative text and its C++ twin."""
    rows = {
        key: [", ".join(map(str, table[i : i + 16])) for i in range(0, len(table), 16)]
        for key, table in sorted(tables.items())
    }
    text = ["# Default decoders: docs/bitstream.md section 6.1. Units of 2^-12."]
    for (architecture, number), lines in rows.items():
        text += [f"architecture {architecture} table {number}", *(f"{line}," for line in lines)]
        text[-1] = text[-1].rstrip(",")
    TEXT.write_text("\n".join(text) + "\n")
    code = [
        "// Made by benchmarks/train_default.py, with docs/default_decoders.txt.",
        '#include "decoder/default_parameters.h"',
        "",
        "namespace coolchic {",
        "",
        "// clang-format off",
        *(
            line
            for (architecture, number), lines in rows.items()
            for line in (
                f"static const int16_t kTable{architecture}_{number}[] = {{",
                *(f"    {line}," for line in lines),
                "};",
            )
        ),
        "",
        "const DefaultDecoder kDefaultDecoders[] = {",
        *(
            f"    {{{a}, kTable{a}_{n}, sizeof kTable{a}_{n} / sizeof *kTable{a}_{n}}},"
            for a, n in rows
        ),
        "};",
        "// clang-format on",
        "",
        f"const int kDefaultDecoderCount = {len(rows)};",
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
    parser.add_argument("--linear", nargs="+", type=float, default=[])
    parser.add_argument("--from", dest="first", type=int, metavar="NUMBER")
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    targets = [load(path, arguments.side) for path in arguments.images]
    for name in arguments.architectures:
        trained = train_tables(find_architecture(name, 3), targets, arguments)
        tables = read_tables()
        tables |= {(IDS[name], DEFAULTS[name] + i): table for i, table in enumerate(trained)}
        write_tables(tables)


def train_tables(
    arch: Architecture, targets: list[torch.Tensor], arguments: argparse.Namespace
) -> list[np.ndarray]:
    """Integers in units of 2^-12, a table for each λ, in ascending order."""
    found = {}
    if arguments.first is not None:
        tables = read_tables()
        for lmbda in arguments.lambdas:
            start = from_table(arch, tables[arguments.first, 1 + nearest_default(lmbda)])
            found[lmbda], _ = train_shared(
                arch, targets, lmbda, arguments.iterations, start, refine=True
            )
        return [as_table(found[lmbda]) for lmbda in sorted(found)]
    linear, first = linear_start(arch, arguments.seed), arguments.lambdas[0]
    for lmbda in arguments.lambdas:
        from_linear = lmbda == first or lmbda in arguments.linear
        iterations = arguments.iterations * (3 if from_linear else 2) // 3
        start = linear if from_linear else found[first]
        found[lmbda], _ = train_shared(arch, targets, lmbda, iterations, start)
    return [as_table(found[lmbda]) for lmbda in sorted(found)]


def as_table(parameters: list[torch.Tensor]) -> np.ndarray:
    """Integers in units of 2^-12."""
    values = np.concatenate([p.numpy().ravel() for p in parameters]) * 2.0**DEFAULT_BITS
    return np.rint(values).clip(-32768, 32767).astype(int)


def from_table(arch: Architecture, table: np.ndarray) -> list[torch.Tensor]:
    """Parameters of an architecture, of which those behind the table are zero."""
    parameters = CoolChic(arch, 1, 1).network_parameters()
    sizes = [p.numel() for p in parameters]
    values = torch.zeros(sum(sizes))
    values[: len(table)] = torch.from_numpy(table * 2.0**-DEFAULT_BITS)
    return [v.view_as(p) for v, p in zip(values.split(sizes), parameters, strict=True)]


if __name__ == "__main__":
    main()
