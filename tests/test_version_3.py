"""What versions 3 and 4 add: described, told, and the integers against the float model."""

import numpy as np
import pytest
import torch

from coolchic import Architecture, _decoder, _encoder, decode, info
from coolchic.bitstream import assemble, write_header
from coolchic.config import Layer
from coolchic.decoder import architecture_of
from coolchic.model import CoolChic

REFINEMENT = (
    Layer(3, residual=True, kind="conv3x3"),
    Layer(3, residual=True, activation="none", kind="conv3x3"),
)
PARENTS = ((0, 0), (1, -2), (-2, 1), (0, 2))
ARCHITECTURES = {
    "plain": (1, Architecture()),
    "described": (1, Architecture(grids=5)),
    "parents": (3, Architecture(parents=PARENTS)),
    "filtered": (3, Architecture(upsampling="filtered")),
    "refined": (3, Architecture(refinement=REFINEMENT)),
    "narrowing": (3, Architecture(synthesis_hidden=(Layer(5, residual=True),))),
    "narrowing ARM": (3, Architecture(arm_hidden=(Layer(8, residual=True),))),
    "wavelet": (4, Architecture(grids=9, upsampling="wavelet")),
    "wavelet and all": (
        4,
        Architecture(
            grids=5,
            parents=PARENTS,
            upsampling="wavelet",
            refinement=REFINEMENT,
            arm_hidden=(Layer(9),),
        ),
    ),
    "weights of subbands": (
        5,
        Architecture(
            grids=6,
            parents=PARENTS,
            upsampling="wavelet",
            subband_weights=True,
            refinement=REFINEMENT,
            arm_hidden=(Layer(9),),
        ),
    ),
    "rich": (
        3,
        Architecture(parents=PARENTS, upsampling="filtered", refinement=REFINEMENT[1:]),
    ),
}
EXPONENTS = {
    "plain": 4,
    "described": 4,
    "parents": 4,
    "filtered": 5,
    "refined": 5,
    "narrowing": 4,
    "narrowing ARM": 4,
    "wavelet": 5,
    "wavelet and all": 6,
    "weights of subbands": 7,
    "rich": 6,
}
HEIGHT, WIDTH = 21, 34

each_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


def grids_of(arch: Architecture, rng: np.random.Generator) -> list[np.ndarray]:
    shapes = arch.grid_shapes(HEIGHT, WIDTH)
    return [np.rint(rng.laplace(0, 1.5, shape)).astype(np.int32) for shape in shapes]


@each_architecture
def test_architecture_comes_back(name):
    version, arch = ARCHITECTURES[name]
    head = write_header(arch, HEIGHT, WIDTH)
    values = np.zeros(arch.parameters(), np.int32)
    exponents = (8,) * EXPONENTS[name]
    weights = _encoder.encode_weights(head, (8, 8, 8), exponents, values)
    model = _encoder.Model(head, weights)
    grids = grids_of(arch, np.random.default_rng(0))
    data = assemble(head, weights, model.encode_latents(grids, 2))
    fields = _decoder.inspect(data)
    assert (fields["version"], architecture_of(fields)) == (version, arch)
    told = info(data)
    assert told["parameters"] == arch.parameters()
    assert sum(told["bytes"].values()) == len(data)
    assert ("weights: filters" in told["bytes"]) == arch.filtered
    assert ("weights: convolutions" in told["bytes"]) == bool(arch.refinement)
    assert told["mac_per_pixel"] == arch.macs_per_pixel(HEIGHT, WIDTH) | {
        "arm + synthesis": told["mac_per_pixel"]["arm"] + told["mac_per_pixel"]["synthesis"]
    }
    for count in {4, 5, 6, 7} - {len(exponents)}:
        with pytest.raises(ValueError, match="wrong number of exponents"):
            _encoder.encode_weights(head, (8, 8, 8), (8,) * count, values)
    for wrong in (-1, 16):
        with pytest.raises(ValueError, match="exponent out of range"):
            _encoder.encode_weights(head, (8, 8, 8), (*exponents[1:], wrong), values)


@each_architecture
def test_integers_against_the_float_model(name):
    """With fine steps, pictures and rates are those of the float model."""
    _, arch = ARCHITECTURES[name]
    model = CoolChic(arch, HEIGHT, WIDTH)
    rng, e = np.random.default_rng(1), 10
    exponents = (e,) * EXPONENTS[name]
    integers = []
    for parameter in model.network_parameters():
        real = rng.normal(0, 0.15, parameter.shape)
        integers.append(np.rint(real * 2**e).astype(np.int32).ravel())
        with torch.no_grad():
            values = integers[-1].reshape(parameter.shape) / 2**e
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    with torch.no_grad():
        model.arm[-1].bias += torch.tensor([0.0, 4.0])
    integers = np.concatenate(integers)
    arm = sum(p.numel() for p in model.networks()[0])
    integers[arm - 1] += 4 * 2**e
    grids = grids_of(arch, rng)
    latents = [torch.from_numpy(grid.astype(np.float32)) for grid in grids]
    with torch.no_grad():
        picture, bits = model.decode(latents), float(model.arm.bits(latents))

    head = write_header(arch, HEIGHT, WIDTH)
    weights = _encoder.encode_weights(head, (9, 9, 10), exponents, integers)
    coder = _encoder.Model(head, weights)
    samples = coder.synthesise(grids)
    expected = (picture.permute(1, 2, 0).numpy() * 256).clip(0, 255)
    assert np.abs(samples + 0.5 - expected).max() < 2
    assert sum(coder.latent_bits(grids)) == pytest.approx(bits, rel=0.01)
    data = assemble(head, weights, coder.encode_latents(grids, 4))
    np.testing.assert_array_equal(decode(data), samples)
