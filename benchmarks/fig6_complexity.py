"""BD-rate against multiplications per decoded pixel, beside published systems (paper Fig. 6).

    python benchmarks/fig6_complexity.py --images DIR [--names kodim03 …] [--preset medium]
        [--decoders 12x12 16x16 20x20 24x24 lite standard high] [--lambdas 4e-3 1e-3 4e-4]

A decoder AxB has A contexts, hidden ARM layers of width A (they are residual), and hidden
synthesis layers of width B; 12x12 is the paper's. Contexts beyond the paper's 12 are the
nearest of the three rows above and the three columns to the left. Others are as for
coolchic-encode --arch.

The reference of all BD-rates is the published v1.0. Ours and those of its successors are per
image, on the images encoded; those of HM, VTM, hyperprior and COIN are on averages of all 24
Kodak images, because nothing else is published. Of ours all multiplications are counted, the
upsampling's too; of v1.0 they are as in its paper, without the bicubic upsampling.

Missing points are encoded into RESULTS/points.json. Writes RESULTS/fig6_complexity.json and
OUTPUT/fig6_complexity.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bdrate import ANCHORS, bd_rate, bd_rates, mean, published, published_averages
from common import BLUE, GREEN, GREY, RED, find_images, make_parser, percent, plot
from coolchic.architectures import ARCHITECTURES, CONTEXTS, find_architecture, nearest_context
from coolchic.config import Architecture, Layer
from points import Job, Points, add_encoding, add_preset, curves, made_by
from report import environment, write_json

REFERENCE = "v1.0"
DECODERS = ("12x12", "16x16", "20x20", "24x24", "lite", "standard", "high")
HIGHEST = 30
"""Percent of BD-rate at the upper edge of the picture."""
CONVENTIONAL = {"hm": "HEVC (HM)", "vtm": "VVC (VTM)"}


def decoder(text: str) -> tuple[int, int]:
    """(contexts, synthesis width) of an argument like ``16x12``."""
    contexts, width = map(int, text.split("x"))
    if not 1 <= contexts <= len(CONTEXTS) or not 1 <= width <= 64:
        raise argparse.ArgumentTypeError(f"1x1 to {len(CONTEXTS)}x64, not {text}")
    return contexts, width


def architecture(contexts: int, width: int) -> Architecture:
    """The paper's architecture in another size."""
    return Architecture(
        context=nearest_context(contexts),
        arm_hidden=(Layer(contexts, residual=True), Layer(contexts, residual=True)),
        synthesis_hidden=(Layer(width), Layer(width, residual=True)),
    )


def named(text: str) -> tuple[str, Architecture]:
    """Label and architecture of an argument: a name, a TOML file or AxB."""
    if text in ARCHITECTURES or text.endswith(".toml"):
        return text, find_architecture(text, 3)
    return text, architecture(*decoder(text))


def our_row(label: str, points: list[dict]) -> dict:
    rates = bd_rates(published()[REFERENCE], curves(points))
    return {
        "label": label,
        "parameters": points[0]["parameters"],
        "mac_per_pixel": mean(
            sum(point["mac_per_pixel"][part] for part in ("arm + synthesis", "upsampling"))
            for point in points
        ),
        "bd_rate_per_image": rates,
        "bd_rate": mean(rates.values()),
    }


def published_rows(images: list[str]) -> list[dict]:
    """Systems of known complexity: multiplications, and BD-rate on the images if possible."""
    averages, rows = published_averages(), []
    for system in json.loads((ANCHORS / "complexity.json").read_text()):
        if "release" in system:
            known = {i: c for i, c in published()[system["release"]].items() if i in images}
            rate = mean(bd_rates(published()[REFERENCE], known).values())
        else:
            rate = bd_rate(averages[f"cool-chic-{REFERENCE}"], averages[system["average"]])
        rows.append({**system, "bd_rate": rate})
    return rows


