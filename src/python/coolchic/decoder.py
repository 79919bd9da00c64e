"""Decoding and describing files. Never imports torch."""

from __future__ import annotations

import numpy as np

from coolchic import _decoder
from coolchic.config import Architecture, Layer

__all__ = ["architecture_of", "decode", "info"]


def decode(
    data: bytes,
    *,
    threads: int = 0,
    max_pixels: int = _decoder.DEFAULT_MAX_PIXELS,
    cpu: str = "auto",
    scale: int = 0,
    allow_partial: bool = False,
) -> np.ndarray:
    """Decode a .cool file.

    Args:
        data: bytes-like, the whole file.
        threads: 0 is one per core; the result does not depend on it.
        max_pixels: larger pictures are refused before anything is allocated.
        cpu: kernels by name (``"scalar"``, ``"avx2"``, ``"avx512"``, ``"neon"``), or the
            fastest that this machine can run; the result does not depend on it.
        scale: k > 0 gives a preview of 1/2^k of the size (sides rounded up), in little time,
            from latent grids of that size and coarser. At most the coarsest grid's.
        allow_partial: take a file that ends within its latents, as long as one grid is
            whole; the others count as zero.

    Returns:
        uint8 array (H, W, C) with C from 1 to 4: grey, grey + alpha, RGB, RGB + alpha.

    Raises:
        coolchic.DecodeError: the file is damaged, unsupported or too large.
        ValueError: an argument out of range, kernels that this machine cannot run.
    """
    return _decoder.decode_bytes(
        data,
        threads=threads,
        max_pixels=max_pixels,
        cpu=cpu,
        scale=scale,
        allow_partial=allow_partial,
    )


def architecture_of(fields: dict) -> Architecture:
    """The architecture in what ``_decoder.inspect`` returns."""

    def layers_of(module: str, kind: str) -> tuple[Layer, ...]:
        return tuple(
            Layer(width, residual=residual, activation=activation, kind=kind)
            for _, width, residual, activation, its_kind in fields[module]
            if its_kind == kind
        )

    return Architecture(
        channels=fields["channels"],
        grids=fields["grids"],
        context=tuple(fields["context"]),
        parents=tuple(fields["parents"]),
        arm_hidden=layers_of("arm", "linear")[:-1],
        upsampling=fields["upsampling"],
        subband_weights=fields["subband_weights"],
        synthesis_hidden=layers_of("synthesis", "linear")[:-1],
        refinement=layers_of("synthesis", "conv3x3"),
    )


def info(data: bytes, *, max_pixels: int = _decoder.DEFAULT_MAX_PIXELS) -> dict:
    """What is in a .cool file: header, architecture, complexity, bytes of every section.

    The bytes in ``"bytes"`` add up to the file's size. Those inside one entropy-coded
    substream (ARM and synthesis; the latent grids) are counted in whole 16-bit words, as
    the decoder reads them. JSON-serialisable.

    Raises:
        coolchic.DecodeError: as :func:`decode`.
    """
    fields = _decoder.inspect(data, max_pixels=max_pixels)
    arch = architecture_of(fields)
    height, width = fields["height"], fields["width"]
    macs = arch.macs_per_pixel(height, width)
    sections = {
        "header": fields["header_bytes"],
        "section lengths and checksum": 0,
        "weights: precision and steps": fields["weights_prefix_bytes"],
        "weights: ARM": fields["arm_bytes"],
        "weights: synthesis": fields["synthesis_bytes"],
        **_weights_of_modules(arch, fields),
        "latents: layout and states": fields["latents_overhead_bytes"],
        **{f"latents: grid {k}": n for k, n in enumerate(fields["grid_bytes"])},
    }
    sections["section lengths and checksum"] = fields["total_bytes"] - sum(sections.values())
    return {
        "version": fields["version"],
        "width": width,
        "height": height,
        "channels": fields["channels"],
        "depth": fields["depth"],
        "bpp": 8 * fields["total_bytes"] / (height * width),
        "architecture": {
            "grids": arch.grids,
            "context": [list(p) for p in arch.context],
            "parents": [list(p) for p in arch.parents],
            "arm": _describe(fields["arm"]),
            "upsampling": arch.upsampling,
            "subband_weights": arch.subband_weights,
            "synthesis": _describe(fields["synthesis"]),
        },
        "parameters": arch.parameters(),
        "mac_per_pixel": {
            "arm": macs["arm"],
            "synthesis": macs["synthesis"],
            "arm + synthesis": macs["arm"] + macs["synthesis"],
            "upsampling": macs["upsampling"],
        },
        "precision": dict(
            zip(("arm", "upsampling", "synthesis"), fields["precision"], strict=True)
        ),
        "step_exponents": fields["exponents"],
        "default_table": fields["default_table"],
        "lanes": fields["lanes"],
        "bands": fields["bands"],
        "total_bytes": fields["total_bytes"],
        "bytes": sections,
    }


def _weights_of_modules(arch: Architecture, fields: dict) -> dict[str, int]:
    """Bytes of the weights that not every architecture has."""
    sizes = {}
    if arch.refinement:
        sizes["weights: convolutions"] = fields["convolutions_bytes"]
    if arch.filtered:
        sizes["weights: filters"] = fields["filters_bytes"]
    if arch.subband_weights:
        sizes["weights: subbands"] = fields["subbands_bytes"]
    return sizes


def _describe(layers: list) -> list[dict]:
    names = ("inputs", "outputs", "residual", "activation", "kind")
    return [dict(zip(names, layer, strict=True)) for layer in layers]
