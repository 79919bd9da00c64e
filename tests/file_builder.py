"""Files for tests, as `ParsedFile`s for the reference encoder or byte by byte.

Random numbers come from `RandomState`, whose streams are frozen: the vectors can be made again
with any version of NumPy.
"""

from dataclasses import replace

import numpy as np
from numpy.random import RandomState

import reference_decoder as dec
import reference_encoder as enc
from reference_decoder import Architecture, Header, Layer, Parameters, ParsedFile

CAUSAL = [(dr, dc) for dr in range(8) for dc in range(-8, 8) if dr > 0 or dc < 0]


def random_parameters(rng: RandomState, architecture: Architecture, *, zero=False) -> Parameters:
    """Parameters of real values up to about 1, within the limits of section 9 for any F.

    The last synthesis layer gives values around mid-grey, so that few samples are clamped.
    """
    groups = dec.group_count(architecture)
    exponents = tuple(int(rng.randint(5, 11)) for _ in range(groups))

    def integers(real, e):
        return np.rint(real * 2**e * (not zero)).astype(np.int64)

    def layer(shape, weights, biases):
        w = rng.normal(0, 0.3, shape).clip(-0.9, 0.9)
        b = rng.normal(0, 0.5, shape[0]).clip(-2, 2)
        return integers(w, exponents[weights]), integers(b, exponents[biases])

    arm = [layer(shape, dec.ARM_WEIGHTS, dec.ARM_BIASES) for shape in architecture.arm_shapes()]
    synthesis = [
        layer(shape, dec.weight_group(architecture, its), dec.SYNTHESIS_BIASES)
        for shape, its in zip(architecture.synthesis_shapes(), architecture.synthesis, strict=True)
    ]
    if not zero:
        w, b = synthesis[-1]
        synthesis[-1] = w // 8, b // 8 + 2 ** (exponents[dec.SYNTHESIS_BIASES] - 1)
    return Parameters(
        f_arm=int(rng.randint(4, 13)),
        f_up=int(rng.randint(0, 13)),
        f_syn=int(rng.randint(4, 15)),
        exponents=exponents,
        scales=tuple(int(s) for s in rng.randint(0, 64, groups)),
        arm=arm,
        synthesis=synthesis,
        taps=tuple(
            integers(
                rng.normal(0, 0.2, count).clip(-0.5, 0.5), exponents[dec.tap_group(architecture)]
            )
            for count in dec.tap_counts(architecture)
        ),
        subbands=tuple(
            integers(
                rng.normal(0, 0.1, architecture.subband_shape).clip(-0.3, 0.3),
                exponents[dec.subband_group(architecture)],
            )
            for _ in range(dec.SUBBANDS if architecture.subband_weights else 0)
        ),
    )


