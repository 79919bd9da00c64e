"""Architecture of the decoder: the one dataclass every part of the codec reads."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PAPER_CONTEXT", "Architecture", "Layer"]

PAPER_CONTEXT: tuple[tuple[int, int], ...] = (
    *((2, dc) for dc in range(-2, 3)),
    *((1, dc) for dc in range(-2, 3)),
    (0, -2),
    (0, -1),
)
"""The paper's 12 causal neighbours (Fig. 3): (rows above, columns to the right)."""

BICUBIC_TAPS = 4
MAX_MACS = 65536
"""Limit of docs/bitstream.md section 13, with the ARM counted once per grid."""


@dataclass(frozen=True)
class Layer:
    """One layer of a network; its number of inputs is the width of the layer before.

    Attributes:
        width: number of outputs, 1 to 64.
        residual: the input is added to the linear part, before the activation.
        activation: ``"relu"`` or ``"none"``.
        kind: ``"linear"``, a full linear layer applied at each position on its own.
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
        if self.kind != "linear":
            raise ValueError(f"unknown layer kind {self.kind!r}")


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes the shape of a decoder (docs/bitstream.md section 4).

    The default is the paper's: 629 parameters, 680 multiplications per pixel.

    Attributes:
        channels: samples per pixel, 1 to 4.
        grids: number of latent grids; grid k has ceil(H/2^k) x ceil(W/2^k) values.
        context: causal neighbours of the ARM as (rows above, columns to the right).
        arm_hidden: hidden layers of the ARM; an output layer of width 2 follows.
        upsampling: ``"bicubic"``.
        synthesis_hidden: hidden layers of the synthesis; an output layer of width
            ``channels`` follows.
    """

    channels: int = 3
    grids: int = 7
    context: tuple[tuple[int, int], ...] = PAPER_CONTEXT
    arm_hidden: tuple[Layer, ...] = (Layer(12, residual=True), Layer(12, residual=True))
    upsampling: str = "bicubic"
    synthesis_hidden: tuple[Layer, ...] = field(default=(Layer(12), Layer(12, residual=True)))

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
        if self.upsampling != "bicubic":
            raise ValueError(f"unknown upsampling {self.upsampling!r}")
        for inputs, layers in ((len(self.context), self.arm), (self.grids, self.synthesis)):
            if len(layers) > 8:
                raise ValueError("a network has at most 8 layers, the output layer included")
            for layer in layers:
                if layer.residual and layer.width != inputs:
                    raise ValueError(f"a residual layer of width {layer.width} has {inputs} inputs")
                inputs = layer.width
        arm, synthesis = (
            sum(o * i for o, i in shapes) for shapes in (self.arm_shapes(), self.synthesis_shapes())
        )
        if self.grids * arm + synthesis > MAX_MACS:
            raise ValueError(f"more than {MAX_MACS} multiplications per pixel")

    @property
    def arm(self) -> tuple[Layer, ...]:
        """All ARM layers; the last gives the mean and the log-scale."""
        return (*self.arm_hidden, Layer(2, activation="none"))

    @property
    def synthesis(self) -> tuple[Layer, ...]:
        """All synthesis layers; the last gives the samples."""
        return (*self.synthesis_hidden, Layer(self.channels, activation="none"))

    @property
    def stagger(self) -> int:
        """Columns by which a row trails the row above it in wavefront order."""
        return max([1, *(dc // dr + 1 for dr, dc in self.context if dr > 0)])

    def arm_shapes(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of each ARM layer."""
        return _shapes(len(self.context), self.arm)

    def synthesis_shapes(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of each synthesis layer."""
        return _shapes(self.grids, self.synthesis)

    def grid_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of each latent grid of an image, finest first."""
        return [(-(-height >> k), -(-width >> k)) for k in range(self.grids)]

    def parameters(self) -> int:
        """Number of network parameters (629 for the paper's architecture)."""
        return sum(o * i + o for o, i in (*self.arm_shapes(), *self.synthesis_shapes()))

    def macs_per_pixel(self, height: int, width: int) -> dict[str, float]:
        """Multiplications per decoded pixel of an image of the given size, by part.

        Keys: ``arm``, ``synthesis`` (their sum is the paper's 680) and ``upsampling``,
        which the paper does not count: 4 taps per value horizontally on the grid's
        rows, then 4 vertically at full resolution.
        """
        shapes = self.grid_shapes(height, width)
        latents = sum(h * w for h, w in shapes)
        horizontal = sum(h / height for h, _ in shapes[1:])
        return {
            "arm": sum(o * i for o, i in self.arm_shapes()) * latents / (height * width),
            "upsampling": BICUBIC_TAPS * (horizontal + len(shapes) - 1),
            "synthesis": float(sum(o * i for o, i in self.synthesis_shapes())),
        }


def _shapes(inputs: int, layers: tuple[Layer, ...]) -> list[tuple[int, int]]:
    shapes = []
    for layer in layers:
        shapes.append((layer.width, inputs))
        inputs = layer.width
    return shapes
