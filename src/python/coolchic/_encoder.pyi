from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def default_decoder(architecture: int, number: int) -> NDArray[np.int16]: ...
def best_scale(values: NDArray[np.int32]) -> tuple[int, float]: ...
def encode_weights(
    header: bytes,
    precision: tuple[int, int, int],
    exponents: tuple[int, ...],
    values: NDArray[np.int32],
) -> bytes: ...

class Model:
    def __init__(self, header: bytes, weights_section: bytes) -> None: ...
    def latent_bits(self, latents: Sequence[NDArray[np.int32]]) -> list[float]: ...
    def encode_latents(
        self, latents: Sequence[NDArray[np.int32]], lanes: int, bands: int = 1
    ) -> bytes: ...
    def synthesise(
        self, latents: Sequence[NDArray[np.int32]], threads: int = 1
    ) -> NDArray[np.uint8]: ...
    def search_latents(
        self,
        latents: Sequence[NDArray[np.int32]],
        unrounded: Sequence[NDArray[np.float32]] | None,
        image: NDArray[np.uint8],
        lmbda: float,
        grids: int,
        rounds: int,
        threads: int = 1,
        pairs: bool = False,
    ) -> list[NDArray[np.int32]]: ...
