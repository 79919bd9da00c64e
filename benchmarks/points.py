"""Encoded points, made once: what the figures of the suite are drawn from.

A point is one image encoded with one λ, preset, number of iterations, seed and architecture:
a real file, decoded by the real decoder. Points are kept in RESULTS/points.json, the
per-image table, and shared by all scripts. A point is made again when the image's pixels, the
preset's data or the architecture have changed, not when the encoder's code has: each point
has the commit that made it, and for new code take a new folder of results.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

import coolchic
from bdrate import Curve
from common import LAMBDAS, Table, add_names, fingerprint, ms_ssim, skipped
from coolchic.architectures import find_architecture
from coolchic.config import Architecture
from coolchic.image import as_samples
from coolchic.metrics import psnr
from coolchic.presets import PRESETS, Preset
from coolchic.trials import alternatives
from report import environment


@dataclass(frozen=True)
class Job:
    """What to encode, and how.

    Attributes:
        image: the picture's file.
        lmbda: weight of the rate.
        preset: a name in ``coolchic.presets.PRESETS``.
        iterations: overrides the preset's number.
        seed: of the training.
        arch: the decoder, or its name as coolchic-encode takes it; None is that of the arguments.
    """

    image: Path
    lmbda: float
    preset: str
    iterations: int | None = None
    seed: int = 0
    arch: Architecture | str | None = None

    @property
    def decoders(self) -> list[Architecture]:
        """One, or those that the encoder chooses from."""
        if not isinstance(self.arch, str):
            return [] if self.arch is None else [self.arch]
        names = alternatives(self.arch, 3, self.lmbda)
        return [find_architecture(name, 3) for name in names]

    @property
    def plan(self) -> Preset:
        preset = PRESETS[self.preset]
        return preset if self.iterations is None else preset.with_iterations(self.iterations)

    def plan_at(self, lmbda: float) -> str:
        """Tells plans apart, by what they do for a λ."""
        return _digest(_describe(self.plan.for_lambda(lmbda)))

    @property
    def architecture(self) -> str:
        """Tells decoders apart."""
        return " or ".join(map(_describe, self.decoders))

    def key(self) -> dict:
        """The fields of a point that tell it from all others."""
        return {
            "image": self.image.stem,
            "pixels": fingerprint(as_samples(Image.open(self.image))),
            "lambda": self.lmbda,
            "preset": self.preset,
            "iterations": self.plan.iterations,
            "plan": self.plan_at(self.lmbda),
            "seed": self.seed,
            "architecture": self.architecture,
        }

    def __str__(self) -> str:
        parameters = " or ".join(str(arch.parameters()) for arch in self.decoders)
        decoder = f", {parameters} parameters" if parameters else ""
        return (
            f"{self.image.stem}, λ={self.lmbda:g}, {self.preset}, "
            f"{self.plan.iterations} iterations, seed {self.seed}{decoder}"
        )


class Points:
    """The points that there are, and those that are made when asked for.

    Args:
        arguments: of a parser with :func:`add_encoding`.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.table = Table(arguments.results / "points.json")
        self.files: Path | None = arguments.files
        self.threads: int | None = arguments.threads
        self.newest: bool = arguments.newest
        self.existing: bool = arguments.existing or self.newest
        self.arch: str = arguments.arch

    def get(self, jobs: Iterable[Job]) -> list[dict]:
        """The points of jobs, encoding those that are not there, unless that is forbidden."""
        found = []
        for job in map(self._whole, jobs):
            key = job.key()
            point = newest(self.table, job, key["pixels"]) if self.newest else self.table.find(key)
            if point is None and self.existing:
                skipped(f"{job} (not encoded yet)")
                continue
            found.append(point or self._make(job, key)[0])
        return found

    def file(self, job: Job) -> bytes | None:
        """The .cool file of a job, encoding it if it was not kept, unless that is forbidden."""
        job = self._whole(job)
        key = job.key()
        if self.files and self._path(key).exists():
            return self._path(key).read_bytes()
        if self.existing:
            skipped(f"{job} (no file {self._path(key).name} in --files)")
            return None
        return self._make(job, key)[1]

    def at_any_rate(self, job: Job) -> list[dict]:
        """The points there are that differ from a job in λ alone."""
        job = self._whole(job)
        key = job.key()
        varies = ("lambda", "plan", "architecture")
        points = self.table.find_all({name: key[name] for name in key if name not in varies})

        def of_job(point: dict) -> bool:
            there = dataclasses.replace(job, lmbda=point["lambda"]).key()
            return all(point[name] == there[name] for name in varies)

        return [point for point in points if of_job(point)]

    def _whole(self, job: Job) -> Job:
        return dataclasses.replace(job, arch=self.arch) if job.arch is None else job

    def _path(self, key: dict) -> Path:
        name = f"{key['image']}_{key['preset']}_{key['lambda']:g}_{_digest(repr(key))}.cool"
        return (self.files or Path()) / name

    def _make(self, job: Job, key: dict) -> tuple[dict, bytes]:
        print(f"encoding {job}", flush=True)
        picture = Image.open(job.image)
        samples = as_samples(picture)
        encoded = coolchic.encode_image(
            picture,
            lmbda=job.lmbda,
            preset=job.preset,
            iterations=job.iterations,
            seed=job.seed,
            threads=self.threads,
            arch=job.arch,
        )
        decoded = coolchic.decode(encoded.data)
        fields = coolchic.info(encoded.data)
        if self.files:
            self.files.mkdir(parents=True, exist_ok=True)
            self._path(key).write_bytes(encoded.data)
        point = {
            **key,
            "bytes": len(encoded.data),
            "bpp": encoded.bpp,
            "psnr": psnr(decoded, samples),
            "ms_ssim": ms_ssim(decoded, samples),
            "seconds": encoded.seconds,
            "threads": self.threads,
            "estimate_bytes": encoded.estimate_bytes,
            "float_psnr": encoded.float_psnr,
            "parameters": fields["parameters"],
            "mac_per_pixel": fields["mac_per_pixel"],
            "sections": fields["bytes"],
            **{name: environment()[name] for name in ("cpu", "cores", "commit")},
        }
        self.table.add(key, point)
        print(
            f"  {point['bytes']} bytes, {point['bpp']:.4f} bpp, {point['psnr']:.2f} dB, "
            f"{point['seconds']:.1f} s",
            flush=True,
        )
        return point, encoded.data