def extreme_parameters(
    rng: RandomState,
    architecture: Architecture,
    f: tuple[int, int, int],
    exponents: tuple[int, ...],
) -> Parameters:
    """Integers from all over the ranges of section 9: sums wrap around, activations saturate."""
    f_arm, f_up, f_syn = f
    own = exponents[dec.subband_group(architecture)] if architecture.subband_weights else None

    def gain(e, difference, least):
        return max(least, difference - e)

    def module(stack, shapes, fractions, exponents, eb, parents=0, indicators=0):
        layers = []
        for i, (layer, shape, e) in enumerate(zip(stack, shapes, exponents, strict=True)):
            outputs = shape[0]
            fi, fo = fractions[i], fractions[i + 1]
            least = 2 if parents > 0 and i == 0 else 0
            p = gain(e, fo - fi, least)
            shared = own is not None and indicators > 0 and i == 0
            if shared:  # in the finer of two units, and half of the range for either
                finest = max(e, own)
                p = max(p, finest - e + gain(finest, fo - fi, least))
            a = e + p + fi
            most = (32767 >> p) >> shared
            w = rng.randint(-most, most + 1, shape)
            if layer.residual:
                centre = (1, 1) if layer.kind == dec.CONVOLUTION else ()
                diagonal = (np.arange(outputs), np.arange(outputs), *centre)
                # Up to 2^15 - 1 with the identity, which alone may be as much as 2^17.
                lowest = max(-32767, -(32767 >> p) - (2**e if e + p > 15 else 0))
                end = (32768 >> p) - 2**e if e + p > 15 else 0
                w[diagonal] = rng.randint(lowest, max(end, lowest + 1), outputs)
            # An indicator's weight is part of the bias, for which it leaves half the range.
            split = 1 if indicators > 0 and i == 0 else 0
            if split:
                most = min(32767, 2**29 >> (a - e))
                w[:, -indicators:] = rng.randint(-most, most + 1, (outputs, indicators))
            largest = min(32767, 2 ** (30 - split) >> max(0, a - eb))
            b = rng.randint(-largest, largest + 1, outputs)
            layers.append((w.astype(np.int64), b.astype(np.int64)))
        return layers

    def differences():
        e = exponents[dec.ARM_WEIGHTS]
        parents = len(architecture.parents) + architecture.siblings
        finest = max(e, own)
        p = finest - own + gain(finest, f_arm, 2 if parents > 0 else 0)
        most = (32767 >> p) // 2
        d = rng.randint(-most, most + 1, architecture.subband_shape).astype(np.int64)
        if architecture.arm[0].residual:
            np.fill_diagonal(d, 0)
        return d

    def taps(count):
        e = exponents[dec.tap_group(architecture)]
        if count == dec.KERNEL_PARAMETERS:
            most = (18000 << e) >> 14  # what begins at 14746 stays within 16 bits
            return rng.randint(-most, most + 1, count).astype(np.int64).clip(-32767, 32767)
        p = max(0, f_up - e)
        q = rng.randint(-(32767 >> p), (32767 >> p) + 1, dec.FILTER_PARAMETERS).astype(np.int64)
        q[0] = rng.randint(-(32767 >> p), (32767 >> p) - 2**e + 1)
        return q

    arm, synthesis = architecture.arm, architecture.synthesis
    return Parameters(
        *f,
        exponents,
        (63,) * len(exponents),
        module(
            arm,
            architecture.arm_shapes(),
            [0] + [f_arm] * len(arm),
            [exponents[dec.ARM_WEIGHTS]] * len(arm),
            exponents[dec.ARM_BIASES],
            len(architecture.parents) + architecture.siblings,
            architecture.indicators,
        ),
        module(
            synthesis,
            architecture.synthesis_shapes(),
            [f_up] + [f_syn] * (len(synthesis) - 1) + [8],
            [exponents[dec.weight_group(architecture, layer)] for layer in synthesis],
            exponents[dec.SYNTHESIS_BIASES],
        ),
        taps=tuple(taps(count) for count in dec.tap_counts(architecture)),
        subbands=tuple(differences() for _ in range(0 if own is None else dec.SUBBANDS)),
    )


def random_architecture(
    rng: RandomState, channels: int, grids: int, positions: int | None = None
) -> Architecture:
    size = int(rng.randint(1, 7)) if positions is None else positions
    chosen = rng.choice(len(CAUSAL), size, replace=False)
    context = tuple(CAUSAL[i] for i in chosen)

    def hidden(inputs):
        width = int(rng.randint(1, 7))
        stack = [Layer(width, residual=width == inputs, relu=bool(rng.randint(2)))]
        return [*stack, Layer(width, residual=True, relu=True)] if rng.randint(2) else stack

    arm = [*hidden(len(context)), Layer(2)] if rng.randint(4) else [Layer(2)]
    synthesis = [*hidden(grids)] if rng.randint(4) else []
    inputs = synthesis[-1].width if synthesis else grids
    synthesis.append(Layer(channels, residual=inputs == channels))
    return Architecture(grids, context, tuple(arm), tuple(synthesis))


