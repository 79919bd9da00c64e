"""Rate-distortion of presets, beside the published releases and other codecs (paper Fig. 4).

    python benchmarks/rd.py --images DIR [--names kodim03 …] [--presets fast medium …]
        [--lambdas 2e-2 …] [--seeds 0 1 …] [--codecs jpeg webp avif hevc] [--files DIR]

Encodes every image with every preset, λ and seed, and prints

- BD-rate (bdrate.py) per image and on average, against the published releases v1.0 to v5.0,
  against codecs run on the same images (other_codecs.py), and against the last preset named;
- the same of the published releases themselves;
- per λ, the rate over the anchors' at the same PSNR;
- if all 24 Kodak images are encoded, BD-rate on averages, against HM, VTM and others.

A subset of λ gives shorter curves. An anchor is always taken whole, and BD-rate is over the
PSNR that both curves have; the published releases are therefore printed twice, with whole
curves and within our PSNR, and only the latter compares with our number of a subset.

Writes RESULTS/points.json (a row per file; an interrupted run goes on from there),
RESULTS/rd.json (averages in CompressAI's form), RESULTS/rd_bdrate.json and
OUTPUT/fig4_rd.png. Needs SciPy; uses matplotlib, pytorch-msssim and pillow-heif if there are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import other_codecs
from bdrate import (
    KODAK,
    RELEASES,
    Curve,
    average,
    bd_rate,
    bd_rates,
    mean,
    published,
    published_averages,
    rate_at_equal_psnr,
)
from common import (
    BLUE,
    GREEN,
    GREY,
    LAMBDAS,
    ORANGE,
    PINK,
    RED,
    SKY,
    find_images,
    make_parser,
    percent,
    plot,
    skipped,
)
from coolchic.presets import PRESETS
from points import Job, Points, add_encoding, made_by, network_bytes, overhead_bytes
from report import environment, write_json

CURVES_OF_ALL_KODAK = {
    "hm": "HEVC (HM)",
    "vtm": "VVC (VTM)",
    "compressai-bmshj2018-hyperprior_mse_cuda": "hyperprior",
    "COIN": "COIN",
}
Anchors = dict[str, Mapping[str, Curve]]
"""Curves of each image, by what they are compared with."""
COLOURS = {"jpeg": GREY, "webp": SKY, "avif": GREEN, "hevc": BLUE}


@dataclass(frozen=True)
class Run:
    """One preset with one seed.

    Attributes:
        preset: its name.
        seed: of the training.
        points: of each image, in the order of λ.
    """

    preset: str
    seed: int
    points: dict[str, list[dict]]

    @property
    def curves(self) -> dict[str, Curve]:
        return other_codecs.curves({image: rows for image, rows in self.points.items() if rows})

    @property
    def all_points(self) -> list[dict]:
        return [point for rows in self.points.values() for point in rows]


def encode(images: list[Path], points: Points, arguments: argparse.Namespace) -> list[Run]:
    return [
        Run(
            preset,
            seed,
            {
                image.stem: points.get(
                    Job(image, lmbda, preset, arguments.iterations, seed)
                    for lmbda in arguments.lambdas
                )
                for image in images
            },
        )
        for preset in arguments.presets
        for seed in arguments.seeds
    ]


# BD-rate


def bd_rate_table(run: Run, anchors: Anchors) -> dict:
    """BD-rate against each anchor, per image and mean; the published releases' own; by λ."""
    ours = run.curves
    per_image = {name: bd_rates(curves, ours) for name, curves in anchors.items()}
    within = {image: curve.range for image, curve in ours.items()}
    return {
        "preset": run.preset,
        "seed": run.seed,
        "bd_rate": per_image,
        "mean": {name: mean(rates.values()) for name, rates in per_image.items()},
        "published_within_our_psnr": published_bd_rates(anchors, list(ours), within),
        "by_lambda": [
            lambda_row([point for point in run.all_points if point["lambda"] == lmbda], anchors)
            for lmbda in dict.fromkeys(point["lambda"] for point in run.all_points)
        ],
    }


