"""Writes `tests/vectors/`: small files with known samples, and damaged ones.

    python tests/make_vectors.py

All but the photos are made by the reference encoder from frozen random numbers and come out
the same everywhere. The photos were coded once by the real encoder (see `PHOTOS`) and are kept
as they are: any later encoder may do better, every later decoder has to give these samples.

`manifest.json` lists under "good" the samples' SHA-256 and shape, as `reference_decoder` gives
them; under "bad" the class of damage (section 14 of `docs/bitstream.md`) and a part of the
message of either decoder.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import RandomState

import reference_decoder as dec
import reference_encoder as enc
from damaged_vectors import bad
from file_builder import (
    extreme_parameters,
    make_file,
    random_latents,
    random_parameters,
    small_file,
)
from reference_decoder import (
    CONVOLUTION,
    Architecture,
    Layer,
    Parameters,
    ParsedFile,
    default_value,
)

VECTORS = Path(__file__).parent / "vectors"

# Crops of examples/city.png, coded with coolchic.encode(crop, lmbda=…, iterations=300, seed=0).
PHOTOS = {
    "photo_rgb": "96x64 crop at (240, 256), RGB, lambda 1e-3",
    "photo_rgb_fine": "64x48 crop at (240, 256), RGB, lambda 1e-4",
    "photo_grey": "96x64 crop at (96, 416), grey, lambda 1e-3",
}

RESIDUAL_RELU = {"residual": True, "relu": True}
LEFT_AND_ABOVE = ((0, -1), (1, 0))
"""The smallest context that looks both ways."""


def context_of_all() -> tuple[tuple[int, int], ...]:
    """32 positions: every corner of the range, one twice, then the nearest."""
    corners = [(7, -8), (7, 7), (1, 7), (1, -8), (0, -8), (7, 7)]
    near = [(dr, dc) for dr in range(4) for dc in range(-4, 5) if dr > 0 or dc < 0]
    return (*corners, *near[: 32 - len(corners)])


def good() -> Iterator[tuple[str, str, ParsedFile]]:
    """(name, what it covers, file)."""
    for channels in range(1, 5):
        file = make_file(channels, 12, 16, channels, known=0)
        yield f"paper_{channels}_channels", f"architecture 0, {channels} channels", file
    described_paper = replace(file, header=replace(file.header, architecture_id=255))
    yield "paper_described", "architecture 0 spelled out", described_paper

    for shape in [(1, 1), (1, 40), (40, 1), (33, 31), (7, 5)]:
        file = make_file(shape, *shape, known=0, spread=2.0)
        yield f"size_{shape[1]}x{shape[0]}", "sizes, grids narrower than the stagger", file
    black = make_file(1, 1, 65536, 1, 1, zero_parameters=True, spread=0.0)
    yield "size_65536x1", "the widest picture, varint of three bytes", black
    yield "bands", "rows for two threads", make_file(2, 150, 9, 1, 8, spread=0.3)

    for lanes in (1, 2, 4, 8):
        file = make_file(3, 13, 18, 3, 4, lanes=lanes, spread=2.0)
        yield f"lanes_{lanes}", f"{lanes} lanes", file

    for grids in (1, 2, 8, 9, 16):
        file = make_file(grids, 19, 21, 3, grids, spread=3.0)
        yield f"grids_{grids}", f"{grids} grids", file
    yield (
        "grids_of_every_size",
        "16 grids of which 10 have two rows or more",
        make_file(5, 700, 1, 1, 16, spread=0.1),
    )

    for positions in (1, 8, 24):
        file = make_file(positions, 12, 20, 3, 3, positions=positions)
        yield f"context_{positions}", f"{positions} context positions", file
    layers = (Layer(32, **RESIDUAL_RELU), Layer(2))
    architecture = Architecture(2, context_of_all(), layers, (Layer(1),))
    file = make_file(6, 20, 12, 1, architecture=architecture)
    yield "context_32", "32 context positions, the farthest ones, one twice, stagger 8", file

    one = Architecture(3, LEFT_AND_ABOVE, (Layer(2),), (Layer(3, residual=True),))
    file = make_file(7, 14, 11, architecture=one)
    yield "one_layer", "networks of one layer, the synthesis residual", file
    deep = (*[Layer(2, **RESIDUAL_RELU)] * 3, *[Layer(5)] * 3, Layer(3, relu=True))
    architecture = Architecture(2, LEFT_AND_ABOVE, (*deep, Layer(2)), (*deep, Layer(4)))
    file = make_file(8, 14, 11, 4, architecture=architecture)
    yield "eight_layers", "networks of eight layers, with and without activation", file
    wide = (Layer(64, relu=True), *[Layer(64, **RESIDUAL_RELU)] * 6, Layer(4))
    architecture = Architecture(16, context_of_all(), (Layer(64), Layer(2)), wide)
    file = make_file(9, 3, 2, 4, architecture=architecture, parameters=biases_only(architecture))
    yield "widest_layers", "layers of width 64", file
    # 16 * (15 * 53 + 53 * 60 + 60 * 2) + 16 = 65536
    arm = (Layer(53), Layer(60), Layer(2))
    architecture = Architecture(16, context_of_all()[:15], arm, (Layer(1),))
    file = make_file(9, 3, 2, 1, architecture=architecture, parameters=biases_only(architecture))
    yield "multiplications_65536", "as many multiplications as are allowed", file

    yield from edge_values()
    yield from latents_sections()
    yield from version_3()
    yield from version_4()
    yield from version_5()
    for name, extensions in {
        "extensions": [(2, b"profile"), (6, b""), (1 << 20, bytes(300))],
        "extensions_none": [],
    }.items():
        yield name, "even extensions are skipped", make_file(11, 5, 5, extensions=extensions)
    yield "small", "all there is, in few bytes", small_file()


def biases_only(architecture: Architecture) -> Parameters:
    """Networks of many weights, all zero, in few bytes."""
    parameters = random_parameters(RandomState(9), architecture, zero=True)
    for _, b in parameters.arm + parameters.synthesis:
        b[:] = RandomState(len(b)).randint(-60, 200, len(b))
    return replace(parameters, scales=(0, 40, 0, 40))


def near_default(
    parameters: Parameters, architecture: int, number: int, exponents: tuple[int, ...]
) -> Parameters:
    """A default decoder with a few steps of noise, coded as differences from it."""
    rng = RandomState(number if architecture == 0 else [architecture, number])
    index = 0

    def noisy(values: np.ndarray, group: int) -> np.ndarray:
        nonlocal index
        e = exponents[group]
        own = [default_value(architecture, number, index + i, e) for i in range(values.size)]
        index += values.size
        return np.reshape(own, values.shape) + rng.randint(-2, 3, values.shape)

    arm = [(noisy(w, 0), noisy(b, 1)) for w, b in parameters.arm]
    synthesis = [(noisy(w, 2 if w.ndim == 2 else 4), noisy(b, 3)) for w, b in parameters.synthesis]
    taps = tuple(noisy(t, len(exponents) - 1 - bool(parameters.subbands)) for t in parameters.taps)
    subbands = tuple(noisy(d, len(exponents) - 1) for d in parameters.subbands)
    return replace(
        parameters,
        exponents=exponents,
        scales=(28, 30, 32, 34, 33, 27, 29)[: len(exponents)],
        arm=arm,
        synthesis=synthesis,
        taps=taps,
        subbands=subbands,
        default=number,
        **fractions((8, 6, 11)),
    )


def edge_values() -> Iterator[tuple[str, str, ParsedFile]]:
    """Extremes of latents, parameters, precisions and exponents."""
    for spread in (10, 300, 5000):
        file = make_file(spread, 12, 10, 3, 3, spread=float(spread))
        file.latents[0].ravel()[[0, 5, 9, 50]] = [-32768, 32767, -32768, 32767]
        yield f"escapes_{spread}", "latents of every size", file

    file = make_file(12, 4, 4, 3, 3, known=0)
    w, b = (values.copy() for values in file.parameters.arm[-1])
    w[0, :3] = [32767, -32767, 0]
    b[:] = [-32767, 32767]
    parameters = replace(
        file.parameters, arm=[*file.parameters.arm[:-1], (w, b)], exponents=(12,) * 4
    )
    yield "parameters_of_every_size", "parameters up to 32767", replace(file, parameters=parameters)

    exponents = [
        (6, 5, 10, 9, 8, 7, 9),
        (1, 0, 11, 12, 12, 11, 0),
        (12, 13, 8, 8, 3, 2, 12),
        (4,) * 7,
    ]
    for architecture, count in dec.DEFAULT_DECODERS.items():
        for number in range(1, count + 1):
            seed = 20 + number if architecture == 0 else [20, architecture, number]
            file = make_file(seed, 9, 11, 3, 2, known=architecture)
            largest = max(map(abs, dec.default_decoder(architecture, number)))
            finest = 12 + (32760 // largest).bit_length() - 1  # of exponents that it fits
            if architecture >= 10:  # weights that are sums, with two bits more
                finest = min(finest, 10)
            e = [min(e, finest) for e in exponents[(number - 1) % 4]]
            e = tuple(e[: len(file.parameters.exponents)])
            parameters = near_default(file.parameters, architecture, number, e)
            yield (
                f"default_{architecture}_{number}",
                "differences from a default decoder",
                replace(file, parameters=parameters),
            )

    # The ARM turns a latent x into the mean x / 16 and the scale index x // 16 + 32 of the next.
    architecture = Architecture(1, ((0, -1),), (Layer(2),), (Layer(1),))
    file = make_file(13, 1, 1026, 1, architecture=architecture)
    arm = (np.array([[16], [2]]), np.array([0, 1200]))
    parameters = replace(file.parameters, f_arm=8, exponents=(8, 8, 8, 8), arm=[arm])
    row = np.append(RandomState(13).permutation(np.arange(-512, 512)), [-600, 600])[None]
    file = replace(file, parameters=parameters, latents=[row])
    yield "all_tables", "every scale index with every fraction, escapes", file

    layers = (Layer(6, relu=True), Layer(6, **RESIDUAL_RELU))
    context = ((0, -1), (0, -2), (1, -1), (1, 0), (1, 1), (2, 0))
    architecture = Architecture(4, context, (*layers, Layer(2)), (*layers, Layer(3)))
    for f in [(4, 0, 4), (4, 12, 14), (12, 0, 14), (12, 12, 4), (12, 12, 14), (8, 6, 8)]:
        name = "f_" + "_".join(map(str, f))
        parameters = replace(random_parameters(RandomState(14), architecture), **fractions(f))
        file = make_file(14, 10, 10, architecture=architecture, parameters=parameters, spread=2.0)
        yield name, f"F_arm, F_up, F_syn = {f}", file
    for e in [(0, 0, 0, 0), (15, 0, 15, 15), (0, 15, 0, 15), (15, 15, 15, 0)]:
        name = "wrap_" + "_".join(map(str, e))
        parameters = extreme_parameters(RandomState(15), architecture, (10, 12, 12), e)
        file = make_file(15, 6, 5, architecture=architecture, parameters=parameters, spread=9000.0)
        yield name, f"sums wrap around, activations saturate, exponents {e}", file
    parameters = extreme_parameters(RandomState(16), architecture, (4, 0, 14), (0,) * 4)
    file = make_file(16, 6, 5, architecture=architecture, parameters=parameters, spread=9000.0)
    yield "wrap_gain", "weights gain 14 bits", file


def fractions(f: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("f_arm", "f_up", "f_syn"), f, strict=True))


def latents_sections() -> Iterator[tuple[str, str, ParsedFile]]:
    """Grids coded and not coded."""
    file = make_file(17, 20, 20, 3, 4)
    for k in (0, 2):
        file.latents[k][:] = 0
    for coded in [(False, True, False, True), (True, True, False, True), (True,) * 4]:
        name = "coded_" + "".join(str(int(c)) for c in coded)
        yield name, "zero grids, coded and not", replace(file, coded=coded)
    for bands, shape, grids in [
        (2, (9, 14), 3),
        (4, (30, 11), 3),
        (19, (19, 3), 2),
        (21, (64, 9), 5),
    ]:
        file = make_file(30 + bands, *shape, 3, grids, bands=bands, lanes=2, spread=3.0)
        yield f"bands_of_latents_{bands}", "bands of rows, of several grids", file
    file = make_file(60, 40, 30, known=0, bands=5, lanes=8, spread=1.5)
    yield "bands_paper", "bands under architecture 0", file
    architecture = Architecture(2, context_of_all(), (Layer(2),), (Layer(3),))
    file = make_file(61, 20, 18, architecture=architecture, bands=8)
    yield "bands_context_32", "contexts that reach over several bands", file
    file = make_file(62, 24, 10, 3, 3, bands=4)
    file.latents[2][:] = 0
    file.latents[1][:] = 0
    file = replace(file, coded=(True, False, False))
    yield "bands_no_whole_grid", "bands only, no substream of whole grids", file
    file = make_file(63, 6, 5)
    header = replace(file.header, version=2)
    yield "version_2_plain", "version 2 without bands", replace(file, header=header)
    nothing = make_file(18, 17, 5, known=0, spread=0.0, lanes=4)
    yield "no_grid_coded", "latents all zero, a layout of 4 lanes without meaning", nothing
    black = make_file(19, 17, 5, known=0, spread=0.0, zero_parameters=True)
    yield "black", "parameters all zero as well", black


AROUND = ((0, 0), (0, 1), (-1, 0), (1, -1))
FARTHEST = ((2, 2), (2, -2), (-2, 2), (-2, -2), (0, 0), (0, 2), (-2, 0), (-2, 2))


def convolutions(count: int, channels: int, **last) -> tuple[Layer, ...]:
    """Residual and with activations, but for the last."""
    first = Layer(channels, residual=True, relu=True, kind=CONVOLUTION)
    return (*[first] * (count - 1), Layer(channels, kind=CONVOLUTION, **last))


WRAPPING = {
    (10, 12, 12): (0, 0, 0, 0, 0, 0),
    (8, 11, 13): (15, 0, 15, 15, 15, 15),
    (12, 12, 14): (3, 15, 9, 0, 7, 12),
    (4, 0, 4): (12, 4, 0, 15, 0, 0),
    (4, 0, 14): (0, 0, 0, 0, 0, 14),
}
"""(F_arm, F_up, F_syn) and exponents by group for which sums wrap around."""


def rich(channels: int, grids: int = 7, parents=AROUND, count: int = 1) -> Architecture:
    """All of version 3, on the paper's architecture."""
    paper = dec.paper_architecture(channels)
    return replace(
        paper,
        grids=grids,
        arm=(Layer(12, **RESIDUAL_RELU), *paper.arm[1:]),
        synthesis=(*paper.synthesis, *convolutions(count, channels, residual=True)),
        parents=parents,
        filtered=True,
    )


