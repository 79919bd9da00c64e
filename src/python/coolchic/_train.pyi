"""Types of the fused training kernels (src/cpp/bindings/train_module.cpp).

Every list of integers holds addresses of contiguous float32 buffers: of the latent grids,
or of ``model.network_parameters()``.
"""

from typing import TypedDict

_Layer = tuple[int, int, bool, bool]
"""Outputs, inputs, residual, ReLU."""

_Convolution = tuple[bool, bool]
"""Residual, ReLU."""

_Adam = tuple[float, float, float, float]
"""Learning rate, beta 1, beta 2, epsilon."""

class PartSeconds(TypedDict):
    """Seconds of all threads together in the parts of the last pass."""

    proxy: float
    synthesis: float
    arm: float
    update: float

def cpus() -> list[tuple[str, bool]]:
    """Instruction sets of this build, fastest first, and whether this machine has them."""

class Trainer:
    """Kernels and memory for one image; results do not depend on ``threads``.

    The loss is ``distortion_weight`` times the squared error plus ``rate_weight`` times the
    bits; methods that return two numbers return these two sums. Nothing above a sample of
    ``white`` or more, or below one of 0 or less, is an error. Proxies are "noise",
    "soft_round", "hard", and for tests "given" (none). The gradients by the networks' weights are
    those of one row of ``network_rows``, times so many, each ``iteration`` another one; of more
    where there would be few.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        channels: int,
        grids: int,
        context: list[tuple[int, int]],
        parents: list[tuple[int, int]],
        arm: list[_Layer],
        synthesis: list[_Layer],
        refinement: list[_Convolution],
        filtered: bool,
        wavelet: bool,
        subband_weights: bool,
        laplace: tuple[float, float, float, float],
        target: int,
        white: float,
        distortion_weight: float,
        rate_weight: float,
        threads: int,
        cpu: str,
    ) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def cpu(self) -> str: ...
    def set_rate_weight(self, rate_weight: float) -> None:
        """Weight of the rate in the loss of the next passes."""
    def step(
        self,
        latents: list[int],
        networks: list[int],
        gradients: list[int],
        proxy: str,
        temperature: float,
        sigma: float,
        seed: int,
        iteration: int,
        network_rows: int,
        latent_adam: _Adam,
        latent_share: float,
        network_adam: _Adam,
    ) -> tuple[float, float]: ...
    def evaluate(self, latents: list[int], networks: list[int]) -> tuple[float, float]: ...
    def gradients(
        self,
        latents: list[int],
        networks: list[int],
        latent_gradients: list[int],
        network_gradients: list[int],
        proxy: str,
        temperature: float,
        sigma: float,
        seed: int,
        iteration: int,
        network_rows: int,
    ) -> tuple[float, float]: ...
    def proxy(
        self,
        latents: list[int],
        networks: list[int],
        values: list[int],
        slopes: list[int],
        proxy: str,
        temperature: float,
        sigma: float,
        seed: int,
        iteration: int,
    ) -> None: ...
    def part_seconds(self) -> PartSeconds: ...
