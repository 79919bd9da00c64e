"""Encoding an image: training, quantisation, coding, and a check by the real decoder."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from coolchic import _encoder, bands, metrics
from coolchic._decoder import decode_bytes
from coolchic.architectures import find_architecture
from coolchic.beginning import begin
from coolchic.bitstream import assemble, band_count, check_size, substream_count, write_header
from coolchic.config import Architecture
from coolchic.engine import Engine, TorchEngine
from coolchic.image import as_samples
from coolchic.landing import land
from coolchic.latent_search import move_latents, search_latents, search_model
from coolchic.model import CoolChic
from coolchic.native import NativeEngine, unsupported
from coolchic.parameter_search import search_parameters
from coolchic.presets import PRESETS, Preset
from coolchic.quantize import QuantisedModel, integer_latents, quantise
from coolchic.rate_control import Goal, RateControl, lambda_or_goal
from coolchic.train import Progress, settings_at, train
from coolchic.trials import AUTO, best_architecture

__all__ = ["KERNELS", "Encoded", "encode", "encode_image"]

logger = logging.getLogger("coolchic")

KERNELS = ("auto", "native", "torch")

MOST_THREADS = 256

STEERINGS = 80
"""Evaluations of a training whose λ is steered."""

LANDING_SHARE, MOST_LANDING, LANDING_PIXELS = 0.06, 600, 8_000_000
"""Iterations of the last step to a goal: a share of the training's, or as many, up to the
second number, as take so many pixels together, which is nothing in small pictures."""

LARGEST_LAMBDA, LAMBDA_FACTOR = 1e3, 100.0
"""Networks that are too many bytes for a wanted size are quantised for λ larger by this, again
and again, up to where nearly all their parameters are zero."""

LANE_THRESHOLDS = ((8, 12_000), (4, 6_000), (2, 3_000))
"""(lanes, smallest substream in bytes): a lane costs 2 bytes and saves time."""


@dataclass(frozen=True)
class Encoded:
    """A coded image and how it came out.

    Attributes:
        data: the file.
        lmbda: weight of the rate that training ended with.
        bpp: bits per pixel, of the whole file.
        psnr: dB, of the pixels that the decoder makes of ``data``.
        estimate_bytes: what the float model with the quantised weights expected.
        float_psnr: dB, of the float model with the quantised weights, 8-bit pixels.
        iterations: training iterations done.
        seconds: wall time of everything.
        stopped: training was ended early on request.
    """

    data: bytes
    lmbda: float
    bpp: float
    psnr: float
    estimate_bytes: float
    float_psnr: float
    iterations: int
    seconds: float
    stopped: bool


def encode(
    image,
    *,
    lmbda: float | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    size: int | None = None,
    preset: str = "medium",
    iterations: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: str = "auto",
    kernels: str = "auto",
    arch: Architecture | str = "standard",
) -> bytes:
    """Encode an image.

    Args:
        image: PIL image of mode L or RGB, or uint8 array (H, W), (H, W, 1) or (H, W, 3).
        lmbda: weight of the rate: the training minimises MSE (samples in 0 … 1) plus
            ``lmbda`` times bits per pixel. 1e-4 gives high rates, 2e-2 low ones. It is
            1e-3 if neither this nor any of the next four is given; at most one may be.
        quality: 0 … 100, a scale of λ (:func:`coolchic.rate_control.quality_lambda`).
        bpp: wanted bits per pixel of the whole file, which are not exceeded.
        psnr: wanted PSNR in dB.
        size: wanted bytes of the file, which are not exceeded.
        preset: ``"fast"``, ``"medium"``, ``"slow"`` or ``"veryslow"``.
        iterations: overrides the preset's number of training iterations.
        seed: fixes the result on a device.
        threads: CPU threads; None leaves ``torch.get_num_threads()`` as it is.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        kernels: ``"native"`` trains with fused CPU kernels, ``"torch"`` with PyTorch's
            operators; ``"auto"`` is native wherever the kernels know the model.
        arch: decoder architecture, or the name of one in ``coolchic.architectures``, or of a
            TOML file; ``"auto"`` takes the one that is best in short trials, which take an
            eighth more time. By trials too, below λ = 3e-4 ``"lite"``, ``"standard"`` and
            ``"high"`` take their pyramids for pictures that are better with them, and above 1e-2
            ``"high"`` takes ``"standard"``.

    Returns:
        A .cool file.

    Raises:
        ValueError: for images and arguments that cannot be coded, and if the smallest file
            of the image is above ``size`` or ``bpp``.
    """
    return encode_image(
        image,
        lmbda=lmbda,
        quality=quality,
        bpp=bpp,
        psnr=psnr,
        size=size,
        preset=preset,
        iterations=iterations,
        seed=seed,
        threads=threads,
        device=device,
        kernels=kernels,
        arch=arch,
    ).data


def encode_image(
    image,
    *,
    lmbda: float | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    size: int | None = None,
    preset: str | Preset = "medium",
    iterations: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: str = "auto",
    kernels: str = "auto",
    arch: Architecture | str = "standard",
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_phase: Callable[[str], None] = lambda phase: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Encoded:
    """As :func:`encode`, with a full report.

    Args:
        preset: also a :class:`Preset` of your own.
        on_progress: called every few iterations of the training.
        on_phase: called with the name of each phase as it begins: "trials", "start", "training",
            "latent search" (once while networks still learn, once or twice for the quantised ones),
            "quantisation", "parameter search", "landing".
        should_stop: asked after each iteration; True ends training, and what is best so
            far is coded.
    """
    start = time.perf_counter()
    samples = as_samples(image)
    height, width, channels = samples.shape
    goal = lambda_or_goal(
        height * width, lmbda=lmbda, quality=quality, bpp=bpp, psnr=psnr, size=size
    )
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"threads must be 1 to {MOST_THREADS}, not {threads}")
    plan = _plan(preset, iterations)
    if isinstance(arch, str) and arch != AUTO:
        find_architecture(arch, channels)
    elif isinstance(arch, Architecture) and arch.channels != channels:
        raise ValueError(f"the image has {channels} channels, the architecture {arch.channels}")
    check_size(height, width)
    chosen = _device(device)
    target = torch.from_numpy(samples.astype(np.float32) / 256).permute(2, 0, 1)
    target = target.contiguous().to(chosen)

    def first_lambda(decoder: Architecture) -> float:
        if isinstance(goal, Goal):
            return goal.first_lambda(height * width, decoder.parameters())
        return goal

    def make_engine(
        decoder: Architecture, start_seed: int, preset: Preset
    ) -> tuple[CoolChic, Engine]:
        lmbda = first_lambda(decoder)
        model = CoolChic(decoder, height, width, start_seed).to(chosen)
        engine = partial(_engine, kernels, seed=start_seed)
        return model, begin(
            model, target, lmbda, preset, engine, seed=start_seed, should_stop=asked_to_stop
        )

    def make_start(start_seed: int) -> tuple[CoolChic, Engine]:
        on_phase("start")
        begun = make_engine(arch, start_seed, plan)
        on_phase("training")
        return begun

    def refine(model: CoolChic, lmbda: float) -> None:
        on_phase("latent search")
        search_model(model, samples, lmbda, header, plan)
        on_phase("training")

    done = stopped = 0

    def watch(progress: Progress) -> None:
        nonlocal done
        done = progress.iteration
        on_progress(progress)

    def asked_to_stop() -> bool:
        nonlocal stopped
        stopped = stopped or should_stop()
        return bool(stopped)

    before = torch.get_num_threads()
    try:
        if threads:
            torch.set_num_threads(threads)
        if isinstance(arch, str):
            arch = best_architecture(
                arch,
                make_engine,
                plan,
                channels,
                first_lambda,
                seed=seed,
                should_stop=asked_to_stop,
                on_trials=lambda: on_phase("trials"),
            )
        header = write_header(arch, height, width)
        control = None
        if isinstance(goal, Goal):
            plan = replace(plan, evaluate_every=max(5, plan.iterations // STEERINGS))
            control = RateControl(goal, height * width, arch.parameters(), plan.evaluate_every)
        model, engine = train(
            make_start,
            plan,
            seed=seed,
            control=control,
            refine=refine,
            on_progress=watch,
            should_stop=asked_to_stop,
        )
        lmbda = engine.lmbda
        latents = integer_latents(model)
        on_phase("quantisation")
        quantised = quantise(model, latents, samples, lmbda, header)
        if not stopped:
            on_phase("latent search")
            latents = search_latents(quantised, latents, samples, lmbda, header, plan)
        if not stopped and plan.search_parameters:
            on_phase("parameter search")
            quantised = search_parameters(
                quantised, model, engine, latents, samples, lmbda, header, plan.search_parameters
            )
            on_phase("latent search")
            latents = search_latents(quantised, latents, samples, lmbda, header, plan)
        if isinstance(goal, Goal):
            on_phase("landing")
            move_latents(model, latents)
            quantised, latents = _reach(goal, model, engine, quantised, plan, done, samples, header)
        data = write(model, header, quantised, latents)
        decoded = decode_bytes(data, threads=threads or before, max_pixels=height * width)
        if not np.array_equal(
            decoded, _encoder.Model(header, quantised.section).synthesise(latents)
        ):
            raise RuntimeError("the decoder disagrees with the encoder's integer model")
        bits, float_psnr = _float_view(model, quantised, latents, samples)
    finally:
        torch.set_num_threads(before)
    return Encoded(
        data=data,
        lmbda=lmbda,
        bpp=8 * len(data) / (height * width),
        psnr=metrics.psnr(decoded, samples),
        estimate_bytes=bits / 8 + len(header) + len(quantised.section) + 8,
        float_psnr=float_psnr,
        iterations=done,
        seconds=time.perf_counter() - start,
        stopped=bool(stopped),
    )


def write(
    model: CoolChic, header: bytes, quantised: QuantisedModel, latents: list[np.ndarray]
) -> bytes:
    """The file of a quantised model and its latents, with bands and lanes to match its size."""
    coder = _encoder.Model(header, quantised.section)
    bands = band_count(model.height, model.width)
    size = sum(coder.latent_bits(latents)) / 8 / substream_count(model.arch, bands)
    lanes = next((n for n, least in LANE_THRESHOLDS if size >= least), 1)
    return assemble(header, quantised.section, coder.encode_latents(latents, lanes, bands))


def _reach(
    goal: Goal,
    model: CoolChic,
    engine: Engine,
    quantised: QuantisedModel,
    plan: Preset,
    done: int,
    samples: np.ndarray,
    header: bytes,
) -> tuple[QuantisedModel, list[np.ndarray]]:
    """Networks and latents whose file meets the goal, after ``done`` iterations of a plan.

    Raises:
        ValueError: even the smallest file is above the wanted size.
    """
    lmbda, pixels = engine.lmbda, model.height * model.width
    trained = [p.detach().clone() for p in model.network_parameters()]
    coder = _encoder.Model(header, quantised.section)

    def measure(latents: list[np.ndarray]) -> float:
        if goal.size is not None:
            return len(write(model, header, quantised, latents))
        return metrics.psnr(coder.synthesise(latents), samples)

    quantised.load_into(model)
    learning = next(stage for stage in reversed(plan.stages) if stage.latent_lr > 0)
    settings = settings_at(learning, learning.iterations - 1)
    iterations = max(math.ceil(LANDING_SHARE * done), min(MOST_LANDING, LANDING_PIXELS // pixels))
    latents = land(goal, engine, model, settings, iterations, measure)
    if goal.size is None:
        return quantised, latents
    size = len(write(model, header, quantised, latents))
    threshold = 1
    while size > goal.size and any(y.any() for y in latents):
        latents = [np.where(np.abs(y) <= threshold, 0, y) for y in latents]
        threshold *= 2
        size = len(write(model, header, quantised, latents))
    with torch.no_grad():
        for p, value in zip(model.network_parameters(), trained, strict=True):
            p.copy_(value)
    while size > goal.size and lmbda < LARGEST_LAMBDA:
        lmbda *= LAMBDA_FACTOR
        quantised = quantise(model, latents, samples, lmbda, header)
        size = len(write(model, header, quantised, latents))
    if size > goal.size:
        raise ValueError(
            f"{goal.size} bytes are out of reach: the smallest file of this picture has {size}"
        )
    return quantised, latents


def _plan(preset: str | Preset, iterations: int | None) -> Preset:
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise ValueError(f"unknown preset {preset!r}; there are {', '.join(PRESETS)}")
        preset = PRESETS[preset]
    return preset if iterations is None else preset.with_iterations(iterations)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device is available")
    if name not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}; there are auto, cpu, cuda")
    return torch.device(name)


def _engine(kernels: str, model: CoolChic, target: Tensor, lmbda: float, seed: int) -> Engine:
    if kernels not in KERNELS:
        raise ValueError(f"unknown kernels {kernels!r}; there are {', '.join(KERNELS)}")
    if kernels == "torch" or (kernels == "auto" and target.device.type != "cpu"):
        return TorchEngine(model, target, lmbda, seed=seed)
    reason = unsupported(model, target)
    if reason is None:
        return NativeEngine(model, target, lmbda, seed=seed)
    if kernels == "native":
        raise ValueError(f"the native kernels cannot train this: {reason}")
    logger.warning("training with PyTorch's operators: %s", reason)
    return TorchEngine(model, target, lmbda, seed=seed)


def _float_view(
    model: CoolChic, quantised: QuantisedModel, latents: list[np.ndarray], samples: np.ndarray
) -> tuple[float, float]:
    """Bits and PSNR of the float model with the quantised weights. Changes the model."""
    quantised.load_into(model)
    device = model.latents[0].device
    grids = [torch.from_numpy(y).to(device, torch.float32) for y in latents]
    pixels = bands.picture(model, grids).mul_(256).round_().clamp_(0, 255).to(torch.uint8)
    return bands.rate(model, grids), metrics.psnr(pixels.permute(1, 2, 0).cpu().numpy(), samples)
