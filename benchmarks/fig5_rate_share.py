"""Share of the networks in the rate, against the rate (paper Fig. 5).

    python benchmarks/fig5_rate_share.py --images DIR [--names kodim03 …] [--preset medium]

Bytes of each section are what coolchic.info says of the files behind RESULTS/points.json;
missing points are encoded. Writes RESULTS/fig5_rate_share.json, OUTPUT/fig5_rate_share.png.
"""

from __future__ import annotations

from pathlib import Path

from bdrate import mean
from common import BLUE, GREY, ORANGE, RED, find_images, make_parser, plain_log_ticks, plot
from points import Job, Points, add_encoding, add_preset, made_by, network_bytes, overhead_bytes
from report import environment, write_json


def arm_bytes(point: dict) -> int:
    return point["sections"]["weights: ARM"]


PARTS = {  # from the bottom of the picture to its top
    "ARM": (arm_bytes, BLUE),
    "synthesis, steps": (lambda point: network_bytes(point) - arm_bytes(point), ORANGE),
    "header, lengths, checksum, states": (overhead_bytes, GREY),
}


def shares(points: list[dict]) -> dict:
    """Mean rate of some points, and each part's share of all their bytes, in percent."""
    total = sum(point["bytes"] for point in points)
    return {
        "lambda": points[0]["lambda"],
        "bpp": mean(point["bpp"] for point in points),
        "share": {name: 100 * sum(map(size, points)) / total for name, (size, _) in PARTS.items()},
        "network_bytes": mean(map(network_bytes, points)),
        "other_bytes": mean(map(overhead_bytes, points)),
    }


def draw(path: Path, rows: list[dict], points: list[dict], what: str) -> None:
    caption = (
        f"Share of the networks in the rate, against the rate, {what}. Areas: all images "
        "together; circles: ARM and synthesis of single images. What is left is latents."
    )
    with plot(path, caption) as pyplot:
        if pyplot is None:
            return
        _, axes = pyplot.subplots(figsize=(6, 3.8))
        axes.stackplot(
            [row["bpp"] for row in rows],
            *([row["share"][name] for row in rows] for name in PARTS),
            labels=PARTS,
            colors=[colour for _, colour in PARTS.values()],
            alpha=0.75,
        )
        axes.plot(
            [point["bpp"] for point in points],
            [100 * network_bytes(point) / point["bytes"] for point in points],
            "o",
            color=RED,
            markerfacecolor="none",
            label="ARM and synthesis, single images",
        )
        axes.set(xlabel="rate [bit per pixel]", ylabel="share of the file [%]", xscale="log")
        plain_log_ticks(axes.xaxis)
        axes.set_ylim(bottom=0)
        axes.legend()


def main() -> None:
    parser = make_parser(__doc__)
    add_encoding(parser)
    add_preset(parser)
    arguments = parser.parse_args()
    images, store = find_images(arguments.images, arguments.names), Points(arguments)
    points = store.get(
        Job(image, lmbda, arguments.preset, arguments.iterations, arguments.seed)
        for lmbda in arguments.lambdas
        for image in images
    )
    by_lambda = {lmbda: [p for p in points if p["lambda"] == lmbda] for lmbda in arguments.lambdas}
    rows = sorted(map(shares, filter(None, by_lambda.values())), key=lambda row: row["bpp"])

    print("λ           bpp  networks B   other B  " + "  ".join(f"{name}" for name in PARTS))
    for row in rows:
        print(
            f"{row['lambda']:<7g} {row['bpp']:>7.4f} {row['network_bytes']:>11.0f} "
            f"{row['other_bytes']:>9.0f}  "
            + "  ".join(f"{share:>{len(name)}.2f}" for name, share in row["share"].items())
        )
    write_json(arguments.results / "fig5_rate_share.json", {**environment(), "rows": rows})
    if len(rows) > 1:
        what = f"{arguments.preset}, {len(images)} images; {made_by(points)}"
        draw(arguments.output / "fig5_rate_share.png", rows, points, what)


if __name__ == "__main__":
    main()
