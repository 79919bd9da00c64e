"""Train the default decoders that every encode starts from.

    python benchmarks/train_default.py --images FILE… --output default.npz
        [--lambdas 1.5e-4 …] [--iterations N]

For each λ, one set of network weights is shared by all pictures, while each picture has
latents of its own: after each iteration the pictures' weights are averaged. Pictures are
cut to their middle. None of them may be one that results are reported on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from coolchic.config import Architecture
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.presets import Stage
from coolchic.train import settings_at
from PIL import Image

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
    targets: list[torch.Tensor], lmbda: float, iterations: int, start: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Weights shared by all targets, in the order of ``CoolChic.network_parameters``."""
    arch = Architecture()
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


def random_start(seed: int) -> list[torch.Tensor]:
    """Hidden units in pairs of opposite sign, so that the synthesis starts linear."""
    generator = torch.Generator().manual_seed(seed)
    model = CoolChic(Architecture(), 1, 1, seed)
    with torch.no_grad():
        half = torch.randn(6, 7, generator=generator) * 0.05
        model.synthesis[0].weight.copy_(torch.cat([half, -half]))
        out = torch.randn(3, 6, generator=generator) * 0.2
        model.synthesis[-1].weight.copy_(torch.cat([out, -out], dim=1))
        model.synthesis[-1].bias.fill_(0.5)
    return [p.detach().clone() for p in model.network_parameters()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", type=Path, required=True)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--lambdas", nargs="+", type=float, default=[6e-4, 1.5e-4, 2.5e-3, 1.2e-2])
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    targets = [load(path, arguments.side) for path in arguments.images]
    start = random_start(arguments.seed)
    found = {}
    for lmbda in arguments.lambdas:
        found[lmbda] = train_shared(targets, lmbda, arguments.iterations, start)
        start = found[arguments.lambdas[0]]
        values = {
            f"{key:g}": np.concatenate([p.numpy().ravel() for p in value])
            for key, value in found.items()
        }
        np.savez(arguments.output, **values)


if __name__ == "__main__":
    main()