def newest(table: Table, job: Job, pixels: str | None = None) -> dict | None:
    """The last point added that a job might have made, if the preset's data has changed since.

    Its number of iterations may have, too, by a twentieth, and a name may have had but one decoder.
    ``pixels`` is the picture's fingerprint, None if there are names alone.
    """
    same = {
        "image": job.image.stem,
        "lambda": job.lmbda,
        "preset": job.preset,
        "seed": job.seed,
    }
    if pixels is not None:
        same["pixels"] = pixels
    architectures = (job.architecture, _describe(job.decoders[0]))
    near = job.plan.iterations / 20
    points = [
        point
        for point in table.find_all(same)
        if point["architecture"] in architectures
        and abs(point["iterations"] - job.plan.iterations) <= near
    ]
    return points[-1] if points else None


def add_encoding(
    parser: argparse.ArgumentParser,
    *,
    lambdas: tuple[float, ...] = LAMBDAS,
    names: bool = True,
) -> None:
    """Arguments of every script that encodes: what, and where files are kept."""
    if names:
        add_names(parser)
    parser.add_argument(
        "--lambdas",
        nargs="+",
        type=float,
        default=list(lambdas),
        metavar="L",
        help=f"weights of the rate (default: {' '.join(f'{lmbda:g}' for lmbda in lambdas)})",
    )
    add_architecture(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="(default: PyTorch's number)")
    parser.add_argument("--files", type=Path, metavar="DIR", help="folder to keep .cool files in")
    parser.add_argument(
        "--existing", action="store_true", help="encode nothing, take the points there are"
    )
    parser.add_argument(
        "--newest",
        action="store_true",
        help="the same, and the newest of each, made by older data of the preset or not",
    )


def add_architecture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--arch",
        default="standard",
        metavar="NAME",
        help="decoder, as for coolchic-encode (default: %(default)s)",
    )


def add_preset(parser: argparse.ArgumentParser) -> None:
    """Arguments of scripts that encode with one preset and seed."""
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), default="medium", help="(default: %(default)s)"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="instead of the preset's")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")


def curves(points: Iterable[dict]) -> dict[str, Curve]:
    """The points as curves, by image."""
    by_image: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        by_image.setdefault(point["image"], []).append((point["bpp"], point["psnr"]))
    return {image: Curve.of(rows) for image, rows in by_image.items()}


def network_bytes(point: dict) -> int:
    """Bytes of both networks in a point's file."""
    return sum(size for name, size in point["sections"].items() if name.startswith("weights"))


def overhead_bytes(point: dict) -> int:
    """Bytes of a point's file that are neither networks nor latents."""
    return sum(
        size
        for name, size in point["sections"].items()
        if not name.startswith(("weights", "latents: grid"))
    )


def made_by(points: Iterable[dict]) -> str:
    """The commits and processors behind some points, as text."""
    points = list(points)
    commits = sorted({point["commit"] for point in points})
    machines = sorted({f"{point['cpu']}, {point['cores']} cores" for point in points})
    return f"{len(points)} files, commit {' and '.join(commits)}, {' and '.join(machines)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _describe(value: object) -> str:
    """Data as text. Fields that have their default are left out: a new one changes nothing."""
    if dataclasses.is_dataclass(value):
        shown = (
            f"{field.name}={_describe(getattr(value, field.name))}"
            for field in dataclasses.fields(value)
            if field.default is dataclasses.MISSING or getattr(value, field.name) != field.default
        )
        return f"{type(value).__name__}({', '.join(shown)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_describe, value))})"
    return repr(value)
