"""Reference decoder of the coolchic bitstream, versions 1 and 2.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
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
VERSIONS = (1, 2)


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
    if architecture_id == 0:
        architecture = paper_architecture(channels)
    elif architecture_id == 255:
        architecture = read_architecture(reader)
    else:
        raise FormatError(f"unsupported: architecture {architecture_id}")
    check_architecture(architecture, channels)
    has_extensions = bool(flags & 8)
    return Header(
        width, height, channels, bit_depth, has_extensions, architecture_id, architecture, version
    )


# Section 4: architecture


@dataclass(frozen=True)
class Layer:
    """A layer of kind 0, full linear."""

    width: int
    residual: bool = False
    relu: bool = False


@dataclass(frozen=True)
class Architecture:
    grids: int
    context: tuple[tuple[int, int], ...]  # (dr, dc): rows above, columns to the right
    arm: tuple[Layer, ...]
    synthesis: tuple[Layer, ...]

    @property
    def stagger(self) -> int:
        """Least S >= 1 with S*dr > dc for every position with dr > 0."""
        return max([1] + [dc // dr + 1 for dr, dc in self.context if dr > 0])

    def arm_shapes(self) -> list[tuple[int, int]]:
        return layer_shapes(len(self.context), self.arm)

    def synthesis_shapes(self) -> list[tuple[int, int]]:
        return layer_shapes(self.grids, self.synthesis)


def layer_shapes(inputs: int, layers: Sequence[Layer]) -> list[tuple[int, int]]:
    """(outputs, inputs) of each layer."""
    widths = [inputs] + [layer.width for layer in layers]
    return [(outputs, inputs) for inputs, outputs in pairwise(widths)]


def check_architecture(architecture: Architecture, channels: int) -> None:
    """The rules of section 4 on last layers, and the limit of section 13."""
    arm, synthesis = architecture.arm, architecture.synthesis
    for name, layers in (("ARM", arm), ("synthesis", synthesis)):
        require(not layers[-1].relu, f"invalid: the last {name} layer has an activation")
    require(arm[-1].width == 2, f"invalid: the last ARM layer has width {arm[-1].width}, not 2")
    require(not arm[-1].residual, "invalid: the last ARM layer is residual")
    require(
        synthesis[-1].width == channels,
        f"invalid: the last synthesis layer has width {synthesis[-1].width}, not {channels}",
    )
    arm_weights = sum(o * i for o, i in architecture.arm_shapes())
    synthesis_weights = sum(o * i for o, i in architecture.synthesis_shapes())
    multiplications = architecture.grids * arm_weights + synthesis_weights
    require(
        multiplications <= MAX_MULTIPLICATIONS,
        f"invalid: {multiplications} multiplications per pixel, at most {MAX_MULTIPLICATIONS}",
    )


# Section 4.1: architecture 0


def paper_architecture(channels: int) -> Architecture:
    above = [(dr, dc) for dr in (2, 1) for dc in (-2, -1, 0, 1, 2)]
    residual_relu = Layer(12, residual=True, relu=True)
    return Architecture(
        grids=7,
        context=(*above, (0, -2), (0, -1)),
        arm=(residual_relu, residual_relu, Layer(2)),
        synthesis=(Layer(12, relu=True), residual_relu, Layer(channels)),
    )


# Section 4.2: description


def read_architecture(reader: Reader) -> Architecture:
    grids = read_ranged(reader, "number of grids", 1, 16)
    context_size = read_ranged(reader, "number of context positions", 1, 32)
    context = []
    for _ in range(context_size):
        byte = reader.u8("context position")
        dr, dc = byte >> 4, (byte & 15) - 8
        require(dr <= 7, f"invalid: context position {dr} rows above, at most 7")
        require(dr > 0 or dc < 0, f"invalid: context position ({dr}, {dc}) is not causal")
        context.append((dr, dc))
    arm = read_layers(reader, "ARM", context_size)
    upsampling = reader.u8("upsampling")
    require(upsampling == 0, f"unsupported: upsampling {upsampling}")
    synthesis = read_layers(reader, "synthesis", grids)
    return Architecture(grids, tuple(context), arm, synthesis)


def read_layers(reader: Reader, name: str, inputs: int) -> tuple[Layer, ...]:
    layers = []
    for i in range(read_ranged(reader, f"number of {name} layers", 1, 8)):
        byte = reader.u8(f"type of {name} layer {i}")
        kind, residual, activation = byte & 15, bool(byte & 16), byte >> 5 & 3
        require(byte >> 7 == 0, f"invalid: reserved bit in the type of {name} layer {i}")
        require(kind == 0, f"unsupported: kind {kind} of {name} layer {i}")
        require(activation <= 1, f"unsupported: activation {activation} of {name} layer {i}")
        width = read_ranged(reader, f"width of {name} layer {i}", 1, 64)
        require(
            not residual or width == inputs,
            f"invalid: {name} layer {i} is residual with {inputs} inputs, {width} outputs",
        )
        layers.append(Layer(width, residual, activation == 1))
        inputs = width
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
WEIGHTS_FIELDS_SIZE = 7

# Integer weights (outputs, inputs) and biases (outputs,), both int64, of one layer.
LayerParameters = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Parameters:
    f_arm: int
    f_up: int
    f_syn: int
    exponents: tuple[int, int, int, int]  # by group
    scales: tuple[int, int, int, int]  # by group
    arm: list[LayerParameters]
    synthesis: list[LayerParameters]
    default: int = 0  # the default decoder that differences are coded from, or none


def read_weights(reader: Reader, header: Header) -> Parameters:
    architecture = header.architecture
    fields = int.from_bytes(reader.take(WEIGHTS_FIELDS_SIZE, "weights fields"), "big")
    unread = 8 * WEIGHTS_FIELDS_SIZE

    def field(size: int) -> int:
        nonlocal unread
        unread -= size
        return fields >> unread & ((1 << size) - 1)

    f_arm, f_up, f_syn = field(4), field(4), field(4)
    groups = [(field(4), field(6)) for _ in range(4)]
    require(4 <= f_arm <= 12, f"invalid: F_arm is {f_arm}, not 4 ... 12")
    require(f_up <= 12, f"invalid: F_up is {f_up}, not 0 ... 12")
    require(4 <= f_syn <= 14, f"invalid: F_syn is {f_syn}, not 4 ... 14")
    default = field(4)
    require(default <= DEFAULT_DECODERS, f"unsupported: default decoder {default}")
    paper_rgb = header.architecture_id == 0 and header.channels == 3
    require(default == 0 or paper_rgb, "invalid: default decoder of another architecture")
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
            q = d + default_value(default, index, exponents[group])
            require(abs(q) <= 32767, f"corrupt: parameter {q} of group {group}")
            values[i] = q
            index += 1
        return values

    def module(shapes: list[tuple[int, int]], weights: int, biases: int) -> list[LayerParameters]:
        layers = []
        for outputs, inputs in shapes:
            w = integers(outputs * inputs, weights).reshape(outputs, inputs)
            layers.append((w, integers(outputs, biases)))
        return layers

    arm = module(architecture.arm_shapes(), ARM_WEIGHTS, ARM_BIASES)
    synthesis = module(architecture.synthesis_shapes(), SYNTHESIS_WEIGHTS, SYNTHESIS_BIASES)
    substream.finish()
    return Parameters(f_arm, f_up, f_syn, exponents, scales, arm, synthesis, default)


# Section 6.1: default decoders

DEFAULT_DECODERS = 4
DEFAULT_TABLES = Path(__file__).parent.parent / "docs" / "default_decoders.txt"


@functools.cache
def default_decoder(number: int) -> list[int]:
    """Table P, in the file's order."""
    table = DEFAULT_TABLES.read_text().split(f"table {number}\n")[1].split("table")[0]
    return [int(entry) for entry in table.replace("\n", ",").split(",") if entry.strip()]