def draw(path: Path, ours: list[dict], theirs: list[dict], what: str) -> None:
    caption = (
        f"BD-rate against the published {REFERENCE}, over multiplications per decoded pixel. "
        "Filled: on the images encoded, mean over images; hollow and dashed: on averages of the "
        "24 Kodak images. Left: beside published systems, ours in red; right: ours, by name "
        f"or contexts x synthesis width. {what}."
    )
    averages = published_averages()
    with plot(path, caption) as pyplot:
        if pyplot is None:
            return
        _, (left, right) = pyplot.subplots(1, 2, figsize=(9, 4), width_ratios=(3, 2))
        x, y = [[row[key] for row in ours] for key in ("mac_per_pixel", "bd_rate")]
        for axes in (left, right):
            axes.plot(x, y, "o", color=RED, zorder=3)
            axes.set(xlabel="multiplications per decoded pixel")
        drawn = [row for row in theirs if row["bd_rate"] is not None]
        for row in drawn:
            _mark(left, row, drawn)
        for name, label in CONVENTIONAL.items():
            rate = bd_rate(averages[f"cool-chic-{REFERENCE}"], averages[name])
            left.axhline(rate, color=GREY, linestyle="--", linewidth=1)
            left.text(1.9e5, rate - 0.4, label, ha="right", va="top", fontsize=7, color=GREY)
        left.set(
            xscale="log",
            xlim=(300, 2e5),
            ylim=(None, HIGHEST),
            ylabel=f"BD-rate against {REFERENCE} [%]",
        )
        for row in ours:
            right.annotate(
                row["label"],
                (row["mac_per_pixel"], row["bd_rate"]),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=7,
                color=RED,
            )


def _mark(axes, row: dict, rows: list[dict]) -> None:
    """A published system in the picture; at its upper edge if it needs far more rate."""
    low, high = row["mac_per_pixel"]
    rate, label = row["bd_rate"], row["label"]
    hollow = "average" in row
    if rate > HIGHEST:
        rate, label = 0.95 * HIGHEST, f"{label} (at {rate:+.0f} %)"
    axes.plot(
        (low, high),
        (rate, rate),
        "s-",
        color=GREEN if hollow else BLUE,
        markerfacecolor="none" if hollow else None,
    )
    crowded = any(
        low < other["mac_per_pixel"][0] < 3 * low and abs(other["bd_rate"] - rate) < 4
        for other in rows
    )
    axes.annotate(
        label,
        (low, rate),
        xytext=(-5 if crowded else 5, -9 if crowded or rate == 0.95 * HIGHEST else 4),
        textcoords="offset points",
        ha="right" if crowded else "left",
        fontsize=7,
    )


def main() -> None:
    parser = make_parser(__doc__)
    add_encoding(parser, lambdas=(4e-3, 1e-3, 4e-4))
    add_preset(parser)
    parser.add_argument(
        "--decoders",
        nargs="+",
        type=named,
        default=[named(text) for text in DECODERS],
        metavar="NAME",
        help=f"(default: {' '.join(DECODERS)})",
    )
    arguments = parser.parse_args()
    images, store = find_images(arguments.images, arguments.names), Points(arguments)
    points = {
        label: store.get(
            Job(
                image,
                lmbda,
                arguments.preset,
                arguments.iterations,
                arguments.seed,
                arch,
            )
            for image in images
            for lmbda in arguments.lambdas
        )
        for label, arch in arguments.decoders
    }
    ours = [our_row(label, rows) for label, rows in points.items() if rows]
    theirs = published_rows([image.stem for image in images])

    print(f"BD-rate against {REFERENCE}, multiplications per pixel, parameters")
    for row in ours:
        print(
            f"{percent(row['bd_rate'])} {row['mac_per_pixel']:>16.1f} {row['parameters']:>6}  "
            f"{row['label']}, {len(row['bd_rate_per_image'])} images"
        )
    for row in theirs:
        low, high = row["mac_per_pixel"]
        macs = f"{low}" if low == high else f"{low} to {high}"
        print(f"{percent(row['bd_rate'])} {macs:>16}  {row['label']} ({row['source']})")
    write_json(
        arguments.results / "fig6_complexity.json",
        {**environment(), "lambdas": arguments.lambdas, "ours": ours, "published": theirs},
    )
    drawn = [row for row in ours if row["bd_rate"] is not None]
    what = f"{arguments.preset}, {len(images)} images; {made_by(sum(points.values(), []))}"
    draw(arguments.output / "fig6_complexity.png", drawn, theirs, what)


if __name__ == "__main__":
    main()
