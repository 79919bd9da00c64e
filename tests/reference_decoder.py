"""Reference decoder of the coolchic bitstream, versions 1 to 3.

A second decoder, written from `docs/bitstream.md` alone and laid out like it: each part names
the section it follows. It shares no code with the decoder in `src/` and exists to check that
one and the specification against each other. It favours likeness to the text over speed: symbols
are decoded one at a time, only the networks and the interpolation are vectorised.

`decode` returns the picture, `parse` everything the file says up to the latents. Both raise
`FormatError`, whose message begins with the class of damage as section 14 names it.
"""

import functools
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path

import numpy as np


class FormatError(ValueError):
    """The bytes are not a file this decoder can decode."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise FormatError(message)


# Section 1: conventions


def wrap32(v: np.ndarray) -> np.ndarray:
    """Reduces int64 values modulo 2^32 to -2^31 ... 2^31-1."""
    return ((v + 2**31) & 0xFFFFFFFF) - 2**31


def sat16(v: np.ndarray) -> np.ndarray:
    return np.clip(v, -32768, 32767)


def grid_shape(height: int, width: int, k: int) -> tuple[int, int]:
    """Rows and columns of grid k."""
    return -(-height >> k), -(-width >> k)


class Reader:
    """The byte fields, read in order from `data[start:end]`; offsets in messages are in `data`."""

    def __init__(self, data: bytes, start: int = 0, end: int | None = None):
        self.data = data
        self.pos = start
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        return self.end - self.pos

    def take(self, size: int, what: str) -> bytes:
        require(
            size <= self.left,
            f"truncated: {what} at byte {self.pos} has {size} bytes, only {self.left} are left",
        )
        self.pos += size
        return self.data[self.pos - size : self.pos]

    def u8(self, what: str) -> int:
        return self.take(1, what)[0]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def varint(self, what: str) -> int:
        start = self.pos
        value = 0
        for i in range(5):
            byte = self.u8(what)
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                require(i == 0 or byte != 0, f"invalid: {what} at byte {start} is not shortest")
                require(value < 2**32, f"invalid: {what} at byte {start} exceeds 32 bits")
                return value
        raise FormatError(f"invalid: {what} at byte {start} is longer than 5 bytes")

    def section(self, what: str) -> "Reader":
        """Skips a `varint` length and that many bytes, and returns a reader of the latter."""
        size = self.varint(f"{what} length")
        self.take(size, what)
        return Reader(self.data, self.pos - size, self.pos)


# Section 3: header

MAGIC = bytes([0xC0, 0x01, 0xC4, 0x1C])
VERSIONS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Header:
    width: int
    height: int
    channels: int
    bit_depth: int
    has_extensions: bool
    architecture_id: int
    architecture: "Architecture"
    version: int = 1


def read_header(reader: Reader, max_pixels: int) -> Header:
    magic = reader.take(min(len(MAGIC), reader.left), "magic")
    require(magic == MAGIC, "not a coolchic file: no magic")
    version = reader.u8("version")
    require(version in VERSIONS, f"unsupported: version {version}")
    flags = reader.u8("flags")
    require(flags >> 4 == 0, f"invalid: reserved header flags are set (0x{flags:02x})")
    channels = (flags & 3) + 1
    width = reader.varint("width") + 1
    height = reader.varint("height") + 1
    require(
        width <= MAX_SIDE and height <= MAX_SIDE,
        f"invalid: picture of {width} x {height}, sides are at most {MAX_SIDE}",
    )
    require(
        width * height <= max_pixels,
        f"too large: picture of {width} x {height}, this decoder takes {max_pixels} pixels",
    )
    bit_depth = 8
    if flags & 4:
        bit_depth = reader.u8("bit depth")
        require(9 <= bit_depth <= 16, f"invalid: bit depth {bit_depth}, not 9 ... 16")
        raise FormatError(f"unsupported: bit depth {bit_depth}")
    architecture_id = reader.u8("architecture")
    if architecture_id == DESCRIBED:
        architecture = read_architecture(reader, version)
    else:
        known = KNOWN_ARCHITECTURES[: KNOWN_IN_VERSION[version]]
        require(architecture_id < len(known), f"unsupported: architecture {architecture_id}")
        architecture = known[architecture_id](channels)
    check_architecture(architecture, channels, version)
    has_extensions = bool(flags & 8)
    return Header(
        width, height, channels, bit_depth, has_extensions, architecture_id, architecture, version
    )


# Section 4: architecture


LINEAR, CONVOLUTION = 0, 1
MAX_CONVOLUTIONS = 4


@dataclass(frozen=True)
class Layer:
    width: int
    residual: bool = False
    relu: bool = False
    kind: int = LINEAR


SUBBANDS = 3


@dataclass(frozen=True)
class Architecture:
    grids: int
    context: tuple[tuple[int, int], ...]  # (dr, dc): rows above, columns to the right
    arm: tuple[Layer, ...]
    synthesis: tuple[Layer, ...]
    parents: tuple[tuple[int, int], ...] = ()
    filtered: bool = False
    wavelet: bool = False
    subband_weights: bool = False

    def level(self, k: int) -> int:
        """l_k."""
        if not self.wavelet:
            return k
        return 1 if k < SUBBANDS else k - 2

    @property
    def convolutions(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.synthesis if layer.kind == CONVOLUTION)

    @property
    def stagger(self) -> int:
        """Least S >= 1 with S*dr > dc for every position with dr > 0."""
        return max([1] + [dc // dr + 1 for dr, dc in self.context if dr > 0])

    def arm_shapes(self) -> list[tuple[int, ...]]:
        inputs = len(self.context) + len(self.parents) + self.siblings + self.indicators
        return layer_shapes(inputs, self.arm)

    @property
    def subband_shape(self) -> tuple[int, int]:
        """(outputs, inputs) of the weights that a subband may have of its own."""
        outputs, inputs = self.arm_shapes()[0]
        return outputs, inputs - self.indicators

    @property
    def siblings(self) -> int:
        return SUBBANDS - 1 if self.wavelet else 0

    @property
    def indicators(self) -> int:
        return SUBBANDS if self.wavelet else 0

    def synthesis_shapes(self) -> list[tuple[int, ...]]:
        return layer_shapes(self.grids, self.synthesis)


def layer_shapes(inputs: int, layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    """(outputs, inputs) of the weights of each layer, (outputs, inputs, 3, 3) of a convolution."""
    widths = [inputs] + [layer.width for layer in layers]
    return [
        (layer.width, inputs) + ((3, 3) if layer.kind == CONVOLUTION else ())
        for inputs, layer in zip(widths[:-1], layers, strict=True)
    ]


def check_architecture(architecture: Architecture, channels: int, version: int) -> None:
    """The rules of section 4 on last layers, and the limit of section 13."""
    arm, synthesis = architecture.arm, architecture.synthesis
    for name, layers, shapes in (
        ("ARM", arm, architecture.arm_shapes()),
        ("synthesis", synthesis, architecture.synthesis_shapes()),
    ):
        for i, (layer, (outputs, inputs, *_)) in enumerate(zip(layers, shapes, strict=True)):
            if name == "ARM" and i == 0:
                inputs -= architecture.siblings + architecture.indicators
            require(
                not layer.residual
                or outputs == inputs
                or (version >= MODULES_VERSION and outputs < inputs),
                f"invalid: {name} layer {i} is residual with {inputs} inputs, {outputs} outputs",
            )
        require(not layers[-1].relu, f"invalid: the last {name} layer has an activation")
    require(arm[-1].width == 2, f"invalid: the last ARM layer has width {arm[-1].width}, not 2")
    require(not arm[-1].residual, "invalid: the last ARM layer is residual")
    require(
        synthesis[-1].width == channels,
        f"invalid: the last synthesis layer has width {synthesis[-1].width}, not {channels}",
    )
    require(
        all(layer.kind == LINEAR for layer in arm), "invalid: a layer of the ARM is a convolution"
    )
    count = len(architecture.convolutions)
    require(count <= MAX_CONVOLUTIONS, f"invalid: {count} convolutions")
    first = len(synthesis) - count
    require(
        first > 0 and all(layer.kind == LINEAR for layer in synthesis[:first]),
        "invalid: convolutions are not all at the end of the synthesis",
    )
    if count > 0:
        for i, layer in enumerate(synthesis[first - 1 :], first - 1):
            require(
                layer.width == channels,
                f"invalid: synthesis layer {i}, of or before convolutions, has width {layer.width}",
            )
    arm_weights = sum(map(prod, architecture.arm_shapes()))
    synthesis_weights = sum(map(prod, architecture.synthesis_shapes()))
    multiplications = architecture.grids * arm_weights + synthesis_weights
    require(
        multiplications <= MAX_MULTIPLICATIONS,
        f"invalid: {multiplications} multiplications per pixel, at most {MAX_MULTIPLICATIONS}",
    )


# Section 4.1: architectures 0 to 3


def paper_architecture(channels: int) -> Architecture:
    above = [(dr, dc) for dr in (2, 1) for dc in (-2, -1, 0, 1, 2)]
    residual_relu = Layer(12, residual=True, relu=True)
    return Architecture(
        grids=7,
        context=(*above, (0, -2), (0, -1)),
        arm=(residual_relu, residual_relu, Layer(2)),
        synthesis=(Layer(12, relu=True), residual_relu, Layer(channels)),
    )


def first_standard_architecture(channels: int) -> Architecture:
    residual_relu = Layer(12, residual=True, relu=True)
    return Architecture(
        grids=7,
        context=((2, 0), (1, -2), (1, -1), (1, 0), (1, 1), (1, 2), (0, -2), (0, -1)),
        arm=(residual_relu, residual_relu, Layer(2)),
        synthesis=(
            Layer(14, relu=True),
            Layer(channels),
            Layer(channels, residual=True, kind=CONVOLUTION),
        ),
        parents=((0, 0), (0, 1), (-1, 0), (-1, 1)),
        filtered=True,
    )


def first_high_architecture(channels: int) -> Architecture:
    residual_relu = Layer(16, residual=True, relu=True)
    above = [(2, dc) for dc in range(-2, 3)] + [(1, dc) for dc in range(-3, 4)]
    return Architecture(
        grids=7,
        context=((3, 0), *above, (0, -3), (0, -2), (0, -1)),
        arm=(residual_relu, residual_relu, Layer(2)),
        synthesis=(
            Layer(16, relu=True),
            residual_relu,
            Layer(channels),
            Layer(channels, residual=True, relu=True, kind=CONVOLUTION),
            Layer(channels, residual=True, kind=CONVOLUTION),
        ),
        parents=((0, 0), (0, 1), (-1, 0), (-1, 1)),
        filtered=True,
    )


def first_lite_architecture(channels: int) -> Architecture:
    residual_relu = Layer(8, residual=True, relu=True)
    return Architecture(
        grids=7,
        context=((2, 0), (1, -1), (1, 0), (1, 1), (0, -2), (0, -1)),
        arm=(residual_relu, residual_relu, Layer(2)),
        synthesis=(Layer(8, relu=True), Layer(channels)),
        parents=((0, 0), (0, 1), (-1, 0), (-1, 1)),
        filtered=True,
    )


def lite_pyramid_architecture(channels: int) -> Architecture:
    residual_relu = Layer(7, residual=True, relu=True)
    return Architecture(
        grids=7,
        context=((1, -1), (1, 0), (1, 1), (0, -2), (0, -1)),
        arm=(residual_relu, residual_relu, Layer(2)),
        synthesis=(Layer(14, relu=True), Layer(channels)),
        parents=((0, 0), (0, 1), (-1, 0), (-1, 1)),
        filtered=True,
    )


def standard_pyramid_architecture(channels: int) -> Architecture:
    residual_relu = Layer(10, residual=True, relu=True)
    first = first_standard_architecture(channels)
    return replace(
        first,
        arm=(residual_relu, residual_relu, Layer(2)),
        synthesis=(Layer(22, relu=True), *first.synthesis[1:]),
    )


def high_pyramid_architecture(channels: int) -> Architecture:
    first = first_high_architecture(channels)
    return replace(first, synthesis=(Layer(48, relu=True), *first.synthesis[2:]))


def standard_architecture(channels: int) -> Architecture:
    residual_relu = Layer(8, residual=True, relu=True)
    above = [(2, dc) for dc in range(-1, 2)] + [(1, dc) for dc in range(-2, 3)]
    return Architecture(
        grids=9,
        context=(*above, (0, -2), (0, -1)),
        arm=(residual_relu, residual_relu, Layer(2)),
        synthesis=(
            Layer(26, relu=True),
            Layer(channels),
            Layer(channels, residual=True, kind=CONVOLUTION),
        ),
        parents=((0, 0), (0, 1), (-1, 0), (-1, 1)),
        filtered=True,
        wavelet=True,
    )


def high_architecture(channels: int) -> Architecture:
    pyramid = high_pyramid_architecture(channels)
    above = [(dr, dc) for dr in (3, 2, 1) for dc in range(-3, 4)]
    return replace(
        pyramid,
        grids=9,
        wavelet=True,
        context=(*above, (0, -3), (0, -2), (0, -1)),
        synthesis=(Layer(64, relu=True), *pyramid.synthesis[1:]),
    )


def lite_architecture(channels: int) -> Architecture:
    pyramid = lite_pyramid_architecture(channels)
    synthesis = (Layer(12, relu=True), Layer(channels))
    return replace(pyramid, grids=9, wavelet=True, synthesis=synthesis)


def with_subband_weights(known: Callable[[int], Architecture]) -> Callable[[int], Architecture]:
    return lambda channels: replace(known(channels), subband_weights=True)


KNOWN_ARCHITECTURES = (
    paper_architecture,
    first_standard_architecture,
    first_high_architecture,
    first_lite_architecture,
    lite_pyramid_architecture,
    standard_pyramid_architecture,
    high_pyramid_architecture,
    standard_architecture,
    high_architecture,
    lite_architecture,
    with_subband_weights(standard_architecture),
    with_subband_weights(high_architecture),
    with_subband_weights(lite_architecture),
)
KNOWN_IN_VERSION = {1: 1, 2: 1, 3: 7, 4: 10, 5: 13}
DESCRIBED = 255


# Section 4.2: description


MODULES_VERSION = 3
WAVELET_VERSION = 4
SUBBANDS_VERSION = 5
UPSAMPLINGS = {
    1: 0,
    2: 0,
    MODULES_VERSION: 1,
    WAVELET_VERSION: 2,
    SUBBANDS_VERSION: 3,
}  # the highest


def read_architecture(reader: Reader, version: int) -> Architecture:
    grids = read_ranged(reader, "number of grids", 1, 16)
    context_size = read_ranged(reader, "number of context positions", 1, 32)
    context = []
    for _ in range(context_size):
        byte = reader.u8("context position")
        dr, dc = byte >> 4, (byte & 15) - 8
        require(dr <= 7, f"invalid: context position {dr} rows above, at most 7")
        require(dr > 0 or dc < 0, f"invalid: context position ({dr}, {dc}) is not causal")
        context.append((dr, dc))
    parents = []
    if version >= MODULES_VERSION:
        most = min(8, 32 - context_size)
        for _ in range(read_ranged(reader, "number of parent positions", 0, most)):
            byte = reader.u8("parent position")
            dr, dc = (byte >> 4) - 8, (byte & 15) - 8
            require(abs(dr) <= 2 and abs(dc) <= 2, f"invalid: parent position ({dr}, {dc})")
            parents.append((dr, dc))
    arm = read_layers(reader, "ARM", version)
    upsampling = reader.u8("upsampling")
    require(upsampling <= UPSAMPLINGS[version], f"unsupported: upsampling {upsampling}")
    if upsampling >= 2:
        require(grids > SUBBANDS, f"invalid: wavelet of {grids} grids")
        inputs = len(context) + len(parents)
        require(inputs <= 30, f"invalid: ARM of {inputs} inputs besides those of subbands")
    synthesis = read_layers(reader, "synthesis", version)
    modules = (upsampling >= 1, upsampling >= 2, upsampling == 3)
    return Architecture(grids, tuple(context), arm, synthesis, tuple(parents), *modules)


def read_layers(reader: Reader, name: str, version: int) -> tuple[Layer, ...]:
    layers = []
    for i in range(read_ranged(reader, f"number of {name} layers", 1, 8)):
        byte = reader.u8(f"type of {name} layer {i}")
        kind, residual, activation = byte & 15, bool(byte & 16), byte >> 5 & 3
        require(byte >> 7 == 0, f"invalid: reserved bit in the type of {name} layer {i}")
        known = (LINEAR, CONVOLUTION) if version >= MODULES_VERSION else (LINEAR,)
        require(kind in known, f"unsupported: kind {kind} of {name} layer {i}")
        require(activation <= 1, f"unsupported: activation {activation} of {name} layer {i}")
        width = read_ranged(reader, f"width of {name} layer {i}", 1, 64)
        layers.append(Layer(width, residual, activation == 1, kind))
    return tuple(layers)


def read_ranged(reader: Reader, what: str, low: int, high: int) -> int:
    value = reader.u8(what)
    require(low <= value <= high, f"invalid: {what} is {value}, not {low} ... {high}")
    return value


# Section 5: extensions


def read_extensions(reader: Reader) -> list[tuple[int, bytes]]:
    """(type, content) of each extension. All known types are even and need no decoding."""
    count = reader.varint("number of extensions")
    require(count <= MAX_EXTENSIONS, f"invalid: {count} extensions, at most {MAX_EXTENSIONS}")
    extensions: list[tuple[int, bytes]] = []
    total = 0
    for _ in range(count):
        kind = reader.varint("extension type")
        require(
            not extensions or kind > extensions[-1][0],
            f"invalid: extension type {kind} does not ascend",
        )
        require(kind % 2 == 0, f"unsupported: extension type {kind}")
        size = reader.varint(f"length of extension {kind}")
        total += size
        require(total <= MAX_EXTENSION_BYTES, f"invalid: extensions exceed {MAX_EXTENSION_BYTES}")
        extensions.append((kind, reader.take(size, f"extension {kind}")))
    return extensions


# Section 6: weights section

ARM_WEIGHTS, ARM_BIASES, SYNTHESIS_WEIGHTS, SYNTHESIS_BIASES = range(4)
FILTER_PARAMETERS = 4

# Integer weights (outputs, inputs), or (outputs, inputs, 3, 3), and biases (outputs,), both int64,
# of one layer.
LayerParameters = tuple[np.ndarray, np.ndarray]


def convolution_group(architecture: Architecture) -> int:
    return 4


def tap_group(architecture: Architecture) -> int:
    return 4 + bool(architecture.convolutions)


def group_count(architecture: Architecture) -> int:
    """G."""
    return subband_group(architecture) + architecture.subband_weights


def subband_group(architecture: Architecture) -> int:
    """Of subbands' own weights, if there are any."""
    return tap_group(architecture) + architecture.filtered


