"""The training iteration in native code, for the models its kernels know."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from coolchic import model as reference
from coolchic.config import Architecture, Layer
from coolchic.engine import BETAS, Losses, StepSettings, clipped_error, white_of
from coolchic.model import (
    Arm,
    ConvolutionLayer,
    CoolChic,
    Filters,
    LinearLayer,
    SubbandLayer,
    Synthesis,
)

try:
    from coolchic import _train
except ImportError:
    _train = None  # type: ignore[assignment]

__all__ = ["CPU_VARIABLE", "Gradients", "NativeEngine", "cpus", "unsupported"]

CPU_VARIABLE = "COOLCHIC_TRAIN_CPU"
"""Environment variable that chooses the instruction set, one of :func:`cpus`."""

ADAM_EPSILON = 1e-8
GIVEN = StepSettings("given", temperature=0.0, sigma=0.0, latent_lr=0.0, network_lr=0.0)


@dataclass(frozen=True)
class Gradients:
    """Derivatives of the loss.

    Attributes:
        latents: by each latent grid.
        networks: by each tensor of ``model.network_parameters()``.
    """

    latents: list[Tensor]
    networks: list[Tensor]


class NativeEngine:
    """A :class:`coolchic.engine.Engine` of fused kernels; float32 on the CPU.

    After a step, the networks' parameters have their gradients in ``grad``; a step with
    ``network_lr=0`` leaves their update to another optimiser.

    Results are the same bits for any number of threads, and differ between instruction
    sets by rounding only.

    Args:
        model: trained in place.
        target: (C, H, W) float32, samples divided by 2^depth.
        lmbda: weight of the rate in bits per pixel.
        depth: bits per sample of the image.
        seed: of the quantisation noise.
        threads: by default ``torch.get_num_threads()``.
        cpu: instruction set, one of :func:`cpus`; by default what the environment variable
            ``COOLCHIC_TRAIN_CPU`` says, or else the fastest the machine has.

    Raises:
        ValueError: with the reason, if :func:`unsupported` gives one.
    """

    def __init__(
        self,
        model: CoolChic,
        target: Tensor,
        lmbda: float,
        depth: int = 8,
        seed: int = 0,
        threads: int | None = None,
        cpu: str | None = None,
    ) -> None:
        reason = unsupported(model, target)
        if reason is not None:
            raise ValueError(reason)
        self.model, self.seed = model, seed % 2**64
        self.samples, self.pixels = target.numel(), model.height * model.width
        white = white_of(depth)
        self.mse_gain = white**-2
        self.trainer = _trainer(
            model.arch,
            target,
            white,
            self.mse_gain / self.samples,
            lmbda / self.pixels,
            torch.get_num_threads() if threads is None else threads,
            os.environ.get(CPU_VARIABLE, "") if cpu is None else cpu,
        )
        self.lmbda = lmbda
        self.networks = model.network_parameters()
        self.gradient_buffers = [torch.zeros_like(p) for p in self.networks]
        self.gradient_addresses = _addresses(self.gradient_buffers)
        self.iteration = 0
        self._last: Losses | None = None

    @property
    def lmbda(self) -> float:
        return self._lmbda

    @lmbda.setter
    def lmbda(self, value: float) -> None:
        self._lmbda = value
        self.trainer.set_rate_weight(value / self.pixels)

    def step(self, settings: StepSettings) -> None:
        self.iteration += 1
        sums = self.trainer.step(
            _addresses(self.model.latents),
            _addresses(self.networks),
            self.gradient_addresses,
            **self._proxy_arguments(settings, self.iteration),
            network_rows=settings.network_rows,
            latent_adam=(
                settings.latent_lr,
                settings.latent_momentum,
                BETAS[1],
                ADAM_EPSILON,
            ),
            latent_share=settings.latent_share,
            network_adam=(settings.network_lr, *BETAS, ADAM_EPSILON),
        )
        for parameter, gradient in zip(self.networks, self.gradient_buffers, strict=True):
            parameter.grad = gradient
        self._last = self._losses(sums)

    def last(self) -> Losses:
        if self._last is None:
            raise RuntimeError("no step has been made")
        return self._last

    def evaluate(self) -> Losses:
        return self._losses(
            self.trainer.evaluate(_addresses(self.model.latents), _addresses(self.networks))
        )

    def latent_products(self) -> Tensor:
        return torch.tensor(self.trainer.latent_products())

    def gradients(
        self, latents: Sequence[Tensor], settings: StepSettings = GIVEN, iteration: int = 1
    ) -> tuple[Losses, Gradients]:
        """Losses and their derivatives, without changing anything.

        Args:
            latents: float32 grids of the model's shapes, before the proxy.
            settings: their proxy, by default none, and the rows that the networks' come from.
            iteration: whose noise and rows are used; the first step is number 1.
        """
        by_latents = [torch.empty(y.shape) for y in self.model.latents]
        by_networks = [torch.empty_like(p) for p in self.networks]
        sums = self.trainer.gradients(
            _addresses(self._like_model(latents)),
            _addresses(self.networks),
            _addresses(by_latents),
            _addresses(by_networks),
            **self._proxy_arguments(settings, iteration),
            network_rows=settings.network_rows,
        )
        return self._losses(sums), Gradients(by_latents, by_networks)

    def proxy(
        self, latents: Sequence[Tensor], settings: StepSettings, iteration: int = 1
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Proxies of latents, and their derivatives by them.

        ``"noise"`` and ``"soft_round"`` use the same random numbers in the same iteration.
        """
        values = [torch.empty(y.shape) for y in self.model.latents]
        slopes = [torch.empty(y.shape) for y in self.model.latents]
        self.trainer.proxy(
            _addresses(self._like_model(latents)),
            _addresses(self.networks),
            _addresses(values),
            _addresses(slopes),
            **self._proxy_arguments(settings, iteration),
        )
        return values, slopes

    def _proxy_arguments(self, settings: StepSettings, iteration: int) -> dict:
        return {
            "proxy": settings.proxy,
            "temperature": settings.temperature,
            "sigma": settings.sigma,
            "seed": self.seed,
            "iteration": iteration,
        }

    def _like_model(self, latents: Sequence[Tensor]) -> list[Tensor]:
        for given, own in zip(latents, self.model.latents, strict=True):
            if given.shape != own.shape:
                raise ValueError(f"a grid is {tuple(given.shape)}, not {tuple(own.shape)}")
        return [y.detach().float().contiguous() for y in latents]

    def _losses(self, sums: tuple[float, float]) -> Losses:
        squared_error, bits = sums
        return Losses(self.mse_gain * squared_error / self.samples, bits / self.pixels)


