"""Single latents, and pairs of neighbours, changed by one where that lowers the loss.

Training ends where no small step of all latents together is better; but some of them, rounded,
would be better one higher or lower, with what that does to the distributions of neighbours.
This tries such changes and makes those that pay, on the decoder's own integers
(``coolchic._encoder``): rate-distortion optimised quantisation, as video encoders do it for
transform coefficients (Karczewicz et al. 2008), by trying instead of by a trellis.
"""

from __future__ import annotations

import numpy as np
import torch

from coolchic import _encoder
from coolchic.model import CoolChic
from coolchic.presets import Preset
from coolchic.quantize import QuantisedModel, finely_quantised, integer_latents

__all__ = ["move_latents", "search_latents", "search_model"]


def search_latents(
    quantised: QuantisedModel,
    latents: list[np.ndarray],
    image: np.ndarray,
    lmbda: float,
    header: bytes,
    preset: Preset,
    *,
    unrounded: list[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Better latents for given networks.

    Args:
        quantised: the networks.
        latents: int32 grids, finest first.
        image: uint8 (H, W, C).
        lmbda: weight of the rate in bits per pixel.
        header: the file's header, which names the architecture.
        preset: how many grids and rounds, and whether pairs.
        unrounded: float32 grids that ``latents`` are rounded from; each is only tried on the side
            where it was. None: on either side.
    """
    if not preset.search_rounds:
        return latents
    coder = _encoder.Model(header, quantised.section)
    return coder.search_latents(
        latents,
        unrounded,
        image,
        lmbda,
        preset.search_grids,
        preset.search_rounds,
        threads=torch.get_num_threads(),
        pairs=preset.search_pairs,
    )


def search_model(
    model: CoolChic, image: np.ndarray, lmbda: float, header: bytes, preset: Preset
) -> None:
    """The same for networks that are still learning: changes the model's latents.

    As these networks have trained the latents, hardly one is better on the side away from where
    it was."""
    if not preset.search_rounds:
        return
    latents = integer_latents(model)
    unrounded = [y.detach().cpu().numpy() for y in model.latents]
    quantised = finely_quantised(model, latents, header)
    found = search_latents(quantised, latents, image, lmbda, header, preset, unrounded=unrounded)
    move_latents(model, found)


def move_latents(model: CoolChic, latents: list[np.ndarray]) -> None:
    """Let a model's latents round to these int32 grids. Those that do so already stay as they
    are: how near they are to another integer is what the last step to a goal goes by."""
    with torch.no_grad():
        for y, values in zip(model.latents, latents, strict=True):
            found = torch.from_numpy(values).to(y)
            y.copy_(torch.where(y.round() == found, y, found))
