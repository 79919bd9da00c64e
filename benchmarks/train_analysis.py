"""Train the filters that the latents of the two finest grids start from (coolchic.analysis).

    python benchmarks/train_analysis.py --images FILE… [--architectures paper standard …]
        [--lambdas 1.5e-4 6e-4 2.5e-3] [--iterations N] [--side PIXELS]

For each default decoder, which stays as it is, a filter for every grid is learned by the loss of
an encode itself, D + λR with noisy soft-rounding, over random squares of the pictures. Filters of
the two finest grids are kept. Samples come whitened, or the mean colour, which is all but
everything in them, would be all that is learned. None of the pictures may be one that results are
reported on. Filters of decoders and λ that are not named stay as they are.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from coolchic.analysis import SIDE, TABLES, patches, pyramid, table_name
from coolchic.architectures import DEFAULTS, find_architecture
from coolchic.engine import TorchEngine
from coolchic.model import CoolChic
from coolchic.proxy import PROXIES
from coolchic.start import DEFAULT_LAMBDAS, nearest_default, start
from report import ROOT
from train_default import load

FILE = ROOT / "src" / "python" / "coolchic" / TABLES
KEPT = 2
COARSE_SIDES = (5, 3, 3)
"""Of the filters of the coarsest grids, which have few latents to learn from."""
STEP, TEMPERATURE, SIGMA = 3e-2, (0.35, 0.20), 0.25
LEAST_VARIANCE = 1e-3
WHOLE = 1 << 20


class WhitenedFilters(nn.Module):
    """One linear filter for each grid, of samples made uncorrelated."""

    def __init__(self, targets: list[Tensor], grids: int) -> None:
        super().__init__()
        self.sides = [SIDE] * (grids - len(COARSE_SIDES)) + list(COARSE_SIDES)
        self.whitening = [torch.zeros(()) for _ in self.sides]
        counts = [0] * grids
        for target in targets:
            for k, level in enumerate(pyramid(target, grids)):
                samples = patches(level, self.sides[k]).double()
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
        for k, level in enumerate(pyramid(target, len(self.sides))):
            weights = self.whitening[k] @ self.weights[k]
            values = weights[None] @ patches(level, self.sides[k]) + self.biases[k]
            latents.append(values.reshape(level.shape[1:]))
        return latents

    @torch.no_grad()
    def plain(self, grids: int) -> np.ndarray:
        """(grids, weights and bias) for samples as they are."""
        return np.stack(
            [
                torch.cat([self.whitening[k] @ self.weights[k], self.biases[k : k + 1]]).numpy()
                for k in range(grids)
            ]
        )


def train_filters(
    name: str, lmbda: float, targets: list[Tensor], iterations: int, side: int
) -> np.ndarray:
    """(KEPT, C · SIDE² + 1) float32 for the default decoder of an architecture nearest to λ."""
    arch = find_architecture(name, 3)
    filters = WhitenedFilters(targets, arch.grids)
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
    return filters.plain(KEPT)


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
            np.savez(FILE, **tables | {table_name(name, nearest_default(lmbda)): filters})


if __name__ == "__main__":
    main()