def version_3() -> Iterator[tuple[str, str, ParsedFile]]:
    """Parents, filters, convolutions and residual layers that narrow."""
    file = make_file(70, 9, 11, known=0)
    header = replace(file.header, version=3)
    yield "version_3_plain", "version 3 without its modules", replace(file, header=header)
    described = replace(header, architecture_id=255)
    yield "version_3_described", "no parents in a description", replace(file, header=described)

    for channels in (1, 2, 3, 4):
        file = make_file([80, channels], 14, 19, channels, known=1, spread=2.0)
        yield f"standard_{channels}_channels", f"architecture 1, {channels} channels", file
    spelled = replace(file, header=replace(file.header, architecture_id=255))
    yield "standard_described", "architecture 1 spelled out", spelled
    for channels in (1, 2, 3, 4):
        file = make_file([81, channels], 17, 14, channels, known=2, spread=2.0)
        yield f"high_{channels}_channels", f"architecture 2, {channels} channels", file
    spelled = replace(file, header=replace(file.header, architecture_id=255))
    yield "high_described", "architecture 2 spelled out", spelled
    for known in (3, 4):
        file = make_file([82, known], 18, 13, known=known, spread=2.0)
        yield f"lite_{known}", f"architecture {known}", file
    spelled = replace(file, header=replace(file.header, architecture_id=255))
    yield "lite_described", "architecture 4 spelled out", spelled
    for known, name in ((5, "standard_5"), (6, "high_6")):
        for channels in (1, 2, 3, 4):
            file = make_file([82, known, channels], 18, 13, channels, known=known, spread=2.0)
            yield f"{name}_{channels}_channels", f"architecture {known}, {channels} channels", file
        spelled = replace(file, header=replace(file.header, architecture_id=255))
        yield f"{name}_described", f"architecture {known} spelled out", spelled

    paper = dec.paper_architecture(3)
    for name, parents in {"around": AROUND, "farthest": FARTHEST, "one": ((1, 1),)}.items():
        architecture = replace(paper, parents=parents)
        file = make_file(71, 21, 26, architecture=architecture, lanes=4, spread=2.0)
        yield f"parents_{name}", f"{len(parents)} parents", file
    context = context_of_all()[:24]
    architecture = Architecture(3, context, (Layer(2),), (Layer(3),), FARTHEST)
    file = make_file(72, 19, 23, architecture=architecture, lanes=2, spread=3.0)
    yield "parents_stagger_8", "32 inputs of the ARM, a stagger of 8", file
    for shape in [(1, 1), (1, 33), (33, 1), (2, 3)]:
        layers = (Layer(3, residual=True), Layer(2))
        architecture = Architecture(6, ((0, -1), (1, -8)), layers, (Layer(1),), FARTHEST)
        file = make_file([73, *shape], *shape, 1, architecture=architecture, spread=3.0)
        yield f"parents_{shape[1]}x{shape[0]}", "parents outside the grid, a stagger of 1", file
    architecture = Architecture(2, LEFT_AND_ABOVE, (Layer(4, True), Layer(2)), (Layer(1),), AROUND)
    file = make_file(74, 16, 16, 1, architecture=architecture, spread=40.0)
    yield "parents_on_the_diagonal", "a residual layer whose diagonal goes on to the parents", file
    file = make_file(75, 14, 15, 1, architecture=architecture, spread=2.0)
    file.latents[1][:] = 0
    yield "parents_zero", "the coarser grid is not coded", replace(file, coded=(True, False))
    for bands, shape in [(2, (40, 21)), (9, (40, 21)), (24, (64, 9))]:
        architecture = replace(paper, grids=5, parents=FARTHEST)
        file = make_file(76, *shape, architecture=architecture, bands=bands, lanes=2, spread=2.0)
        yield f"parents_bands_{bands}", "parents in bands of several grids", file
    file = replace(file, coded=(True, False, True, True, False))
    for k in (1, 4):
        file.latents[k][:] = 0
    yield "parents_bands_gaps", "of every other grid", file

    architecture = replace(paper, filtered=True)
    for shape in [(21, 26), (1, 1), (1, 50), (50, 1), (2, 130)]:
        file = make_file([77, *shape], *shape, architecture=architecture, spread=2.0)
        yield f"filtered_{shape[1]}x{shape[0]}", "filters, grids narrower than they are", file
    filtered = Architecture(1, LEFT_AND_ABOVE, (Layer(2),), (Layer(3),), filtered=True)
    file = make_file(78, 6, 7, architecture=filtered)
    yield "filtered_1_grid", "filters, of no grid", file
    filtered = Architecture(16, LEFT_AND_ABOVE, (Layer(2),), (Layer(3),), filtered=True)
    file = make_file(79, 70, 40, architecture=filtered)
    yield "filtered_16_grids", "filters of 16 grids", file

    for channels in range(1, 5):
        for count in (1, 4):
            architecture = dec.paper_architecture(channels)
            layers = convolutions(count, channels)
            architecture = replace(architecture, synthesis=(*architecture.synthesis, *layers))
            file = make_file(80, 17, 37, channels, architecture=architecture, spread=1.5)
            yield (
                f"convolutions_{count}_channels_{channels}",
                f"{count} convolutions of {channels} channels",
                file,
            )
    for shape in [(1, 1), (1, 70), (70, 1), (2, 2), (3, 35), (130, 3)]:
        file = make_file([81, *shape], *shape, 4, architecture=architecture, spread=1.5)
        yield f"convolutions_{shape[1]}x{shape[0]}", "convolutions at the edges", file
    few = Architecture(1, LEFT_AND_ABOVE, (Layer(2),), (Layer(1), *convolutions(1, 1)))
    yield "convolutions_short", "one layer before", make_file(82, 12, 9, 1, architecture=few)

    narrowing = (Layer(7, **RESIDUAL_RELU), Layer(3, **RESIDUAL_RELU), Layer(2))
    samples = (Layer(4, residual=True, relu=True), Layer(3, residual=True))
    architecture = Architecture(5, context_of_all()[6:15], narrowing, samples)
    file = make_file(83, 15, 18, architecture=architecture, spread=2.0)
    yield "narrowing", "residual layers of fewer outputs than inputs", file

    for channels in range(1, 5):
        file = make_file(84, 31, 45, channels, architecture=rich(channels), lanes=8)
        yield f"rich_{channels}_channels", f"all of version 3, {channels} channels", file
    file = make_file(85, 90, 50, architecture=rich(3, count=3), bands=7, lanes=4, spread=1.5)
    yield "rich_bands", "all of version 3, three convolutions, bands", file
    file = make_file(86, 26, 17, architecture=rich(3, 8, FARTHEST), extensions=[(2, b"x")])
    yield "rich_far", "all of version 3, the farthest parents, an extension", file

    architecture = rich(3, 4, FARTHEST, count=2)
    for f, e in WRAPPING.items():
        parameters = extreme_parameters(RandomState(87), architecture, f, e)
        file = make_file(87, 23, 20, architecture=architecture, parameters=parameters)
        file = replace(file, latents=random_latents(RandomState(88), 23, 20, architecture, 9000.0))
        name = "_".join(map(str, (*f, *e)))
        yield f"rich_wrap_{name}", "sums wrap around, activations saturate", file
    # Of a constant, with the largest taps and the largest samples of either sign.
    architecture = Architecture(2, LEFT_AND_ABOVE, (Layer(2),), (Layer(1),), filtered=True)
    file = make_file(89, 20, 20, 1, architecture=architecture)
    for name, centre, others, latent in [
        ("up", -1, 32767, 32767),
        ("down", -32767, -32767, 32767),
        ("wrap", -1, 32767, -32768),
    ]:
        taps = (np.array([centre, others, others, others]),)
        exponents = (*file.parameters.exponents[:4], 15)
        parameters = replace(file.parameters, taps=taps, exponents=exponents, f_up=2)
        grids = [file.latents[0], np.full_like(file.latents[1], latent)]
        yield (
            f"filtered_extreme_{name}",
            "filters of the largest taps",
            replace(file, parameters=parameters, latents=grids, coded=(True, True)),
        )


