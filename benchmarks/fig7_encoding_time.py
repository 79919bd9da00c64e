"""BD-rate against encoding time (paper Fig. 7).

    python benchmarks/fig7_encoding_time.py --images DIR [--names kodim03 …] [--presets fast …]
        [--budgets 100 200 500 …] [--lambdas 2e-2 4e-3 …] [--arch NAME] [--codecs jpeg hevc]

Each point is a whole encode that ends in a real file: with each of the presets and with each of
the budgets, numbers of iterations (the first preset's schedule stretched or cut). It is
not a checkpoint of one long run: what training reports on its way is no file, and the middle of
a schedule is worse than the end of a short one. Times are of everything from picture to file, on
the machine named below the picture. Points that are there already keep their times: take a fresh
--results, and an idle machine.

References are the published releases, codecs run on the same images, and, not in the picture,
the encodes with the most iterations. Missing points are encoded into RESULTS/points.json. Writes
RESULTS/fig7_encoding_time.json and OUTPUT/fig7_encoding_time.png.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import other_codecs
from bdrate import Curve, bd_rates, mean, published
from common import (
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    RED,
    SKY,
    find_images,
    make_parser,
    percent,
    plain_log_ticks,
    plot,
)
from coolchic.presets import PRESETS
from points import Job, Points, add_encoding, curves, made_by
from report import environment, write_json

RELEASES = ("v1.0", "v3.4")


def row(
    points: list[dict], longest: list[dict], anchors: Mapping[str, Mapping[str, Curve]]
) -> dict:
    """Of encodes with one number of iterations, beside those with the most."""
    ours = curves(points)
    return {
        "preset": points[0]["preset"],
        "iterations": points[0]["iterations"],
        "threads": points[0]["threads"],
        "seconds": mean(point["seconds"] for point in points),
        "bd_rate": {
            name: mean(bd_rates(anchor, ours).values()) for name, anchor in anchors.items()
        },
        "bd_rate_over_longest": mean(bd_rates(curves(longest), ours).values()),
    }


def label(anchor: str) -> str:
    codec = other_codecs.CODECS.get(anchor)
    return codec.label if codec else f"Cool-chic {anchor}"


def draw(path: Path, rows: list[dict], what: str) -> None:
    caption = (
        "BD-rate against encoding time: each point a whole encode of so many iterations, times "
        f"and BD-rates are means over images and λ. {what}."
    )
    with plot(path, caption) as pyplot:
        if pyplot is None:
            return
        _, axes = pyplot.subplots(figsize=(6.5, 4))
        for anchor, colour in zip(
            rows[0]["bd_rate"], (RED, BLUE, GREEN, ORANGE, SKY, PINK), strict=False
        ):
            known = [r for r in rows if r["bd_rate"][anchor] is not None]
            axes.plot(
                [r["seconds"] for r in known],
                [r["bd_rate"][anchor] for r in known],
                "o-",
                color=colour,
                label=f"against {label(anchor)}",
            )
        axes.axhline(0, color="black", linewidth=0.8)
        threads = sorted({r["threads"] for r in rows})
        of_threads = " or ".join(map(str, threads)) + (" thread" if threads == [1] else " threads")
        axes.set(xscale="log", xlabel=f"encoding time, {of_threads} [s]", ylabel="BD-rate [%]")
        plain_log_ticks(axes.xaxis)
        top = axes.secondary_xaxis("top")
        top.set_xticks([r["seconds"] for r in rows], [f"{r['iterations']}" for r in rows])
        top.minorticks_off()
        top.set_xlabel("iterations")
        axes.legend()


def main() -> None:
    parser = make_parser(__doc__)
    add_encoding(parser)
    parser.add_argument(
        "--presets", nargs="+", choices=tuple(PRESETS), default=list(PRESETS), metavar="PRESET"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument(
        "--budgets",
        nargs="+",
        type=int,
        default=[],
        metavar="N",
        help="iterations of the first preset's schedule, besides the presets' own",
    )
    other_codecs.add_codecs(parser, ("jpeg", "hevc"))
    arguments = parser.parse_args()
    images, store = find_images(arguments.images, arguments.names), Points(arguments)

    anchors: dict[str, Mapping[str, Curve]] = {name: published()[name] for name in RELEASES}
    table = other_codecs.open_table(arguments.results)
    for name in other_codecs.available(arguments.codecs):
        anchors[name] = other_codecs.curves(other_codecs.ladder(name, images, table))

    plans = [(preset, None) for preset in arguments.presets]
    plans += [(arguments.presets[0], budget) for budget in arguments.budgets]
    points = [
        store.get(
            Job(image, lmbda, preset, iterations, arguments.seed)
            for image in images
            for lmbda in arguments.lambdas
        )
        for preset, iterations in plans
    ]
    points = sorted(filter(None, points), key=lambda made: made[0]["iterations"])
    rows = [row(made, points[-1], anchors) for made in points]
    print("iterations  seconds " + " ".join(f"{name:>10}" for name in (*anchors, "longest")))
    for r in rows:
        rates = (*r["bd_rate"].values(), r["bd_rate_over_longest"])
        cells = " ".join(percent(rate, 10) for rate in rates)
        print(f"{r['iterations']:>10} {r['seconds']:>8.1f} {cells}")
    write_json(
        arguments.results / "fig7_encoding_time.json",
        {**environment(), "lambdas": arguments.lambdas, "rows": rows},
    )
    if rows:
        what = f"{', '.join(i.stem for i in images)}; {made_by(sum(points, []))}"
        draw(arguments.output / "fig7_encoding_time.png", rows, what)


if __name__ == "__main__":
    main()
