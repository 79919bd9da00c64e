"""The float model of the decoder: ARM, upsampling and synthesis as PyTorch modules.

Everything here is differentiable and readable; the integer decoder that files are made
for is docs/bitstream.md, and ``coolchic.quantize`` goes from one to the other.

Layout: networks map (inputs, N) to (outputs, N), one column per latent or pixel, which
is what both BLAS and the native kernels like.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coolchic.config import SUBBANDS, Architecture, Layer

__all__ = [
    "Arm",
    "ConvolutionLayer",
    "CoolChic",
    "Filters",
    "LinearLayer",
    "Network",
    "SubbandLayer",
    "Synthesis",
    "enlarge_by_two",
    "enlarge_subband",
    "laplace_bits",
    "subband_kernels",
    "upsample",
]

LOG_SCALE_OFFSET = 4.0
LOG_SCALE_RANGE = (-26 / 8, 37 / 8)
"""The ARM's second output is log(b) + 4; log(b) spans the tables of bitstream section 8.2."""

MIN_PROBABILITY = 2.0**-16


class LinearLayer(nn.Module):
    """Full linear layer over columns, optionally residual, optionally with a ReLU.

    A residual layer adds its first inputs to its outputs. It starts at zero, i.e. as the
    identity, the others at N(0, 1) / outputs² (the initialisation of the reference's first
    release).
    """

    def __init__(self, inputs: int, layer: Layer, generator: torch.Generator | None) -> None:
        super().__init__()
        self.residual = layer.residual
        self.relu = layer.activation == "relu"
        weight = torch.zeros(layer.weight_shape(inputs))
        if not layer.residual:
            weight.normal_(generator=generator).div_(layer.width**2)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(layer.width))

    def forward(self, x: Tensor) -> Tensor:
        """(inputs, N) to (outputs, N)."""
        return self.finish(self.linear(x), x)

    def linear(self, x: Tensor) -> Tensor:
        """The linear part alone."""
        return torch.addmm(self.bias[:, None], self.weight, x)

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        """What follows the linear part y of inputs x."""
        if self.residual:
            y = y + x[: len(y)]
        return F.relu(y) if self.relu else y


class ConvolutionLayer(LinearLayer):
    """3x3 convolution of a picture whose edge is repeated, (inputs, H, W) to (outputs, H, W);
    otherwise as a linear layer."""

    def linear(self, x: Tensor) -> Tensor:
        padded = F.pad(x[None], (1, 1, 1, 1), mode="replicate")
        return F.conv2d(padded, self.weight, self.bias)[0]


LAYERS = {"linear": LinearLayer, "conv3x3": ConvolutionLayer}


class Network(nn.Sequential):
    """A stack of layers, as the ARM and the synthesis are."""

    def __init__(
        self,
        inputs: int,
        layers: Sequence[Layer],
        generator: torch.Generator | None,
        first: type[LinearLayer] | None = None,
    ) -> None:
        widths = [inputs, *(layer.width for layer in layers)]
        kinds = [LAYERS[layer.kind] for layer in layers]
        kinds[0] = first or kinds[0]
        super().__init__(*map(lambda make, *shape: make(*shape, generator), kinds, widths, layers))


class SubbandLayer(LinearLayer):
    """A linear layer whose last inputs tell which subband, if any, a column is of, and which has
    other weights for each of them.

    ``differences``: for each subband (outputs, inputs without those that tell), at first zero.
    """

    def __init__(self, inputs: int, layer: Layer, generator: torch.Generator | None) -> None:
        super().__init__(inputs, layer, generator)
        shape = layer.weight_shape(inputs - SUBBANDS)
        self.differences = nn.ParameterList(torch.zeros(shape) for _ in range(SUBBANDS))

    def linear(self, x: Tensor) -> Tensor:
        plain, tells = x[:-SUBBANDS], x[-SUBBANDS:]
        weight = torch.cat([self.weight, *self.differences], dim=1)
        by_subband = [plain * tell for tell in tells]
        return torch.addmm(self.bias[:, None], weight, torch.cat([x, *by_subband]))


