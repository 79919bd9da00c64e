"""Writing the container: docs/bitstream.md sections 2 to 4. Reading is the C++ decoder's."""

from __future__ import annotations

import zlib

from coolchic.config import Architecture, Layer

__all__ = ["assemble", "write_header"]

MAGIC = bytes.fromhex("c001c41c")
VERSION = 1
MAX_SIDE = 65536

PAPER_ID, DESCRIBED_ID = 0, 255
KINDS = {"linear": 0}
ACTIVATIONS = {"none": 0, "relu": 1}
UPSAMPLINGS = {"bicubic": 0}


def write_header(arch: Architecture, height: int, width: int) -> bytes:
    """The file's bytes before the weights section (sections 3 and 4), 8 bits per sample.

    Raises:
        ValueError: if a side is not in 1 … 65536.
    """
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"the format takes 1 to {MAX_SIDE} pixels a side, not {width}x{height}")
    flags = arch.channels - 1
    head = MAGIC + bytes([VERSION, flags]) + _varint(width - 1) + _varint(height - 1)
    if arch == Architecture(channels=arch.channels):
        return head + bytes([PAPER_ID])
    return head + bytes([DESCRIBED_ID]) + _describe(arch)


def assemble(header: bytes, weights: bytes, latents: bytes) -> bytes:
    """A whole file from its header and its two sections (section 2)."""
    body = header + _varint(len(weights)) + weights + _varint(len(latents)) + latents
    return body + zlib.crc32(body).to_bytes(4, "little")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _describe(arch: Architecture) -> bytes:
    context = bytes(dr << 4 | dc + 8 for dr, dc in arch.context)
    return b"".join(
        (
            bytes([arch.grids, len(context)]),
            context,
            _describe_layers(arch.arm),
            bytes([UPSAMPLINGS[arch.upsampling]]),
            _describe_layers(arch.synthesis),
        )
    )


def _describe_layers(layers: tuple[Layer, ...]) -> bytes:
    out = bytearray([len(layers)])
    for layer in layers:
        kind, activation = KINDS[layer.kind], ACTIVATIONS[layer.activation]
        out += bytes([kind | layer.residual << 4 | activation << 5, layer.width])
    return bytes(out)
