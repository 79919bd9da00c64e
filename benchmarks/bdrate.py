"""BD-rate by the project's convention, and the published curves to compare with.

    python benchmarks/bdrate.py [FILE.json …] [--anchor NAME] [--names kodim03 …]

Logarithm of the rate over PSNR, interpolated by PCHIP, averaged over the PSNR that both
curves have; where both curves are per image, per image, then the mean over images.

Prints the published releases against one of them, per image, then everything in
anchors/kodak_average.json, and in files of that form (which must be averages over the same
24 images), against HM.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from scipy.interpolate import PchipInterpolator

from common import percent
from report import ROOT

ANCHORS = ROOT / "benchmarks" / "anchors"
RELEASES = ("v1.0", "v2.0", "v3.0", "v3.4", "v5.0")
EVERYWHERE = (-math.inf, math.inf)
KODAK = tuple(f"kodim{number:02}" for number in range(1, 25))


@dataclass(frozen=True)
class Curve:
    """A rate-distortion curve, in ascending order of PSNR.

    Attributes:
        bpp: bits per pixel of each point.
        psnr: dB, of each point; no two are equal.
    """

    bpp: tuple[float, ...]
    psnr: tuple[float, ...]

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> Curve:
        """A curve of (bpp, PSNR), in any order; of points with one PSNR the cheapest is kept."""
        cheapest: dict[float, float] = {}
        for bpp, psnr in points:
            cheapest[psnr] = min(bpp, cheapest.get(psnr, math.inf))
        psnrs = tuple(sorted(cheapest))
        return cls(tuple(cheapest[psnr] for psnr in psnrs), psnrs)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest PSNR."""
        return self.psnr[0], self.psnr[-1]

    @functools.cached_property
    def log_rate(self) -> PchipInterpolator:
        """Natural logarithm of the rate over PSNR; for curves of two points or more."""
        return PchipInterpolator(self.psnr, [math.log(bpp) for bpp in self.bpp])


def bd_rate(anchor: Curve, test: Curve, within: tuple[float, float] = EVERYWHERE) -> float | None:
    """Percent of rate that ``test`` needs over ``anchor``; None if they have no PSNR in common.

    Args:
        within: only this range of PSNR is looked at.
    """
    ranges = (anchor.range, test.range, within)
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    if not low < high:
        return None
    difference = test.log_rate.integrate(low, high) - anchor.log_rate.integrate(low, high)
    return 100 * math.expm1(difference / (high - low))


def rate_at_equal_psnr(anchor: Curve, bpp: float, psnr: float) -> float | None:
    """Percent of rate of one point over the anchor's at its PSNR; None outside the anchor."""
    if len(anchor.psnr) < 2 or not anchor.psnr[0] <= psnr <= anchor.psnr[-1]:
        return None
    return 100 * (bpp / math.exp(anchor.log_rate(psnr)) - 1)


def bd_rates(
    anchors: Mapping[str, Curve],
    tests: Mapping[str, Curve],
    within: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> dict[str, float]:
    """BD-rate of each image that both have, and whose curves have PSNR in common."""
    rates = {
        image: bd_rate(anchors[image], tests[image], within.get(image, EVERYWHERE))
        for image in tests
        if image in anchors
    }
    return {image: rate for image, rate in rates.items() if rate is not None}


def mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return sum(values) / len(values) if values else None


def average(curves: Iterable[Curve]) -> Curve:
    """Mean rate and mean PSNR, point by point, of curves of one number of points."""
    curves = list(curves)

    def means(columns: Iterable[tuple[float, ...]]) -> list[float]:
        return [sum(column) / len(curves) for column in columns]

    bpp = means(zip(*(curve.bpp for curve in curves), strict=True))
    psnr = means(zip(*(curve.psnr for curve in curves), strict=True))
    return Curve.of(zip(bpp, psnr, strict=True))


@functools.cache
def published() -> dict[str, dict[str, Curve]]:
    """The published curve of each release and Kodak image."""
    points: dict[str, dict[str, list]] = {release: {} for release in RELEASES}
    with (ANCHORS / "kodak_per_image.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            images = points[row["release"]]
            images.setdefault(row["image"], []).append((float(row["bpp"]), float(row["psnr_db"])))
    return {
        release: {image: Curve.of(rows) for image, rows in images.items()}
        for release, images in points.items()
    }


def published_averages(path: Path = ANCHORS / "kodak_average.json") -> dict[str, Curve]:
    """The curves of a file in CompressAI's form, by name: one entry or a list of them."""
    entries = json.loads(path.read_text())
    return {
        entry["name"]: Curve.of(zip(entry["results"]["bpp"], entry["results"]["psnr"], strict=True))
        for entry in (entries if isinstance(entries, list) else [entries])
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, help="averages in CompressAI's form")
    parser.add_argument("--anchor", default="v1.0", choices=RELEASES, help="default: v1.0")
    parser.add_argument("--names", nargs="+", choices=KODAK, default=KODAK, metavar="NAME")
    arguments = parser.parse_args()

    anchors = published()[arguments.anchor]
    rates = {
        release: bd_rates(anchors, {name: images[name] for name in arguments.names})
        for release, images in published().items()
    }
    print(f"against {arguments.anchor}, per image")
    print(f"{'':<8} " + " ".join(f"{release:>8}" for release in RELEASES))
    for name in arguments.names:
        print(f"{name:<8} " + " ".join(percent(rates[r].get(name)) for r in RELEASES))
    print(f"{'mean':<8} " + " ".join(percent(mean(rates[r].values())) for r in RELEASES))

    averages = published_averages()
    print("\nagainst HM, on averages over the 24 Kodak images")
    for path in (None, *arguments.files):
        for name, curve in (averages if path is None else published_averages(path)).items():
            print(f"{percent(bd_rate(averages['hm'], curve))}  {name}")


if __name__ == "__main__":
    main()
