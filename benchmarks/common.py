"""What the benchmarks share: arguments, pictures, tables that resume, MS-SSIM, plots."""

from __future__ import annotations

import argparse
import functools
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from report import RESULTS, ROOT, environment, write_json

FIGURES = ROOT / "docs" / "figures"
LAMBDAS = (2e-2, 4e-3, 1e-3, 4e-4, 1e-4)
SUFFIXES = {".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp"}
MS_SSIM_SMALLEST_SIDE = 161


# Arguments


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that every script has."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of lossless pictures"
    )
    for option, default, what in (
        ("--results", RESULTS, "numbers"),
        ("--output", FIGURES, "pictures"),
    ):
        parser.add_argument(
            option,
            type=Path,
            default=default,
            metavar="DIR",
            help=f"where {what} go (default: {default.relative_to(ROOT)})",
        )
    return parser


def add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="pictures, without suffix (default: all)"
    )


def find_images(folder: Path, names: list[str] | None) -> list[Path]:
    """The named pictures of a folder, or all of them, by name.

    Raises:
        SystemExit: if there is none, or not all.
    """
    if not folder.is_dir():
        sys.exit(f"{folder}: no such folder")
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}
    missing = [name for name in names or () if name not in found]
    if missing or not found:
        sys.exit(f"{folder}: no picture {', '.join(missing)}".rstrip())
    return [found[name] for name in names or found]


def skipped(what: str) -> None:
    """Say what is missing from the results, and why."""
    print(f"skipped: {what}", file=sys.stderr)


def percent(value: float | None, width: int = 8) -> str:
    return f"{'–' if value is None else f'{value:+.1f} %':>{width}}"


# Tables


class Table:
    """Rows in a JSON file, each found again by some of its fields.

    The file is written after each row, and read again before: two scripts may share it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = self._read()

    def find(self, key: dict) -> dict | None:
        """The row with all the fields of ``key``."""
        return next((row for row in self.rows if _has(row, key)), None)

    def find_all(self, key: dict) -> list[dict]:
        """All of them."""
        return [row for row in self.rows if _has(row, key)]

    def add(self, key: dict, row: dict) -> None:
        """Write a row in place of the one with the same key, if there is one."""
        self.rows = [other for other in self._read() if not _has(other, key)] + [row]
        write_json(self.path, {"points": self.rows})

    def _read(self) -> list[dict]:
        return json.loads(self.path.read_text())["points"] if self.path.exists() else []


def _has(row: dict, key: dict) -> bool:
    return all(name in row and row[name] == value for name, value in key.items())


# Pictures


def fingerprint(samples: np.ndarray) -> str:
    """Tells pictures of one name apart."""
    return f"{zlib.crc32(samples.tobytes()):08x}"


def middle(samples: np.ndarray, side: int) -> np.ndarray:
    """The middle ``side`` columns of a picture, and two thirds as many rows."""
    height, width = samples.shape[:2]
    rows, columns = min(height, side * 2 // 3), min(width, side)
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(samples[top : top + rows, left : left + columns])


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """MS-SSIM of two uint8 arrays (H, W, C) by pytorch-msssim, as CompressAI computes it.

    None if that is not installed, or if a side is too short for five scales.
    """
    function = _ms_ssim_function()
    if function is None or min(a.shape[:2]) < MS_SSIM_SMALLEST_SIDE:
        return None
    import torch

    def tensor(samples: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(samples.astype(np.float32)).permute(2, 0, 1)[None]

    return float(function(tensor(a), tensor(b), data_range=255))


@functools.cache
def _ms_ssim_function():
    try:
        from pytorch_msssim import ms_ssim
    except ImportError:
        skipped("MS-SSIM (pytorch-msssim is not installed)")
        return None
    return ms_ssim


# Plots

BLUE, ORANGE, GREEN, RED, SKY, PINK, GREY = (
    "#0072b2 #e69f00 #009e73 #d55e00 #56b4e9 #cc79a7 #7f7f7f".split()  # after Okabe and Ito
)
STYLE = {
    "figure.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.markersize": 4,
    "lines.linewidth": 1.4,
}


def plain_log_ticks(axis) -> None:
    """1, 2, 5, 10 … on a logarithmic axis, in plain digits."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


@contextmanager
def plot(path: Path, caption: str) -> Iterator:
    """``pyplot`` to draw a picture with, which is saved with its caption and its command.

    None instead of ``pyplot`` if matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        skipped(f"{path.name} (matplotlib is not installed)")
        yield None
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    with pyplot.rc_context(STYLE):
        yield pyplot
        pyplot.savefig(path, bbox_inches="tight")
        pyplot.close()
    made = environment()
    path.with_suffix(".md").write_text(
        f"![]({path.name})\n\n{caption}\n\n```sh\n{made['command']}\n```\n\n"
        f"{made['cpu']}, {made['cores']} cores, commit {made['commit']}.\n"
    )
    print(f"wrote {path}")