class Arm(Network):
    """Auto-regressive probability model (paper 2.3): context to mean and log-scale."""

    def __init__(self, arch: Architecture, generator: torch.Generator | None = None) -> None:
        first = SubbandLayer if arch.subband_weights else LinearLayer
        super().__init__(arch.arm_inputs, arch.arm, generator, first)
        self.arch = arch
        self.positions = arch.context
        self.parents = arch.parents

    def subband_weights(self) -> list[nn.Parameter]:
        """Of each subband, differences from the first layer's weights; or none."""
        return list(self[0].differences) if self.arch.subband_weights else []

    def context(self, latent: Tensor) -> Tensor:
        """Causal neighbours of every value of a grid; zero outside.

        Args:
            latent: (h, w) grid.

        Returns:
            (C, h·w), in the order of the architecture's positions.
        """
        h, w = latent.shape
        up = max(dr for dr, _ in self.positions)
        left = max(max(-dc for _, dc in self.positions), 0)
        right = max(max(dc for _, dc in self.positions), 0)
        padded = F.pad(latent, (left, right, up, 0))
        return torch.stack(
            [
                padded[up - dr : up - dr + h, left + dc : left + dc + w].reshape(-1)
                for dr, dc in self.positions
            ]
        )

    def parent_context(self, latents: Sequence[Tensor], grid: int) -> Tensor:
        """Values of the parent grid, enlarged by two if it is coarser, around every value of a
        grid; zero outside, and for the coarsest grid.

        Returns:
            (P, h·w), in the order of the architecture's positions.
        """
        height, width = latents[grid].shape
        parent = self.arch.parent_of(grid)
        if parent is None or not self.parents:
            return latents[grid].new_zeros(len(self.parents), height * width)
        plane = latents[parent]
        if self.arch.levels[parent] > self.arch.levels[grid]:
            plane = enlarge_by_two(plane, height, width)
        reach = max(max(abs(dr), abs(dc)) for dr, dc in self.parents)
        padded = F.pad(plane, (reach,) * 4)
        return torch.stack(
            [
                padded[reach - dr : reach - dr + height, reach + dc : reach + dc + width].reshape(
                    -1
                )
                for dr, dc in self.parents
            ]
        )

    def surroundings(self, latents: Sequence[Tensor], grid: int) -> Tensor:
        """(P + S + I, h·w) inputs for a grid besides its own latents: parents, subbands decoded
        before, and which subband it is."""
        parents = self.parent_context(latents, grid)
        if not self.arch.wavelet:
            return parents
        siblings = parents.new_zeros(self.arch.siblings, latents[grid].numel())
        for i, other in enumerate(self.arch.siblings_of(grid)):
            siblings[i] = latents[other].reshape(-1)
        indicators = torch.zeros_like(siblings[:1]).repeat(self.arch.indicators, 1)
        indicators[grid : grid + 1] = 1
        return torch.cat([parents, siblings, indicators])

    def inputs(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """(inputs, h·w) of the first layer for each grid, finest first."""
        return [
            torch.cat([self.context(y), self.surroundings(latents, k)])
            for k, y in enumerate(latents)
        ]

    def bits(self, latents: Sequence[Tensor]) -> Tensor:
        """Rate of all grids in bits (paper eq. 11), a scalar."""
        mean, log_scale = self(torch.cat(self.inputs(latents), dim=1))
        return laplace_bits(torch.cat([y.reshape(-1) for y in latents]), mean, log_scale).sum()


class Synthesis(Network):
    """From upsampled latents to samples: pixel-wise layers (paper 2.2, eq. 6), then, if the
    architecture has a refinement, 3x3 convolutions (Cool-chic v2, Leguay et al. 2023)."""

    def __init__(self, arch: Architecture, generator: torch.Generator | None = None) -> None:
        super().__init__(arch.grids, arch.synthesis, generator)

    def pixelwise(self) -> list[LinearLayer]:
        """The layers that see each pixel on its own."""
        return [layer for layer in self if not isinstance(layer, ConvolutionLayer)]

    def convolutions(self) -> list[ConvolutionLayer]:
        """The layers behind them."""
        return [layer for layer in self if isinstance(layer, ConvolutionLayer)]

    def forward(self, x: Tensor) -> Tensor:
        """(L, H, W) to (C, H, W)."""
        y = x.flatten(1)
        for layer in self.pixelwise():
            y = layer(y)
        y = y.reshape(-1, *x.shape[1:])
        for layer in self.convolutions():
            y = layer(y)
        return y


LARGEST_TAP = 1.0
"""Magnitude of a parameter of a subband's kernel, which is in units of the tap it is added to: with
the largest of those, 0.9, a tap has to stay below 2 (bitstream section 11.2)."""


class Filters(nn.Module):
    """Learned upsampling (Cool-chic v3, Blard et al. 2024): symmetric separable filters of 7
    taps for grids that bicubic interpolation then enlarges, identities at first; and with a
    wavelet separable kernels of 8 taps that enlarge the subbands by two.

    ``taps``: (kernels, 4), from the centre outwards, less what they begin with.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.subbands = SUBBANDS if arch.wavelet else 0
        self.taps = nn.Parameter(torch.zeros(arch.filter_shape()))

    @torch.no_grad()
    def keep_codable(self) -> None:
        """Bring subbands' parameters back to within ±LARGEST_TAP. A kernel that grows while what
        reads the subband shrinks is no loss in training, and none could be coded."""
        self.taps[: 2 * self.subbands].clamp_(-LARGEST_TAP, LARGEST_TAP)

    def forward(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """Grids of the same shapes, edges repeated; subbands, and a grid of the picture's size, as
        they are."""
        return self.apply_taps(self.taps, latents)

    def apply_taps(self, taps: Tensor, latents: Sequence[Tensor]) -> list[Tensor]:
        """As :meth:`forward`, with other taps."""
        plain = self.subbands or 1
        return [
            *latents[:plain],
            *(
                filtered(y, t)
                for y, t in zip(latents[plain:], taps[2 * self.subbands :], strict=True)
            ),
        ]

    def subband_kernels(self) -> Tensor:
        """(3, 2, 8): of each subband the vertical and the horizontal kernel."""
        return subband_kernels(self.taps[: 2 * self.subbands])


LOW_PASS, HIGH_PASS = (14746, 2458, -328, 0), (14746, -4096, 819, 0)
"""What kernels begin with, from the centre outwards, in units of 2^-14 (bitstream section 11.2):
one is symmetric, the other, whose left half has these signs, antisymmetric."""
SUBBAND_PASSES = ((0, 1), (1, 0), (1, 1))
"""Of each subband, whether its vertical and its horizontal kernel are of the high pass."""


def subband_kernels(taps: Tensor) -> Tensor:
    """(3, 2, 8) whole kernels of ``Filters.taps`` (6, 4)."""
    high = torch.tensor(SUBBAND_PASSES, device=taps.device).flatten()[:, None]
    first = torch.tensor((LOW_PASS, HIGH_PASS), dtype=taps.dtype, device=taps.device) * 2.0**-14
    half = taps + first[high[:, 0]]
    return torch.cat([half.flip(1), half * (1 - 2 * high)], dim=1).unflatten(0, (SUBBANDS, 2))


def enlarge_subband(y: Tensor, kernels: Tensor, height: int, width: int) -> Tensor:
    """A subband (h, w) enlarged by two with its kernels (2, 8), edges repeated, cut to
    (height, width)."""
    x = F.pad(y[None, None], (2,) * 4, mode="replicate")
    x = F.conv_transpose2d(x, kernels[1].view(1, 1, 1, -1), stride=(1, 2))
    x = F.conv_transpose2d(x, kernels[0].view(1, 1, -1, 1), stride=(2, 1))
    return x[0, 0, 7 : 7 + height, 7 : 7 + width]


def filtered(y: Tensor, taps: Tensor) -> Tensor:
    """One grid (h, w) through one filter (4,), along its rows, then along its columns."""
    half = len(taps) - 1
    kernel = torch.cat([taps.flip(0), taps[1:]])
    kernel = kernel + F.one_hot(torch.tensor(half, device=y.device), 2 * half + 1)
    x = F.pad(y[None, None], (half,) * 4, mode="replicate")
    x = F.conv2d(F.conv2d(x, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return x[0, 0]


def laplace_bits(y: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log2 of a Laplace distribution integrated over y ± 0.5 (paper eq. 10).

    Args:
        y: values, any shape; integers at coding time.
        mean: same shape.
        log_scale: same shape, natural logarithm of the scale plus 4.

    Returns:
        Bits, same shape; at most 16 (probabilities are floored at 2^-16).
    """
    inverse = torch.exp(-(log_scale - LOG_SCALE_OFFSET).clamp(*LOG_SCALE_RANGE))
    upper, lower = (y - mean + 0.5) * inverse, (y - mean - 0.5) * inverse
    probability = _laplace_cdf(upper) - _laplace_cdf(lower)
    return -torch.log2(probability.clamp_min(MIN_PROBABILITY))


def _laplace_cdf(t: Tensor) -> Tensor:
    return 0.5 - 0.5 * torch.sign(t) * torch.expm1(-t.abs())


def upsample(latents: Sequence[Tensor], levels: Sequence[int], height: int, width: int) -> Tensor:
    """Bicubic enlargement of grids by 2^level, cut to the image (paper 2.2).

    Args:
        latents: L grids, of shape (ceil(H/2^level), ceil(W/2^level)).
        levels: of each grid.

    Returns:
        (L, H, W).
    """
    full = []
    for level, y in zip(levels, latents, strict=True):
        x = y[None, None]
        if level > 0:
            # One direction after the other, cut in between: 2^k may be far above the image's size.
            tall = _enlarge(x, (y.shape[0] << level, y.shape[1]))[..., :height, :]
            x = _enlarge(tall, (tall.shape[2], y.shape[1] << level))[..., :width]
        full.append(x)
    return torch.cat(full, dim=1)[0]


def enlarge_by_two(y: Tensor, height: int, width: int) -> Tensor:
    """A grid (h, w) enlarged by two in both directions, bicubic, cut to (height, width)."""
    size = (2 * y.shape[0], 2 * y.shape[1])
    return _enlarge(y[None, None], size)[0, 0, :height, :width]


def _enlarge(y: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(y, size=size, mode="bicubic", align_corners=False)


class CoolChic(nn.Module):
    """All that is learned for one image: latent grids, ARM and synthesis (paper Fig. 1).

    Args:
        arch: the decoder's architecture.
        height, width: of the image.
        seed: fixes the initial weights. Latents start at zero.
    """

    def __init__(self, arch: Architecture, height: int, width: int, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.arch, self.height, self.width = arch, height, width
        self.latents = nn.ParameterList(
            nn.Parameter(torch.zeros(shape)) for shape in arch.grid_shapes(height, width)
        )
        self.arm = Arm(arch, generator)
        self.synthesis = Synthesis(arch, generator)
        self.filters = Filters(arch) if arch.filtered else None

    def networks(self) -> list[list[nn.Parameter]]:
        """Parameters of ARM and synthesis and, if the architecture has them, of filters and of each
        subband's own weights: the file's order."""
        own = self.arm.subband_weights()
        shared = [p for p in self.arm.parameters() if not any(p is q for q in own)]
        filters = [] if self.filters is None else [list(self.filters.parameters())]
        return [shared, list(self.synthesis.parameters()), *filters, *([p] for p in own)]

    def network_parameters(self) -> list[nn.Parameter]:
        """All of them."""
        return [p for parameters in self.networks() for p in parameters]

    def all_but_latents(self) -> list[nn.Parameter]:
        """The networks' parameters, and those that a class derived from this one adds."""
        return [p for p in self.parameters() if not any(p is y for y in self.latents)]

    def filter(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """What is enlarged: the grids, filtered if the architecture has filters."""
        return list(latents) if self.filters is None else self.filters(latents)

    def upsample(self, latents: Sequence[Tensor]) -> Tensor:
        """(L, H, W): the synthesis's inputs."""
        grids, size = self.filter(latents), (self.height, self.width)
        if not self.arch.wavelet:
            return upsample(grids, self.arch.levels, *size)
        subbands = [
            enlarge_subband(y, kernels, *size)
            for y, kernels in zip(grids, self.filters.subband_kernels(), strict=False)
        ]
        others = upsample(grids[SUBBANDS:], self.arch.levels[SUBBANDS:], *size)
        return torch.cat([torch.stack(subbands), others])

    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        """Picture (C, H, W) from (proxies of) quantised latents, in units of 2^depth."""
        return self.synthesis(self.upsample(latents))

    def forward(self, latents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Picture (C, H, W) and rate in bits (scalar) for (proxies of) quantised latents."""
        return self.decode(latents), self.arm.bits(latents)
