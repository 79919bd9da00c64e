"""Time and memory of decoding, beside other codecs at the same rate, in one run.

    python benchmarks/decode.py --images DIR [--names kodim05 kodim19 …] [--bpp 1 0.25]
        [--sizes 384x256 … 4096x3072] [--decoders 24x24] [--coolchic-dec PROGRAM]

For each picture and rate: the rate nearest to the one asked for that AVIF can give, whose steps
are coarse, our file of that rate by the real encoder (λ is sought), files of the other codecs
within 3 % of it, or none, and all decoders in turns, repeatedly. Ours is timed by kernel and
number of threads, and by stage; the others through Pillow, from bytes to pixels in memory. What
has one thread is pinned to one core, and its time is the processor's, so that other load on the
machine disturbs it little; what has more takes time by the clock.

Pictures are the named ones as they are, at every rate, and then, at the first rate only, those
made for --sizes: up to the size of the first picture its centre, above it a mosaic of all of
them, portraits turned by 90°. Those above 1.5 megapixels are encoded with --large-iterations,
as the decoder's time depends on the rate and not on how good the picture is. --decoders adds
wider decoders for the first picture, AxB with A contexts and B synthesis channels as in
fig6_complexity.py.

Per row: minimum and median; milliseconds of the multiplications alone (arithmetic.py); peak
memory, per pixel, of a fresh process above one that does not decode, with the picture itself
(3 bytes per pixel of ours, 4 of Pillow's); and, for the first picture, whole processes:
`coolchic-dec` (if installed, or as --coolchic-dec says) and `coolchic-decode`, writing a PPM.

Writes RESULTS/decode.json, row by row: a run that is cut short goes on where it stopped, and rows
of other code or another machine are measured again. RESULTS/decode_average.json holds the means
over pictures in CompressAI's form, OUTPUT/decode.png the picture. Files are kept in --files.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import arithmetic
import coolchic
import costs
from bdrate import mean
from common import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SKY,
    Table,
    add_names,
    find_images,
    fingerprint,
    make_parser,
    plain_log_ticks,
    plot,
    skipped,
)
from coolchic import _decoder
from coolchic.presets import PRESETS
from fig6_complexity import architecture, decoder
from mac_count import STAGES
from matched import our_file, reachable, their_file
from other_codecs import CODECS, add_codecs, available
from points import Points, add_architecture, made_by
from report import ROOT, environment, write_json

SIZES = ("384x256", "1536x1024", "2048x1536", "4096x3072")
LARGE = 1_500_000
"""Pixels above which a picture is encoded with fewer iterations, and timed less often."""
OVERHEAD = ("header", "section lengths and checksum", "latents: layout and states")
COLORS = {
    "coolchic": RED,
    "avif": BLUE,
    "webp": GREEN,
    "jpeg": ORANGE,
    "jxl": PINK,
    "hevc": SKY,
}


# Pictures


def size(text: str) -> tuple[int, int]:
    """(width, height) of an argument like ``768x512``."""
    width, height = map(int, text.split("x"))
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"a size like 768x512, not {text}")
    return width, height


def make_picture(images: list[Path], width: int, height: int) -> tuple[np.ndarray, str]:
    """Samples of a size, and how they were made."""
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in images]
    photos = [np.rot90(p) if p.shape[0] > p.shape[1] else p for p in photos]
    rows, columns = photos[0].shape[:2]
    if height <= rows and width <= columns:
        top, left = (rows - height) // 2, (columns - width) // 2
        middle = photos[0][top : top + height, left : left + width]
        return np.ascontiguousarray(middle), f"centre of {images[0].stem}"
    rows = min(photo.shape[0] for photo in photos)
    columns = min(photo.shape[1] for photo in photos)
    down, across = -(-height // rows), -(-width // columns)
    mosaic = np.concatenate(
        [
            np.concatenate(
                [photos[(y * across + x) % len(photos)][:rows, :columns] for x in range(across)], 1
            )
            for y in range(down)
        ]
    )
    names = ", ".join(path.stem for path in images)
    return np.ascontiguousarray(mosaic[:height, :width]), f"mosaic of {names}"


# What is timed


@dataclass(frozen=True)
class Contender:
    """A decoder with a file.

    Attributes:
        codec: its name.
        cpu: kernels of ours; None for other codecs.
        threads: at most so many.
        data: the file.
        psnr: of the file, dB.
    """

    codec: str
    cpu: str | None
    threads: int
    data: bytes
    psnr: float

    def action(self) -> Callable[[], object]:
        if self.codec == "coolchic":
            return lambda: _decoder.decode_bytes(self.data, threads=self.threads, cpu=self.cpu)
        return lambda: Image.open(io.BytesIO(self.data)).load()

    @property
    def label(self) -> str:
        name = "coolchic" if self.codec == "coolchic" else CODECS[self.codec].label
        return f"{name}, {self.cpu}" if self.cpu else name


def set_pillow_threads(threads: int) -> None:
    """For the decoders behind Pillow that have threads."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = threads
    if "pillow_heif" in sys.modules:
        sys.modules["pillow_heif"].options.DECODE_THREADS = threads
    if "pillow_jxl" in sys.modules:
        sys.modules["pillow_jxl"].JpegXLImagePlugin.DECODE_THREADS = threads if threads > 1 else 0