def wavelet(channels: int, grids: int = 7, parents=AROUND, count: int = 1) -> Architecture:
    """All of version 4, on the paper's architecture."""
    return replace(rich(channels, grids, parents, count), wavelet=True)


def wrapping(
    name: str, seed: int, architecture: Architecture
) -> Iterator[tuple[str, str, ParsedFile]]:
    for f, e in WRAPPING.items():
        e = (*e, e[5])[: dec.group_count(architecture)]
        parameters = extreme_parameters(RandomState(seed), architecture, f, e)
        file = make_file(seed, 23, 20, architecture=architecture, parameters=parameters)
        latents = random_latents(RandomState(seed + 1), 23, 20, architecture, 9000.0)
        numbers = "_".join(map(str, (*f, *e)))
        yield (
            f"{name}_wrap_{numbers}",
            "sums wrap around, activations saturate",
            replace(file, latents=latents),
        )


def named(name: str, known: int, seed: int) -> Iterator[tuple[str, str, ParsedFile]]:
    """A named architecture in all numbers of channels, and spelled out."""
    for channels in (1, 2, 3, 4):
        file = make_file([seed, known, channels], 18, 13, channels, known=known, spread=2.0)
        yield f"{name}_{channels}_channels", f"architecture {known}, {channels} channels", file
    spelled = replace(file, header=replace(file.header, architecture_id=255))
    yield f"{name}_described", f"architecture {known} spelled out", spelled