def default_value(number: int, index: int, e: int) -> int:
    """D of the parameter at a place in the file's order."""
    if number == 0:
        return 0
    t = default_decoder(number)[index]
    return (t + 2 ** (11 - e)) >> (12 - e) if e < 12 else t * 2 ** (e - 12)


# Section 7: latents section


@dataclass(frozen=True)
class Band:
    """Rows of a grid that form one wavefront."""

    k: int
    first_row: int
    rows: int


def bands_of_grid(bands: int, k: int) -> int:
    """B_k."""
    return max(1, bands >> 2 * k)


def substreams_of(header: Header, coded: Sequence[bool], bands: int) -> Iterator[tuple[Band, ...]]:
    """The bands of each substream, in the order of the file."""
    rows = [grid_shape(header.height, header.width, k)[0] for k in range(len(coded))]
    grids = [k for k in reversed(range(len(coded))) if coded[k]]
    whole = tuple(Band(k, 0, rows[k]) for k in grids if bands_of_grid(bands, k) == 1)
    if whole:
        yield whole
    for k in grids:
        count = bands_of_grid(bands, k)
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


def read_latents(
    reader: Reader, header: Header, parameters: Parameters, first_grid: int = 0
) -> Latents:
    """All the latents, or those of grids `first_grid` and coarser, the others being zero."""
    architecture = header.architecture
    layout = reader.u8("layout")
    known = 7 if header.version >= 2 else 3
    require(layout & ~known == 0, f"unsupported: latent layout 0x{layout:02x}")
    lanes = 1 << (layout & 3)
    mask_size = -(-architecture.grids // 8)
    mask = int.from_bytes(reader.take(mask_size, "coded grids"), "little")
    require(mask >> architecture.grids == 0, "invalid: unused bits of the coded grids are set")
    coded = tuple(bool(mask >> k & 1) for k in range(architecture.grids))
    shapes = [grid_shape(header.height, header.width, k) for k in range(architecture.grids)]
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
    arm = arm_network(architecture, parameters)
    padded = [bordered(grid) for grid in grids]
    for content, size in zip(substreams, sizes, strict=True):
        wanted = [band for band in content if band.k >= first_grid]
        reader.take(size, "substream")
        if not wanted:
            continue
        part = Reader(reader.data, reader.pos - size, reader.pos)
        substream = Substream(part, lanes, "latents")
        for band in wanted:
            decode_band(substream, padded[band.k], band, architecture, arm, parameters.f_arm)
        if len(wanted) == len(content):
            substream.finish()
    for k, (height, width) in enumerate(shapes):
        grids[k] = padded[k][BORDER_TOP : BORDER_TOP + height, BORDER_LEFT : BORDER_LEFT + width]
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
    w: np.ndarray  # (outputs, inputs), int64
    b: np.ndarray  # (outputs,), int64
    shift: int
    relu: bool

    def accumulate(self, x: np.ndarray) -> np.ndarray:
        """acc (outputs, n), int64, of inputs (inputs, n), int64."""
        r = 1 << (self.shift - 1) if self.shift > 0 else 0
        # int64 cannot overflow: at most 64 products of up to 2^30, and a bias of up to 2^30.
        return wrap32(self.w @ x + (self.b + r)[:, None])

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Activations (outputs, n), int64."""
        y = sat16(self.accumulate(x) >> self.shift)
        return np.maximum(y, 0) if self.relu else y


def integer_network(
    name: str,
    layers: Sequence[Layer],
    parameters: Sequence[LayerParameters],
    e: int,
    eb: int,
    fractions: Sequence[int],
) -> list[IntegerLayer]:
    """Layer i takes inputs with fractions[i] fractional bits to outputs with fractions[i + 1]."""
    network = []
    for i, (layer, (q, qb)) in enumerate(zip(layers, parameters, strict=True)):
        fi, fo = fractions[i], fractions[i + 1]
        p = max(0, fo - fi - e)
        shift = e + p + fi - fo
        a = e + p + fi
        w = q << p
        if layer.residual:
            w = w + (np.eye(len(w), dtype=np.int64) << (e + p))
        b = qb << (a - eb) if a >= eb else (qb + (1 << (eb - a - 1))) >> (eb - a)
        require(
            bool(np.all((w >= -32768) & (w <= 32767))),
            f"invalid: a weight of {name} layer {i} exceeds 16 bits",
        )
        require(
            bool(np.all(np.abs(b) <= 2**30)), f"invalid: a bias of {name} layer {i} exceeds 2^30"
        )
        network.append(IntegerLayer(w, b, shift, layer.relu))
    return network


def arm_network(architecture: Architecture, parameters: Parameters) -> list[IntegerLayer]:
    layers = architecture.arm
    e, eb = parameters.exponents[ARM_WEIGHTS], parameters.exponents[ARM_BIASES]
    fractions = [0] + [parameters.f_arm] * len(layers)
    return integer_network("ARM", layers, parameters.arm, e, eb, fractions)


def synthesis_network(
    architecture: Architecture, parameters: Parameters, bit_depth: int
) -> list[IntegerLayer]:
    layers = architecture.synthesis
    e, eb = parameters.exponents[SYNTHESIS_WEIGHTS], parameters.exponents[SYNTHESIS_BIASES]
    fractions = [parameters.f_up] + [parameters.f_syn] * (len(layers) - 1) + [bit_depth]
    return integer_network("synthesis", layers, parameters.synthesis, e, eb, fractions)


# Section 10: latent decoding

# A border of zeros wide enough for every context position of section 4.2.
BORDER_TOP, BORDER_LEFT, BORDER_RIGHT = 7, 8, 7


def bordered(grid: np.ndarray) -> np.ndarray:
    return np.pad(grid, ((BORDER_TOP, 0), (BORDER_LEFT, BORDER_RIGHT)))


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
        x = contexts(padded, rows, cols, architecture.context)
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
    """Grid k (h_k, w_k) enlarged to (height, width), int64."""
    if k == 0:
        return sat16(grid << f_up)
    rows, columns = grid.shape
    index, taps = interpolation(k, width, columns)
    total = sum(taps[j] * grid[:, index[j]] for j in range(4))
    hor = sat16((total + (1 << (13 - f_up))) >> (14 - f_up))
    index, taps = interpolation(k, height, rows)
    total = sum(taps[j][:, None] * hor[index[j]] for j in range(4))
    return sat16((total + (1 << 13)) >> 14)


# Section 12: synthesis


def synthesise(network: Sequence[IntegerLayer], x: np.ndarray, bit_depth: int) -> np.ndarray:
    """Samples (channels, n), int64, of upsampled latents (L, n)."""
    for layer in network[:-1]:
        x = layer.apply(x)
    last = network[-1]
    return np.clip(last.accumulate(x) >> last.shift, 0, 2**bit_depth - 1)


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
    first_grid: int = 0,
) -> ParsedFile:
    """Everything a file holds, the latents of grids `first_grid` and coarser decoded."""
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
    arm_network(header.architecture, parameters)
    synthesis_network(header.architecture, parameters, header.bit_depth)
    latents = read_latents(section, header, parameters, first_grid)
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
    for k in range(scale, len(up)):
        up[k] = upsample(file.latents[k], k - scale, height, width, parameters.f_up)
    network = synthesis_network(header.architecture, parameters, header.bit_depth)
    samples = synthesise(network, up.reshape(len(up), height * width), header.bit_depth)
    picture = samples.reshape(header.channels, height, width).transpose(1, 2, 0)
    return np.ascontiguousarray(picture, np.uint8)


def decode(
    data: bytes,
    *,
    check_crc: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    scale: int = 0,
) -> np.ndarray:
    """The picture (H, W, channels), uint8, or its preview."""
    file = parse(data, check_crc=check_crc, max_pixels=max_pixels, first_grid=scale)
    return reconstruct(file, scale)
