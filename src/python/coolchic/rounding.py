"""Rounding a network's parameters so that their errors make up for each other."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["CompensatedRounding"]

FEWEST_STEPS = 0.15
"""Least mean magnitude, in steps, that bits are estimated with."""


class CompensatedRounding:
    """Integers near a network's parameters at a low cost D + λR to second order.

    One parameter after the other, the most sensitive first, becomes an integer number of
    steps, and those that are left move to where the loss is lowest given that (optimal brain
    quantisation: Frantar & Alistarh 2022; in one fixed order with one Cholesky factor: GPTQ,
    Frantar et al. 2022). Of the integers near it, a parameter takes the one with the least sum
    of added distortion and bits, which are those of a Laplace distribution.

    Args:
        parameters: (P,) float64.
        hessian: (P, P) of the loss, in units of J.
        damping: added to the Hessian, relative to its diagonal; the larger, the less
            parameters make up for each other.
    """

    def __init__(self, parameters: np.ndarray, hessian: np.ndarray, damping: float) -> None:
        diagonal = np.diag(hessian)
        added = damping * (diagonal + 0.1 * diagonal.mean() + 1e-30)
        self.order = np.argsort(-diagonal, kind="stable")
        damped = (hessian + np.diag(added))[np.ix_(self.order, self.order)]
        # Row i of the factor, over its diagonal, is how the parameters after i answer to it.
        factor = np.linalg.cholesky(np.linalg.inv(damped)).T
        self.sharpness = (0.5 / np.diag(factor) ** 2).tolist()
        self.answers = factor / np.diag(factor)[:, None]
        self.parameters = parameters[self.order]

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
        ordered_steps, ordered_kinds = steps[self.order], kinds[self.order]
        origins = origins[self.order]
        integers = np.rint(self.parameters / ordered_steps)
        for _ in range(2):
            costs = np.empty(len(integers))
            for kind in np.unique(ordered_kinds):
                same = ordered_kinds == kind
                spread = max(FEWEST_STEPS, float(np.abs((integers - origins)[same]).mean()))
                costs[same] = bit_cost / (spread * math.log(2))
            integers = self._pass(ordered_steps, costs, origins)
        out = np.empty(len(integers), np.int64)
        out[self.order] = integers
        return out

    def _pass(self, steps: np.ndarray, costs: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """``costs``: of one step away from the origin, for each parameter."""
        left = self.parameters.copy()
        integers = np.empty(len(left))
        for i, (step, cost, origin, sharpness) in enumerate(
            zip(steps.tolist(), costs.tolist(), origins.tolist(), self.sharpness, strict=True)
        ):
            x = left[i] / step
            best = origin + _cheapest(x - origin, sharpness * step * step, cost)
            integers[i] = best
            left[i:] -= (x - best) * step * self.answers[i, i:]
        return integers


def _cheapest(x: float, sharpness: float, cost: float) -> int:
    """The integer q with the least sharpness * (x - q)^2 + cost * |q|."""
    magnitude = abs(x)
    low = math.floor(max(0.0, magnitude - 0.5 * cost / sharpness) if sharpness > 0 else 0.0)
    q = min((low, low + 1), key=lambda n: sharpness * (magnitude - n) ** 2 + cost * n)
    return q if x >= 0 else -q
