"""The decoder in C++ and the reference decoder agree, and so do the two encoders."""

import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

import reference_decoder as dec
import reference_encoder as enc
from coolchic import Architecture, DecodeError, _decoder, _encoder
from coolchic.bitstream import assemble, write_header
from damaged_vectors import bad
from file_builder import random_file
from make_vectors import PHOTOS, VECTORS, good

MANIFEST = json.loads((VECTORS / "manifest.json").read_text())
RANDOM_SEEDS = range(60)


def by_name(entries: list[dict]):
    return pytest.mark.parametrize("entry", entries, ids=[entry["name"] for entry in entries])


def read(entry: dict) -> bytes:
    return (VECTORS / f"{entry['name']}.cool").read_bytes()


@by_name(MANIFEST["good"])
def test_good_vectors(entry):
    data = read(entry)
    pictures = [
        _decoder.decode_bytes(data, threads=threads, cpu=cpu)
        for threads in (1, 2, 5)
        for cpu in _decoder.kernels()
    ]
    for samples in (*pictures, dec.decode(data)):
        assert samples.dtype == np.uint8
        assert list(samples.shape) == entry["shape"]
        assert hashlib.sha256(samples.tobytes()).hexdigest() == entry["sha256"]


@by_name(MANIFEST["bad"])
def test_bad_vectors(entry):
    data = read(entry)
    with pytest.raises(DecodeError, match=re.escape(entry["message"])):
        _decoder.decode_bytes(data)
    with pytest.raises(DecodeError, match=re.escape(entry["message"])):
        _decoder.inspect(data)
    with pytest.raises(dec.FormatError, match="^" + re.escape(entry["reference"])):
        dec.decode(data)


def test_vectors_are_those_of_their_generator():
    files = {name: enc.encode(file) for name, _, file in good()}
    files |= {f"bad_{name}": data for name, _, _, data in bad()}
    files |= {name: (VECTORS / f"{name}.cool").read_bytes() for name in PHOTOS}
    assert files == {path.stem: path.read_bytes() for path in VECTORS.glob("*.cool")}
    assert set(files) == {entry["name"] for entries in MANIFEST.values() for entry in entries}


def test_vectors_exercise_every_table_and_escape():
    """The good vectors use each table, and escapes on both sides at every scale index."""
    tables, escapes = set(), set()

    class Recorder(dec.Substream):
        def symbol(self, lane, s, f):
            tables.add((s, f))
            return super().symbol(lane, s, f)

        def escape(self, s):
            d = super().escape(s)
            escapes.add((s, d < 0))
            return d

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dec, "Substream", Recorder)
        for entry in MANIFEST["good"]:
            dec.parse(read(entry))
    assert len(tables) == 64 * 16
    assert len(escapes) == 64 * 2


@pytest.mark.parametrize("seed", RANDOM_SEEDS)
@pytest.mark.parametrize("modules", ["plain", "wavelet", "subbands"])
def test_random_files_decode_alike(seed, modules):
    data = enc.encode(random_file(seed, modules))
    expected = dec.decode(data)
    for cpu in _decoder.kernels():
        np.testing.assert_array_equal(_decoder.decode_bytes(data, cpu=cpu), expected)


def values_of(file: dec.ParsedFile) -> np.ndarray:
    """All parameters in the file's order."""
    values = enc.parameters_in_order(file.header.architecture, file.parameters)
    return np.concatenate([v.ravel() for _, v in values]).astype("i4")


def head(file: dec.ParsedFile) -> bytes:
    """What precedes the weights section."""
    header = enc.write_header(file.header)
    if file.header.has_extensions:
        header += enc.write_extensions(file.extensions)
    return header


def as_coded_by_encoder(file: dec.ParsedFile) -> dec.ParsedFile:
    """With what the encoder in C++ chooses itself: scales, default decoder, coded grids."""
    p = file.parameters
    section = _encoder.encode_weights(
        head(file), (p.f_arm, p.f_up, p.f_syn), p.exponents, values_of(file)
    )
    chosen = dec.read_weights(dec.Reader(section), file.header)
    coded = tuple(bool(np.any(grid)) for grid in file.latents)
    return replace(
        file,
        parameters=replace(p, scales=chosen.scales, default=chosen.default),
        coded=coded,
        lanes=file.lanes if any(coded) else 1,
        bands=file.bands if any(coded) else 1,
    )


