"""Optimisers: for the networks, whose few hundred parameters afford whole matrices, and for
the latents, of which there are more than pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["EigenAdam", "GridAdam"]

FLATNESS, FLAT, MOST_PACE = 0.2, 0.01, 2.0
"""Steps along an axis go with this power of one over its curvature, of which so much of the mean of
all axes has a step of 1; none is larger than the third."""
SMALLEST = 1e-30
"""Of a mean curvature."""


class EigenAdam:
    """Adam in the eigenvectors of a curvature matrix.

    SOAP (Vyas et al. 2024) runs Adam in the eigenvectors of Shampoo's factors, which estimate
    the curvature of one layer from its gradients. Here the matrix is given, a Gauss-Newton
    matrix (``coolchic.curvature``). Adam makes every direction's step about equally large, so that
    neither the scale of the matrix nor its smallest eigenvalues matter, as they would for Newton's
    method. Equally large is more than the sharpest directions bear, whose noise then costs most of
    what all of it costs: a step is the smaller, the more its direction is curved, but far less so
    than in Newton's method (FLATNESS).

    Args:
        groups: parameters with ``grad``; each group has its own matrix.
        betas: decay of the averages of gradients and of their squares.
        epsilon: added to the root of the second average.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[nn.Parameter]],
        betas: tuple[float, float] = (0.9, 0.95),
        epsilon: float = 1e-8,
    ) -> None:
        self.groups = [_Group(list(parameters)) for parameters in groups]
        self.betas, self.epsilon = betas, epsilon
        self.steps = 0

    @torch.no_grad()
    def turn(self, matrices: Sequence[Tensor]) -> None:
        """Take new axes: the eigenvectors of one symmetric (P, P) matrix per group."""
        for group, matrix in zip(self.groups, matrices, strict=True):
            group.turn(matrix)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One step of about ``lr`` along every axis, less along sharp ones."""
        self.steps += 1
        for group in self.groups:
            group.step(lr, self.betas, self.epsilon, self.steps)


class GridAdam:
    """Adam whose steps are divided by what a latent's gradients are and by what its grid's are.

    Adam divides every step by the root of the mean square of that one value's gradients, so
    that a latent that hardly matters moves as far, driven by noise, as one that does. Yet the
    synthesis is nearly linear: the distortion's curvature is much the same for all latents of a
    grid, for which gradient descent with one step for the whole grid would be right. The rate's
    is not. So a step is divided by the mean of the two roots.

    Args:
        grids: parameters.
        decay: of the average of the gradients' squares.
        epsilon: added to the root.
    """

    def __init__(self, grids: Sequence[nn.Parameter], decay: float, epsilon: float = 1e-8) -> None:
        self.grids, self.decay, self.epsilon = list(grids), decay, epsilon
        self.first = [torch.zeros_like(y) for y in grids]
        self.second = [torch.zeros_like(y) for y in grids]
        self.steps = 0

    @torch.no_grad()
    def step(self, lr: float, share: float, momentum: float) -> None:
        """One step of about ``lr``; none where the grids have no gradients.

        Args:
            share: of the grid's root, as the step before left it, in the mean; 0 is Adam. The
                first step knows nothing of the grid and is Adam's.
            momentum: decay of the average of the gradients; much the same in all steps.
        """
        if self.grids[0].grad is None:
            return
        self.steps += 1
        known = self.steps > 1
        share = share if known else 0.0
        corrections = [1 - beta**self.steps for beta in (momentum, self.decay)]
        before = 1 - self.decay ** (self.steps - 1) if known else 1.0
        for y, first, second in zip(self.grids, self.first, self.second, strict=True):
            shared = (second.mean() / before).sqrt()
            first.lerp_(y.grad, 1 - momentum)
            second.lerp_(y.grad.square(), 1 - self.decay)
            own = (second / corrections[1]).sqrt()
            root = own.mul_(1 - share).add_(share * shared + self.epsilon)
            y.sub_(first / root, alpha=lr / corrections[0])


class _Group:
    """Parameters as one vector, its axes, and Adam's two averages.

    The average of the gradients is kept in the parameters' own axes, that of the squares in
    the present ones.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.sizes = [p.numel() for p in parameters]
        zero = torch.zeros(sum(self.sizes), device=parameters[0].device)
        self.axes = torch.eye(len(zero), device=zero.device)
        self.pace = torch.ones_like(zero)
        self.first, self.second = zero, zero.clone()

    def turn(self, matrix: Tensor) -> None:
        found = _eigenvectors(matrix)
        if found is None:
            return
        curvature, axes = found
        # What is known of the squares is their size along the old axes, taken as independent.
        self.second = (axes.T @ self.axes).square() @ self.second
        self.axes = axes
        flat = FLAT * curvature.mean().clamp_min(SMALLEST)
        self.pace = (curvature / flat).clamp_min(MOST_PACE ** (-1 / FLATNESS)).pow(-FLATNESS)

    def step(self, lr: float, betas: tuple[float, float], epsilon: float, steps: int) -> None:
        gradient = torch.cat([p.grad.reshape(-1) for p in self.parameters])
        self.first.lerp_(gradient, 1 - betas[0])
        self.second.lerp_((self.axes.T @ gradient).square(), 1 - betas[1])
        root = (self.second / (1 - betas[1] ** steps)).sqrt_().add_(epsilon)
        turned = self.axes.T @ (self.first / (1 - betas[0] ** steps)) / root * self.pace
        update = (self.axes @ turned).mul_(lr)
        for p, u in zip(self.parameters, update.split(self.sizes), strict=True):
            p.sub_(u.view_as(p))


def _eigenvectors(matrix: Tensor) -> tuple[Tensor, Tensor] | None:
    """Eigenvalues and eigenvectors; None where rounding keeps LAPACK from an end, or makes it end
    with NaN.

    It does where most eigenvalues are alike, as the zeros of flat and tiny pictures are; the
    axes so far do as well there.
    """
    try:
        values, axes = torch.linalg.eigh(matrix)
    except torch.linalg.LinAlgError:
        return None
    return (values, axes) if axes.isfinite().all() and values.isfinite().all() else None
