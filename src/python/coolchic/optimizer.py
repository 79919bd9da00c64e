"""An optimiser for the networks, whose few hundred parameters afford whole matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["EigenAdam"]


class EigenAdam:
    """Adam in the eigenvectors of a curvature matrix.

    SOAP (Vyas et al. 2024) runs Adam in the eigenvectors of Shampoo's factors, which estimate
    the curvature of one layer from its gradients. Here the matrix is given, the Gauss-Newton
    matrix of a whole network (``coolchic.curvature``), so that directions across layers are
    told apart too. Adam makes every direction's step about equally large, so that neither the
    scale of the matrix nor its smallest eigenvalues matter, as they would for Newton's method.

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
    def step(self, lr: float, pull: float = 0.0) -> None:
        """One step of about ``lr`` along every axis.

        Args:
            pull: ``lr`` times this share of the way back to where they began is what parameters
                go, besides; below 1 / lr. Along axes that hardly matter to the loss, Adam would
                wander off, and parameters far from a default decoder's cost bits. (Weight decay
                decoupled from the gradient: Loshchilov & Hutter 2019.)
        """
        self.steps += 1
        for group in self.groups:
            group.step(lr, self.betas, self.epsilon, self.steps)
            group.return_by(lr * pull)


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
        self.first, self.second = zero, zero.clone()
        self.start = [p.detach().clone() for p in parameters]

    def turn(self, matrix: Tensor) -> None:
        axes = _eigenvectors(matrix)
        if axes is None:
            return
        # What is known of the squares is their size along the old axes, taken as independent.
        self.second = (axes.T @ self.axes).square() @ self.second
        self.axes = axes

    def step(self, lr: float, betas: tuple[float, float], epsilon: float, steps: int) -> None:
        gradient = torch.cat([p.grad.reshape(-1) for p in self.parameters])
        self.first.lerp_(gradient, 1 - betas[0])
        self.second.lerp_((self.axes.T @ gradient).square(), 1 - betas[1])
        root = (self.second / (1 - betas[1] ** steps)).sqrt_().add_(epsilon)
        turned = self.axes.T @ (self.first / (1 - betas[0] ** steps)) / root
        update = (self.axes @ turned).mul_(lr)
        for p, u in zip(self.parameters, update.split(self.sizes), strict=True):
            p.sub_(u.view_as(p))

    def return_by(self, share: float) -> None:
        if share > 0:
            for p, start in zip(self.parameters, self.start, strict=True):
                p.lerp_(start, share)


def _eigenvectors(matrix: Tensor) -> Tensor | None:
    """None where rounding keeps LAPACK from an end, or makes it end with NaN.

    It does where most eigenvalues are alike, as the zeros of flat and tiny pictures are; the
    axes so far do as well there.
    """
    try:
        axes = torch.linalg.eigh(matrix).eigenvectors
    except torch.linalg.LinAlgError:
        return None
    return axes if axes.isfinite().all() else None
