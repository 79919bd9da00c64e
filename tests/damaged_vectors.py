"""Damaged files: at least one for every kind of damage in section 14 of `docs/bitstream.md`.

Each comes with its name, the beginning of the reference decoder's message (the class of damage
and the reason) and a part of the message of the decoder in C++.
"""

from collections.abc import Iterator

import numpy as np

import reference_decoder as dec
import reference_encoder as enc
from file_builder import (
    body,
    described,
    file_of_modules,
    file_of_wavelet,
    one_layer_file,
    weight_fields,
)

Damaged = tuple[str, str, str, bytes]


def bad() -> Iterator[Damaged]:
    for name, reference, message, parts in replaced_parts():
        yield name, reference, message, body(**parts)
    yield from cut_files()
    yield from values_out_of_range()
    yield from damaged_substreams()


def replaced_parts() -> list[tuple[str, str, str, dict]]:
    """What to replace in the file of one black pixel; its sides begin at byte 6."""

    def sides(*values: int) -> dict:
        return {"sides": bytes(values)}

    def arch(**parts) -> dict:
        return {"architecture": described(**parts)}

    def extensions(*values: int) -> dict:
        return {"flags": 8, "extensions": bytes(values)}

    def weights(**fields) -> dict:
        return {"weights": weight_fields(**fields)}

    def latents(*values: int) -> dict:
        return {"latents": bytes(values)}

    def modules(parents: bytes = b"", **parts) -> dict:
        """An architecture of version 3."""
        return {"version": 3} | arch(parents=parents, **parts)

    def wavelet(parents: bytes = b"", **parts) -> dict:
        """An architecture of version 4."""
        whole = {"grids": 4, "upsampling": 2} | parts
        return {"version": 4} | arch(parents=parents, **whole)

    def filters(padding: int) -> dict:
        return modules(upsampling=1) | weights(groups=5, padding=padding)

    def bands(*values: int) -> dict:
        """Of a picture of two rows, its only grid coded."""
        return {"version": 2, "sides": b"\0\1"} | latents(4, 1, *values)

    paper = {"flags": 2, "architecture": b"\0"}
    flags = "invalid: reserved header flags"
    kind = "unsupported: "
    number = "malformed number"
    side = "larger than 65536 on a side"
    most_layers = b"\x00\x01" * 9
    # 16 * (15 * 53 + 53 * 60 + 60 * 2) + 17 = 65537
    many = {"context": b"\x07" * 15, "arm": b"\0\x35\0\x3c\0\x02", "synthesis": b"\0\x01\0\x01"}
    precision = "precision out of range"
    five = b"\0\1" + b"\1\1" * 5
    narrow = b"\0\3\x10\2\0\2"
    inputs_33 = {"context": b"\x07" * 28, "parents": b"\x88" * 5}
    # 16 * (15 * 53 + 53 * 60 + 60 * 2) + 16 + 9 = 65545
    most = modules(grids=16, **many | {"synthesis": b"\0\1\1\1"})
    rich_weights_cut = modules(upsampling=1, synthesis=b"\0\1\1\1") | {
        "weights": weight_fields(groups=6)[:9]
    }
    return [
        ("magic", "not a coolchic file", "not a coolchic file", {"magic": b"\xc0\x01\xc4\x1d"}),
        ("version", kind + "version 6", "unsupported format version 6", {"version": 6}),
        ("flags", flags, "reserved flags", {"flags": 0x10}),
        ("flags_high", flags, "reserved flags", {"flags": 0x80}),
        ("width_not_shortest", "invalid: width at byte 6 is not sh", number, sides(0x80, 0, 0)),
        ("height_not_shortest", "invalid: height at byte 7 is not", number, sides(0, 129, 128, 0)),
        ("width_33_bits", "invalid: width at byte 6 exceeds", number, sides(*[255] * 4, 16, 0)),
        ("width_6_bytes", "invalid: width at byte 6 is longer", number, sides(*[255] * 5, 0, 0)),
        ("width_65537", "invalid: picture of 65537 x 1,", side, sides(128, 128, 4, 0)),
        ("height_65537", "invalid: picture of 1 x 65537,", side, sides(0, 128, 128, 4)),
        ("too_large", "too large: picture", "exceeds the limit", sides(255, 255, 3, 255, 255, 3)),
        ("depth_8", "invalid: bit depth 8", "bit depth 8", {"flags": 4, "depth": b"\x08"}),
        ("depth_17", "invalid: bit depth 17", "bit depth 17", {"flags": 4, "depth": b"\x11"}),
        ("depth_10", kind + "bit depth 10", "bit depth 10", {"flags": 4, "depth": b"\x0a"}),
        ("architecture", kind + "architecture 1", "architecture 1", {"architecture": b"\x01"}),
        ("grids_0", "invalid: number of grids is 0", "0 latent grids", arch(grids=0)),
        ("grids_17", "invalid: number of grids is 17", "17 latent grids", arch(grids=17)),
        ("context_0", "invalid: number of context", "0 context positions", arch(context=b"")),
        ("context_33", "invalid: number of con", "33 context", arch(context=b"\x10" * 33)),
        ("context_far", "invalid: context position 8", "too far", arch(context=b"\x87")),
        ("context_causal", "invalid: context position (0, 0)", "not c", arch(context=b"\x08")),
        ("layers_0", "invalid: number of ARM layers is 0", "ARM has 0 layers", arch(arm=b"")),
        ("layers_9", "invalid: number of synth", "has 9 layers", arch(synthesis=most_layers)),
        ("layer_kind", kind + "kind 1 of ARM layer 0", "layer kind 1", arch(arm=b"\x01\x02")),
        ("layer_bit", "invalid: reserved bit", "reserved layer bit", arch(arm=b"\x80\x02")),
        ("activation_2", kind + "activation 2", "activation 2", arch(arm=b"\x40\x02\0\x02")),
        ("activation_3", kind + "activation 3", "activation 3", arch(synthesis=b"\x60\x01\0\x01")),
        ("width_0", "invalid: width of ARM layer 0", "layer width 0", arch(arm=b"\0\0\0\x02")),
        ("width_65", "invalid: width of ARM layer 0", "width 65", arch(arm=b"\0\x41\0\x02")),
        ("residual", "invalid: ARM layer 0 is res", "changes its", arch(arm=b"\x10\x02\0\x02")),
        ("arm_residual", "invalid: the last ARM", "last ARM", arch(arm=b"\0\x02\x10\x02")),
        ("arm_activation", "invalid: the last ARM layer", "last ARM", arch(arm=b"\x20\x02")),
        ("arm_width", "invalid: the last ARM layer has width 3", "last ARM", arch(arm=b"\0\x03")),
        ("upsampling", kind + "upsampling 1", "unsupported upsampling 1", arch(upsampling=1)),
        ("upsampling_2", kind + "upsampling 2", "unsupported upsampling 2", modules(upsampling=2)),
        ("upsampling_3", kind + "upsampling 3", "unsupported upsampling 3", wavelet(upsampling=3)),
        (
            "upsampling_4",
            kind + "upsampling 4",
            "unsupported upsampling 4",
            wavelet(upsampling=4) | {"version": 5},
        ),
        ("wavelet_3_grids", "invalid: wavelet of 3", "wavelet of 3 latent", wavelet(grids=3)),
        ("wavelet_inputs", "invalid: ARM of 31", "33 inputs", wavelet(context=b"\x07" * 31)),
        ("wavelet_residual", "invalid: ARM layer 0 is", "more out", wavelet(arm=b"\x10\2\0\2")),
        ("parents_9", "invalid: number of parent", "9 parent", modules(parents=b"\x88" * 9)),
        ("parents_33", "invalid: number of parent pos", "5 parent positions", modules(**inputs_33)),
        ("parents_above", "invalid: parent position (3, 0)", "too far", modules(parents=b"\xb8")),
        ("parents_below", "invalid: parent position (-3, 0)", "too far", modules(parents=b"\x58")),
        ("parents_left", "invalid: parent position (0, -3)", "too far", modules(parents=b"\x85")),
        ("parents_right", "invalid: parent position (0, 3)", "too far", modules(parents=b"\x8b")),
        ("layer_kind_2", kind + "kind 2 of ARM", "layer kind 2", modules(arm=b"\x02\x02")),
        ("convolution_2", kind + "kind 1 of synthesis", "kind 1", arch(synthesis=b"\0\x01\1\1")),
        ("convolution_arm", "invalid: a layer of the ARM", "in the ARM", modules(arm=b"\1\2")),
        ("convolution_first", "invalid: convolutions are", "not at", modules(synthesis=b"\1\1")),
        (
            "convolution_inside",
            "invalid: convolutions are not all",
            "not at the end",
            modules(synthesis=b"\0\1\1\1\0\1"),
        ),
        ("convolutions_5", "invalid: 5 convolutions", "5 conv", modules(synthesis=five)),
        (
            "convolution_width",
            "invalid: synthesis layer 1, of or before convolutions, has width 2",
            "another width",
            modules(synthesis=b"\0\1\1\2\1\1"),
        ),
        (
            "convolution_input",
            "invalid: synthesis layer 0, of or before convolutions, has width 2",
            "another width",
            modules(synthesis=b"\0\2\1\1"),
        ),
        (
            "convolution_activation",
            "invalid: the last synthesis layer has an act",
            "last synthesis layer",
            modules(synthesis=b"\0\1\x21\1"),
        ),
        ("residual_narrow", "invalid: ARM layer 1 is res", "changes its", arch(arm=narrow)),
        ("residual_wide", "invalid: ARM layer 0 is", "more outputs", modules(arm=b"\x10\2\0\2")),
        ("convolutions_multiplications", "invalid: 65545 mult", "too many mult", most),
        ("weights_padding", "invalid: bits between", "reserved bits", filters(padding=1)),
        ("weights_padding_high", "invalid: bits between", "reserved bits", filters(padding=32)),
        ("weights_6_cut", "truncated: weights", "(weights", rich_weights_cut),
        ("channels", "invalid: the last synthesis layer", "last synthesis layer", {"flags": 2}),
        ("synthesis_activation", "invalid: the last s", "last syn", arch(synthesis=b"\x20\x01")),
        ("multiplications", "invalid: 65537 mult", "too many mult", arch(grids=16, **many)),
        ("extensions_65", "invalid: 65 extensions", "too many extensions", extensions(65)),
        ("extension_odd", kind + "extension type 3", "extension 3", extensions(1, 3, 0)),
        ("extensions_order", "invalid: extension type 4", "ascend", extensions(2, 4, 0, 4, 0)),
        ("extensions_long", "invalid: ext", "too large", extensions(1, 2, 129, 128, 128, 8)),
        ("extension_cut", "truncated: extension 2", "truncated", extensions(1, 2, 128, 128, 4)),
        ("f_arm_3", "invalid: F_arm is 3", precision, weights(f_arm=3)),
        ("f_arm_13", "invalid: F_arm is 13", precision, weights(f_arm=13)),
        ("f_up_13", "invalid: F_up is 13", precision, weights(f_up=13)),
        ("f_syn_3", "invalid: F_syn is 3", precision, weights(f_syn=3)),
        ("f_syn_15", "invalid: F_syn is 15", precision, weights(f_syn=15)),
        (
            "default_unknown",
            kind + "default decoder 13",
            "default decoder 13",
            paper | weights(default=13),
        ),
        ("default_alien", "invalid: default decoder of", "default decoder of", weights(default=1)),
        ("weights_cut", "truncated: weights", "(weights", {"weights": weight_fields()[:6]}),
        ("weights_odd", "invalid: weights", "odd", {"weights": weight_fields()[:-1]}),
        ("latents_cut", "truncated: layout", "truncated file (latents section", latents()),
        ("layout", kind + "latent layout 0x04", "unsupported latent layout", latents(4, 0)),
        ("layout_8", kind + "latent layout 0x08", "latent layout", {"version": 2} | latents(8, 0)),
        ("bands_0", "invalid: 0 bands", "0 bands", bands(0)),
        ("bands_1", "invalid: 1 bands", "1 bands", bands(1)),
        ("bands_many", "invalid: 3 bands", "3 bands", bands(3, 1, 1)),
        ("bands_cut", "truncated: number of bands", "truncated file (latents", bands()),
        ("bands_length_cut", "truncated: length of a sub", "truncated file", bands(2)),
        ("bands_too_long", "truncated: latents section", "truncated file", bands(2, 3, 1, 0, 0, 0)),
        ("bands_odd", "invalid: latents substream of", "odd", bands(2, 2, *[0, 0, 1, 0] * 2, 0)),
        ("coded_cut", "truncated: coded grids", "truncated file (latents section", latents(0)),
        ("coded_unused", "invalid: unused bits of the cod", "reserved grid flag", latents(0, 2)),
        ("latents_odd", "invalid: latents substream of", "odd", latents(0, 1, 1, 0, 0, 0, 0)),
        ("latents_no_grid", "invalid: 2 bytes", "substream without grids", latents(0, 0, 0, 0)),
    ]


