"""Pictures to code."""

import numpy as np


def waves(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A smooth picture with a little texture, uint8 (H, W, C)."""
    y, x, c = np.mgrid[:height, :width, :channels].astype(np.float64)
    samples = 120 + 60 * np.sin(x / 7 + c) + 40 * np.cos(y / 5 - c) + 8 * np.sin(2 * x + 3 * y)
    return samples.clip(0, 255).astype(np.uint8)