def published_bd_rates(
    anchors: Anchors,
    images: list[str],
    within: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> dict:
    """Mean BD-rate of each published release against each anchor, over the given images."""
    return {
        release: {
            name: mean(bd_rates(curves, of_images(release, images), within).values())
            for name, curves in anchors.items()
        }
        for release in RELEASES
    }


def of_images(release: str, images: list[str]) -> dict[str, Curve]:
    return {image: curve for image, curve in published()[release].items() if image in images}


def lambda_row(points: list[dict], anchors: Anchors) -> dict:
    """Means of the points of one λ; and their rate over the anchors' at the same PSNR."""
    rates = {
        name: [
            rate_at_equal_psnr(curves[point["image"]], point["bpp"], point["psnr"])
            for point in points
            if point["image"] in curves
        ]
        for name, curves in anchors.items()
    }
    inside = {name: [r for r in values if r is not None] for name, values in rates.items()}
    return {
        "lambda": points[0]["lambda"],
        "images": len(points),
        "bpp": mean(point["bpp"] for point in points),
        "psnr": mean(point["psnr"] for point in points),
        "ms_ssim": mean(p["ms_ssim"] for p in points if p["ms_ssim"] is not None),
        "seconds": mean(point["seconds"] for point in points),
        "weights_bytes": mean(map(network_bytes, points)),
        "other_bytes": mean(map(overhead_bytes, points)),
        "rate_at_equal_psnr": {name: mean(values) for name, values in inside.items()},
        "images_inside": {name: len(values) for name, values in inside.items()},
    }


def print_header(label: str, anchors: Iterable[str]) -> None:
    print(f"  {label:<15}" + "".join(f"{name:>10}" for name in anchors))


def print_row(label: str, rates: Iterable[float | None]) -> None:
    print(f"  {label:<15}" + "".join(percent(rate, 10) for rate in rates))


def print_bd_rates(table: dict, images: list[str]) -> None:
    print(f"\n{table['preset']}, seed {table['seed']}")
    print_header("BD-rate against", table["mean"])
    for image in images:
        print_row(image, (rates.get(image) for rates in table["bd_rate"].values()))
    print_row("mean", table["mean"].values())
    for release, means in table["published_within_our_psnr"].items():
        print_row(f"{release}, our PSNR", means.values())
    print("  λ           bpp     dB  MS-SSIM  seconds  weights  other bytes   rate at our PSNR")
    for row in table["by_lambda"]:
        similarity = f"{row['ms_ssim']:.4f}" if row["ms_ssim"] is not None else "–"
        print(
            f"  {row['lambda']:<7g} {row['bpp']:>7.4f} {row['psnr']:>6.2f} {similarity:>8} "
            f"{row['seconds']:>8.1f} {row['weights_bytes']:>8.0f} {row['other_bytes']:>12.0f}   "
            + ", ".join(
                f"{name} {rate:+.1f} %"
                + ("" if row["images_inside"][name] == row["images"] else "*")
                for name, rate in row["rate_at_equal_psnr"].items()
                if rate is not None
            )
        )
    if any(n < row["images"] for row in table["by_lambda"] for n in row["images_inside"].values()):
        print("  * without the images whose PSNR is outside the anchor's, or that it has not")


def print_subset(lambdas: list[float]) -> None:
    missing = [lmbda for lmbda in LAMBDAS if lmbda not in lambdas]
    if missing:
        text = ", ".join(f"{lmbda:g}" for lmbda in missing)
        print(f"\nA subset of λ, without {text}: compare the means with the rows 'our PSNR'.")


def print_seeds(runs: list[Run], tables: list[dict]) -> None:
    """Of each preset with several seeds: BD-rate against v1.0, and spread of the final loss."""
    for preset, same in by_preset(runs).items():
        if len(same) < 2:
            continue
        means = [table["mean"]["v1.0"] for table in tables if table["preset"] == preset]
        print(f"\n{preset}, {len(same)} seeds")
        print_row("against v1.0", means)
        losses: dict[tuple[float, str], list[float]] = {}
        for point in (point for run in same for point in run.all_points):
            losses.setdefault((point["lambda"], point["image"]), []).append(loss(point))
        spreads = {key: 100 * (max(v) / min(v) - 1) for key, v in losses.items() if len(v) > 1}
        for lmbda in dict.fromkeys(lmbda for lmbda, _ in spreads):
            at_lambda = {image: s for (other, image), s in spreads.items() if other == lmbda}
            worst = max(at_lambda, key=at_lambda.__getitem__)
            print(
                f"  λ={lmbda:g}: losses spread by {mean(at_lambda.values()):.2f} % "
                f"(mean of {len(at_lambda)} images), {at_lambda[worst]:.2f} % at most ({worst})"
            )


def loss(point: dict) -> float:
    """Of the file: MSE of samples from 0 to 1, plus λ times bits per pixel."""
    return 10 ** (-point["psnr"] / 10) + point["lambda"] * point["bpp"]


def by_preset(runs: list[Run]) -> dict[str, list[Run]]:
    return {
        preset: [run for run in runs if run.preset == preset]
        for preset in dict.fromkeys(run.preset for run in runs)
    }


# Averages


def complete_images(runs: list[Run], lambdas: list[float]) -> list[str]:
    """The images of which there is every point; says which others are left out."""
    images = [
        image
        for image in runs[0].points
        if all(len(run.points[image]) == len(lambdas) for run in runs)
    ]
    left_out = [image for image in runs[0].points if image not in images]
    if left_out:
        skipped(f"{', '.join(left_out)} in the averages (not all points are there)")
    return images


def our_averages(runs: list[Run], lambdas: list[float], images: list[str]) -> list[dict]:
    """Averages over images and seeds, in CompressAI's form."""
    entries = []
    for preset, same in by_preset(runs).items():
        groups = [
            [run.points[image][number] for run in same for image in images]
            for number in range(len(lambdas))
        ]
        description = (
            f"mean of {', '.join(images)}; λ {', '.join(f'{x:g}' for x in lambdas)}; "
            f"seeds {', '.join(f'{run.seed}' for run in same)}; {made_by(sum(groups, []))}"
        )
        entries.append(compressai_entry(f"coolchic-{preset}", description, groups))
    return entries


def their_averages(rows: Mapping[str, Mapping[str, list[dict]]], images: list[str]) -> list[dict]:
    """Likewise of the other codecs, by name and image."""
    return [
        compressai_entry(
            name,
            f"{other_codecs.CODECS[name].label}, {other_codecs.CODECS[name].version()}; "
            f"mean of {', '.join(images)}",
            [list(group) for group in zip(*(by_image[i] for i in images), strict=True)],
        )
        for name, by_image in rows.items()
    ]


def compressai_entry(name: str, description: str, groups: list[list[dict]]) -> dict:
    results = {
        "bpp": [mean(point["bpp"] for point in group) for group in groups],
        "psnr": [mean(point["psnr"] for point in group) for group in groups],
        "encoding_time": [mean(point["seconds"] for point in group) for group in groups],
    }
    if all(point["ms_ssim"] is not None for group in groups for point in group):
        results["ms-ssim"] = [mean(point["ms_ssim"] for point in group) for group in groups]
    return {"name": name, "description": description, "results": results}


def curve_of(entry: dict) -> Curve:
    return Curve.of(zip(entry["results"]["bpp"], entry["results"]["psnr"], strict=True))


def print_averages(entries: list[dict], all_kodak: bool) -> None:
    if not all_kodak:
        skipped("BD-rate against HM, VTM and others (published as averages of all 24 images)")
        return
    for entry in entries:
        print(f"\n{entry['name']}: BD-rate on averages of 24 images against")
        for name, curve in published_averages().items():
            print(f"{percent(bd_rate(curve, curve_of(entry)))}  {name}")


# Picture


def draw(path: Path, ours: list[dict], theirs: list[dict], images: list[str], made: str) -> None:
    known = [image for image in images if image in KODAK]
    all_kodak = set(known) == set(KODAK)
    caption = (
        f"Rate-distortion, mean of {len(images)} images ({', '.join(images)}); the published "
        f"releases and the other codecs on the same images. {made}."
    )
    with plot(path, caption) as pyplot:
        if pyplot is None:
            return
        _, axes = pyplot.subplots(figsize=(6.5, 4.5))
        for entry, colour in zip(ours, (RED, ORANGE, PINK, SKY), strict=False):
            axes.plot(*_xy(curve_of(entry)), "o-", color=colour, label=entry["name"], zorder=3)
        if len(known) == len(images):
            for release, style in (("v1.0", "-"), ("v3.4", "--"), ("v5.0", ":")):
                curve = average(published()[release][image] for image in known)
                axes.plot(*_xy(curve), style, color="black", label=f"Cool-chic {release}")
        else:
            skipped("published releases in the picture (not all images are Kodak's)")
        for entry in theirs:
            codec, colour = other_codecs.CODECS[entry["name"]], COLOURS[entry["name"]]
            axes.plot(*_xy(curve_of(entry)), ".-", color=colour, label=codec.label)
        if all_kodak:
            averages = published_averages()
            for (name, label), style in zip(
                CURVES_OF_ALL_KODAK.items(), ("-", "--", ":", "-."), strict=True
            ):
                axes.plot(*_xy(averages[name]), style, color=GREY, label=label)
        drawn = [curve_of(entry) for entry in ours]
        axes.set_xlim(0, 1.1 * max(curve.bpp[-1] for curve in drawn))
        axes.set_ylim(
            min(curve.psnr[0] for curve in drawn) - 2, max(curve.psnr[-1] for curve in drawn) + 2
        )
        axes.set(xlabel="rate [bit per pixel]", ylabel="PSNR [dB], RGB")
        axes.legend(loc="lower right")


def _xy(curve: Curve) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return curve.bpp, curve.psnr


def main() -> None:
    parser = make_parser(__doc__)
    add_encoding(parser)
    parser.add_argument(
        "--presets",
        nargs="+",
        choices=tuple(PRESETS),
        default=["medium"],
        metavar="PRESET",
        help=f"of {', '.join(PRESETS)} (default: medium)",
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="instead of the presets'")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0], metavar="N", help="(default: 0)"
    )
    other_codecs.add_codecs(parser, ())
    arguments = parser.parse_args()
    images = find_images(arguments.images, arguments.names)
    names = [image.stem for image in images]

    runs = encode(images, Points(arguments), arguments)
    table = other_codecs.open_table(arguments.results)
    rows = {
        name: other_codecs.ladder(name, images, table)
        for name in other_codecs.available(arguments.codecs)
    }
    codecs = {name: other_codecs.curves(by_image) for name, by_image in rows.items()}

    anchors: Anchors = {**published(), **codecs}
    if len(arguments.presets) > 1:
        last = next(run for run in runs if run.preset == arguments.presets[-1])
        anchors[last.preset] = last.curves
    releases = published_bd_rates(anchors, names)
    print("\npublished releases, whole curves, mean")
    print_header("BD-rate against", anchors)
    for release, means in releases.items():
        print_row(release, means.values())
    tables = [bd_rate_table(run, anchors) for run in runs]
    for bd_table in tables:
        print_bd_rates(bd_table, names)
    print_seeds(runs, tables)
    print_subset(arguments.lambdas)

    write_json(
        arguments.results / "rd_bdrate.json",
        {
            **environment(),
            "names": names,
            "lambdas": arguments.lambdas,
            "published": releases,
            "runs": tables,
        },
    )
    complete = complete_images(runs, arguments.lambdas)
    if complete:
        ours = our_averages(runs, arguments.lambdas, complete)
        theirs = their_averages(rows, complete)
        print_averages([*ours, *theirs], set(complete) == set(KODAK))
        write_json(arguments.results / "rd.json", [*ours, *theirs])
        made = made_by(point for run in runs for point in run.all_points)
        draw(arguments.output / "fig4_rd.png", ours, theirs, complete, made)


if __name__ == "__main__":
    main()
