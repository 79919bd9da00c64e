"""Groups of parameters, each coded with a step and a distribution of its own."""

from __future__ import annotations

from torch import nn

from coolchic.model import ConvolutionLayer, CoolChic

__all__ = ["group_names", "grouped_parameters"]

NAMES = (
    "ARM weights",
    "ARM biases",
    "synthesis weights",
    "synthesis biases",
    "convolution weights",
    "filter taps",
    "subbands' weights",
)
"""In the file's order (bitstream section 6); the last three may be missing."""


def group_names(model: CoolChic) -> list[str]:
    """Names of the groups that a model has; their places are their numbers."""
    absent = set()
    if not model.arch.refinement:
        absent.add("convolution weights")
    if not model.arch.filtered:
        absent.add("filter taps")
    if not model.arch.subband_weights:
        absent.add("subbands' weights")
    return [name for name in NAMES if name not in absent]


def grouped_parameters(model: CoolChic) -> list[tuple[nn.Parameter, int]]:
    """(parameter, group) in the file's order."""
    number = {name: group for group, name in enumerate(group_names(model))}
    grouped = []
    for layer in model.arm:
        grouped += [(layer.weight, number["ARM weights"]), (layer.bias, number["ARM biases"])]
    for layer in model.synthesis:
        kind = "convolution" if isinstance(layer, ConvolutionLayer) else "synthesis"
        grouped.append((layer.weight, number[f"{kind} weights"]))
        grouped.append((layer.bias, number["synthesis biases"]))
    if model.filters is not None:
        grouped.append((model.filters.taps, number["filter taps"]))
    grouped += [(p, number["subbands' weights"]) for p in model.arm.subband_weights()]
    return grouped