def version_4() -> Iterator[tuple[str, str, ParsedFile]]:
    """Subbands."""
    file = make_file(70, 9, 11, known=0)
    yield "version_4_plain", "version 4 without its wavelet", with_version(file, 4)
    for channels in range(1, 5):
        file = make_file(91, 31, 45, channels, architecture=wavelet(channels), spread=1.5)
        yield f"wavelet_{channels}_channels", f"subbands, {channels} channels", file
    for shape in [(1, 1), (1, 40), (40, 1), (2, 3), (3, 2), (16, 16)]:
        file = make_file([92, *shape], *shape, architecture=wavelet(3), spread=2.0)
        yield f"wavelet_{shape[1]}x{shape[0]}", "subbands of small pictures", file
    file = make_file(93, 33, 18, architecture=wavelet(3, 4, ()), lanes=8, spread=2.0)
    yield "wavelet_4_grids", "one grid besides subbands, no parents", file
    file = make_file(94, 60, 50, architecture=wavelet(3, 16, FARTHEST), spread=2.0)
    yield "wavelet_16_grids", "the farthest parents, 16 grids", file
    context = context_of_all()[:22]
    layers = (Layer(3), Layer(2))
    architecture = Architecture(5, context, layers, (Layer(3),), FARTHEST, True, True)
    file = make_file(95, 19, 23, architecture=architecture, lanes=2, spread=3.0)
    yield "wavelet_stagger_8", "32 inputs of the ARM besides indicators, a stagger of 8", file
    for bands, shape in [(4, (40, 21)), (9, (40, 21)), (24, (64, 9))]:
        architecture = wavelet(3, 6, FARTHEST)
        file = make_file(96, *shape, architecture=architecture, bands=bands, lanes=2, spread=2.0)
        yield f"wavelet_bands_{bands}", "subbands in bands", file
    for coded in [(1, 0, 1, 1, 1, 1), (1, 1, 0, 1, 0, 1), (1, 1, 1, 0, 1, 0), (0, 0, 0, 1, 1, 1)]:
        latents = [grid * bit for grid, bit in zip(file.latents, coded, strict=True)]
        name = "".join(map(str, coded))
        gaps = replace(file, latents=latents, coded=tuple(map(bool, coded)))
        yield f"wavelet_gaps_{name}", "without some of the grids", gaps
    architecture = wavelet(3, 5, FARTHEST, count=2)
    yield from wrapping("wavelet", 97, architecture)
    for known, name in ((7, "standard_7"), (8, "high_8"), (9, "lite_9")):
        yield from named(name, known, 82)
    # Kernels of the largest taps, of which four times the largest sample wraps around.
    architecture = Architecture(4, LEFT_AND_ABOVE, (Layer(2),), (Layer(1),), (), True, True)
    file = make_file(99, 20, 20, 1, architecture=architecture)
    for name, tap, latent in [("up", 18021, 32767), ("down", 18021, -32768)]:
        kernels = (np.array([tap, tap, tap, tap, tap, tap, tap, tap]),) * 3
        exponents = (*file.parameters.exponents[:4], 14)
        parameters = replace(
            file.parameters, taps=(*kernels, np.zeros(4, np.int64)), exponents=exponents, f_up=2
        )
        grids = [np.full_like(grid, latent) for grid in file.latents]
        yield (
            f"wavelet_extreme_{name}",
            "kernels of the largest taps",
            replace(file, parameters=parameters, latents=grids, coded=(True,) * 4),
        )


