"""Where the decoders stand: the newest file of each picture, decoder and λ, beside the releases.

    python benchmarks/standings.py [--decoders standard high lite] [--preset slow]
        [--names kodim03 …] [--lambdas 2e-2 …] [--results DIR]

Encodes nothing: takes from RESULTS/points.json, in which files of several commits may stand, as
--newest of other scripts does. Prints, for each decoder, BD-rate over the published v1.0 by
picture, and that of v3.4 and v5.0 over the same PSNR; then, for each λ, rate at equal PSNR.
Pictures of which a λ is missing are left out of the mean, and said.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from bdrate import KODAK, bd_rates, mean, published
from common import LAMBDAS, Table, percent, skipped
from coolchic.presets import PRESETS
from points import Job, curves, made_by, newest
from rd import lambda_row, of_images
from report import RESULTS

REFERENCE = "v1.0"
OTHERS = ("v3.4", "v5.0")
PICTURES = tuple(f"kodim{number:02}" for number in (3, 5, 7, 12, 13, 15, 19, 21))


def print_decoder(decoder: str, points: list[dict]) -> None:
    anchors, ours = published()[REFERENCE], curves(points)
    within = {name: curve.range for name, curve in ours.items()}
    columns = [bd_rates(anchors, ours)] + [
        bd_rates(anchors, of_images(release, list(ours)), within) for release in OTHERS
    ]
    print(f"\n{decoder}: {made_by(points)}")
    print(f"  {'BD-rate':<10}" + "".join(f"{name:>10}" for name in ("ours", *OTHERS)))
    for name in ours:
        print_row(name, (column.get(name) for column in columns))
    print_row("mean", (mean(column.values()) for column in columns))


def print_row(label: str, rates: Iterable[float | None]) -> None:
    print(f"  {label:<10}" + "".join(percent(rate, 10) for rate in rates))


def print_lambda(points: list[dict]) -> None:
    row = lambda_row(points, {release: published()[release] for release in (REFERENCE, *OTHERS)})
    text = ", ".join(
        f"{release} {percent(rate)} of {row['images_inside'][release]}"
        for release, rate in row["rate_at_equal_psnr"].items()
    )
    print(f"  λ={row['lambda']:g}, {row['images']} pictures, rate at equal PSNR over {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--decoders", nargs="+", default=["standard", "high", "lite"])
    parser.add_argument("--preset", choices=tuple(PRESETS), default="slow")
    parser.add_argument("--names", nargs="+", choices=KODAK, default=PICTURES, metavar="NAME")
    parser.add_argument("--lambdas", nargs="+", type=float, default=list(LAMBDAS), metavar="L")
    arguments = parser.parse_args()

    table = Table(arguments.results / "points.json")
    for decoder in arguments.decoders:
        found = {
            (name, lmbda): newest(table, Job(Path(name), lmbda, arguments.preset, arch=decoder))
            for name in arguments.names
            for lmbda in arguments.lambdas
        }
        whole = {
            name: [found[name, lmbda] for lmbda in arguments.lambdas]
            for name in arguments.names
            if all(found[name, lmbda] for lmbda in arguments.lambdas)
        }
        if left_out := [name for name in arguments.names if name not in whole]:
            skipped(f"{decoder}: {', '.join(left_out)} (not all λ encoded)")
        if whole:
            print_decoder(decoder, sum(whole.values(), []))
        for lmbda in arguments.lambdas:
            if points := [found[name, lmbda] for name in arguments.names if found[name, lmbda]]:
                print_lambda(points)


if __name__ == "__main__":
    main()