def weight_group(architecture: Architecture, layer: Layer) -> int:
    """Of a synthesis layer's weights."""
    return convolution_group(architecture) if layer.kind == CONVOLUTION else SYNTHESIS_WEIGHTS


def first_filtered(architecture: Architecture) -> int:
    """The first grid with a filter, if any has one."""
    return SUBBANDS if architecture.wavelet else 1


def tap_counts(architecture: Architecture) -> list[int]:
    """How many parameters of each subband, then of each filtered grid."""
    if not architecture.filtered:
        return []
    subbands = SUBBANDS if architecture.wavelet else 0
    filters = architecture.grids - first_filtered(architecture)
    return [KERNEL_PARAMETERS] * subbands + [FILTER_PARAMETERS] * filters


@dataclass(frozen=True)
class Parameters:
    f_arm: int
    f_up: int
    f_syn: int
    exponents: tuple[int, ...]  # by group
    scales: tuple[int, ...]  # by group
    arm: list[LayerParameters]
    synthesis: list[LayerParameters]
    default: int = 0  # the default decoder that differences are coded from, or none
    taps: tuple[np.ndarray, ...] = ()  # of grid 1, 2, …: (4,) int64; of subbands 0, 1, 2: (8,)
    subbands: tuple[np.ndarray, ...] = ()  # of each the differences of weights, (outputs, inputs)