def assert_same_sections(file: dec.ParsedFile) -> None:
    p = file.parameters
    weights = enc.write_weights(file)
    precision = (p.f_arm, p.f_up, p.f_syn)
    assert _encoder.encode_weights(head(file), precision, p.exponents, values_of(file)) == weights
    model = _encoder.Model(head(file), weights)
    grids = [grid.astype(np.int32) for grid in file.latents]
    section = model.encode_latents(grids, file.lanes, file.bands)
    assert section == enc.write_latents(file)
    np.testing.assert_array_equal(model.synthesise(grids), dec.reconstruct(file))

    # The initial state of a lane takes 4 bytes, of which it gives back at most 2.
    substreams = len(list(dec.substreams_of(file.header, file.coded, file.bands)))
    allowance = 12 + (4 * file.lanes + 4) * substreams
    estimate = sum(model.latent_bits(grids)) / 8
    assert estimate - 1 <= len(section) <= 1.005 * estimate + allowance


@pytest.mark.parametrize("seed", RANDOM_SEEDS)
@pytest.mark.parametrize("modules", ["plain", "wavelet", "subbands"])
def test_encoders_write_the_same_sections(seed, modules):
    assert_same_sections(as_coded_by_encoder(random_file(seed, modules)))


DEFAULTS = [(a, n) for a, count in dec.DEFAULT_DECODERS.items() for n in range(1, count + 1)]


@pytest.mark.parametrize(("architecture", "number"), DEFAULTS)
def test_encoders_find_the_default_decoder(architecture, number):
    (file,) = [file for name, _, file in good() if name == f"default_{architecture}_{number}"]
    file = as_coded_by_encoder(file)
    assert file.parameters.default == number
    assert_same_sections(file)


def test_default_decoders():
    for which in DEFAULTS:
        np.testing.assert_array_equal(_encoder.default_decoder(*which), dec.default_decoder(*which))
    for architecture, count in dec.DEFAULT_DECODERS.items():
        with pytest.raises(ValueError, match="no such default decoder"):
            _encoder.default_decoder(architecture, count + 1)


def test_scale_choice_is_the_cheapest():
    rng = np.random.default_rng(0)
    for spread in (0.01, 0.3, 2, 40, 900, 20000):
        values = np.rint(rng.laplace(0, spread, 50)).clip(-32767, 32767).astype(np.int32)
        costs = []
        for s in range(64):
            writer = enc.SubstreamWriter(1)
            bits = 0.0
            for d in values.tolist():
                writer.symbol(0, s, 8, d)
                writer.escape(s, d)
            for event in writer.events:
                bits += 15 - np.log2(event[3]) if event[0] == "symbol" else event[2]
            costs.append(bits)
        scale, bits = _encoder.best_scale(values)
        assert bits == pytest.approx(min(costs), rel=1e-5)
        assert costs[scale] == pytest.approx(min(costs), rel=1e-5)


def test_cheapest_latents():
    """The decoder refuses substreams too short for their grids, but not the shortest there are."""
    arch = Architecture(1, grids=1, context=((0, -1),), arm_hidden=(), synthesis_hidden=())
    header = write_header(arch, 1000, 2000)
    values = np.zeros(arch.parameters(), np.int32)
    values[-2:] = 1
    weights = _encoder.encode_weights(header, (8, 0, 8), (0, 0, 6, 1), values)
    model = _encoder.Model(header, weights)
    latents = np.zeros((1000, 2000), np.int32)
    latents[-1, -1] = 1
    section = model.encode_latents([latents], 1)
    assert len(section) < 60
    picture = _decoder.decode_bytes(assemble(header, weights, section))
    np.testing.assert_array_equal(picture, model.synthesise([latents]))
    assert (picture[0, 0], picture[-1, -1]) == (128, 132)
