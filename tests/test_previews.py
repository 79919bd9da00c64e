"""Previews, files that end early, and bands on several threads."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import RandomState
from PIL import Image

import reference_decoder as dec
import reference_encoder as enc
from coolchic import DecodeError, _decoder, _encoder, decode, info
from coolchic.architectures import with_modules
from coolchic.bitstream import assemble, band_count, substream_count, write_header
from coolchic.cli import decode_main
from coolchic.config import Architecture
from file_builder import make_file, random_file
from fresh_process import cost_of_decoding
from make_vectors import VECTORS, rich, wavelet

NAMES = ["photo_rgb", "grids_16", "bands_paper", "bands_of_latents_21", "size_1x40", "one_layer"]
NAMES += ["rich_bands", "rich_far", "rich_1_channels", "filtered_130x2", "filtered_16_grids"]
NAMES += ["parents_stagger_8", "parents_bands_gaps", "convolutions_4_channels_2"]
NAMES += ["wavelet_bands_9", "wavelet_16_grids", "wavelet_4_grids", "wavelet_gaps_101111"]


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.cool").read_bytes()


def with_fewer_grids(data: bytes, first: int) -> np.ndarray:
    """The picture if the grids below `first` were zero, by the reference decoder."""
    file = dec.parse(data, scale=first)
    return dec.reconstruct(file)


# Previews


@pytest.mark.parametrize("name", NAMES)
def test_previews_at_every_scale(name):
    data = vector(name)
    header = dec.parse(data).header
    for scale in range(header.architecture.level(header.architecture.grids - 1) + 1):
        expected = dec.decode(data, scale=scale)
        assert expected.shape[:2] == dec.grid_shape(header.height, header.width, scale)
        for cpu in _decoder.kernels():
            np.testing.assert_array_equal(decode(data, scale=scale, cpu=cpu), expected)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("modules", ["plain", "wavelet", "subbands"])
def test_previews_of_random_files(seed, modules):
    file = random_file(seed, modules)
    data = enc.encode(file)
    for scale in (1, 3):
        if scale <= file.header.architecture.level(file.header.architecture.grids - 1):
            np.testing.assert_array_equal(decode(data, scale=scale), dec.decode(data, scale=scale))


def test_a_preview_is_the_picture_of_its_grids():
    """The definition of section 12.1, with zeros as weights of the inputs left out."""
    file = make_file(5, 21, 34, known=0, spread=2.0)
    k = 2
    (w, b), *others = file.parameters.synthesis
    grids = file.header.architecture.grids - k
    architecture = replace(file.header.architecture, grids=grids)
    height, width = dec.grid_shape(21, 34, k)
    header = replace(
        file.header, height=height, width=width, architecture_id=255, architecture=architecture
    )
    smaller = replace(
        file,
        header=header,
        parameters=replace(file.parameters, synthesis=[(w[:, k:], b), *others]),
        coded=file.coded[k:],
        latents=file.latents[k:],
    )
    np.testing.assert_array_equal(decode(enc.encode(file), scale=k), decode(enc.encode(smaller)))


def test_a_preview_looks_like_the_picture():
    data = vector("photo_rgb")
    whole = Image.fromarray(decode(data))
    preview = decode(data, scale=1)
    height, width = preview.shape[:2]
    assert (width, height) == (whole.width // 2, whole.height // 2)
    shrunk = np.asarray(whole.resize((width, height), Image.Resampling.BOX), float)
    error = np.mean((preview - shrunk) ** 2)
    assert error < 0.5 * np.var(shrunk)


def test_a_preview_does_not_read_finer_grids():
    """Noise in place of the finest grid's bands does not matter, nor what is in a last grid."""
    file = make_file(8, 40, 30, 3, 3, bands=4, spread=2.0)
    data = enc.encode(file)
    finest = enc.encode(replace(file, coded=(True, False, False)))
    section = len(enc.write_latents(replace(file, coded=(True, False, False))))
    assert len(finest) > section > 200
    damaged = bytearray(data)
    for i in range(4, 100):
        damaged[-i - 1] ^= 0x55
    with pytest.raises(DecodeError):
        _decoder.decode_bytes(bytes(damaged), check_crc=False)
    np.testing.assert_array_equal(
        _decoder.decode_bytes(bytes(damaged), check_crc=False, scale=1), decode(data, scale=1)
    )


