"""The reference decoder against the reference encoder, closed formulas and damaged files."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.random import RandomState

import reference_decoder as dec
import reference_encoder as enc
from file_builder import body, make_file, one_layer_file, small_file
from reference_decoder import Architecture, FormatError, Layer, ParsedFile


def assert_same(a: ParsedFile, b: ParsedFile) -> None:
    assert (a.header, a.extensions, a.lanes, a.coded) == (
        b.header,
        b.extensions,
        b.lanes,
        b.coded,
    )
    p, q = a.parameters, b.parameters
    for name in ("f_arm", "f_up", "f_syn", "exponents", "scales"):
        assert getattr(p, name) == getattr(q, name)
    for layer_a, layer_b in zip(p.arm + p.synthesis, q.arm + q.synthesis, strict=True):
        for values_a, values_b in zip(layer_a, layer_b, strict=True):
            np.testing.assert_array_equal(values_a, values_b)
    for grid_a, grid_b in zip(a.latents, b.latents, strict=True):
        np.testing.assert_array_equal(grid_a, grid_b)


def round_trip(file: ParsedFile) -> bytes:
    data = enc.encode(file)
    parsed = dec.parse(data)
    assert_same(parsed, file)
    assert enc.encode(parsed) == data
    picture = dec.decode(data)
    header = file.header
    assert picture.shape == (header.height, header.width, header.channels)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, dec.reconstruct(file))
    return data


# Round trips


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (33, 31), (1, 40), (40, 1)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_random_architectures(shape, channels, lanes):
    seed = [*shape, channels, lanes]
    grids = int(RandomState(seed).randint(1, 8))
    round_trip(make_file(seed, *shape, channels, grids, lanes=lanes, spread=2.0))


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (33, 31)])
@pytest.mark.parametrize("channels", [1, 3])
def test_paper_architecture(shape, channels):
    round_trip(make_file(1, *shape, channels, known=0, lanes=8))


def test_architecture_zero_is_the_described_one():
    file = make_file(2, 9, 9, known=0)
    described = replace(file, header=replace(file.header, architecture_id=255))
    np.testing.assert_array_equal(dec.decode(enc.encode(file)), dec.decode(enc.encode(described)))


@pytest.mark.parametrize("grids", range(1, 17))
def test_every_number_of_grids(grids):
    round_trip(make_file(grids, 6, 9, 3, grids, lanes=2))


@pytest.mark.parametrize("spread", [0.05, 10, 300, 5000])
def test_latents_of_every_size(spread):
    file = make_file(int(spread), 12, 10, spread=spread)
    grid = file.latents[0]
    grid.ravel()[[0, 5, 9, 50]] = [-32768, 32767, -32768, 32767]
    round_trip(replace(file, coded=(True,) * len(file.coded)))


def test_parameters_of_every_size():
    file = make_file(3, 4, 4, known=0)
    arm = list(file.parameters.arm)
    w, b = (values.copy() for values in arm[-1])
    w[0, :3] = [32767, -32767, 0]
    b[:] = [-32767, 32767]
    arm[-1] = (w, b)
    round_trip(
        replace(file, parameters=replace(file.parameters, arm=arm, exponents=(12, 12, 12, 12)))
    )


def test_zero_grids_coded_and_not_coded():
    file = make_file(4, 20, 20, grids=4)
    for k in (0, 2):
        file.latents[k][:] = 0
    for coded in [(False, True, False, True), (True, True, False, True), (True,) * 4]:
        round_trip(replace(file, coded=coded))


def test_all_zero_file_is_black():
    file = make_file(5, 17, 5, spread=0.0, known=0, zero_parameters=True, lanes=4)
    assert not any(file.coded)
    assert not dec.decode(round_trip(file)).any()


def test_extensions_are_skipped():
    extensions = [(2, b"profile"), (6, b""), (1 << 20, bytes(300))]
    round_trip(make_file(6, 3, 3, extensions=extensions))


# Tables (section 8.2)


def test_decay_constants():
    for s, rho in enumerate(dec.RHO):
        assert rho == round(2**32 * math.exp(-1 / (16 * math.exp((s - 26) / 8))))


def test_tables_are_laplace():
    for s in range(64):
        b = math.exp((s - 26) / 8)
        lo, hi = dec.window(s)

        def cdf(x, b=b):
            return 0.5 * math.exp(x / b) if x < 0 else 1 - 0.5 * math.exp(-x / b)

        for f in range(16):
            c = dec.cumulative_table(s, f)
            freq = np.diff(c)
            assert (len(c), c[0], c[-1]) == (16, 0, 2**15)
            mean = (f - 8) / 16
            for k in range(14):
                d = k - 7
                if not lo <= d <= hi:
                    assert freq[k] == 0
                    continue
                assert freq[k] >= 1
                p = cdf(d + 0.5 - mean) - cdf(d - 0.5 - mean)
                assert abs(freq[k] / 2**15 - p) < 20 / 2**15
            outside = cdf(lo - 0.5 - mean) + 1 - cdf(hi + 0.5 - mean)
            assert freq[dec.ESCAPE] >= 1
            assert abs(freq[dec.ESCAPE] / 2**15 - outside) < 20 / 2**15


def test_tables_by_scale_index():
    windows = [1] * 7 + [2] * 5 + [3] * 3 + [4] * 3 + [5] + [6] * 2 + [7] * 43
    golomb = [0] * 32 + [1] * 6 + [2] * 5 + [3] * 6 + [4] * 6 + [5] * 5 + [6] * 4
    assert [dec.window(s) for s in range(64)] == [(-w, min(w, 6)) for w in windows]
    assert [dec.golomb_parameter(s) for s in range(64)] == golomb


# Substreams (sections 8.1 and 8.3)


def substream(data: bytes, lanes: int) -> dec.Substream:
    return dec.Substream(dec.Reader(data), lanes, "test")


@pytest.mark.parametrize("g", range(7))
def test_golomb(g):
    values = [0, 1, 5, 11 << g, (12 << g) - 1, 12 << g, 13 << g, (13 << g) - 1, 15 << g]
    values += [(12 << g) + (((1 << z) - 1) << g) + e for z in (3, 12, 16) for e in (-1, 0)]
    writer = enc.SubstreamWriter(1)
    for value in values:
        writer.golomb(value, g)
    reader = substream(writer.finish(), 1)
    assert [reader.golomb(g) for _ in values] == values
    reader.finish()


def test_golomb_code_words():
    writer = enc.SubstreamWriter(1)
    writer.golomb(3, 0)  # 1110
    writer.golomb(11, 2)  # 110 11
    writer.golomb(12, 0)  # 12 ones, no one, 0
    writer.golomb(15, 0)  # 12 ones, 11 0 00
    bits = "1110" + "11011" + "1" * 12 + "0" + "1" * 12 + "11000"
    bits = bits.ljust(-(-len(bits) // 16) * 16, "0")
    words = [int(bits[i : i + 16], 2) for i in range(0, len(bits), 16)]
    assert np.frombuffer(writer.finish(), "<u2").tolist() == [1, 0, *words]


def test_golomb_prefix_limit():
    words = np.array([1, 0] + [0xFFFF] * 3, "<u2").tobytes()
    with pytest.raises(FormatError, match="z > 16"):
        substream(words, 1).golomb(0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([0, 5], "begins below"),
        ([1], "runs out"),
        ([1, 0, 9], "too many"),
        ([1, 1], "ends at"),
    ],
)
def test_substream_ends(words, message):
    with pytest.raises(FormatError, match=message):
        substream(np.array(words, "<u2").tobytes(), 1).finish()


def test_substream_left_over_bits():
    reader = substream(np.array([1, 0, 0x8001], "<u2").tobytes(), 1)
    assert reader.bits(3) == 4
    with pytest.raises(FormatError, match="left over"):
        reader.finish()
    with pytest.raises(FormatError, match="odd"):
        substream(bytes(5), 1)


def test_substream_interleaving():
    """Symbols of all lanes and raw bits, mixed at random, come back in order."""
    rng = np.random.default_rng(7)
    for lanes in (1, 2, 4, 8):
        events = []
        writer = enc.SubstreamWriter(lanes)
        for _ in range(600):
            lane, s, f = int(rng.integers(lanes)), int(rng.integers(64)), int(rng.integers(16))
            d = int(rng.integers(-9, 10))
            writer.symbol(lane, s, f, d)
            writer.escape(s, d)
            events.append((lane, s, f, d))
        reader = substream(writer.finish(), lanes)
        for lane, s, f, d in events:
            k = reader.symbol(lane, s, f)
            assert d == (reader.escape(s) if k == dec.ESCAPE else k - 7)
        reader.finish()


# Networks (sections 7, 9 and 10)


def wrapped(v: int) -> int:
    return (v + 2**31) % 2**32 - 2**31


def scalar_layer(w, b, shift, relu, x) -> list[int]:
    """Section 9 in Python integers, for one position."""
    out = []
    for weights, bias in zip(w.tolist(), b.tolist(), strict=True):
        acc = bias + (2 ** (shift - 1) if shift > 0 else 0)
        for weight, value in zip(weights, x, strict=True):
            acc = wrapped(acc + weight * value)
        y = max(-32768, min(32767, acc >> shift))
        out.append(max(0, y) if relu else y)
    return out


@pytest.mark.parametrize("shift", [0, 1, 9])
@pytest.mark.parametrize("relu", [False, True])
def test_layer_wraps_and_saturates(shift, relu):
    rng = np.random.default_rng(8)
    x = rng.integers(-32768, 32768, (12, 50))
    layer = dec.IntegerLayer(
        rng.integers(-32768, 32768, (5, 12)), rng.integers(-(2**30), 2**30 + 1, 5), shift, relu
    )
    expected = [scalar_layer(layer.w, layer.b, shift, relu, column) for column in x.T.tolist()]
    np.testing.assert_array_equal(layer.apply(x).T, expected)


def test_layer_scaling_is_that_of_the_real_network():
    """In exact rationals, an output differs from the real one by the roundings alone."""
    rng = np.random.default_rng(9)
    for _ in range(300):
        fi, fo = int(rng.integers(0, 15)), int(rng.integers(4, 15))
        e, eb = int(rng.integers(0, 12)), int(rng.integers(4, 15))
        residual = bool(rng.integers(2))
        q = rng.integers(-(2**e) // 2, 2**e // 2 + 1, (4, 4))
        qb = rng.integers(-(2**eb), 2**eb + 1, 4)
        (layer,) = dec.integer_network("test", [Layer(4, residual)], [(q, qb)], [e], eb, [fi, fo])
        x = rng.integers(-(2**fi), 2**fi + 1, 4)
        y = layer.apply(x[:, None])[:, 0].tolist()
        for o in range(4):
            real = Fraction(int(qb[o]), 2**eb)
            for i in range(4):
                weight = Fraction(int(q[o, i]), 2**e) + (residual and i == o)
                real += weight * Fraction(int(x[i]), 2**fi)
            scaled = max(-32768, min(32767, real * 2**fo))
            assert abs(y[o] - scaled) <= 1


@pytest.mark.parametrize("residual", [False, True])
def test_parents_count_in_quarters(residual):
    """The diagonal of a residual layer too."""
    rng = np.random.default_rng(10)
    for e in (0, 1, 5, 10):
        f_arm = int(rng.integers(4, 13))
        q = rng.integers(-(2**e), 2**e + 1, (4, 6))
        layers = [Layer(4, residual)]
        zero = np.zeros(4, np.int64)
        (layer,) = dec.integer_network("test", layers, [(q, zero)], [e], 0, [0, f_arm], parents=3)
        x = rng.integers(-9, 10, 6)
        real = np.append(x[:3], x[3:] / 4)
        expected = (q / 2**e + residual * np.eye(4, 6)) @ real * 2**f_arm
        assert np.abs(layer.apply(x[:, None])[:, 0] - expected.clip(-32768, 32767)).max() <= 0.5


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 1), (4, 6)])
def test_convolution(shape, residual):
    """As a layer of nine inputs for each plane, the edges repeated."""
    rng = np.random.default_rng(11)
    q, qb = rng.integers(-300, 301, (3, 3, 3, 3)), rng.integers(-99, 100, 3)
    layers = [Layer(3, residual, True, dec.CONVOLUTION)]
    (layer,) = dec.integer_network("test", layers, [(q, qb)], [8], 6, [4, 7])
    height, width = shape
    x = rng.integers(-32768, 32768, (3, *shape))
    y = layer.apply(x)
    assert y.shape == x.shape
    for row in range(height):
        rows = np.clip([row - 1, row, row + 1], 0, height - 1)
        for column in range(width):
            columns = np.clip([column - 1, column, column + 1], 0, width - 1)
            around = x[:, rows[:, None], columns].ravel().tolist()
            w = layer.w.reshape(3, 27)
            assert y[:, row, column].tolist() == scalar_layer(w, layer.b, layer.shift, True, around)
    centre = layer.w[:, :, 1, 1] - q[:, :, 1, 1]
    np.testing.assert_array_equal(centre, 256 * np.eye(3) * residual)


@pytest.mark.parametrize("f_arm", range(4, 13))
def test_distribution_parameters(f_arm):
    one = 2**f_arm
    for mean, log_scale in [(0.0, 0.0), (2.25, 1.5), (-1.75, -3.25), (0.5, 4.6), (-0.5, -4.0)]:
        z = np.array([[round(mean * one)], [round((log_scale + 4) * one)]])
        (m,), (f,), (s,) = dec.distributions([], z, f_arm)
        assert abs(m + (f - 8) / 16 - mean) <= 1 / 32
        assert 0 <= f < 16
        assert s == min(63, max(0, math.floor(8 * log_scale + 26.5)))


def test_stagger():
    def stagger(*context):
        return Architecture(1, context, (Layer(2),), (Layer(1),)).stagger

    assert dec.paper_architecture(3).stagger == 3
    assert stagger((0, -1)) == 1
    assert stagger((1, -8)) == 1
    assert stagger((1, 0)) == 1
    assert stagger((1, 7)) == 8
    assert stagger((2, 3)) == 2
    assert stagger((2, 4)) == 3
    assert stagger((7, 7), (7, 6)) == 2


@pytest.mark.parametrize("stagger", range(1, 9))
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (5, 4), (3, 20)])
def test_wavefront(shape, stagger):
    height, width = shape
    expected = []
    for t in range(width + stagger * (height - 1)):
        cells = [(r, t - stagger * r) for r in range(height) if 0 <= t - stagger * r < width]
        expected += [cells] if cells else []
    steps = [
        list(zip(rows.tolist(), cols.tolist(), strict=True))
        for rows, cols in dec.wavefront(height, width, stagger)
    ]
    assert steps == expected
    assert len({cell for step in steps for cell in step}) == height * width


# Upsampling (section 11)


def cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


@pytest.mark.parametrize("k", range(1, 16))
def test_bicubic_taps(k):
    phases = range(2**k) if k < 8 else range(0, 2**k, 2**k // 64 - 1)
    for phase in phases:
        taps = dec.bicubic_taps(k, phase)
        assert sum(taps) == 2**14
        t = (phase + 0.5) / 2**k
        for j, tap in enumerate(taps):
            assert abs(tap - 2**14 * cubic(t + 1 - j)) < (2.01 if j in (1, 2) else 0.51)
        mirrored = dec.bicubic_taps(k, 2**k - 1 - phase)
        assert mirrored == taps[::-1]


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("f_up", [0, 6, 12])
def test_upsampling_is_bicubic(k, f_up):
    height, width = 21, 34
    shape = dec.grid_shape(height, width, k)
    rng = np.random.default_rng(k)
    grid = rng.integers(-(2 ** (14 - f_up)), 2 ** (14 - f_up), shape)

    def matrix(length, samples):
        m = np.zeros((length, samples))
        for x in range(length):
            center = (x + 0.5) / 2**k - 0.5
            for i in range(math.floor(center) - 1, math.floor(center) + 3):
                m[x, min(max(i, 0), samples - 1)] += cubic(center - i)
        return m

    expected = matrix(height, shape[0]) @ grid @ matrix(width, shape[1]).T * 2**f_up
    # Besides the two roundings, each of 4 taps is off by up to 2 in 2^14, twice.
    tolerance = 1.5 + 2 * 4 * 2 / 2**14 * 2 * np.abs(grid).max() * 2**f_up
    expected = np.clip(expected, -32768, 32767)
    actual = dec.upsample(grid, k, height, width, f_up)
    assert np.abs(actual - expected).max() <= tolerance


def test_upsampling_keeps_constants_and_saturates():
    for k in range(16):
        grid = np.full(dec.grid_shape(9, 13, k), -5)
        np.testing.assert_array_equal(dec.upsample(grid, k, 9, 13, 7), np.full((9, 13), -640))
        grid[:] = 32767
        assert (dec.upsample(grid, k, 9, 13, 12) == 32767).all()


@pytest.mark.parametrize("f_up", [0, 6, 12])
@pytest.mark.parametrize("e", [2, 6, 11])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (12, 15)])
def test_filter_is_that_of_the_real_taps(shape, e, f_up):
    rng = np.random.default_rng(12)
    grid = rng.integers(-1, 2, shape)  # nothing saturates
    q = rng.integers(-(2**e) // 4, 2**e // 4 + 1, 4)
    real = q / 2**e + np.array([1, 0, 0, 0])

    def along_rows(x):
        columns = np.arange(x.shape[1])
        return sum(
            real[abs(j)] * x[:, np.clip(columns + j, 0, x.shape[1] - 1)] for j in range(-3, 4)
        )

    expected = along_rows(along_rows(grid * 2.0**f_up).T).T
    actual = dec.filtered(grid, dec.filter_taps(q, 1, e, f_up), e, f_up)
    # The first direction's rounding goes through the second.
    assert np.abs(actual - expected.clip(-32768, 32767)).max() <= 0.5 + 0.5 * (1.25 + 6 / 4)


def test_filter_without_taps_changes_nothing():
    grid = np.random.default_rng(13).integers(-32768, 32768, (6, 9))
    for e in (0, 3, 14):
        for f_up in (0, 5, 12):
            t = dec.filter_taps(np.zeros(4, np.int64), 1, e, f_up)
            np.testing.assert_array_equal(dec.filtered(grid, t, e, f_up), dec.sat16(grid << f_up))


# Damage (sections 3 to 7, 13 and 14)


def test_truncation_at_every_byte():
    data = enc.encode(small_file())
    dec.decode(data)
    for size in range(len(data)):
        with pytest.raises(FormatError):
            dec.decode(data[:size])
        with pytest.raises(FormatError):
            dec.decode(data[:size], check_crc=False)
    with pytest.raises(FormatError, match="trailing data"):
        dec.decode(data + b"\0")


def test_truncation_with_a_valid_crc():
    data = enc.encode(small_file())
    for size in range(len(data) - 4):
        with pytest.raises(FormatError):
            dec.decode(enc.seal(data[:size]))


def test_every_single_bit_flip():
    data = enc.encode(small_file())
    picture = dec.decode(data)
    survivors = 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            dec.decode(bytes(flipped), max_pixels=4096)
        try:
            other = dec.decode(bytes(flipped), check_crc=False, max_pixels=4096)
        except FormatError:
            continue
        survivors += 1
        header = dec.parse(bytes(flipped), check_crc=False).header
        assert other.shape == (header.height, header.width, header.channels)
        if bit >= 8 * (len(data) - 4):
            np.testing.assert_array_equal(other, picture)
    assert survivors >= 32


def test_body_is_valid():
    assert dec.decode(body()).tolist() == [[[0]]]
    assert dec.decode(body(flags=8, extensions=b"\x01\x08\x01z")).shape == (1, 1, 1)


def test_crc():
    data = bytearray(body())
    data[-1] ^= 1
    with pytest.raises(FormatError, match="CRC differs"):
        dec.decode(bytes(data))
    dec.decode(bytes(data), check_crc=False)


def test_max_pixels():
    data = enc.encode(make_file(11, 4, 8))
    assert dec.decode(data, max_pixels=32).shape == (4, 8, 3)
    with pytest.raises(FormatError, match="too large: picture of 8 x 4"):
        dec.decode(data, max_pixels=31)


def test_ranges_of_weights_and_biases():
    with pytest.raises(FormatError, match="a weight of synthesis layer 0 exceeds"):
        dec.parse(enc.encode(one_layer_file(weight=0, residual=True)))
    dec.parse(enc.encode(one_layer_file(weight=-1, residual=True)))
    for eb, valid in [(8, True), (7, False), (0, False)]:
        # A = 15 + 8 and the bias 32767 * 2^(23 - eb).
        data = enc.encode(one_layer_file(bias=32767, exponents=(15, 15, 15, eb)))
        if valid:
            dec.parse(data)
        else:
            with pytest.raises(FormatError, match="a bias of synthesis layer 0 exceeds"):
                dec.parse(data)


def test_ranges_of_coded_values():
    with pytest.raises(FormatError, match="corrupt: parameter 32768"):
        dec.parse(enc.encode(one_layer_file(bias=32768)))
    for value in (-32769, 32768):
        with pytest.raises(FormatError, match=f"corrupt: latent {value}"):
            dec.parse(enc.encode(one_layer_file(latent=value)))
