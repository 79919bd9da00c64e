"""Encodes with one thing changed at a time, compared by J = D + λR of real files.

What techniques.py, modules.py and candidates.py share. D is from decoded pixels, R from bytes on
disk, but for candidates, which are estimated.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from math import exp, log
from pathlib import Path
from time import perf_counter
from types import MappingProxyType

import numpy as np
from PIL import Image

import coolchic
from common import Table, fingerprint, middle
from coolchic.encoder import Encoded
from points import network_bytes
from report import environment


def add_arguments(parser: argparse.ArgumentParser, names: Iterable[str], output: Path) -> None:
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--names", nargs="+", default=["kodim03", "kodim13", "kodim19"])
    parser.add_argument("--lambdas", nargs="+", type=float, default=[1e-3])
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(names), default=list(names))
    parser.add_argument("--output", type=Path, default=output)


def compare(
    arguments: argparse.Namespace,
    first: str,
    measure: Callable[..., dict],
    settings: Mapping[str, object] = MappingProxyType({}),
) -> dict[str, list[dict]]:
    """Print, for each variant, J over that of ``first``; rows there are, are not made again.

    Args:
        arguments: of a parser with :func:`add_arguments`.
        first: the variant that the others are compared with.
        measure: from (variant, samples, lmbda=, seed=) to a row with at least ``J``,
            ``weights_bytes`` and ``mac_per_pixel``, as :func:`measured` makes.
        settings: what else tells its rows from others in the output file.

    Returns:
        The rows of each variant, all in one order of pictures, λ and seeds.
    """
    table = Table(arguments.output)
    columns = [
        (name, lmbda, seed)
        for name in arguments.names
        for lmbda in arguments.lambdas
        for seed in arguments.seeds
    ]
    found: dict[str, list[dict]] = {}
    for variant in dict.fromkeys([first, *arguments.only]):
        rows = found[variant] = []
        for name, lmbda, seed in columns:
            picture = Image.open(arguments.images / f"{name}.png").convert("RGB")
            samples = middle(np.asarray(picture), arguments.side)
            key = {
                "image": name,
                "pixels": fingerprint(samples),
                "lambda": lmbda,
                "seed": seed,
                "iterations": arguments.iterations,
                "variant": variant,
                **settings,
            }
            row = table.find(key)
            if row is None:
                start = perf_counter()
                row = key | measure(variant, samples, lmbda=lmbda, seed=seed)
                row["seconds"] = perf_counter() - start
                table.add(key, row)
            rows.append(row)
        ratios = [row["J"] / other["J"] for row, other in zip(rows, found[first], strict=True)]
        mean = exp(sum(map(log, ratios)) / len(ratios))
        print(
            f"{variant:32} {100 * (mean - 1):+6.1f} %  ("
            + ", ".join(
                f"{name} {lmbda:g}: {100 * (r - 1):+.1f} %"
                for (name, lmbda, _), r in zip(columns, ratios, strict=True)
            )
            + f"), networks {np.mean([row['weights_bytes'] for row in rows]):.0f} bytes, "
            f"{np.mean([row['mac_per_pixel'] for row in rows]):.0f} MAC/pixel, "
            f"{np.mean([row['seconds'] for row in rows]):.1f} s",
            flush=True,
        )
    return found


def measured(encoded: Encoded, lmbda: float) -> dict:
    """The row of a file."""
    fields = coolchic.info(encoded.data)
    return {
        "J": 10 ** (-encoded.psnr / 10) + lmbda * encoded.bpp,
        "bytes": len(encoded.data),
        "weights_bytes": network_bytes({"sections": fields["bytes"]}),
        "psnr": encoded.psnr,
        "parameters": fields["parameters"],
        "mac_per_pixel": sum(
            fields["mac_per_pixel"][part] for part in ("arm + synthesis", "upsampling")
        ),
        **{name: environment()[name] for name in ("cpu", "commit")},
    }
