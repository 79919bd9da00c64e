"""Rounding a network's parameters so that their errors make up for each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from coolchic.threads import one_thread

__all__ = ["CompensatedRounding"]

FEWEST_STEPS = 0.15
"""Least mean magnitude, in steps, that bits are estimated with."""
BATCH = 64
"""Parameters that are rounded before those behind them move, which is faster, and the same but for
the order of sums."""


class CompensatedRounding:
    """Integers near a network's parameters at a low cost D + λR to second order.

    One parameter after the other, the most sensitive first, becomes an integer number of
    steps, and those that are left move to where the loss is lowest given that (optimal brain
    quantisation: Frantar & Alistarh 2022; in one fixed order with one Cholesky factor: GPTQ,
    Frantar et al. 2022). Of the integers near it, a parameter takes the one with the least sum
    of added distortion and bits, which are those of a Laplace distribution.

    Args:
        parameters: (P,) float64.
        hessians: of the loss, in units of J: square blocks, in the order of the parameters,
            between which there is nothing.
        damping: added to the Hessian, relative to its diagonal; the larger, the less
            parameters make up for each other.
    """

    def __init__(
        self, parameters: np.ndarray, hessians: Sequence[np.ndarray], damping: float
    ) -> None:
        diagonal = np.concatenate([np.diag(hessian) for hessian in hessians])
        added = damping * (diagonal + 0.1 * diagonal.mean() + 1e-30)
        ends = np.cumsum([len(hessian) for hessian in hessians])
        places = map(slice, [0, *ends], ends)
        self.parameters = parameters
        self.blocks = [
            (own, _Block(hessian + np.diag(added[own])))
            for own, hessian in zip(places, hessians, strict=True)
        ]

    def round(
        self, steps: np.ndarray, kinds: np.ndarray, bit_cost: float, origins: np.ndarray
    ) -> np.ndarray:
        """Integers (P,), so that ``integers * steps`` replace the parameters.

        Args:
            steps: (P,).
            kinds: (P,) small integers; parameters of one kind share a distribution.
            bit_cost: of one bit, in units of J.
            origins: (P,) integers that distributions are around.
        """
        integers = np.rint(self.parameters / steps)
        for _ in range(2):
            costs = np.empty(len(integers))
            for kind in np.unique(kinds):
                same = kinds == kind
                spread = max(FEWEST_STEPS, float(np.abs((integers - origins)[same]).mean()))
                costs[same] = bit_cost / (spread * math.log(2))
            for own, block in self.blocks:
                integers[own] = block.round(
                    self.parameters[own], steps[own], costs[own], origins[own]
                )
        return integers.astype(np.int64)


class _Block:
    """Parameters that may make up for each other.

    Args:
        hessian: (P, P), damped.
    """

    def __init__(self, hessian: np.ndarray) -> None:
        self.order = np.argsort(-np.diag(hessian), kind="stable")
        ordered = torch.from_numpy(hessian[np.ix_(self.order, self.order)])
        # H = RR' with R upper triangular, so that the inverse of H is U'U with the inverse U of R.
        # Row i of U, over its diagonal, is how the parameters after i answer to it.
        with one_thread():
            root = torch.linalg.cholesky(ordered.flip(0, 1)).flip(0, 1)
            inverse = torch.linalg.solve_triangular(root, torch.eye(len(root)).to(root), upper=True)
        self.sharpness = (0.5 * root.diagonal().square()).tolist()
        self.answers = (inverse * root.diagonal()[:, None]).numpy()

    def round(
        self, parameters: np.ndarray, steps: np.ndarray, costs: np.ndarray, origins: np.ndarray
    ) -> np.ndarray:
        """``costs``: of one step away from the origin, for each parameter."""
        left = parameters[self.order]
        integers = np.empty(len(left))
        steps, costs, origins = (x[self.order].tolist() for x in (steps, costs, origins))
        for first in range(0, len(left), BATCH):
            batch = slice(first, min(first + BATCH, len(left)))
            moved = np.empty(batch.stop - first)
            for i in range(first, batch.stop):
                x, step, origin = float(left[i]) / steps[i], steps[i], origins[i]
                best = origin + _cheapest(x - origin, self.sharpness[i] * step * step, costs[i])
                integers[i] = best
                moved[i - first] = (x - best) * step
                left[i : batch.stop] -= moved[i - first] * self.answers[i, i : batch.stop]
            # Not by BLAS, whose threads are not PyTorch's.
            left[batch.stop :] -= np.einsum("i,ij", moved, self.answers[batch, batch.stop :])
        out = np.empty(len(left))
        out[self.order] = integers
        return out


def _cheapest(x: float, sharpness: float, cost: float) -> int:
    """The integer q with the least sharpness * (x - q)^2 + cost * |q|."""
    magnitude = abs(x)
    low = math.floor(max(0.0, magnitude - 0.5 * cost / sharpness)) if sharpness > 0 else 0
    over = magnitude - low
    # One more saves sharpness * (over^2 - (over - 1)^2).
    q = low + 1 if sharpness * (2 * over - 1) > cost else low
    return q if x >= 0 else -q
