"""Writing the container: docs/bitstream.md sections 2 to 4. Reading is the C++ decoder's."""

from __future__ import annotations

import zlib

from coolchic.architectures import ARCHITECTURES
from coolchic.config import Architecture, Layer

__all__ = ["assemble", "band_count", "check_size", "substream_count", "write_header"]

MAGIC = bytes.fromhex("c001c41c")
PLAIN_VERSION, BANDS_VERSION, MODULES_VERSION, WAVELET_VERSION, SUBBANDS_VERSION = range(1, 6)
PIXELS_PER_BAND = 1 << 19
MAX_SIDE = 65536

IDS = {
    "paper": 0,
    "lite-pyramid": 4,
    "standard-pyramid": 5,
    "high-pyramid": 6,
    "high": 8,
    "standard": 10,
    "lite": 12,
}
DESCRIBED_ID = 255
KINDS = {"linear": 0, "conv3x3": 1}
ACTIVATIONS = {"none": 0, "relu": 1}
UPSAMPLINGS = {"bicubic": 0, "filtered": 1, "wavelet": 2}
SUBBAND_WEIGHTS = 3
"""Instead of a wavelet's number, with subbands' own weights."""


def band_count(height: int, width: int) -> int:
    """Bands of a grid of the picture's size: one for each half megapixel, at least one.

    It depends on the picture's size alone, so that a file does not depend on the machine.
    """
    return max(1, min(height, height * width // PIXELS_PER_BAND))


def substream_count(arch: Architecture, bands: int) -> int:
    """Substreams of a latents section with all grids coded (section 7)."""
    own = [max(1, bands >> 2 * level) for level in arch.levels]
    return sum(count for count in own if count > 1) + (1 in own)


def check_size(height: int, width: int) -> None:
    """Raises ValueError if a side is not in 1 … 65536."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"the format takes 1 to {MAX_SIDE} pixels a side, not {width}x{height}")


def write_header(arch: Architecture, height: int, width: int) -> bytes:
    """The file's bytes before the weights section (sections 3 and 4), 8 bits per sample.

    The version is the lowest that has what a picture of this size needs.

    Raises:
        ValueError: if a side is not in 1 … 65536.
    """
    check_size(height, width)
    flags = arch.channels - 1
    version = BANDS_VERSION if band_count(height, width) > 1 else PLAIN_VERSION
    if _has_modules(arch):
        version = MODULES_VERSION
    if arch.wavelet:
        version = SUBBANDS_VERSION if arch.subband_weights else WAVELET_VERSION
    head = MAGIC + bytes([version, flags]) + _varint(width - 1) + _varint(height - 1)
    for name, number in IDS.items():
        if arch == ARCHITECTURES[name](arch.channels):
            return head + bytes([number])
    return head + bytes([DESCRIBED_ID]) + _describe(arch, version)


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


def _has_modules(arch: Architecture) -> bool:
    """Has what came with version 3."""
    networks = (arch.arm_shapes(), arch.arm), (arch.synthesis_shapes(), arch.synthesis)
    narrowing = any(
        layer.residual and layer.width < shape[1]
        for shapes, layers in networks
        for shape, layer in zip(shapes, layers, strict=True)
    )
    return bool(arch.parents or arch.filtered or arch.refinement or narrowing)


def _describe(arch: Architecture, version: int) -> bytes:
    context = bytes(dr << 4 | dc + 8 for dr, dc in arch.context)
    parents = bytes([len(arch.parents), *(dr + 8 << 4 | dc + 8 for dr, dc in arch.parents)])
    return b"".join(
        (
            bytes([arch.grids, len(context)]),
            context,
            parents if version >= MODULES_VERSION else b"",
            _describe_layers(arch.arm),
            bytes([SUBBAND_WEIGHTS if arch.subband_weights else UPSAMPLINGS[arch.upsampling]]),
            _describe_layers(arch.synthesis),
        )
    )


def _describe_layers(layers: tuple[Layer, ...]) -> bytes:
    out = bytearray([len(layers)])
    for layer in layers:
        kind, activation = KINDS[layer.kind], ACTIVATIONS[layer.activation]
        out += bytes([kind | layer.residual << 4 | activation << 5, layer.width])
    return bytes(out)
