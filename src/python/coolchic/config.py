"""Architecture of the decoder: the one dataclass every part of the codec reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

__all__ = ["PAPER_CONTEXT", "SUBBANDS", "Architecture", "Layer"]

Position = tuple[int, int]

PAPER_CONTEXT: tuple[Position, ...] = (
    *((2, dc) for dc in range(-2, 3)),
    *((1, dc) for dc in range(-2, 3)),
    (0, -2),
    (0, -1),
)
"""The paper's 12 causal neighbours (Fig. 3): (rows above, columns to the right)."""

BICUBIC_TAPS = 4
FILTER_TAPS = 7
SUBBANDS = 3
"""Grids of a wavelet's details: horizontal, vertical, diagonal (docs/bitstream.md section 11.2)."""
SIBLINGS = SUBBANDS - 1
MAX_CONVOLUTIONS = 4
MAX_MACS = 65536
"""Limit of docs/bitstream.md section 13, with the ARM counted once per grid."""


@dataclass(frozen=True)
class Layer:
    """One layer of a network; its number of inputs is the width of the layer before.

    Attributes:
        width: number of outputs, 1 to 64.
        residual: the first inputs, as many as outputs, are added to the linear part, before
            the activation.
        activation: ``"relu"`` or ``"none"``.
        kind: ``"linear"``, a full linear layer applied at each position on its own, or
            ``"conv3x3"``, a 3x3 convolution that repeats the picture's edge, in the synthesis.
    """

    width: int
    residual: bool = False
    activation: str = "relu"
    kind: str = "linear"

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 64:
            raise ValueError(f"layer width must be 1 to 64, not {self.width}")
        if self.activation not in ("relu", "none"):
            raise ValueError(f"unknown activation {self.activation!r}")
        if self.kind not in ("linear", "conv3x3"):
            raise ValueError(f"unknown layer kind {self.kind!r}")

    def weight_shape(self, inputs: int) -> tuple[int, ...]:
        """(outputs, inputs), and (3, 3) of a convolution."""
        return (self.width, inputs) + ((3, 3) if self.kind == "conv3x3" else ())


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes the shape of a decoder (docs/bitstream.md section 4).

    The default is the paper's: 629 parameters, 680 multiplications per pixel.

    Attributes:
        channels: samples per pixel, 1 to 4.
        grids: number of latent grids; grid k has ceil(H/2^l) x ceil(W/2^l) values, where l is its
            entry in ``levels``.
        context: causal neighbours of the ARM as (rows above, columns to the right).
        parents: further inputs of the ARM, in the same form: values of the next coarser grid,
            enlarged by two, around the latent's own position. They need not be causal.
        arm_hidden: hidden layers of the ARM; an output layer of width 2 follows.
        upsampling: ``"bicubic"``, or ``"filtered"``: a learned symmetric filter of 7 taps in
            both directions on each grid but the finest, then bicubic; or ``"wavelet"``: the
            three finest grids are of half the picture's size, for its horizontal, vertical and
            diagonal details, which learned kernels of 8 taps enlarge; grid 3, of the same size,
            and coarser ones are filtered. The ARM then also sees, at a detail's own position,
            those decoded before, and has a bias of its own for each of the three.
        subband_weights: with a wavelet, the ARM's first layer has weights of its own, too, for
            each of the three: differences from those it has for all grids.
        synthesis_hidden: hidden layers of the synthesis, linear; an output layer of width
            ``channels`` follows.
        refinement: layers of kind ``"conv3x3"`` and width ``channels`` behind it.
    """

    channels: int = 3
    grids: int = 7
    context: tuple[Position, ...] = PAPER_CONTEXT
    parents: tuple[Position, ...] = ()
    arm_hidden: tuple[Layer, ...] = (Layer(12, residual=True), Layer(12, residual=True))
    upsampling: str = "bicubic"
    subband_weights: bool = False
    synthesis_hidden: tuple[Layer, ...] = field(default=(Layer(12), Layer(12, residual=True)))
    refinement: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= 4:
            raise ValueError(f"channels must be 1 to 4, not {self.channels}")
        if not 1 <= self.grids <= 16:
            raise ValueError(f"grids must be 1 to 16, not {self.grids}")
        if not 1 <= len(self.context) <= 32:
            raise ValueError(f"an ARM has 1 to 32 context positions, not {len(self.context)}")
        for dr, dc in self.context:
            if not (0 <= dr <= 7 and -8 <= dc <= 7 and (dr > 0 or dc < 0)):
                raise ValueError(f"context position ({dr}, {dc}) is not causal or too far away")
        if len(self.parents) > 8 or len(self.context) + len(self.parents) + self.siblings > 32:
            raise ValueError("an ARM has at most 8 parents, and 32 inputs with its context")
        for dr, dc in self.parents:
            if not (abs(dr) <= 2 and abs(dc) <= 2):
                raise ValueError(f"parent position ({dr}, {dc}) is too far away")
        if self.upsampling not in ("bicubic", "filtered", "wavelet"):
            raise ValueError(f"unknown upsampling {self.upsampling!r}")
        if self.wavelet and self.grids <= SUBBANDS:
            raise ValueError(f"a wavelet needs a grid besides its {SUBBANDS} subbands")
        if self.subband_weights and not self.wavelet:
            raise ValueError("weights for each subband need a wavelet")
        residual = len(self.context) + len(self.parents)  # inputs that may be added to outputs
        for inputs, layers in ((residual, self.arm), (self.grids, self.synthesis)):
            if len(layers) > 8:
                raise ValueError("a network has at most 8 layers, the output layer included")
            for layer in layers:
                if layer.residual and layer.width > inputs:
                    raise ValueError(f"a residual layer of width {layer.width} has {inputs} inputs")
                inputs = layer.width
        if any(layer.kind != "linear" for layer in (*self.arm, *self.synthesis_hidden)):
            raise ValueError("only layers behind the synthesis's output may be convolutions")
        if len(self.refinement) > MAX_CONVOLUTIONS or any(
            layer.kind != "conv3x3" or layer.width != self.channels for layer in self.refinement
        ):
            raise ValueError(
                f"refinement is up to {MAX_CONVOLUTIONS} 3x3 convolutions of a width per channel"
            )
        if self.synthesis[-1].activation != "none":
            raise ValueError("the last layer has no activation")
        if self.grids * _weights(self.arm_shapes()) + _weights(self.synthesis_shapes()) > MAX_MACS:
            raise ValueError(f"more than {MAX_MACS} multiplications per pixel")

    @property
    def arm_inputs(self) -> int:
        """Inputs of the ARM: its context, its parents, and with a wavelet the subbands decoded
        before, at the same position, and three that are 1 in one subband each, or else 0."""
        return len(self.context) + len(self.parents) + self.siblings + self.indicators

    @property
    def wavelet(self) -> bool:
        """The three finest grids are subbands of the picture's finest scale."""
        return self.upsampling == "wavelet"

    @property
    def siblings(self) -> int:
        """Inputs of the ARM from subbands decoded before."""
        return SIBLINGS if self.wavelet else 0

    @property
    def indicators(self) -> int:
        """Inputs of the ARM that tell subbands; as they are constant in a grid, they are part of
        its biases when it is decoded, and cost no multiplications."""
        return SUBBANDS if self.wavelet else 0

    @property
    def levels(self) -> tuple[int, ...]:
        """Of each grid, how often its sides are half the picture's."""
        if not self.wavelet:
            return tuple(range(self.grids))
        return (1,) * SUBBANDS + tuple(range(1, self.grids - SUBBANDS + 1))

    def parent_of(self, grid: int) -> int | None:
        """The grid in which the parents of a grid's latents are: the next coarser one, or of the
        same size for subbands. The coarsest has none."""
        parent = SUBBANDS if self.wavelet and grid < SUBBANDS else grid + 1
        return parent if parent < self.grids else None

    def siblings_of(self, grid: int) -> tuple[int, ...]:
        """The subbands that are decoded before a subband, the last of them first."""
        return tuple(range(grid + 1, SUBBANDS)) if self.wavelet else ()

    @property
    def filtered(self) -> bool:
        """Grids pass a learned filter before they are enlarged."""
        return self.upsampling != "bicubic"

    @property
    def arm(self) -> tuple[Layer, ...]:
        """All ARM layers; the last gives the mean and the log-scale."""
        return (*self.arm_hidden, Layer(2, activation="none"))

    @property
    def synthesis(self) -> tuple[Layer, ...]:
        """All synthesis layers; the last gives the samples."""
        output = Layer(self.channels, activation="none")
        return (*self.synthesis_hidden, output, *self.refinement)

    @property
    def stagger(self) -> int:
        """Columns by which a row trails the row above it in wavefront order."""
        return max([1, *(dc // dr + 1 for dr, dc in self.context if dr > 0)])

    def arm_shapes(self) -> list[tuple[int, ...]]:
        """Shape of each ARM layer's weights: (outputs, inputs)."""
        return _shapes(self.arm_inputs, self.arm)

    def subband_shapes(self) -> list[tuple[int, ...]]:
        """Of each subband's differences from the weights of the ARM's first layer, if there are
        any: (outputs, inputs), without the inputs that tell subbands."""
        shape = self.arm[0].weight_shape(self.arm_inputs - self.indicators)
        return [shape] * (SUBBANDS if self.subband_weights else 0)

    def synthesis_shapes(self) -> list[tuple[int, ...]]:
        """Likewise of the synthesis; (outputs, inputs, 3, 3) for a convolution."""
        return _shapes(self.grids, self.synthesis)

    def filter_shape(self) -> tuple[int, int]:
        """(kernels, taps) of the learned upsampling, of each from the centre outwards: of each
        subband the vertical and the horizontal one; then one for each other grid, but not for one
        of the picture's size."""
        kernels = self.grids + SUBBANDS if self.wavelet else self.grids - 1
        return (kernels if self.filtered else 0, FILTER_TAPS // 2 + 1)

    def grid_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of each latent grid of an image, finest first."""
        return [(-(-height >> level), -(-width >> level)) for level in self.levels]

    def parameters(self) -> int:
        """Number of learned network parameters (629 for the paper's architecture)."""
        layers = (*self.arm_shapes(), *self.synthesis_shapes())
        biases = sum(shape[0] for shape in layers)
        return biases + _weights([*layers, *self.subband_shapes(), self.filter_shape()])

    def macs_per_pixel(self, height: int, width: int) -> dict[str, float]:
        """Multiplications per decoded pixel of an image of the given size, by part.

        Keys: ``arm`` and ``synthesis``, whose sum is the paper's 680, and ``upsampling``, which
        the paper does not count: 4 taps per value horizontally on the grid's rows, then 4
        vertically at full resolution; 7 and 7 more per latent of a filtered grid; and, with
        parents, 4 and 4 more for each value of a grid enlarged by two.
        """
        shapes = self.grid_shapes(height, width)
        latents = [h * w / (height * width) for h, w in shapes]
        enlarged = [h / height for (h, _), level in zip(shapes, self.levels, strict=True) if level]
        upsampling = BICUBIC_TAPS * (sum(enlarged) + len(enlarged))
        filters = SUBBANDS if self.wavelet else 1  # the first grid that has one
        if self.filtered:
            upsampling += 2 * FILTER_TAPS * sum(latents[filters:])
        if self.parents:
            upsampling += BICUBIC_TAPS * 1.5 * sum(latents[SUBBANDS if self.wavelet else 0 : -1])
        return {
            "arm": (_weights(self.arm_shapes()) - self.indicators * self.arm[0].width)
            * sum(latents),
            "upsampling": upsampling,
            "synthesis": float(_weights(self.synthesis_shapes())),
        }


def _shapes(inputs: int, layers: tuple[Layer, ...]) -> list[tuple[int, ...]]:
    shapes = []
    for layer in layers:
        shapes.append(layer.weight_shape(inputs))
        inputs = layer.width
    return shapes


def _weights(shapes: list[tuple[int, ...]]) -> int:
    return sum(map(prod, shapes))
