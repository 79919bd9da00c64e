"""From a trained and quantised model near its goal to one whose file meets it.

Rate-distortion optimised quantisation of single latents, as video coders do it: those latents
move by one, towards zero or towards less distortion, that give the wanted bytes or decibels at
the lowest price in the other. What a move changes is told by gradients: of the distortion to
second order, of the rate half-way along the move, with what it does to the contexts of the
latents around. Moves of one round are judged as if each were alone, so the file is measured
after each round, and the next goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import Tensor

from coolchic.engine import Engine
from coolchic.model import CoolChic
from coolchic.quantize import INT16
from coolchic.rate_control import Goal

__all__ = ["land"]

ROUNDS, MOST_ROUNDS = 6, 30
"""At most, for a file that the goal admits, and for one that is above a wanted size."""

RATE_ONLY = 1e6
"""λ beside which the distortion is nothing."""

PHASES = 2
"""Every so manyth row and column moves at once when the rate is asked about."""

Latents = list[np.ndarray]


def land(
    goal: Goal,
    engine: Engine,
    model: CoolChic,
    latents: Latents,
    measure: Callable[[Latents], float],
) -> Latents:
    """Change latents of a trained and quantised model until its file meets the goal.

    Args:
        engine: the model's; its λ is changed.
        model: with the quantised networks.
        latents: int32 grids, finest first.
        measure: of such grids, what the goal is about: bytes of the file, or PSNR in dB.

    Returns:
        Grids, finest first: the nearest to the goal of those measured, if possible not above
        a wanted size.
    """
    best, best_value = latents, measure(latents)
    value = best_value
    if goal.meets(value):
        return best
    judge = _Judge(engine, model, latents)
    for number in range(MOST_ROUNDS):
        judge.move(goal, value)
        latents = judge.latents()
        value = measure(latents)
        if goal.prefers(value, best_value):
            best, best_value = latents, value
        if goal.meets(value) or (number + 1 >= ROUNDS and goal.admits(best_value)):
            break
    return best


class _Judge:
    """Integer latents, and what their moves would change."""

    def __init__(self, engine: Engine, model: CoolChic, latents: Latents) -> None:
        self.engine, self.pixels = engine, model.height * model.width
        self.y = [
            torch.from_numpy(grid).to(p.device, p.dtype)
            for grid, p in zip(latents, model.latents, strict=True)
        ]
        self.sharpness: list[float] | None = None

    def latents(self) -> Latents:
        return [y.to(torch.int32).cpu().numpy() for y in self.y]

    def move(self, goal: Goal, value: float) -> None:
        """Make the moves that should bring a value, that of the present latents, to its aim."""
        mse, slopes = self._distortion(self.y)
        if self.sharpness is None:
            self.sharpness = self._sharpness(slopes)
        less = goal.exceeded(value)
        moves = [-y.sign() for y in self.y] if less else [-s.sign() for s in slopes]
        # Distortion and bits that each move adds; those of the picture's mean, and of the file.
        d = torch.cat(
            [
                (s * m + 0.5 * h * m.abs()).flatten()
                for s, m, h in zip(slopes, moves, self.sharpness, strict=True)
            ]
        ).double()
        r = torch.cat([b.flatten() for b in self._added_bits(moves)]).double()
        gain, price = (-r, d) if less else (-d, r)
        candidates = torch.nonzero(gain > 0).flatten()
        order = candidates[torch.argsort((price / gain)[candidates], stable=True)]
        if goal.size is not None:
            progress, needed = r[order], 8 * (goal.aim - value)
        else:
            progress, needed = d[order], mse * (10 ** ((value - goal.aim) / 10) - 1)
        sign = 1 if needed > 0 else -1
        reached = torch.nonzero(sign * progress.cumsum(0) >= sign * needed).flatten()
        chosen = torch.zeros_like(d, dtype=torch.bool)
        chosen[order[: int(reached[0]) + 1] if len(reached) else order] = True
        for y, m, c in zip(self.y, moves, chosen.split([y.numel() for y in self.y]), strict=True):
            y.add_(m * c.view_as(m)).clamp_(-INT16 - 1, INT16)

    def _distortion(self, y: list[Tensor]) -> tuple[float, list[Tensor]]:
        """MSE, and its derivatives."""
        self.engine.lmbda = 0.0
        losses, slopes = self.engine.latent_gradients(y)
        return losses.mse, slopes

    def _sharpness(self, slopes: list[Tensor]) -> list[float]:
        """Mean second derivative of the MSE by the latents of each grid (Hutchinson 1990)."""
        generator = torch.Generator().manual_seed(0)
        means = []
        for k, y in enumerate(self.y):
            signs = torch.randint(2, y.shape, generator=generator).mul(2).sub(1).to(y)
            moved = [*self.y[:k], y + 0.5 * signs, *self.y[k + 1 :]]
            _, there = self._distortion(moved)
            means.append(float(((there[k] - slopes[k]) * signs).mean() / 0.5))
        return means

    def _added_bits(self, moves: list[Tensor]) -> list[Tensor]:
        """Bits that each move adds, its neighbours staying, but for some further off."""
        self.engine.lmbda = RATE_ONLY
        bits = [torch.empty_like(m) for m in moves]
        for row, column in product(range(PHASES), repeat=2):
            phase = np.s_[row::PHASES, column::PHASES]
            half = [y.clone() for y in self.y]
            for y, m in zip(half, moves, strict=True):
                y[phase] += 0.5 * m[phase]
            _, slopes = self.engine.latent_gradients(half)
            for b, m, s in zip(bits, moves, slopes, strict=True):
                b[phase] = s[phase] * m[phase] * (self.pixels / RATE_ONLY)
        return bits
