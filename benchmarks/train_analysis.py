"""Train the filters that the latents of the finest grids start from (coolchic.analysis).

    python benchmarks/train_analysis.py --images FILE… [--architectures paper standard …]
        [--lambdas 1.5e-4 6e-4 2.5e-3] [--iterations N] [--side PIXELS]

For each default decoder, which stays as it is, a filter for every grid is learned by the loss of
an encode itself, D + λR with noisy soft-rounding, over random squares of the pictures. Filters of
the finest grids are kept. Samples come whitened, or the mean colour, which is all but
everything in them, would be all that is learned. None of the pictures may be one that results are
reported on. Filters of decoders and λ that are not named stay as they are.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from coolchic.analysis import TABLES, finest, patches, sampling, table_name
from coolchic.architectures import DEFAULTS, find_architecture
from coolchic.config import Architecture
from coolchic.engine import TorchEngine
from coolchic.model import CoolChic
from coolchic.proxy import PROXIES
from coolchic.start import DEFAULT_LAMBDAS, nearest_default, start
from report import ROOT
from train_default import load

FILE = ROOT / "src" / "python" / "coolchic" / TABLES
COARSE_SIDES = (5, 3, 3)
"""Of the filters of the coarsest grids, which have few latents to learn from."""
STEP, TEMPERATURE, SIGMA = 3e-2, (0.35, 0.20), 0.25
LEAST_VARIANCE = 1e-3
WHOLE = 1 << 20


class WhitenedFilters(nn.Module):
    """One linear filter for each grid, of samples made uncorrelated."""

    def __init__(self, targets: list[Tensor], arch: Architecture) -> None:
        super().__init__()
        grids = arch.grids
        self.samplings = [sampling(arch, k) for k in range(grids)]
        for k, side in enumerate(COARSE_SIDES, grids - len(COARSE_SIDES)):
            self.samplings[k] = replace(self.samplings[k], side=side)
        self.shapes = arch.grid_shapes
        self.whitening = [torch.zeros(()) for _ in self.samplings]
        counts = [0] * grids
        for target in targets:
            for k, of in enumerate(self.samplings):
                samples = patches(target, of).double()
                self.whitening[k] = self.whitening[k] + samples @ samples.T
                counts[k] += samples.shape[1]
        for k, count in enumerate(counts):
            variances, axes = torch.linalg.eigh(self.whitening[k] / count)
            scales = (variances.clamp_min(0) + LEAST_VARIANCE).rsqrt()
            self.whitening[k] = (axes * scales).float()
        self.weights = nn.ParameterList(nn.Parameter(torch.zeros(len(w))) for w in self.whitening)
        self.biases = nn.Parameter(torch.zeros(grids))

    def forward(self, target: Tensor) -> list[Tensor]:
        """Latents of all grids."""
        latents = []
        for k, shape in enumerate(self.shapes(*target.shape[1:])):
            weights = self.whitening[k] @ self.weights[k]
            values = weights[None] @ patches(target, self.samplings[k]) + self.biases[k]
            latents.append(values.reshape(shape))
        return latents

    @torch.no_grad()
    def plain(self, grids: int) -> list[np.ndarray]:
        """Weights, then bias, of the finest grids, for samples as they are."""
        return [
            torch.cat([self.whitening[k] @ self.weights[k], self.biases[k : k + 1]]).numpy()
            for k in range(grids)
        ]


def train_filters(
    name: str, lmbda: float, targets: list[Tensor], iterations: int, side: int
) -> list[np.ndarray]:
    """Of each of the finest grids (C · side² + 1,) float32, for the default decoder of an
    architecture nearest to λ."""
    arch = find_architecture(name, 3)
    filters = WhitenedFilters(targets, arch)
    model = CoolChic(arch, side, side)
    start("default", model, targets[0], lmbda, seed=0)
    model.requires_grad_(False)
    engine = TorchEngine(model, targets[0], lmbda)
    optimizer = torch.optim.Adam(filters.parameters())
    generator = torch.Generator().manual_seed(0)
    losses = []
    for number in range(iterations):
        t = number / iterations
        optimizer.param_groups[0]["lr"] = STEP * 0.5 * (1 + math.cos(math.pi * t))
        temperature = TEMPERATURE[0] + t * (TEMPERATURE[1] - TEMPERATURE[0])
        engine.target = random_square(targets, side, generator)
        y = [
            PROXIES["soft_round"](latent, temperature, SIGMA, generator)
            for latent in filters(engine.target)
        ]
        mse, bpp = engine.losses(y)
        loss = mse + lmbda * bpp
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if number % 100 == 99 or number == iterations - 1:
            mean = 1e3 * np.mean(losses[-100:])
            print(f"{name}, λ {lmbda:g}, iteration {number + 1}: loss {mean:.3f}e-3", flush=True)
    return filters.plain(finest(arch))


def random_square(targets: list[Tensor], side: int, generator: torch.Generator) -> Tensor:
    def below(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    target = targets[below(len(targets))]
    top, left = (below(n - side + 1) for n in target.shape[1:])
    return target[:, top : top + side, left : left + side].contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", type=Path, required=True)
    parser.add_argument(
        "--architectures", nargs="+", choices=list(DEFAULTS), default=list(DEFAULTS)
    )
    parser.add_argument("--lambdas", nargs="+", type=float, default=list(DEFAULT_LAMBDAS[:3]))
    parser.add_argument("--iterations", type=int, default=800)
    parser.add_argument("--side", type=int, default=256)
    arguments = parser.parse_args()
    targets = [load(path, WHOLE) for path in arguments.images]
    for name in arguments.architectures:
        for lmbda in arguments.lambdas:
            filters = train_filters(name, lmbda, targets, arguments.iterations, arguments.side)
            tables = dict(np.load(FILE)) if FILE.exists() else {}
            for k, values in enumerate(filters):
                tables[table_name(name, nearest_default(lmbda), k)] = values
            np.savez(FILE, **tables)


if __name__ == "__main__":
    main()
