import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

DEFAULT_MAX_PIXELS: int

class DecodeError(ValueError): ...

def decode_bytes(
    data: Buffer,
    *,
    threads: int = 0,
    max_pixels: int = ...,
    check_crc: bool = True,
    cpu: str = "auto",
    scale: int = 0,
    allow_partial: bool = False,
) -> NDArray[np.uint8]: ...
def kernels() -> list[str]: ...
def profile(
    data: Buffer, *, threads: int = 1, max_pixels: int = ..., cpu: str = "auto"
) -> dict[str, float]: ...
def inspect(data: Buffer, *, max_pixels: int = ...) -> dict: ...
