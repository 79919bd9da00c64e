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
from pathlib import Path

from bdrate import bd_rate, mean, published, rate_at_equal_psnr
from common import LAMBDAS, Table, percent, skipped
from coolchic.presets import PRESETS
from points import Job, curves, made_by, newest
from report import RESULTS

REFERENCE = "v1.0"
OTHERS = ("v3.4", "v5.0")
PICTURES = tuple(f"kodim{number:02}" for number in (3, 5, 7, 12, 13, 15, 19, 21))


def print_decoder(decoder: str, points: dict[str, list[dict]]) -> None:
    print(f"\n{decoder}: {made_by(sum(points.values(), []))}")
    print(f"  {'BD-rate':<10}" + "".join(f"{name:>10}" for name in ("ours", *OTHERS)))
    rows = {}
    for name, rates in points.items():
        anchor, ours = published()[REFERENCE][name], curves(rates)[name]
        rows[name] = [bd_rate(anchor, ours)] + [
            bd_rate(anchor, published()[other][name], ours.range) for other in OTHERS
        ]
        print(f"  {name:<10}" + "".join(percent(rate, 10) for rate in rows[name]))
    print(
        f"  {'mean':<10}"
        + "".join(percent(mean(column), 10) for column in zip(*rows.values(), strict=True))
    )


def print_lambda(lmbda: float, points: list[dict]) -> None:
    rates = {
        release: [
            rate_at_equal_psnr(published()[release][p["image"]], p["bpp"], p["psnr"])
            for p in points
        ]
        for release in (REFERENCE, *OTHERS)
    }
    text = ", ".join(
        f"{release} {percent(mean(r for r in values if r is not None))}"
        for release, values in rates.items()
    )
    print(f"  λ={lmbda:g}, {len(points)} pictures, rate at equal PSNR over {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--decoders", nargs="+", default=["standard", "high", "lite"])
    parser.add_argument("--preset", choices=tuple(PRESETS), default="slow")
    parser.add_argument("--names", nargs="+", default=PICTURES, metavar="NAME")
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
            print_decoder(decoder, whole)
        for lmbda in arguments.lambdas:
            if points := [found[name, lmbda] for name in arguments.names if found[name, lmbda]]:
                print_lambda(lmbda, points)


if __name__ == "__main__":
    main()