def with_modules(
    rng: RandomState,
    architecture: Architecture,
    *,
    parents: int = 0,
    filtered: bool = False,
    convolutions: int = 0,
    narrowing: bool = False,
) -> Architecture:
    """What version 3 adds, to an architecture without.

    narrowing: the first layers are residual with fewer outputs than inputs, where there are as
    many inputs.
    """
    near = [(dr, dc) for dr in range(-2, 3) for dc in range(-2, 3)]
    chosen = tuple(near[i] for i in rng.choice(len(near), parents, replace=False))
    synthesis, channels = architecture.synthesis, architecture.synthesis[-1].width
    refinement = tuple(
        Layer(channels, bool(rng.randint(2)), i + 1 < convolutions and bool(rng.randint(2)), 1)
        for i in range(convolutions)
    )
    arm = architecture.arm
    if narrowing:
        inputs = len(architecture.context) + parents
        arm = (Layer(max(1, inputs - 1), residual=True, relu=True), *arm)
        synthesis = (Layer(max(1, architecture.grids - 1), residual=True), *synthesis)
        arm, synthesis = (
            (
                first,
                replace(second, residual=second.residual and second.width <= first.width),
                *rest,
            )
            for first, second, *rest in (arm, synthesis)
        )
    return replace(
        architecture,
        arm=arm,
        synthesis=(*synthesis, *refinement),
        parents=chosen,
        filtered=filtered,
    )


def version_of(architecture: Architecture, bands: int) -> int:
    """The lowest that has what a file uses."""
    if architecture.subband_weights:
        return 5
    if architecture.wavelet:
        return 4
    if has_modules(architecture):
        return 3
    return 2 if bands > 1 else 1


def has_modules(architecture: Architecture) -> bool:
    """Has what versions before 3 lack."""
    stacks = (
        (architecture.arm, architecture.arm_shapes()),
        (architecture.synthesis, architecture.synthesis_shapes()),
    )
    return bool(
        architecture.parents
        or architecture.filtered
        or architecture.convolutions
        or any(
            layer.residual and shape[0] < shape[1]
            for stack, shapes in stacks
            for layer, shape in zip(stack, shapes, strict=True)
        )
    )


def random_latents(
    rng: RandomState, height: int, width: int, architecture: Architecture, spread: float
) -> list[np.ndarray]:
    levels = [architecture.level(k) for k in range(architecture.grids)]
    shapes = [dec.grid_shape(height, width, level) for level in levels]
    latents = [np.rint(rng.laplace(0, spread, shape)).astype(np.int64) for shape in shapes]
    return [grid.clip(-32768, 32767) for grid in latents]


def make_file(
    seed,
    height: int,
    width: int,
    channels: int = 3,
    grids: int = 3,
    *,
    known: int | None = None,
    architecture: Architecture | None = None,
    parameters: Parameters | None = None,
    positions: int | None = None,
    lanes: int = 1,
    bands: int = 1,
    spread: float = 1.0,
    zero_parameters: bool = False,
    extensions=None,
) -> ParsedFile:
    """What is not given is drawn at random. `extensions` None: no such part in the file.

    `known`: the number of an architecture of section 4.1.
    """
    rng = RandomState(seed)
    if known is not None:
        architecture = dec.KNOWN_ARCHITECTURES[known](channels)
    elif architecture is None:
        architecture = random_architecture(rng, channels, grids, positions)
    if parameters is None:
        parameters = random_parameters(rng, architecture, zero=zero_parameters)
    has_extensions = extensions is not None
    header = Header(
        width,
        height,
        channels,
        8,
        has_extensions,
        dec.DESCRIBED if known is None else known,
        architecture,
        version=version_of(architecture, bands),
    )
    latents = random_latents(rng, height, width, architecture, spread)
    coded = tuple(bool(np.any(grid)) for grid in latents)
    return ParsedFile(header, list(extensions or []), parameters, lanes, coded, latents, bands)