def cpus() -> dict[str, bool]:
    """Instruction sets of this build, fastest first, and whether this machine has them."""
    return dict(_train.cpus()) if _train is not None else {}


def unsupported(model: nn.Module, target: Tensor) -> str | None:
    """Why the native kernels cannot train this model, as a sentence; None if they can.

    Two things are asked: whether the model is made of exactly the classes, parameters and
    devices the kernels know, and whether ``coolchic.model``, as it is now, computes what
    they compute, on a small random example. So whoever changes the PyTorch model, in its
    source or from outside, gets PyTorch's gradients.
    """
    if _train is None:
        return "This installation of coolchic has no native training kernels."
    return (
        _unknown_modules(model)
        or _unknown_parameters(model)
        or _unknown_target(model, target)
        or _disagreement(model.arch)
    )


_METHODS = (
    "forward",
    "decode",
    "filter",
    "apply_taps",
    "upsample",
    "context",
    "parent_context",
    "surroundings",
    "inputs",
    "subband_kernels",
    "subband_weights",
    "finish",
    "linear",
    "bits",
    "pixelwise",
    "convolutions",
    "__call__",
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _unknown_modules(model: nn.Module) -> str | None:
    if type(model) is not CoolChic:
        return f"The native kernels know CoolChic models, not {type(model).__name__}."
    arch = model.arch
    known = {"": CoolChic, "latents": nn.ParameterList, "arm": Arm, "synthesis": Synthesis}
    if arch.filtered:
        known["filters"] = Filters
    for name, layers in (("arm", arch.arm), ("synthesis", arch.synthesis)):
        for i, layer in enumerate(layers):
            known[f"{name}.{i}"] = ConvolutionLayer if layer.kind == "conv3x3" else LinearLayer
    if arch.subband_weights:
        known |= {"arm.0": SubbandLayer, "arm.0.differences": nn.ParameterList}
    for name, module in model.named_modules():
        if type(module) is not known.get(name):
            return f"The native kernels do not know the module {name}: {type(module).__name__}."
        if any(method in vars(module) for method in _METHODS):
            return f"A method of the module {name or 'model'} has been replaced."
        if any(getattr(module, hooks) for hooks in _HOOKS):
            return f"The module {name or 'model'} has hooks, which native kernels do not call."
    if arch.filtered != (model.filters is not None):
        return "The filters are not those of the architecture."
    for name, network, layers in (
        ("arm", model.arm, arch.arm),
        ("synthesis", model.synthesis, arch.synthesis),
    ):
        if not _same_layers(list(network), layers):
            return f"The layers of {name} are not those of its architecture."
    if tuple(model.arm.positions) != tuple(arch.context):
        return "The contexts of the ARM are not those of its architecture."
    if tuple(model.arm.parents) != tuple(arch.parents):
        return "The parents of the ARM are not those of its architecture."
    return None


def _same_layers(modules: list[nn.Module], layers: Sequence[Layer]) -> bool:
    return [(m.residual, m.relu) for m in modules] == [
        (layer.residual, layer.activation == "relu") for layer in layers
    ]


def _unknown_parameters(model: CoolChic) -> str | None:
    arch = model.arch
    shapes = arch.grid_shapes(model.height, model.width)
    for shape in (*arch.arm_shapes(), *arch.synthesis_shapes()):
        shapes += [shape, shape[:1]]
    if arch.filtered:
        shapes.append(arch.filter_shape())
    shapes += arch.subband_shapes()
    parameters = dict(model.named_parameters())
    used = [*model.latents, *model.network_parameters()]
    if (
        [tuple(p.shape) for p in used] != shapes
        or len(parameters) != len(used)
        or any(True for _ in model.buffers())
    ):
        return "The model's parameters are not those of its architecture."
    for name, p in parameters.items():
        if p.dtype != torch.float32 or p.device.type != "cpu" or not p.is_contiguous():
            return f"The native kernels need float32 parameters on the CPU; {name} is not."
        if not p.requires_grad:
            return f"The native kernels train all parameters, but {name} is frozen."
        if p._backward_hooks:
            return f"The parameter {name} has hooks, which native kernels do not call."
    return None


def _unknown_target(model: CoolChic, target: Tensor) -> str | None:
    shape = (model.arch.channels, model.height, model.width)
    if tuple(target.shape) != shape:
        return f"The image is {tuple(target.shape)}, but the model decodes {shape}."
    if target.dtype != torch.float32 or target.device.type != "cpu":
        return "The native kernels need a float32 image on the CPU."
    return None


# Single-precision rounding can flip a ReLU, which moves a gradient by a percent or so.
_LOSS_TOLERANCE, _GRADIENT_TOLERANCE = 1e-4, 3e-2
# PyTorch enlarges grid k to 2^k x 2^k values at least, which is too much for a check.
_CHECKED_GRIDS = 9
_CHECKED_WHITE = 0.9


def _disagreement(arch: Architecture) -> str | None:
    """A sentence if kernels and PyTorch differ on an example with this architecture.

    Where they compute the same, a ReLU at which rounding decides can still move the gradient of
    a grid of one latent by more than the tolerance; another example will then show it.
    """
    if any(_agree(arch, seed) for seed in range(2)):
        return None
    return "The PyTorch model does not compute what the native kernels compute."


def _agree(arch: Architecture, seed: int) -> bool:
    """Whether kernels and PyTorch agree on a random example with this architecture."""
    if arch.grids > _CHECKED_GRIDS:
        paper = Architecture(channels=arch.channels)
        arch = replace(arch, grids=paper.grids, synthesis_hidden=paper.synthesis_hidden)
    generator = torch.Generator().manual_seed(seed)
    height, width = 19, 27
    model = CoolChic(arch, height, width)
    target = torch.rand(arch.channels, height, width, generator=generator)
    with torch.no_grad():
        for p in model.network_parameters():
            fan_in = p[0].numel() if p.dim() == 4 else p.shape[-1]
            p.normal_(0, fan_in**-0.5, generator=generator)
        for y in model.latents:
            y.normal_(0, 2, generator=generator)
    with torch.enable_grad():
        picture, bits = model(list(model.latents))
        mse = clipped_error(picture, target, _CHECKED_WHITE).square().mean()
        (mse + bits / (height * width)).backward()

    parameters = [*model.latents, *model.network_parameters()]
    expected = [p.grad for p in parameters if p.numel() > 0]
    computed = [torch.empty_like(p) for p in parameters]
    grids = arch.grids
    squared_error, native_bits = _trainer(
        arch, target, _CHECKED_WHITE, 1 / target.numel(), 1 / (height * width), 1, ""
    ).gradients(
        _addresses(model.latents),
        _addresses(model.network_parameters()),
        _addresses(computed[:grids]),
        _addresses(computed[grids:]),
        proxy="given",
        temperature=0.0,
        sigma=0.0,
        seed=0,
        iteration=0,
        network_rows=1,
    )
    same_losses = all(
        abs(a - b) <= _LOSS_TOLERANCE * abs(b)
        for a, b in ((squared_error / target.numel(), mse.item()), (native_bits, bits.item()))
    )
    same_gradients = all(
        g is not None and (c - g).norm() <= _GRADIENT_TOLERANCE * g.norm() + 1e-12
        for c, g in zip([c for c in computed if c.numel() > 0], expected, strict=True)
    )
    return same_losses and same_gradients


def _trainer(
    arch: Architecture,
    target: Tensor,
    white: float,
    distortion_weight: float,
    rate_weight: float,
    threads: int,
    cpu: str,
) -> _train.Trainer:
    target = target.detach().contiguous()
    low, high = reference.LOG_SCALE_RANGE
    _, height, width = target.shape
    pixelwise = len(arch.synthesis) - len(arch.refinement)
    return _train.Trainer(
        height=height,
        width=width,
        channels=arch.channels,
        grids=arch.grids,
        context=list(arch.context),
        parents=list(arch.parents),
        arm=_layers(arch.arm_shapes(), arch.arm),
        synthesis=_layers(arch.synthesis_shapes()[:pixelwise], arch.synthesis[:pixelwise]),
        refinement=[(layer.residual, layer.activation == "relu") for layer in arch.refinement],
        filtered=arch.filtered,
        wavelet=arch.wavelet,
        subband_weights=arch.subband_weights,
        laplace=(reference.LOG_SCALE_OFFSET, low, high, reference.MIN_PROBABILITY),
        target=target.data_ptr(),
        white=white,
        distortion_weight=distortion_weight,
        rate_weight=rate_weight,
        threads=threads,
        cpu=cpu,
    )


def _layers(
    shapes: list[tuple[int, ...]], layers: Sequence[Layer]
) -> list[tuple[int, int, bool, bool]]:
    return [
        (outputs, inputs, layer.residual, layer.activation == "relu")
        for (outputs, inputs), layer in zip(shapes, layers, strict=True)
    ]


def _addresses(tensors: Sequence[Tensor] | nn.ParameterList) -> list[int]:
    for t in tensors:
        if t.dtype != torch.float32 or t.device.type != "cpu" or not t.is_contiguous():
            raise ValueError("native kernels need contiguous float32 tensors on the CPU")
    return [t.data_ptr() for t in tensors]