@pytest.mark.parametrize("scale", [7, 8, 1000])
def test_scales_beyond_the_grids(scale):
    with pytest.raises(DecodeError, match=f"no scale {scale} of 7"):
        decode(vector("photo_rgb"), scale=scale)


def test_negative_scale():
    with pytest.raises(ValueError, match="scale must not be negative"):
        decode(vector("photo_rgb"), scale=-1)


# Files that end early


def latents_start(data: bytes) -> int:
    """Where the section's substreams begin, its layout read."""
    reader = dec.Reader(data)
    header = dec.read_header(reader, 2**27)
    if header.has_extensions:
        dec.read_extensions(reader)
    reader.section("weights section")
    reader.varint("length")
    return reader.pos


CUT = ["photo_rgb", "bands_paper", "bands_of_latents_4", "small", "rich_bands", "rich_far"]


@pytest.mark.parametrize("name", CUT)
def test_every_truncation(name):
    """Each gives the picture of some of the grids, ever more of them, or an error."""
    data = vector(name)
    file = dec.parse(data)
    coded = [k for k in range(len(file.coded)) if file.coded[k]]
    by_grids = {k: with_fewer_grids(data, k) for k in coded}
    whole = len(file.coded)
    sizes = [*range(0, len(data), 1 + len(data) // 300), len(data) - 4, len(data) - 1]
    for size in sorted(sizes):
        cut = data[:size]
        with pytest.raises(DecodeError):
            decode(cut)
        try:
            pictures = [
                decode(cut, allow_partial=True, threads=threads, cpu=cpu)
                for threads in (1, 3)
                for cpu in _decoder.kernels()
            ]
        except DecodeError as error:
            assert "truncated" in str(error) or "not a coolchic file" in str(error)
            assert whole == len(file.coded), "fewer bytes gave a picture"
            continue
        assert size > latents_start(data)
        matching = [k for k in coded if np.array_equal(pictures[0], by_grids[k])]
        assert matching
        whole = min(whole, max(matching))
        for picture in pictures[1:]:
            np.testing.assert_array_equal(picture, pictures[0])
    assert whole == coded[0], "without its checksum alone, a file has all its grids"


def test_a_whole_file_may_be_partial_too():
    data = vector("photo_rgb")
    np.testing.assert_array_equal(decode(data, allow_partial=True), decode(data))
    with pytest.raises(DecodeError, match="checksum"):
        decode(bytes([*data[:-1], data[-1] ^ 1]), allow_partial=True)
    with pytest.raises(DecodeError, match="after the end"):
        decode(data + b"\0", allow_partial=True)


def test_partial_previews():
    data = vector("photo_rgb")
    cut = data[: len(data) // 2]
    complete = next(
        k
        for k in range(7)
        if np.array_equal(decode(cut, allow_partial=True), with_fewer_grids(data, k))
    )
    assert complete > 0
    for scale in range(complete, 7):
        np.testing.assert_array_equal(
            decode(cut, allow_partial=True, scale=scale), decode(data, scale=scale)
        )


def test_huge_claims_of_cut_files_cost_nothing():
    head = write_header(Architecture(), 8192, 16000)
    values = np.zeros(Architecture().parameters(), np.int32)
    weights = _encoder.encode_weights(head, (8, 8, 8), (0, 0, 0, 0), values)
    start = head + enc.varint(len(weights)) + weights + enc.varint(10**6)
    for layout in (b"\x03\x7f", b"\x07\x7f\x80\x20" + b"\x90\x4e" * 60):
        for rest in (b"", b"\x01\x00" * 9):
            cost = cost_of_decoding(start + layout + rest, allow_partial=True)
            assert "truncated" in cost.error
            assert cost.seconds < 0.5
            assert cost.kilobytes < 4096


# Bands


def test_band_counts():
    assert [band_count(*shape) for shape in [(1, 1), (512, 768), (1023, 1024)]] == [1, 1, 1]
    assert [band_count(*shape) for shape in [(1024, 1024), (3072, 4096), (1, 65536)]] == [2, 24, 1]
    for arch, known in [
        (Architecture(), dec.paper_architecture(3)),
        (Architecture(grids=3), replace(dec.paper_architecture(3), grids=3)),
        (
            with_modules(3, context=8, arm=(8, 8), synthesis=(9,), convolutions=0, wavelet=True),
            wavelet(3, 9),
        ),
    ]:
        header = dec.Header(4096, 3072, 3, 8, False, 0, known, 4)
        coded = (True,) * known.grids
        for bands in (1, 2, 3, 4, 7, 8, 16, 24, 100):
            substreams = list(dec.substreams_of(header, coded, bands))
            assert substream_count(arch, bands) == len(substreams)


@pytest.mark.parametrize(
    "architecture", [None, rich(3, count=2), wavelet(3)], ids=["paper", "rich", "wavelet"]
)
@pytest.mark.parametrize("bands", [2, 3, 8, 37])
def test_bands_and_threads(bands, architecture):
    """Larger than the vectors: bands wait for each other, rows are shared."""
    paper = architecture is None
    known = 0 if paper else None
    file = make_file(bands, 150, 260, known=known, architecture=architecture, spread=0.7)
    header = enc.write_header(replace(file.header, version=2 if paper else 4))
    p = file.parameters
    in_order = enc.parameters_in_order(file.header.architecture, p)
    values = np.concatenate([v.ravel() for _, v in in_order])
    precision = (p.f_arm, p.f_up, p.f_syn)
    weights = _encoder.encode_weights(header, precision, p.exponents, values.astype(np.int32))
    model = _encoder.Model(header, weights)
    grids = [grid.astype(np.int32) for grid in file.latents]
    data = assemble(header, weights, model.encode_latents(grids, 8, bands))
    assert info(data)["bands"] == bands
    assert sum(info(data)["bytes"].values()) == len(data)
    expected = model.synthesise(grids)
    for threads in (1, 2, 3, 8):
        for cpu in _decoder.kernels():
            np.testing.assert_array_equal(decode(data, threads=threads, cpu=cpu), expected)


@pytest.mark.parametrize("name", ["bands_of_latents_21", "parents_bands_24"])
def test_damage_in_a_band_is_told_alike_by_any_number_of_threads(name):
    data = vector(name)
    rng = RandomState(4)
    start = latents_start(data)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[rng.randint(start, len(data) - 4)] ^= 1 << rng.randint(8)
        results = set()
        for threads in (1, 2, 6):
            try:
                picture = _decoder.decode_bytes(bytes(damaged), check_crc=False, threads=threads)
                results.add(picture.tobytes())
            except DecodeError as error:
                results.add(str(error))
        assert len(results) == 1


def test_bands_need_version_2():
    file = make_file(1, 9, 9, known=0)
    model = _encoder.Model(enc.write_header(file.header), enc.write_weights(file))
    grids = [grid.astype(np.int32) for grid in file.latents]
    with pytest.raises(ValueError, match="version 2"):
        model.encode_latents(grids, 1, 2)
    for bands in (0, 10):
        with pytest.raises(ValueError, match="bands out of range"):
            model.encode_latents(grids, 1, bands)


# The command


def test_command(tmp_path, capsys):
    data = vector("photo_rgb")
    source, out = tmp_path / "a.cool", tmp_path / "a.png"
    source.write_bytes(data)
    for cpu in ("auto", *_decoder.kernels()):
        assert decode_main([str(source), str(out), "--scale", "1/4", "--cpu", cpu]) == 0
        np.testing.assert_array_equal(np.asarray(Image.open(out)), decode(data, scale=2))
    source.write_bytes(data[:-100])
    out.unlink()
    assert decode_main([str(source), str(out)]) == 1
    assert "truncated" in capsys.readouterr().err
    assert not out.exists()
    assert decode_main([str(source), str(out), "--allow-partial"]) == 0
    np.testing.assert_array_equal(
        np.asarray(Image.open(out)), decode(data[:-100], allow_partial=True)
    )
    assert decode_main([str(source), str(out), "--cpu", "abacus"]) == 1
    assert "no kernels 'abacus'" in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["3", "1/3", "2/4", "1/0", "0.5", "", "1/-2", "x"])
def test_command_refuses_other_scales(scale, capsys):
    with pytest.raises(SystemExit):
        decode_main(["a.cool", "a.png", f"--scale={scale}"])
    assert "--scale" in capsys.readouterr().err