def random_file(seed: int, modules: str = "plain") -> ParsedFile:
    """A file of anything the format allows, a few thousand latents at most.

    modules: "plain", "wavelet" or "subbands", with weights of their own for each.
    """
    wavelet = modules != "plain"
    rng = RandomState(seed)
    channels, grids = int(rng.randint(1, 5)), int(rng.randint(1, 17))
    positions = int(rng.choice([1, 2, 6, 8, 12, 24, 32]))
    if wavelet:
        grids, positions = max(4, grids), min(30, positions)
    architecture = random_architecture(rng, channels, grids, positions)
    if rng.randint(2):
        architecture = with_modules(
            rng,
            architecture,
            parents=min(int(rng.randint(9)), (30 if wavelet else 32) - positions),
            filtered=bool(rng.randint(2)),
            convolutions=int(rng.choice([0, 0, 1, 2, 3, 4])),
            narrowing=bool(rng.randint(2)),
        )
    if wavelet:
        own = modules == "subbands"
        architecture = replace(architecture, filtered=True, wavelet=True, subband_weights=own)
    height, width = (int(rng.choice([1, 2, 3, 5, 8, 17, 31, 32, 45])) for _ in range(2))
    file = make_file(
        seed,
        height,
        width,
        channels,
        grids,
        architecture=architecture,
        lanes=int(rng.choice([1, 2, 4, 8])),
        spread=float(rng.choice([0.02, 0.5, 2.0, 20.0, 2000.0])),
        extensions=[(2, bytes(3)), (4, b"")] if rng.randint(4) == 0 else None,
    )
    parameters = file.parameters
    if rng.randint(3) == 0:
        f = int(rng.randint(4, 13)), int(rng.randint(0, 13)), int(rng.randint(4, 15))
        exponents = tuple(int(e) for e in rng.randint(0, 16, len(parameters.exponents)))
        parameters = extreme_parameters(rng, architecture, f, exponents)
    also_coded = rng.randint(2, size=grids)
    coded = tuple(bool(np.any(g) or c) for g, c in zip(file.latents, also_coded, strict=True))
    bands = min(height, int(rng.choice([1, 1, 2, 3, 5, 17]))) if any(coded) else 1
    lowest = max(file.header.version, 2 if bands > 1 else 1)
    header = replace(file.header, version=int(rng.randint(lowest, 6 if lowest == 5 else 5)))
    return replace(file, header=header, parameters=parameters, coded=coded, bands=bands)


def small_file() -> ParsedFile:
    """All there is in a file, in as few bytes as possible."""
    context = ((0, -1), (1, 1))
    architecture = Architecture(2, context, (Layer(2),), (Layer(2, True, True), Layer(1)))
    parameters = replace(
        random_parameters(RandomState(10), architecture),
        f_arm=6,
        exponents=(5, 5, 5, 5),
        scales=(40, 40, 40, 40),
    )
    return make_file(
        10,
        5,
        6,
        1,
        architecture=architecture,
        parameters=parameters,
        lanes=2,
        extensions=[(2, b"xy"), (4, b"")],
    )


# One black pixel, in parts that a test can replace. ARM 1-2, synthesis 1-1.