def time_all(contenders: list[Contender], repeat: int) -> list[dict]:
    """All in turns: in each round first what has one thread, on one core, then the others."""
    one = [c for c in contenders if c.threads == 1]
    more = [c for c in contenders if c.threads > 1]
    times: dict[Contender, list[float]] = {c: [] for c in contenders}
    stages: dict[Contender, list[dict]] = {c: [] for c in one if c.codec == "coolchic"}
    gc.disable()
    for round_number in range(repeat + 1):
        with costs.one_core():
            set_pillow_threads(1)
            for contender in one:
                times[contender].append(costs.cpu_seconds(contender.action()))
            for contender, profiles in stages.items():
                profiles.append(_decoder.profile(contender.data, threads=1, cpu=contender.cpu))
        for contender in more:
            set_pillow_threads(contender.threads)
            times[contender].append(costs.seconds(contender.action()))
        if round_number == 0:  # warm-up
            for seconds in (*times.values(), *stages.values()):
                seconds.clear()
    gc.enable()
    rows = []
    for contender in contenders:
        row = {"codec": contender.codec, "cpu": contender.cpu, "label": contender.label}
        row |= {"threads": contender.threads, "bytes": len(contender.data)}
        row |= {"psnr": contender.psnr, **costs.summary(times[contender])}
        if contender in stages:
            row["stages"] = {
                name: costs.summary([sum(p[part] for part in parts) for p in stages[contender]])
                for name, parts in STAGES.items()
            }
        rows.append(row)
    return rows


def check_same_pixels(data: bytes, cpus: list[str], threads: list[int]) -> None:
    """Before anything is timed: all kernels and thread counts give one picture."""
    pictures = [_decoder.decode_bytes(data, threads=n, cpu=cpu) for cpu in cpus for n in threads]
    if any(not np.array_equal(pictures[0], picture) for picture in pictures):
        sys.exit("decode.py: kernels or numbers of threads differ in their pixels")


