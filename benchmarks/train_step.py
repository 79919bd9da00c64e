"""Milliseconds per training iteration, native and PyTorch, by part and instruction set.

    python benchmarks/train_step.py --size 768x512 --out benchmarks/results/train_step.json

One iteration is everything the training loop waits for: noise, both passes, Adam on latents
and networks. Native kernels take the networks' gradients from one row of so many as presets
say, PyTorch from all. PyTorch is ``TorchEngine``, eager, with one column per position, the
layout that both BLAS and these small networks like best, and the system's own malloc unless
LD_PRELOAD says otherwise; ``--compile`` adds torch.compile of the forward pass and its loss
(minutes of compiling). Engines take turns, so that a busy moment of the machine hits all;
minimum and median are over all of their iterations. On a machine that others use, the
processor time ("cpu_ms", of all threads, with their waiting) says more than the clock.
Parts are the clock's time of all threads together. The floor is the multiplications of the
two networks (forward, backward by inputs, and backward by weights for the rows that native
kernels take) at the speed of PyTorch's matrix product on one thread, divided by the threads.
``--arch`` is as for coolchic-encode.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from coolchic import native
from coolchic.architectures import find_architecture
from coolchic.config import Architecture
from coolchic.engine import Engine, StepSettings, TorchEngine
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.presets import PRESETS
from report import environment, write_json

LAMBDA = 1e-3
NETWORK_ROWS = PRESETS["slow"].stages[0].network_rows
SETTINGS = StepSettings(
    "soft_round", 0.2, 0.2, latent_lr=1e-3, network_lr=1e-4, network_rows=NETWORK_ROWS
)


def random_model(arch: Architecture, width: int, height: int) -> tuple[CoolChic, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = CoolChic(arch, height, width)
    with torch.no_grad():
        for p in model.network_parameters():
            fan_in = p[0].numel() if p.dim() == 4 else p.shape[-1]
            p.normal_(0, fan_in**-0.5, generator=generator)
        for y in model.latents:
            y.normal_(0, 1.5, generator=generator)
    return model, torch.rand(3, height, width, generator=generator)


class Timed:
    """An engine, and how long its iterations took."""

    def __init__(self, name: str, threads: int, engine: Engine) -> None:
        self.name, self.threads, self.engine = name, threads, engine
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.parts: list[dict[str, float]] = []

    def run(self, iterations: int) -> None:
        torch.set_num_threads(self.threads)
        self.engine.step(SETTINGS)  # fills the caches again
        for _ in range(iterations):
            start, cpu_start = time.perf_counter(), time.process_time()
            self.engine.step(SETTINGS)
            self.seconds.append(time.perf_counter() - start)
            self.cpu_seconds.append(time.process_time() - cpu_start)
            if isinstance(self.engine, NativeEngine):
                self.parts.append(dict(self.engine.trainer.part_seconds()))

    def result(self, floor_ms: float) -> dict:
        result = {
            "engine": self.name,
            "threads": self.threads,
            "ms_min": round(1e3 * min(self.seconds), 2),
            "ms_median": round(1e3 * statistics.median(self.seconds), 2),
            "cpu_ms_min": round(1e3 * min(self.cpu_seconds), 2),
            "iterations": len(self.seconds),
            "floor_ms": round(floor_ms / self.threads, 2),
        }
        if self.parts:
            result["parts_thread_ms_min"] = {
                part: round(1e3 * min(p[part] for p in self.parts), 2) for part in self.parts[0]
            }
        return result


def matrix_product_speed() -> float:
    """Multiply-accumulates per second of one thread."""
    torch.set_num_threads(1)
    a, b = torch.rand(768, 768), torch.rand(768, 768)
    best = float("inf")
    for _ in range(30):
        start = time.process_time()
        torch.mm(a, b)
        best = min(best, time.process_time() - start)
    return 768**3 / best


def compiled(engine: TorchEngine) -> TorchEngine:
    engine._losses = torch.compile(engine._losses)  # type: ignore[method-assign]
    return engine


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def native_bytes_per_pixel(arch: Architecture, width: int, height: int) -> float:
    """Memory of a native engine that has made a step, beside the model and the picture."""
    model, target = random_model(arch, width, height)
    before = resident_bytes()
    engine = NativeEngine(model, target, LAMBDA)
    engine.step(SETTINGS)
    return (resident_bytes() - before) / (width * height)


def engines(
    arguments: argparse.Namespace, arch: Architecture, width: int, height: int
) -> list[Timed]:
    torch_engines: dict[str, Callable[[TorchEngine], TorchEngine]] = {"pytorch eager": lambda e: e}
    if arguments.compile:
        torch_engines["pytorch compiled"] = compiled
    timed = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for cpu, available in native.cpus().items():
            if available and cpu in (arguments.cpu or [cpu]):
                model, target = random_model(arch, width, height)
                engine = NativeEngine(model, target, LAMBDA, threads=threads, cpu=cpu)
                timed.append(Timed(f"native {cpu}", threads, engine))
        if not arguments.native_only:
            for name, change in torch_engines.items():
                engine = change(TorchEngine(*random_model(arch, width, height), LAMBDA))
                timed.append(Timed(name, threads, engine))
    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="768x512", help="WIDTHxHEIGHT")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=8, help="turns of each engine")
    parser.add_argument("--iterations", type=int, default=10, help="native iterations in a turn")
    parser.add_argument("--compile", action="store_true", help="add torch.compile")
    parser.add_argument("--arch", default="paper", metavar="NAME", help="(default: paper)")
    parser.add_argument("--cpu", nargs="*", help="instruction sets; by default all")
    parser.add_argument("--native-only", action="store_true", help="leave PyTorch out")
    parser.add_argument("--out", type=Path, help="JSON file; others in it are kept")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))

    arch = find_architecture(arguments.arch, channels=3)
    bytes_per_pixel = native_bytes_per_pixel(arch, width, height)
    macs = sum(
        count for part, count in arch.macs_per_pixel(height, width).items() if part != "upsampling"
    )
    speed = matrix_product_speed()
    floor_ms = 1e3 * (2 + 1 / NETWORK_ROWS) * macs * width * height / speed
    timed = engines(arguments, arch, width, height)
    for _ in range(arguments.rounds):
        for engine in timed:
            is_native = isinstance(engine.engine, NativeEngine)
            engine.run(arguments.iterations if is_native else 1)

    result = {
        "size": arguments.size,
        "arch": arguments.arch,
        **environment(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "torch": torch.__version__,
        "ld_preload": os.environ.get("LD_PRELOAD", ""),
        "macs_per_pixel": round(macs, 1),
        "network_rows": NETWORK_ROWS,
        "peak_gmac_per_second_one_thread": round(speed / 1e9, 1),
        "native_bytes_per_pixel": round(bytes_per_pixel, 1),
        "not_available": [cpu for cpu, available in native.cpus().items() if not available],
        "results": [engine.result(floor_ms) for engine in timed],
    }
    for row in result["results"]:
        print(row)
    print({key: value for key, value in result.items() if key != "results"})
    if arguments.out:
        kept = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
        key = (arguments.size, arguments.arch)
        kept = [r for r in kept if (r["size"], r["arch"]) != key]
        write_json(arguments.out, [*kept, result])


if __name__ == "__main__":
    main()
