"""Writer of coolchic files, versions 1 to 3, for test vectors: the mirror of `reference_decoder`.

`encode` turns a `ParsedFile`, with every integer in it given, into the one file that
`reference_decoder.parse` reads it from. It chooses nothing and checks little, so that tests can
make invalid files with it. Sections are those of `docs/bitstream.md`.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from reference_decoder import (
    ARM_BIASES,
    ARM_WEIGHTS,
    BORDER_LEFT,
    BORDER_TOP,
    ESCAPE,
    MAGIC,
    MODULES_VERSION,
    SYNTHESIS_BIASES,
    Architecture,
    Band,
    Header,
    IntegerLayer,
    Layer,
    Parameters,
    ParsedFile,
    arm_inputs,
    arm_networks,
    bordered,
    cumulative_table,
    default_value,
    distributions,
    golomb_parameter,
    parent_plane,
    sibling_planes,
    subband_group,
    substreams_of,
    tap_group,
    wavefront,
    weight_group,
    window,
)


def encode(file: ParsedFile) -> bytes:
    """Section 2."""
    weights, latents = write_weights(file), write_latents(file)
    body = write_header(file.header)
    if file.header.has_extensions:
        body += write_extensions(file.extensions)
    body += varint(len(weights)) + weights + varint(len(latents)) + latents
    return seal(body)


def seal(body: bytes) -> bytes:
    """Appends the CRC (section 2)."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def varint(value: int) -> bytes:
    """Section 1."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def write_header(header: Header) -> bytes:
    """Section 3."""
    flags = header.channels - 1 | (header.bit_depth != 8) << 2 | header.has_extensions << 3
    out = (
        MAGIC
        + bytes([header.version, flags])
        + varint(header.width - 1)
        + varint(header.height - 1)
    )
    if header.bit_depth != 8:
        out += bytes([header.bit_depth])
    out += bytes([header.architecture_id])
    if header.architecture_id == 255:
        out += write_architecture(header.architecture, header.version)
    return out


def write_architecture(architecture: Architecture, version: int) -> bytes:
    """Section 4.2."""

    def layers(stack: tuple[Layer, ...]) -> list[int]:
        out = [len(stack)]
        for layer in stack:
            out += [layer.kind | layer.residual << 4 | layer.relu << 5, layer.width]
        return out

    context = [dr << 4 | dc + 8 for dr, dc in architecture.context]
    parents = [dr + 8 << 4 | dc + 8 for dr, dc in architecture.parents]
    return bytes(
        [architecture.grids, len(context), *context]
        + ([len(parents), *parents] if version >= MODULES_VERSION else [])
        + layers(architecture.arm)
        + [architecture.filtered + architecture.wavelet + architecture.subband_weights]
        + layers(architecture.synthesis)
    )


def write_extensions(extensions: Iterable[tuple[int, bytes]]) -> bytes:
    """Section 5."""
    parts = [varint(kind) + varint(len(content)) + content for kind, content in extensions]
    return varint(len(parts)) + b"".join(parts)


def write_weights(file: ParsedFile) -> bytes:
    """Section 6."""
    parameters = file.parameters
    fields = parameters.f_arm << 8 | parameters.f_up << 4 | parameters.f_syn
    for e, s in zip(parameters.exponents, parameters.scales, strict=True):
        fields = fields << 10 | e << 6 | s
    fields = fields << 4 | parameters.default
    size = 16 + 10 * len(parameters.exponents)
    padding = -size % 8
    index = 0
    substream = SubstreamWriter(1)
    architecture = file.header.architecture_id
    for group, values in parameters_in_order(file.header.architecture, parameters):
        s, e = parameters.scales[group], parameters.exponents[group]
        for q in values.ravel().tolist():
            difference = q - default_value(architecture, parameters.default, index, e)
            substream.symbol(0, s, 8, difference)
            substream.escape(s, difference)
            index += 1
    return (fields << padding).to_bytes((size + padding) // 8, "big") + substream.finish()


def parameters_in_order(
    architecture: Architecture, parameters: Parameters
) -> Iterator[tuple[int, np.ndarray]]:
    """(group, integers) in the order of the substream."""
    for w, b in parameters.arm:
        yield ARM_WEIGHTS, w
        yield ARM_BIASES, b
    for layer, (w, b) in zip(architecture.synthesis, parameters.synthesis, strict=True):
        yield weight_group(architecture, layer), w
        yield SYNTHESIS_BIASES, b
    for taps in parameters.taps:
        yield tap_group(architecture), taps
    for differences in parameters.subbands:
        yield subband_group(architecture), differences


def write_latents(file: ParsedFile) -> bytes:
    """Section 7."""
    architecture = file.header.architecture
    mask = sum(bit << k for k, bit in enumerate(file.coded))
    layout = file.lanes.bit_length() - 1 | (file.bands > 1 and any(file.coded)) << 2
    out = bytes([layout]) + mask.to_bytes(-(-architecture.grids // 8), "little")
    if not any(file.coded):
        return out
    arms = arm_networks(architecture, file.parameters)
    # Contexts are causal: the finished grid holds what the decoder will have seen.
    padded = [bordered(grid) for grid in file.latents]
    shapes = [grid.shape for grid in file.latents]
    parts = []
    for content in substreams_of(file.header, file.coded, file.bands):
        substream = SubstreamWriter(file.lanes)
        for band in content:
            width = file.latents[band.k].shape[1]
            write_band(
                substream,
                padded[band.k],
                [
                    parent_plane(architecture, padded, shapes, band.k),
                    *sibling_planes(architecture, padded, shapes, band.k),
                ],
                width,
                band,
                architecture,
                arms[min(band.k, len(arms) - 1)],
                file.parameters.f_arm,
            )
        parts.append(substream.finish())
    if file.bands > 1:
        out += varint(file.bands)
    for part in parts[:-1]:
        out += varint(len(part) // 2)
    return out + b"".join(parts)


def write_band(
    substream: "SubstreamWriter",
    padded: np.ndarray,
    planes: Sequence[np.ndarray],
    width: int,
    band: Band,
    architecture: Architecture,
    arm: Sequence[IntegerLayer],
    f_arm: int,
) -> None:
    """Sections 7 and 10."""
    for rows, cols in wavefront(band.rows, width, architecture.stagger):
        rows = rows + band.first_row
        x = arm_inputs(padded, planes, rows, cols, architecture)
        means, fractions, scales = distributions(arm, x, f_arm)
        values = padded[BORDER_TOP + rows, BORDER_LEFT + cols]
        offsets = (values - np.array(means)).tolist()
        for j, (s, f, d) in enumerate(zip(scales, fractions, offsets, strict=True)):
            substream.symbol(j % substream.lanes, s, f, d)
        for s, d in zip(scales, offsets, strict=True):
            substream.escape(s, d)


class SubstreamWriter:
    """Section 8. Collects what the decoder will read, in its order, and lays it down at the end.

    The coder of a lane runs backwards, from the state 2^16 with which the decoder ends; a first
    pass, last symbol first, finds which symbols make the decoder read a word and what it must
    be. A second pass, forwards, puts these words and those of the reservoir where the decoder
    fetches them: the latter when it wants a bit and the reservoir is empty.
    """

    def __init__(self, lanes: int):
        self.lanes = lanes
        # ("symbol", lane, start, frequency) and ("bits", value, count)
        self.events: list[tuple] = []

    def symbol(self, lane: int, s: int, f: int, d: int) -> None:
        """The symbol for a value d above its integer mean; `escape` has to follow in its turn."""
        lo, hi = window(s)
        k = d + 7 if lo <= d <= hi else ESCAPE
        c = cumulative_table(s, f)
        self.events.append(("symbol", lane, c[k], c[k + 1] - c[k]))

    def escape(self, s: int, d: int) -> None:
        """The bits of d, if its symbol is the escape."""
        lo, hi = window(s)
        if lo <= d <= hi:
            return
        below = d < lo
        self.bits(below, 1)
        self.golomb(lo - 1 - d if below else d - hi - 1, golomb_parameter(s))

    def golomb(self, value: int, g: int) -> None:
        q = value >> g
        if q < 12:
            self.bits((1 << q) - 1, q)
            self.bits(0, 1)
            self.bits(value & ((1 << g) - 1), g)
            return
        rest = value - (12 << g)
        z = ((rest >> g) + 1).bit_length() - 1
        self.bits((1 << 12 + z) - 1, 12 + z)
        self.bits(0, 1)
        self.bits(rest - (((1 << z) - 1) << g), z + g)

    def bits(self, value: int, count: int) -> None:
        self.events.append(("bits", value, count))

    def finish(self) -> bytes:
        states = [2**16] * self.lanes
        renormalisation: list[int | None] = []  # of each symbol, the last one first
        for event in reversed(self.events):
            if event[0] == "symbol":
                _, lane, start, frequency = event
                x = states[lane]
                word = None
                if x >= frequency << 17:
                    word = x & 0xFFFF
                    x >>= 16
                states[lane] = (x // frequency << 15) + x % frequency + start
                renormalisation.append(word)

        words = [half for x in states for half in (x >> 16, x & 0xFFFF)]
        reservoir = 0  # index of the word that takes the next bits
        free = 0  # bits left in it
        for event in self.events:
            if event[0] == "symbol":
                word = renormalisation.pop()
                if word is not None:
                    words.append(word)
                continue
            _, value, count = event
            for i in reversed(range(count)):
                if free == 0:
                    reservoir = len(words)
                    words.append(0)
                    free = 16
                free -= 1
                words[reservoir] |= (value >> i & 1) << free
        return np.array(words, "<u2").tobytes()