def time_processes(data: bytes, program: str | None, repeat: int) -> dict[str, dict]:
    """Whole processes on one core, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.cool", Path(folder) / "out.ppm"
        source.write_bytes(data)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "coolchic-decode": [
                *(sys.executable, "-m", "coolchic.cli", "decode"),
                *("--threads", "1", str(source), str(target)),
            ],
        }
        if program:
            decode = [program, "--threads", "1", str(source)]
            commands["coolchic-dec"] = [*decode, str(target)]
            commands["coolchic-dec --info"] = [program, "--info", str(source)]
        times: dict[str, list[float]] = {name: [] for name in commands}
        with costs.one_core():
            for _ in range(repeat):
                for name, command in commands.items():
                    run = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
                    times[name].append(costs.seconds(run))
        found = {name: costs.summary(seconds) for name, seconds in times.items()}
        if program and sys.platform == "linux":
            found["coolchic-dec"]["peak_bytes"] = costs.peak_of_program([*decode, "-"])
    return found


# Rows


class Bench:
    """One run: settings, what is usable, and the table of rows."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.cpus = _decoder.kernels()
        self.codecs = available(arguments.codecs)
        self.program = arguments.coolchic_dec or shutil.which("coolchic-dec")
        if not self.program:
            skipped("processes of coolchic-dec (not installed; --coolchic-dec says where it is)")
        self.environment = environment()
        self.build = f"{zlib.crc32(Path(_decoder.__file__).read_bytes()):08x}"
        self.points = Points(arguments)
        self.table = Table(arguments.results / "decode.json")
        with costs.one_core():
            self.rates = arithmetic.madd_rates()

    def row(
        self,
        image: Path,
        made: str,
        bpp: float,
        *,
        shape: tuple[int, int] | None = None,
        codecs: tuple[str, ...] | None = None,
        processes: bool = False,
    ) -> dict | None:
        """All decoders on one picture and rate, from the table if they are there."""
        arguments, here = self.arguments, self.environment
        with Image.open(image) as picture:
            width, height = picture.size
            pixels = fingerprint(np.asarray(picture.convert("RGB")))
        iterations, repeat = arguments.iterations, arguments.repeat
        if width * height > LARGE:
            iterations, repeat = arguments.large_iterations, max(3, repeat // 3)
        arch = architecture(*shape) if shape else None
        rate = reachable("avif", image, bpp) if "avif" in self.codecs else bpp
        ours = our_file(
            self.points, image, rate, preset=arguments.preset, iterations=iterations, arch=arch
        )
        if ours is None:
            return None
        point, data = ours
        key = {
            "picture": image.stem,
            "pixels": pixels,
            "target_bpp": bpp,
            "decoder": "x".join(map(str, shape)) if shape else self.arguments.arch,
            "cpu": here["cpu"],
        }
        codecs = tuple(self.codecs) if codecs is None else tuple(set(codecs) & set(self.codecs))
        wanted = {
            "build": self.build,
            "file": f"{zlib.crc32(data):08x}",
            "cpus": self.cpus,
            "codecs": sorted(codecs),
            "threads": arguments.decode_threads,
            "repeat": repeat,
            "program": bool(self.program),
        }
        old = self.table.find({**key, **wanted})
        if old is not None:
            return old
        check_same_pixels(data, self.cpus, arguments.decode_threads)
        contenders = [
            Contender("coolchic", cpu, threads, data, point["psnr"])
            for cpu in self.cpus
            for threads in arguments.decode_threads
        ]
        for name in codecs:
            theirs = their_file(name, image, point["bpp"], arguments.files)
            if theirs is not None:
                more = name in ("avif", "jxl")
                contenders += [
                    Contender(name, None, threads, theirs.data, theirs.psnr)
                    for threads in (arguments.decode_threads if more else [1])
                ]
        print(f"timing {image.stem} at {point['bpp']:.3f} bpp", flush=True)
        fields = coolchic.info(data)
        states = 4 * fields["lanes"]
        row = {
            **key,
            **wanted,
            "cores": here["cores"],
            "commit": here["commit"],
            "made": made,
            "size": [width, height],
            "bpp": point["bpp"],
            "psnr": point["psnr"],
            "lambda": point["lambda"],
            "preset": point["preset"],
            "iterations": point["iterations"],
            "encoder": point["commit"],
            "bytes": len(data),
            "overhead_bytes": sum(fields["bytes"][name] for name in OVERHEAD) - states,
            "state_bytes": states,
            "mac_per_pixel": fields["mac_per_pixel"],
            "multiplications_per_second": self.rates,
            "floor_ms": arithmetic.floor_ms(fields, self.rates),
            "decoders": time_all(contenders, repeat),
        }
        for entry in row["decoders"]:
            entry["bpp"] = 8 * entry["bytes"] / (width * height)
        row["peak_bytes_per_pixel"] = self._memory(contenders, width * height)
        if processes:
            row["processes"] = time_processes(data, self.program, arguments.repeat)
        self.table.add(key, row)
        return row

    def _memory(self, contenders: list[Contender], pixels: int) -> dict[str, float]:
        if sys.platform != "linux":
            skipped("peak memory (measured on Linux only)")
            return {}
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            for contender in contenders:
                if contender.codec in found:
                    continue
                path.write_bytes(contender.data)
                imports, decode = costs.OURS if contender.codec == "coolchic" else costs.PILLOW
                if contender.codec == "hevc":
                    imports += "\nimport pillow_heif; pillow_heif.register_heif_opener()"
                if contender.codec == "jxl":
                    imports += "\nimport pillow_jxl"
                peak = costs.peak_of_decoding(path, imports, decode)
                found[contender.codec] = peak / pixels
        return found


# Reports


def find(row: dict, codec: str, cpu: str | None = None, threads: int = 1) -> dict | None:
    """A codec's decoder with so many threads: of ours the fastest, unless cpu is given."""
    for entry in row["decoders"]:
        if entry["codec"] == codec and entry["threads"] == threads and cpu in (None, entry["cpu"]):
            return entry
    return None


def print_row(row: dict) -> None:
    width, height = row["size"]
    print(
        f"\n{row['picture']} ({row['made']}), {width}x{height}, {row['bpp']:.3f} bpp, "
        f"{row['psnr']:.2f} dB, decoder {row['decoder']}"
    )
    print("| decoder | threads | min ms | median ms | of AVIF | bpp | PSNR | peak B/pixel |")
    print("|---|---|---|---|---|---|---|---|")
    avif = find(row, "avif")
    for entry in row["decoders"]:
        ratio = f"{entry['min_ms'] / avif['min_ms']:.2f}" if avif else "–"
        peak = row["peak_bytes_per_pixel"].get(entry["codec"])
        print(
            f"| {entry['label']} | {entry['threads']} | {entry['min_ms']:.2f} "
            f"| {entry['median_ms']:.2f} | {ratio} | {entry['bpp']:.3f} | {entry['psnr']:.2f} "
            f"| {'–' if peak is None else f'{peak:.1f}'} |"
        )
    for entry in row["decoders"]:
        if "stages" in entry:
            stages = ", ".join(f"{n} {t['min_ms']:.2f}" for n, t in entry["stages"].items())
            print(f"  {entry['label']}, by stage (min ms): {stages}")
    for name, milliseconds in row["floor_ms"].items():
        print(f"  multiplications alone, {name}: {milliseconds:.2f} ms")
    for name, cost in row.get("processes", {}).items():
        memory = f", peak {cost['peak_bytes'] / 2**20:.1f} MiB" if "peak_bytes" in cost else ""
        print(f"  process {name}: {cost['min_ms']:.1f} ms, median {cost['median_ms']:.1f}{memory}")


def averages(rows: list[dict]) -> list[dict]:
    """Means over pictures by target rate, in CompressAI's form: seconds, one thread."""
    rates = sorted({row["target_bpp"] for row in rows})
    kinds = dict.fromkeys(
        (entry["codec"], entry["cpu"]) for row in rows for entry in row["decoders"]
    )
    entries = []
    for codec, cpu in kinds:
        by_rate = [
            [find(row, codec, cpu) for row in rows if row["target_bpp"] == rate] for rate in rates
        ]
        if any(entry is None for group in by_rate for entry in group):
            continue
        entries.append(
            {
                "name": f"coolchic-{cpu}" if cpu else codec,
                "description": f"{by_rate[0][0]['label']}; mean of "
                f"{', '.join(dict.fromkeys(row['picture'] for row in rows))}; one thread",
                "results": {
                    "bpp": [mean(e["bpp"] for e in group) for group in by_rate],
                    "psnr": [mean(e["psnr"] for e in group) for group in by_rate],
                    "decoding_time": [mean(e["min_ms"] for e in g) / 1e3 for g in by_rate],
                    "decoding_time_median": [
                        mean(e["median_ms"] for e in g) / 1e3 for g in by_rate
                    ],
                },
            }
        )
    return entries


def print_averages(entries: list[dict]) -> None:
    avif = next((e["results"]["decoding_time"] for e in entries if e["name"] == "avif"), None)
    print("\nMeans over pictures of the minima, one thread")
    for entry in entries:
        results = entry["results"]
        times = " ".join(
            f"{bpp:6.3f} bpp {1e3 * t:8.2f} ms" + (f" ({t / avif[k]:.2f} of AVIF)" if avif else "")
            for k, (bpp, t) in enumerate(zip(results["bpp"], results["decoding_time"], strict=True))
        )
        print(f"{entry['name']:<18} {times}")


def draw(path: Path, means: list[dict], sized: list[dict], all_rows: list[dict]) -> None:
    caption = (
        "Decoding on one core. Left: milliseconds at two rates, mean over "
        f"{means[0]['description'].split('mean of ')[1].split(';')[0]} of the minima. Right: "
        "nanoseconds per pixel over the picture's size, solid one thread, dashed two or more; "
        f"dotted: the multiplications alone. {made_by(all_rows)}."
    )
    with plot(path, caption) as pyplot:
        if pyplot is None:
            return
        _, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.8))
        bpps = means[0]["results"]["bpp"]
        height = 0.8 / len(bpps)
        for k, bpp in enumerate(bpps):
            left.barh(
                [row + k * height for row in range(len(means))],
                [1e3 * entry["results"]["decoding_time"][k] for entry in means],
                height,
                color=[COLORS[entry["name"].split("-")[0]] for entry in means],
                alpha=1 - 0.5 * k / len(bpps),
                label=f"{bpp:.2f} bpp",
            )
        left.set_yticks(
            [row + 0.4 - height / 2 for row in range(len(means))],
            [entry["name"] for entry in means],
        )
        left.set(xscale="log", xlim=(1, None), xlabel="milliseconds")
        left.invert_yaxis()
        left.legend(fontsize=7)
        plain_log_ticks(left.xaxis)
        _draw_sizes(right, sized)