def read_weights(reader: Reader, header: Header) -> Parameters:
    architecture = header.architecture
    size = -(-(16 + 10 * group_count(architecture)) // 8)
    fields = int.from_bytes(reader.take(size, "weights fields"), "big")
    unread = 8 * size

    def field(size: int) -> int:
        nonlocal unread
        unread -= size
        return fields >> unread & ((1 << size) - 1)

    f_arm, f_up, f_syn = field(4), field(4), field(4)
    groups = [(field(4), field(6)) for _ in range(group_count(architecture))]
    require(4 <= f_arm <= 12, f"invalid: F_arm is {f_arm}, not 4 ... 12")
    require(f_up <= 12, f"invalid: F_up is {f_up}, not 0 ... 12")
    require(4 <= f_syn <= 14, f"invalid: F_syn is {f_syn}, not 4 ... 14")
    default = field(4)
    require(field(unread) == 0, "invalid: bits between the weights fields and the substream")
    kind = header.architecture_id if header.channels == 3 else DESCRIBED
    known = DEFAULT_DECODERS.get(kind, 0)
    require(default == 0 or known > 0, "invalid: default decoder of an architecture without any")
    require(default <= known, f"unsupported: default decoder {default}")
    exponents = tuple(e for e, _ in groups)
    scales = tuple(s for _, s in groups)

    substream = Substream(reader, 1, "weights")
    index = 0

    def integers(count: int, group: int) -> np.ndarray:
        nonlocal index
        s = scales[group]
        values = np.zeros(count, np.int64)
        for i in range(count):
            k = substream.symbol(0, s, 8)
            d = substream.escape(s) if k == ESCAPE else k - 7
            q = d + default_value(kind, default, index, exponents[group])
            require(abs(q) <= 32767, f"corrupt: parameter {q} of group {group}")
            values[i] = q
            index += 1
        return values

    def layer(shape: tuple[int, ...], weights: int, biases: int) -> LayerParameters:
        w = integers(prod(shape), weights).reshape(shape)
        return w, integers(shape[0], biases)

    arm = [layer(shape, ARM_WEIGHTS, ARM_BIASES) for shape in architecture.arm_shapes()]
    synthesis = [
        layer(shape, weight_group(architecture, its), SYNTHESIS_BIASES)
        for shape, its in zip(architecture.synthesis_shapes(), architecture.synthesis, strict=True)
    ]
    taps = tuple(integers(count, tap_group(architecture)) for count in tap_counts(architecture))
    shape, group = architecture.subband_shape, subband_group(architecture)
    count = SUBBANDS if architecture.subband_weights else 0
    subbands = tuple(integers(prod(shape), group).reshape(shape) for _ in range(count))
    substream.finish()
    return Parameters(
        f_arm, f_up, f_syn, exponents, scales, arm, synthesis, default, taps, subbands
    )


# Section 6.1: default decoders

# How many each architecture has.
DEFAULT_DECODERS = {0: 12, 4: 8} | dict.fromkeys([1, 2, 3, *range(5, 13)], 4)
DEFAULT_TABLES = Path(__file__).parent.parent / "docs" / "default_decoders.txt"


@functools.cache
def default_decoder(architecture: int, number: int) -> list[int]:
    """Table D of an architecture, in the file's order."""
    title = f"architecture {architecture} table {number}\n"
    table = DEFAULT_TABLES.read_text().split(title)[1].split("architecture")[0]
    return [int(entry) for entry in table.replace("\n", ",").split(",") if entry.strip()]


def default_value(architecture: int, number: int, index: int, e: int) -> int:
    """q0 of the parameter at a place in the file's order."""
    if number == 0:
        return 0
    t = default_decoder(architecture, number)[index]
    return (t + 2 ** (11 - e)) >> (12 - e) if e < 12 else t * 2 ** (e - 12)


# Section 7: latents section


@dataclass(frozen=True)
class Band:
    """Rows of a grid that form one wavefront."""

    k: int
    first_row: int
    rows: int


def bands_of_grid(bands: int, level: int) -> int:
    """B_k."""
    return max(1, bands >> 2 * level)


def substreams_of(header: Header, coded: Sequence[bool], bands: int) -> Iterator[tuple[Band, ...]]:
    """The bands of each substream, in the order of the file."""
    levels = [header.architecture.level(k) for k in range(len(coded))]
    rows = [grid_shape(header.height, header.width, level)[0] for level in levels]
    grids = [k for k in reversed(range(len(coded))) if coded[k]]
    whole = tuple(Band(k, 0, rows[k]) for k in grids if bands_of_grid(bands, levels[k]) == 1)
    if whole:
        yield whole
    for k in grids:
        count = bands_of_grid(bands, levels[k])
        if count > 1:
            starts = [b * rows[k] // count for b in range(count + 1)]
            for first, end in pairwise(starts):
                yield (Band(k, first, end - first),)


@dataclass(frozen=True)
class Latents:
    """The latents section."""

    lanes: int
    bands: int
    coded: tuple[bool, ...]  # by grid
    grids: list[np.ndarray]  # grid k is (h_k, w_k), int64


def read_latents(reader: Reader, header: Header, parameters: Parameters, scale: int = 0) -> Latents:
    """All the latents, or those that a preview needs, the others being zero."""
    architecture = header.architecture
    layout = reader.u8("layout")
    known = 7 if header.version >= 2 else 3
    require(layout & ~known == 0, f"unsupported: latent layout 0x{layout:02x}")
    lanes = 1 << (layout & 3)
    mask_size = -(-architecture.grids // 8)
    mask = int.from_bytes(reader.take(mask_size, "coded grids"), "little")
    require(mask >> architecture.grids == 0, "invalid: unused bits of the coded grids are set")
    coded = tuple(bool(mask >> k & 1) for k in range(architecture.grids))
    levels = [architecture.level(k) for k in range(architecture.grids)]
    shapes = [grid_shape(header.height, header.width, level) for level in levels]
    grids = [np.zeros(shape, np.int64) for shape in shapes]
    if not any(coded):
        require(reader.left == 0, f"invalid: {reader.left} bytes of latents, but no coded grid")
        return Latents(lanes, 1, coded, grids)
    bands = 1
    if layout & 4:
        bands = reader.varint("number of bands")
        require(2 <= bands <= header.height, f"invalid: {bands} bands")
    substreams = list(substreams_of(header, coded, bands))
    sizes = [2 * reader.varint("length of a substream") for _ in substreams[1:]]
    sizes.append(reader.left - sum(sizes))
    require(sizes[-1] >= 0, "truncated: latents section, by the lengths of its substreams")
    for size in sizes:
        require(size % 2 == 0, f"invalid: latents substream of {size} bytes, an odd number")
    arms = arm_networks(architecture, parameters)
    padded = [bordered(grid) for grid in grids]
    planes: dict[int, list[np.ndarray]] = {}  # by grid; those decoded before come before
    for content, size in zip(substreams, sizes, strict=True):
        wanted = [band for band in content if in_preview(architecture, band.k, scale)]
        reader.take(size, "substream")
        if not wanted:
            continue
        part = Reader(reader.data, reader.pos - size, reader.pos)
        substream = Substream(part, lanes, "latents")
        for band in wanted:
            if band.k not in planes:
                planes[band.k] = [
                    parent_plane(architecture, padded, shapes, band.k),
                    *sibling_planes(architecture, padded, shapes, band.k),
                ]
            arm = arms[min(band.k, len(arms) - 1)]
            grid, of_grid = padded[band.k], planes[band.k]
            decode_band(substream, grid, of_grid, band, architecture, arm, parameters.f_arm)
        if len(wanted) == len(content):
            substream.finish()
    for k, shape in enumerate(shapes):
        grids[k] = without_border(padded[k], shape)
    return Latents(lanes, bands, coded, grids)


def wavefront(height: int, width: int, stagger: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns (n,) of the latents of each step that has any."""
    for t in range(width + stagger * (height - 1)):
        first = max(0, -((width - 1 - t) // stagger))
        last = min(height - 1, t // stagger)
        if first <= last:
            rows = np.arange(first, last + 1)
            yield rows, t - stagger * rows


# Section 8.1: substream


class Substream:
    """Range ANS lanes and raw bits, interleaved in one sequence of words."""

    def __init__(self, reader: Reader, lanes: int, name: str):
        self.name = name
        size = reader.left
        require(size % 2 == 0, f"invalid: {name} substream of {size} bytes, an odd number")
        self.words = np.frombuffer(reader.take(size, name), "<u2").tolist()
        self.pos = 0
        self.reservoir = 0
        self.reservoir_size = 0
        self.states = []
        for lane in range(lanes):
            high = self.next_word()
            state = high << 16 | self.next_word()
            require(state >= 2**16, f"corrupt: {name} substream, lane {lane} begins below 2^16")
            self.states.append(state)

    def next_word(self) -> int:
        if self.pos == len(self.words):
            raise FormatError(f"corrupt: {self.name} substream runs out of words")
        self.pos += 1
        return self.words[self.pos - 1]

    def symbol(self, lane: int, s: int, f: int) -> int:
        c = cumulative_table(s, f)
        x = self.states[lane]
        slot = x % 2**15
        k = bisect_right(c, slot) - 1
        x = (c[k + 1] - c[k]) * (x >> 15) + slot - c[k]
        if x < 2**16:
            x = x << 16 | self.next_word()
        self.states[lane] = x
        return k

    def bits(self, n: int) -> int:
        value = 0
        for _ in range(n):
            if self.reservoir_size == 0:
                self.reservoir = self.next_word()
                self.reservoir_size = 16
            self.reservoir_size -= 1
            value = value << 1 | self.reservoir >> self.reservoir_size & 1
        return value

    def escape(self, s: int) -> int:
        """Section 8.3: d of an escaped value."""
        lo, hi = window(s)
        below = self.bits(1)
        excess = self.golomb(golomb_parameter(s))
        return lo - 1 - excess if below else hi + 1 + excess

    def golomb(self, g: int) -> int:
        """Section 8.3."""
        q = 0
        while q < 12:
            if self.bits(1) == 0:
                return (q << g) + self.bits(g)
            q += 1
        z = 0
        while self.bits(1):
            z += 1
            require(z <= 16, f"corrupt: {self.name} substream, escape with z > 16")
        return (12 << g) + (((1 << z) - 1) << g) + self.bits(z + g)

    def finish(self) -> None:
        left = len(self.words) - self.pos
        require(left == 0, f"corrupt: {self.name} substream has {left} words too many")
        for lane, state in enumerate(self.states):
            require(state == 2**16, f"corrupt: {self.name} substream, lane {lane} ends at {state}")
        unread = self.reservoir & ((1 << self.reservoir_size) - 1)
        require(unread == 0, f"corrupt: {self.name} substream, bits left over are not zero")


# Section 8.2: tables

ESCAPE = 14

# fmt: off
RHO = (
    856884361, 1035568444, 1223967808, 1418507033, 1615718013, 1812411093, 2005790141, 2193515739,
    2373725000, 2545018319, 2706423265, 2857344640, 2997507991, 3126902041, 3245723793, 3354328649,
    3453186770, 3542846103, 3623901930, 3696972476, 3762679889, 3821635868, 3874431187, 3921628407,
    3963757157, 4001311421, 4034748382, 4064488418, 4090915943, 4114380850, 4135200330, 4153660949,
    4170020832, 4184511893, 4197342034, 4208697266, 4218743737, 4227629636, 4235486959, 4242433152,
    4248572608, 4253998038, 4258791718, 4263026613, 4266767392, 4270071344, 4272989197, 4275565850,
    4277841028, 4279849872, 4281623453, 4283189244, 4284571525, 4285791755, 4286868892, 4287819687,
    4288658937, 4289399708, 4290053542, 4290630632, 4291139976, 4291589521, 4291986282, 4292336453,
)
# fmt: on


def window(s: int) -> tuple[int, int]:
    """lo and hi."""
    w = 1 + bisect_right((7, 12, 15, 18, 19, 21), s)
    return -w, min(w, 6)


@functools.cache
def decay(s: int) -> tuple[int, ...]:
    """E[s][n] for every n the tables use."""
    e = [2**32]
    for _ in range(128):
        e.append((e[-1] * RHO[s] + 2**31) // 2**32)
    return tuple(e)


@functools.cache
def cumulative_table(s: int, f: int) -> tuple[int, ...]:
    """c[0] ... c[15]."""
    lo, hi = window(s)
    e = decay(s)

    def t(n: int) -> int:
        return e[-n] if n <= 0 else 2**33 - e[n]

    size = hi - lo + 2
    p = {d: t(16 * (d + 1) - f) - t(16 * d - f) for d in range(lo, hi + 1)}
    freq = [0] * 15
    for d in p:
        freq[d + 7] = 1 + p[d] * (2**15 - size) // 2**33
    escape = 1 + (2**33 - sum(p.values())) * (2**15 - size) // 2**33
    freq[7] += 2**15 - escape - sum(freq)
    freq[ESCAPE] = escape
    return tuple(accumulate(freq, initial=0))


# Section 8.3: values (the reading of escapes is in Substream)


def golomb_parameter(s: int) -> int:
    return bisect_right((32, 38, 43, 49, 55, 60), s)


# Section 9: integer networks


@dataclass(frozen=True)
class IntegerLayer:
    w: np.ndarray  # (outputs, inputs) or, of a convolution, (outputs, inputs, 3, 3), int64
    b: np.ndarray  # (outputs,), int64
    shift: int
    relu: bool

    def accumulate(self, x: np.ndarray) -> np.ndarray:
        """acc (outputs, n), int64, of inputs (inputs, n), int64; of a convolution (…, H, W)."""
        r = 1 << (self.shift - 1) if self.shift > 0 else 0
        # int64 cannot overflow: at most 64 products of up to 2^30, and a bias of up to 2^30.
        if self.w.ndim == 2:
            return wrap32(self.w @ x + (self.b + r)[:, None])
        height, width = x.shape[1:]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
        acc = np.broadcast_to((self.b + r)[:, None, None], (len(self.b), height, width))
        for v in range(3):
            for u in range(3):
                moved = padded[:, v : v + height, u : u + width]
                acc = acc + np.tensordot(self.w[:, :, v, u], moved, 1)
        return wrap32(acc)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Activations, int64, of as many positions."""
        y = sat16(self.accumulate(x) >> self.shift)
        return np.maximum(y, 0) if self.relu else y


def integer_network(
    name: str,
    layers: Sequence[Layer],
    parameters: Sequence[LayerParameters],
    exponents: Sequence[int],
    eb: int,
    fractions: Sequence[int],
    parents: int = 0,
    indicators: Sequence[int] = (),
    differences: tuple[np.ndarray, int] | None = None,
) -> list[IntegerLayer]:
    """Layer i takes inputs with fractions[i] fractional bits to outputs with fractions[i + 1].

    exponents: e of each layer. parents: so many inputs of the first layer, before the
    indicators, are parents or siblings. indicators: their values. differences: d and e' of a
    subband's own weights.
    """
    network = []
    for i, (layer, e, (q, qb)) in enumerate(zip(layers, exponents, parameters, strict=True)):
        fi, fo = fractions[i], fractions[i + 1]
        of_weights = e
        if i == 0 and differences is not None:
            d, of_differences = differences
            e = max(of_weights, of_differences)
            q = q << (e - of_weights)
            q[:, : d.shape[1]] += d << (e - of_differences)
        of_parents = parents if i == 0 else 0
        p = max(2 if of_parents > 0 else 0, fo - fi - e)
        shift = e + p + fi - fo
        a = e + p + fi
        if layer.residual:
            diagonal = np.eye(*q.shape[:2], dtype=np.int64) << e
            q = q.copy()
            (q if q.ndim == 2 else q[:, :, 1, 1])[...] += diagonal
        b = qb << (a - eb) if a >= eb else (qb + (1 << (eb - a - 1))) >> (eb - a)
        if i == 0 and len(indicators) > 0:
            q, of_indicators = np.split(q, [-len(indicators)], axis=1)
            # Of an indicator no difference, so that its q is a multiple.
            b = b + (of_indicators @ np.array(indicators) << (a - e))
        w = q << p
        if of_parents > 0:
            w[:, -of_parents:] = q[:, -of_parents:] << (p - 2)
        require(
            bool(np.all((w >= -32768) & (w <= 32767))),
            f"invalid: a weight of {name} layer {i} exceeds 16 bits",
        )
        require(
            bool(np.all(np.abs(b) <= 2**30)), f"invalid: a bias of {name} layer {i} exceeds 2^30"
        )
        network.append(IntegerLayer(w, b, shift, layer.relu))
    return network


def arm_networks(architecture: Architecture, parameters: Parameters) -> list[list[IntegerLayer]]:
    """Of each subband, and of all other grids."""
    count = architecture.indicators
    networks = []
    for k in range(count + 1):
        indicators = [int(i == k) for i in range(count)]
        differences = parameters.subbands[k] if k < len(parameters.subbands) else None
        networks.append(arm_network(architecture, parameters, indicators, differences))
    return networks


def arm_network(
    architecture: Architecture,
    parameters: Parameters,
    indicators: Sequence[int],
    differences: np.ndarray | None,
) -> list[IntegerLayer]:
    layers = architecture.arm
    e, eb = parameters.exponents[ARM_WEIGHTS], parameters.exponents[ARM_BIASES]
    fractions = [0] + [parameters.f_arm] * len(layers)
    parents = len(architecture.parents) + architecture.siblings
    exponents = [e] * len(layers)
    own = None
    if differences is not None:
        own = differences, parameters.exponents[subband_group(architecture)]
    return integer_network(
        "ARM", layers, parameters.arm, exponents, eb, fractions, parents, indicators, own
    )


def synthesis_network(
    architecture: Architecture, parameters: Parameters, bit_depth: int
) -> list[IntegerLayer]:
    layers = architecture.synthesis
    e = [parameters.exponents[weight_group(architecture, layer)] for layer in layers]
    eb = parameters.exponents[SYNTHESIS_BIASES]
    fractions = [parameters.f_up] + [parameters.f_syn] * (len(layers) - 1) + [bit_depth]
    return integer_network("synthesis", layers, parameters.synthesis, e, eb, fractions)


# Section 10: latent decoding

# A border of zeros wide enough for every context position of section 4.2.
BORDER_TOP, BORDER_LEFT, BORDER_RIGHT = 7, 8, 7


def bordered(grid: np.ndarray) -> np.ndarray:
    return np.pad(grid, ((BORDER_TOP, 0), (BORDER_LEFT, BORDER_RIGHT)))


def without_border(padded: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    return padded[BORDER_TOP : BORDER_TOP + height, BORDER_LEFT : BORDER_LEFT + width]


def contexts(
    padded: np.ndarray, rows: np.ndarray, cols: np.ndarray, positions: Sequence[tuple[int, int]]
) -> np.ndarray:
    """Contexts (C, n) of the n latents at (rows, cols) of a bordered grid."""
    dr, dc = np.array(positions).T
    return padded[BORDER_TOP + rows - dr[:, None], BORDER_LEFT + cols + dc[:, None]]


def distributions(
    arm: Sequence[IntegerLayer], x: np.ndarray, f_arm: int
) -> tuple[list[int], list[int], list[int]]:
    """Means m, fractions f and scale indices s of the n latents with contexts x (C, n)."""
    for layer in arm:
        x = layer.apply(x)
    z0, z1 = x
    m4 = (z0 + (1 << (f_arm - 5))) >> (f_arm - 4) if f_arm > 4 else z0
    m, f = (m4 + 8) >> 4, (m4 + 8) % 16
    s = np.clip(((z1 + (1 << (f_arm - 4))) >> (f_arm - 3)) - 6, 0, 63)
    return m.tolist(), f.tolist(), s.tolist()


def decode_band(
    substream: Substream,
    padded: np.ndarray,
    planes: Sequence[np.ndarray],
    band: Band,
    architecture: Architecture,
    arm: Sequence[IntegerLayer],
    f_arm: int,
) -> None:
    """Fills the band's rows of a bordered grid, in which those above are."""
    width = padded.shape[1] - BORDER_LEFT - BORDER_RIGHT
    lanes = len(substream.states)
    for rows, cols in wavefront(band.rows, width, architecture.stagger):
        rows = rows + band.first_row
        x = arm_inputs(padded, planes, rows, cols, architecture)
        means, fractions, scales = distributions(arm, x, f_arm)
        symbols = [
            substream.symbol(j % lanes, s, f)
            for j, (s, f) in enumerate(zip(scales, fractions, strict=True))
        ]
        values = [
            m + (substream.escape(s) if symbol == ESCAPE else symbol - 7)
            for m, s, symbol in zip(means, scales, symbols, strict=True)
        ]
        for row, col, value in zip(rows, cols, values, strict=True):
            if not -32768 <= value <= 32767:
                raise FormatError(f"corrupt: latent {value} at ({row}, {col}) of grid {band.k}")
        padded[BORDER_TOP + rows, BORDER_LEFT + cols] = values


# Section 10.1: parents

PARENT_REACH = 2


def parent_plane(
    architecture: Architecture,
    padded: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, int]],
    k: int,
) -> np.ndarray:
    """The grid coarser than k, of the bordered ones, enlarged by two, or grid 3 as it is for a
    subband, with a border of zeros."""
    plane = np.zeros(shapes[k], np.int64)
    if architecture.wavelet and k < SUBBANDS:
        plane = sat16(4 * without_border(padded[SUBBANDS], shapes[SUBBANDS]))
    elif k + 1 < len(shapes):
        plane = upsample(without_border(padded[k + 1], shapes[k + 1]), 1, *shapes[k], 2)
    return np.pad(plane, PARENT_REACH)


# Section 10.2: inputs of subbands


def sibling_planes(
    architecture: Architecture,
    padded: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, int]],
    k: int,
) -> list[np.ndarray]:
    """Of each sibling of grid k."""
    planes = [np.zeros(shapes[k], np.int64) for _ in range(architecture.siblings)]
    for i in range(max(0, architecture.siblings - k)):
        planes[i] = sat16(4 * without_border(padded[k + 1 + i], shapes[k]))
    return planes


def arm_inputs(
    padded: np.ndarray,
    planes: Sequence[np.ndarray],
    rows: np.ndarray,
    cols: np.ndarray,
    architecture: Architecture,
) -> np.ndarray:
    """Contexts, parents and siblings (C + P + 2, n) of the n latents at (rows, cols).

    planes: of the parents, then of the siblings.
    """
    parts = [contexts(padded, rows, cols, architecture.context)]
    if architecture.parents:
        dr, dc = np.array(architecture.parents).T
        plane = planes[0]
        parts.append(plane[PARENT_REACH + rows - dr[:, None], PARENT_REACH + cols + dc[:, None]])
    parts += [plane[rows, cols][None] for plane in planes[1:]]
    return np.concatenate(parts)


# Section 11: upsampling


def bicubic_taps(k: int, phase: int) -> tuple[int, int, int, int]:
    """Weights of the samples i-1 ... i+2, with 14 fractional bits."""
    u, big_d = 2 * phase + 1, 2 ** (k + 1)

    def outer(u: int) -> int:
        v = u + big_d
        return -3 * v**3 + 15 * big_d * v**2 - 24 * big_d**2 * v + 12 * big_d**3

    def inner(u: int) -> int:
        return 5 * u**3 - 9 * big_d * u**2 + 4 * big_d**3

    numerators = (outer(u), inner(u), inner(big_d - u), outer(big_d - u))
    n = 3 * k + 5 - 14
    taps = [(v + 2 ** (n - 1)) >> n if n > 0 else v * 2**-n for v in numerators]
    taps[1 if 2 * u < big_d else 2] += 2**14 - sum(taps)
    return tuple(taps)


def interpolation(k: int, length: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Clamped sample indices and taps, both (4, length) int64, of `length` output positions."""
    position = np.arange(length) - 2 ** (k - 1)
    index = np.clip((position >> k) + np.arange(-1, 3)[:, None], 0, samples - 1)
    phases, which = np.unique(position % 2**k, return_inverse=True)
    taps = np.array([bicubic_taps(k, phase) for phase in phases.tolist()], np.int64)
    return index, taps[which].T


def upsample(grid: np.ndarray, k: int, height: int, width: int, f_up: int) -> np.ndarray:
    """A grid of level k enlarged to (height, width), int64."""
    if k == 0:
        return sat16(grid << f_up)
    rows, columns = grid.shape
    vertical, horizontal = interpolation(k, height, rows), interpolation(k, width, columns)
    return enlarged(grid, vertical, horizontal, f_up)


def enlarged(
    grid: np.ndarray,
    vertical: tuple[np.ndarray, np.ndarray],
    horizontal: tuple[np.ndarray, np.ndarray],
    f_up: int,
) -> np.ndarray:
    """By sample indices and taps of either direction."""
    index, taps = horizontal
    total = sum(taps[j] * grid[:, index[j]] for j in range(4))
    hor = sat16(wrap32(total + (1 << (13 - f_up))) >> (14 - f_up))
    index, taps = vertical
    total = sum(taps[j][:, None] * hor[index[j]] for j in range(4))
    return sat16(wrap32(total + (1 << 13)) >> 14)


# Section 11.1: filtered


def filter_taps(q: np.ndarray, grid: int, e: int, f_up: int) -> np.ndarray:
    """T[0] … T[3] of a grid."""
    t = q << max(0, f_up - e)
    t[0] = (q[0] + (1 << e)) << max(0, f_up - e)
    require(
        bool(np.all((t >= -32768) & (t <= 32767))),
        f"invalid: a tap of the filter of grid {grid} exceeds 16 bits",
    )
    return t


def filters(architecture: Architecture, parameters: Parameters) -> list[np.ndarray]:
    """Taps of each grid that has a filter, in ascending order, if there are any."""
    if not architecture.filtered:
        return []
    e = parameters.exponents[tap_group(architecture)]
    first = first_filtered(architecture)
    of_filters = parameters.taps[first - architecture.grids :]
    return [filter_taps(q, k, e, parameters.f_up) for k, q in enumerate(of_filters, first)]


def filtered(grid: np.ndarray, t: np.ndarray, e: int, f_up: int) -> np.ndarray:
    """f, with f_up fractional bits."""
    p = max(0, f_up - e)

    def along_rows(x: np.ndarray, shift: int) -> np.ndarray:
        width = x.shape[1]
        padded = np.pad(x, ((0, 0), (3, 3)), mode="edge")
        total = sum(t[abs(j)] * padded[:, 3 + j : 3 + j + width] for j in range(-3, 4))
        return sat16(wrap32(total + ((1 << shift) >> 1)) >> shift)

    row = along_rows(grid, e + p - f_up)
    return along_rows(row.T, e + p).T


# Section 11.2: subbands

KERNEL_PARAMETERS = 8
FIRST_TAPS = {"low": [14746, 2458, -328, 0], "high": [14746, -4096, 819, 0]}
PASSES = [("low", "high"), ("high", "low"), ("high", "high")]  # vertical, horizontal


def kernel(q: np.ndarray, which: str, k: int, e: int) -> np.ndarray:
    """K (8,) of one direction of a subband."""
    t = np.array(FIRST_TAPS[which]) + ((q << 14) >> e)
    require(
        bool(np.all(np.abs(t) <= 32767)), f"invalid: a tap of a kernel of grid {k} exceeds 16 bits"
    )
    return np.concatenate([t[::-1], -t if which == "high" else t])


def kernels(architecture: Architecture, parameters: Parameters) -> list[list[np.ndarray]]:
    """[vertical, horizontal] of each subband."""
    if not architecture.wavelet:
        return []
    e = parameters.exponents[tap_group(architecture)]
    return [
        [kernel(half, which, k, e) for half, which in zip(np.split(q, 2), passes, strict=True)]
        for k, (q, passes) in enumerate(zip(parameters.taps[:SUBBANDS], PASSES, strict=True))
    ]


def kernel_interpolation(
    taps: np.ndarray, length: int, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `interpolation` for level 1, with a kernel's taps."""
    index, _ = interpolation(1, length, samples)
    phase = (np.arange(length) - 1) % 2
    return index, np.array([taps[6 - 2 * j + phase] for j in range(4)])


# Section 12: synthesis


def in_preview(architecture: Architecture, k: int, scale: int) -> bool:
    """Whether a preview sees grid k (section 12.1)."""
    subband = architecture.wavelet and k < SUBBANDS
    return architecture.level(k) >= scale and not (subband and scale > 0)


def synthesise(network: Sequence[IntegerLayer], up: np.ndarray, bit_depth: int) -> np.ndarray:
    """Samples (channels, H, W), int64, of upsampled latents (L, H, W)."""

    def positions(layer: IntegerLayer, x: np.ndarray) -> np.ndarray:
        """As the layer takes them, (inputs, H·W) or (inputs, H, W)."""
        return x.reshape(len(x), -1) if layer.w.ndim == 2 else x.reshape(len(x), *up.shape[1:])

    x = up
    for layer in network[:-1]:
        x = layer.apply(positions(layer, x))
    last = network[-1]
    samples = np.clip(last.accumulate(positions(last, x)) >> last.shift, 0, 2**bit_depth - 1)
    return samples.reshape(-1, *up.shape[1:])


# Section 13: limits

MAX_SIDE = 65536
MAX_MULTIPLICATIONS = 65536
MAX_EXTENSIONS = 64
MAX_EXTENSION_BYTES = 2**24
DEFAULT_MAX_PIXELS = 2**27


# Sections 2 and 14: the file, and the order of the checks


@dataclass(frozen=True)
class ParsedFile:
    header: Header
    extensions: list[tuple[int, bytes]]
    parameters: Parameters
    lanes: int
    coded: tuple[bool, ...]  # by grid
    latents: list[np.ndarray]  # grid k is (h_k, w_k), int64
    bands: int = 1


def parse(
    data: bytes,
    *,
    check_crc: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    scale: int = 0,
) -> ParsedFile:
    """Everything a file holds, the latents that a preview at this scale needs decoded."""
    reader = Reader(bytes(data))
    header = read_header(reader, max_pixels)
    extensions = read_extensions(reader) if header.has_extensions else []
    weights = reader.section("weights section")
    section = reader.section("latents section")
    actual = zlib.crc32(reader.data[: reader.pos])
    stored = reader.u32("CRC")
    require(reader.left == 0, f"trailing data: {reader.left} bytes follow the CRC")
    require(
        actual == stored or not check_crc,
        f"CRC differs: 0x{stored:08x} in the file, 0x{actual:08x} computed",
    )
    parameters = read_weights(weights, header)
    # The networks are built here for the range checks of section 9, before any latent is decoded.
    arm_networks(header.architecture, parameters)
    synthesis_network(header.architecture, parameters, header.bit_depth)
    kernels(header.architecture, parameters)
    filters(header.architecture, parameters)
    latents = read_latents(section, header, parameters, scale)
    return ParsedFile(
        header,
        extensions,
        parameters,
        latents.lanes,
        latents.coded,
        latents.grids,
        latents.bands,
    )


def reconstruct(file: ParsedFile, scale: int = 0) -> np.ndarray:
    """The picture (H, W, channels), uint8, of a parsed file, or its preview (section 12.1)."""
    header, parameters = file.header, file.parameters
    height, width = grid_shape(header.height, header.width, scale)
    up = np.zeros((len(file.latents), height, width), np.int64)
    architecture = header.architecture
    taps, subbands = filters(architecture, parameters), kernels(architecture, parameters)
    first = first_filtered(architecture)
    for k in range(len(up)):
        if not in_preview(architecture, k, scale):
            continue
        grid, missing_bits = file.latents[k], parameters.f_up
        if k < len(subbands):
            vertical, horizontal = subbands[k]
            rows, columns = grid.shape
            up[k] = enlarged(
                grid,
                kernel_interpolation(vertical, height, rows),
                kernel_interpolation(horizontal, width, columns),
                parameters.f_up,
            )
            continue
        if k >= first and taps:
            e = parameters.exponents[tap_group(architecture)]
            grid, missing_bits = filtered(grid, taps[k - first], e, parameters.f_up), 0
        up[k] = upsample(grid, architecture.level(k) - scale, height, width, missing_bits)
    network = synthesis_network(header.architecture, parameters, header.bit_depth)
    samples = synthesise(network, up, header.bit_depth)
    return np.ascontiguousarray(samples.transpose(1, 2, 0), np.uint8)


def decode(
    data: bytes,
    *,
    check_crc: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    scale: int = 0,
) -> np.ndarray:
    """The picture (H, W, channels), uint8, or its preview."""
    file = parse(data, check_crc=check_crc, max_pixels=max_pixels, scale=scale)
    return reconstruct(file, scale)