def version_5() -> Iterator[tuple[str, str, ParsedFile]]:
    """Subbands with weights of their own."""

    def subbands(channels: int, grids: int = 7, parents=AROUND, count: int = 1) -> Architecture:
        return replace(wavelet(channels, grids, parents, count), subband_weights=True)

    file = make_file(91, 31, 45, 3, architecture=wavelet(3), spread=1.5)
    yield "version_5_plain", "version 5 without its weights", with_version(file, 5)
    for channels in range(1, 5):
        file = make_file(191, 31, 45, channels, architecture=subbands(channels), spread=1.5)
        yield f"subbands_{channels}_channels", f"weights of subbands, {channels} channels", file
    file = make_file(192, 33, 18, architecture=subbands(3, 4, ()), lanes=8, spread=2.0)
    yield "subbands_4_grids", "one grid besides subbands, no parents", file
    for e, own in [(3, 12), (12, 3)]:
        exponents = (e, *file.parameters.exponents[1:-1], own)
        parameters = replace(file.parameters, exponents=exponents)
        if e > own:
            smaller = tuple(d >> 8 for d in file.parameters.subbands)
        else:
            smaller = file.parameters.subbands
            arm = [(w >> 6, b) for w, b in file.parameters.arm]
            parameters = replace(parameters, arm=arm)
        yield (
            f"subbands_{e}_{own}",
            "weights and differences in units far apart",
            replace(file, parameters=replace(parameters, subbands=smaller)),
        )
    architecture = subbands(3, 5, FARTHEST, count=2)
    yield from wrapping("subbands", 197, architecture)
    for known, name in ((10, "standard_10"), (11, "high_11"), (12, "lite_12")):
        yield from named(name, known, 182)