def cut_files() -> Iterator[Damaged]:
    whole = body()
    yield "empty", "not a coolchic file", "not a coolchic file", b""
    yield "magic_cut", "not a coolchic file", "not a coolchic file", whole[:3]
    yield "header_cut", "truncated: version", "truncated file", whole[:4]
    yield "section_cut", "truncated: latents section", "truncated file", whole[:-5]
    yield "crc_cut", "truncated: CRC", "truncated file", whole[:-1]
    yield "trailing", "trailing data: 1 bytes", "1 bytes after the end", whole + b"\0"
    yield "crc", "CRC differs", "checksum differs", bytes([*whole[:-1], whole[-1] ^ 1])
    last_latents_byte = bytes([*whole[:-5], whole[-5] ^ 1, *whole[-4:]])
    yield "bit_flip", "CRC differs", "checksum differs", last_latents_byte


def values_out_of_range() -> Iterator[Damaged]:
    for name, reference, message, file in [
        (
            "weight_range",
            "invalid: a weight of synthesis layer 0 exceeds 16 bits",
            "weight out of range (synthesis layer 0)",
            one_layer_file(weight=0, residual=True),
        ),
        (
            "bias_range",
            "invalid: a bias of synthesis layer 0 exceeds 2^30",
            "bias out of range (synthesis layer 0)",
            one_layer_file(bias=32767, exponents=(15, 15, 15, 7)),
        ),
        (
            "weight_range_parents",
            "invalid: a weight of ARM layer 0 exceeds 16 bits",
            "weight out of range (ARM layer 0)",
            file_of_modules(context_weight=8192),
        ),
        (
            "weight_range_convolution",
            "invalid: a weight of synthesis layer 1 exceeds 16 bits",
            "weight out of range (synthesis layer 1)",
            file_of_modules(convolution_weight=0),
        ),
        (
            "tap_range",
            "invalid: a tap of the filter of grid 1 exceeds 16 bits",
            "tap out of range (filter of latent grid 1)",
            file_of_modules(taps=(0, 0, 0, 0)),
        ),
        (
            "tap_range_outer",
            "invalid: a tap of the filter of grid 1 exceeds 16 bits",
            "tap out of range (filter of latent grid 1)",
            file_of_modules(taps=(-1, 0, 0, -4097), exponent=9, f_up=12),
        ),
        (
            "kernel_range",
            "invalid: a tap of a kernel of grid 1 exceeds 16 bits",
            "tap out of range (kernel of subband 1)",
            file_of_wavelet(tap=18022),
        ),
        (
            "bias_range_indicator",
            "invalid: a bias of ARM layer 0 exceeds 2^30",
            "bias out of range (ARM layer 0)",
            file_of_wavelet(indicator_weight=8193),
        ),
        (
            "weight_range_subband",
            "invalid: a weight of ARM layer 0 exceeds 16 bits",
            "weight out of range (ARM layer 0)",
            file_of_wavelet(difference=1),
        ),
    ]:
        yield name, reference, message, enc.encode(file)
    for value in (-32768, 32768):
        data = enc.encode(one_layer_file(bias=value))
        yield f"parameter_{value}", f"corrupt: parameter {value}", "parameter too large", data
    for value in (-32769, 32768):
        data = enc.encode(one_layer_file(latent=value))
        yield f"latent_{value}", f"corrupt: latent {value} at (0, 0)", "latent grid 0", data