def _draw_sizes(axes, rows: list[dict]) -> None:
    """Nanoseconds per pixel of each codec over megapixels."""
    rows = sorted(rows, key=lambda row: row["size"][0] * row["size"][1])
    kinds = dict.fromkeys(
        (e["codec"], e["cpu"], e["threads"]) for row in rows for e in row["decoders"]
    )
    kernels = list(dict.fromkeys(cpu for _, cpu, _ in kinds if cpu))
    for codec, cpu, threads in kinds:
        x, y = [], []
        for row in rows:
            pixels = row["size"][0] * row["size"][1]
            entry = find(row, codec, cpu, threads)
            if entry:
                x.append(pixels / 1e6)
                y.append(1e6 * entry["min_ms"] / pixels)
        axes.plot(
            x,
            y,
            "o-" if threads == 1 else "o--",
            color=COLORS[codec],
            alpha=1 - 0.6 * kernels.index(cpu) / len(kernels) if cpu else 1,
            label=f"{codec}{f' {cpu}' if cpu else ''}, {threads}",
        )
    for row in rows[:1]:
        for name, milliseconds in row["floor_ms"].items():
            pixels = row["size"][0] * row["size"][1]
            axes.axhline(1e6 * milliseconds / pixels, color=GREY, linestyle=":", label=name)
    axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="nanoseconds per pixel")
    plain_log_ticks(axes.xaxis)
    plain_log_ticks(axes.yaxis)
    axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.01, 1))