def described(
    *,
    grids=1,
    context=b"\x07",
    parents=None,
    arm=b"\x00\x02",
    upsampling=0,
    synthesis=b"\x00\x01",
) -> bytes:
    """An architecture; of version 3 with parents."""
    stacks = [bytes([len(layers) // 2]) + layers for layers in (arm, synthesis)]
    head = bytes([255, grids, len(context)]) + context
    if parents is not None:
        head += bytes([len(parents)]) + parents
    return head + stacks[0] + bytes([upsampling]) + stacks[1]


def weight_fields(f_arm=8, f_up=0, f_syn=8, default=0, count=6, groups=4, padding=0) -> bytes:
    """A weights section of zeros, all exponents and scale indices 0."""
    size = -(-(16 + 10 * groups) // 8)
    unused = 8 * size - 16 - 10 * groups
    fields = (f_arm << 8 | f_up << 4 | f_syn) << (8 * size - 12) | default << unused | padding
    writer = enc.SubstreamWriter(1)
    for _ in range(count):
        writer.symbol(0, 0, 8, 0)
    return fields.to_bytes(size, "big") + writer.finish()


def body(
    *,
    magic=dec.MAGIC,
    version=1,
    flags=0,
    sides=b"\x00\x00",
    depth=b"",
    architecture=None,
    extensions=b"",
    weights=None,
    latents=b"\x00\x00",
) -> bytes:
    architecture = described() if architecture is None else architecture
    weights = weight_fields() if weights is None else weights
    parts = [magic, bytes([version, flags]), sides, depth, architecture, extensions]
    for section in (weights, latents):
        parts += [enc.varint(len(section)), section]
    return enc.seal(b"".join(parts))


def one_layer_file(weight=0, bias=0, residual=False, latent=0, exponents=(15,) * 4) -> ParsedFile:
    """One pixel, ARM 1-2 and synthesis 1-1."""
    architecture = Architecture(1, ((0, -1),), (Layer(2),), (Layer(1, residual),))
    zeros = np.zeros((2, 1), np.int64), np.zeros(2, np.int64)
    synthesis = np.array([[weight]]), np.array([bias])
    parameters = Parameters(8, 8, 8, exponents, (63,) * 4, [zeros], [synthesis])
    header = Header(1, 1, 1, 8, False, 255, architecture)
    return ParsedFile(header, [], parameters, 1, (True,), [np.full((1, 1), latent)])


def file_of_modules(
    context_weight=0, convolution_weight=-1, taps=(-1, 0, 0, 0), exponent=15, f_up=8
) -> ParsedFile:
    """One pixel in two grids, ARM 1 + 1-2, filtered, synthesis 2-1 and a residual convolution.

    exponent: of the taps, the others being 15.
    """
    layers = (Layer(1), Layer(1, residual=True, kind=dec.CONVOLUTION))
    architecture = Architecture(2, ((0, -1),), (Layer(2),), layers, ((0, 0),), True)
    arm = np.array([[context_weight, 0], [0, 0]]), np.zeros(2, np.int64)
    linear = np.zeros((1, 2), np.int64), np.zeros(1, np.int64)
    convolution = np.full((1, 1, 3, 3), convolution_weight), np.zeros(1, np.int64)
    exponents, scales = (15,) * 5 + (exponent,), (63,) * 6
    parameters = Parameters(
        8, f_up, 8, exponents, scales, [arm], [linear, convolution], taps=(np.array(taps),)
    )
    header = Header(1, 1, 1, 8, False, 255, architecture, version=3)
    return ParsedFile(header, [], parameters, 1, (False, False), [np.zeros((1, 1), np.int64)] * 2)


def file_of_wavelet(tap=0, indicator_weight=0, difference=None) -> ParsedFile:
    """One pixel in four grids, ARM 1-2, synthesis 4-1.

    tap: the first of subband 1's vertical kernel, in units of 2^-14. indicator_weight: of subband
    2's. difference: if given, subbands have weights of their own, and one of subband 1's differs by
    that from the largest possible.
    """
    own = difference is not None
    architecture = Architecture(
        4, ((0, -1),), (Layer(2),), (Layer(1),), filtered=True, wavelet=True, subband_weights=own
    )
    weights = np.zeros((2, 6), np.int64)
    weights[0, 5] = indicator_weight
    differences = [np.zeros((2, 3), np.int64) for _ in range(3 * own)]
    if own:
        weights[0, 0] = 8191  # four times as much in 16 bits
        differences[1][0, 0] = difference
    arm = weights, np.array([32767, 0])
    synthesis = np.zeros((1, 4), np.int64), np.zeros(1, np.int64)
    taps = [np.zeros(8, np.int64) for _ in range(3)]
    taps[1][0] = tap
    exponents = (15, 2, 15, 15, 14, 15)[: 5 + own]
    parameters = Parameters(
        8,
        8,
        8,
        exponents,
        (63,) * len(exponents),
        [arm],
        [synthesis],
        taps=(*taps, np.zeros(4, np.int64)),
        subbands=tuple(differences),
    )
    header = Header(1, 1, 1, 8, False, 255, architecture, version=version_of(architecture, 1))
    return ParsedFile(header, [], parameters, 1, (False,) * 4, [np.zeros((1, 1), np.int64)] * 4)