def damaged_substreams() -> Iterator[Damaged]:
    """Substreams of zeros with one fault each. All their symbols come from one table."""
    # After a first symbol read from this state, 1 is left, the high word of any first state.
    below = 1 + dec.cumulative_table(0, 8)[7]
    end = "fails its end checks"
    for section, head, count, cut, damaged in [
        ("weights", weight_fields()[:7], 6, "substream ends early", end),
        ("latents", b"\x00\x01", 1, "cut short in latent grid 0", "damaged or cut short"),
    ]:
        whole, rest = zeros(count), zeros(count - 1)
        low = int.from_bytes(whole[2:4], "little")
        bits_left = zeros(count - 1, escape="0" + "0" + "001")
        long_prefix = zeros(count - 1, escape="0" + "1" * 12 + "1" * 17)
        for name, reference, message, words in [
            ("exhausted", " substream runs out of words", cut, whole[:2]),
            ("lane_below", " substream, lane 0 begins bel", damaged, u16(0, below) + rest[2:]),
            ("too_long", " substream has 1 words too many", end, whole + b"\0\0"),
            ("end_state", " substream, lane 0 ends at", end, u16(1, low + 1)),
            ("bits_left", " substream, bits left over", end, bits_left),
            ("escape_prefix", " substream, escape with z > 16", damaged, long_prefix),
        ]:
            data = body(**{section: head + words})
            yield f"{section}_{name}", f"corrupt: {section}{reference}", message, data


def zeros(count: int, escape: str = "") -> bytes:
    """A substream of so many zeros, before them an escape with the given bits."""
    writer = enc.SubstreamWriter(1)
    if escape:
        writer.symbol(0, 0, 8, 2)
        writer.bits(int(escape, 2), len(escape))
    for _ in range(count):
        writer.symbol(0, 0, 8, 0)
    return writer.finish()


def u16(*words: int) -> bytes:
    return np.array(words, "<u2").tobytes()