def make_arguments() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    add_names(parser)
    add_codecs(parser, tuple(CODECS))
    parser.add_argument("--bpp", nargs="+", type=float, default=[1.0, 0.25], metavar="RATE")
    parser.add_argument(
        "--sizes", nargs="*", type=size, default=list(map(size, SIZES)), metavar="WxH"
    )
    parser.add_argument("--decoders", nargs="*", type=decoder, default=[(24, 24)], metavar="AxB")
    parser.add_argument(
        "--decode-threads",
        nargs="+",
        type=int,
        default=[1, max(2, os.cpu_count() or 1)],
        metavar="N",
    )
    parser.add_argument("--repeat", type=int, default=11, metavar="N")
    parser.add_argument("--coolchic-dec", metavar="PROGRAM", help="(default: the one in PATH)")
    parser.add_argument(
        "--files",
        type=Path,
        default=ROOT / "build" / "decode_files",
        metavar="DIR",
        help="where coded files and made pictures are kept (default: build/decode_files)",
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fast")
    parser.add_argument("--iterations", type=int, metavar="N", help="instead of the preset's")
    parser.add_argument(
        "--large-iterations",
        type=int,
        default=200,
        metavar="N",
        help=f"above {LARGE / 1e6:g} megapixels (default: %(default)s)",
    )
    add_architecture(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="of the encoder")
    parser.add_argument("--existing", action="store_true", help="encode nothing with our encoder")
    parser.set_defaults(newest=False)  # files are needed, not points
    return parser


def main() -> None:
    arguments = make_arguments().parse_args()
    if 1 not in arguments.decode_threads:
        arguments.decode_threads.insert(0, 1)
    bench = Bench(arguments)
    images = find_images(arguments.images, arguments.names)
    native = [
        bench.row(image, "as it is", bpp, processes=image is images[0])
        for image in images
        for bpp in arguments.bpp
    ]
    wide = [
        bench.row(images[0], "as it is", arguments.bpp[0], shape=shape, codecs=("avif",))
        for shape in arguments.decoders
    ]
    sized = []
    for width, height in arguments.sizes:
        samples, made = make_picture(images, width, height)
        path = arguments.files / f"{width}x{height}_{fingerprint(samples)}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(samples).save(path)
        sized.append(bench.row(path, made, arguments.bpp[0], codecs=("avif", "jpeg")))
    native, wide, sized = ([row for row in rows if row] for rows in (native, wide, sized))
    for row in (*native, *wide, *sized):
        print_row(row)
    if native:
        means = averages(native)
        print_averages(means)
        write_json(arguments.results / "decode_average.json", means)
        draw(arguments.output / "decode.png", means, [*native[:1], *sized], native + sized)


if __name__ == "__main__":
    main()