def with_version(file: ParsedFile, version: int) -> ParsedFile:
    return replace(file, header=replace(file.header, version=version))


def main() -> None:
    VECTORS.mkdir(exist_ok=True)
    photos = {f"{name}.cool" for name in PHOTOS}
    for path in VECTORS.glob("*.cool"):
        if path.name not in photos:
            path.unlink()
    manifest = {"good": [], "bad": []}

    def note_good(name: str, covers: str, data: bytes) -> None:
        samples = dec.decode(data)
        manifest["good"].append(
            {
                "name": name,
                "covers": covers,
                "shape": samples.shape,
                "sha256": hashlib.sha256(samples.tobytes()).hexdigest(),
            }
        )

    for name, covers, file in good():
        data = enc.encode(file)
        (VECTORS / f"{name}.cool").write_bytes(data)
        note_good(name, covers, data)
    for name, covers in PHOTOS.items():
        note_good(name, covers, (VECTORS / f"{name}.cool").read_bytes())
    for name, reference, message, data in bad():
        (VECTORS / f"bad_{name}.cool").write_bytes(data)
        manifest["bad"].append({"name": f"bad_{name}", "reference": reference, "message": message})
    lines = [
        f'  "{kind}": [\n' + ",\n".join("    " + json.dumps(entry) for entry in entries) + "\n  ]"
        for kind, entries in manifest.items()
    ]
    (VECTORS / "manifest.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
