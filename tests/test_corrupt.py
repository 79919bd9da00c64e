"""Damaged and hostile input: an error or a whole picture, in bounded time and memory."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.random import RandomState

import reference_decoder as dec
import reference_encoder as enc
from coolchic import DecodeError, decode, info
from coolchic._decoder import decode_bytes
from file_builder import body, described, make_file, small_file, weight_fields
from fresh_process import cost_of_decoding
from make_vectors import VECTORS

SMALL = {
    "small": enc.encode(small_file()),
    "photo": (VECTORS / "photo_rgb_fine.cool").read_bytes(),
    "rich": (VECTORS / "rich_2_channels.cool").read_bytes(),
}
MAX_PIXELS = 1 << 14
"""Keeps the time of files whose sides were hit short."""

small_files = pytest.mark.parametrize("data", SMALL.values(), ids=SMALL.keys())


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def picture_or_none(decoder, data: bytes) -> np.ndarray | None:
    try:
        return decoder(data, check_crc=False, max_pixels=MAX_PIXELS)
    except (DecodeError, dec.FormatError):
        return None


def assert_alike(data: bytes) -> bool:
    """Both decoders give the same pixels, or an error. Returns whether there are pixels."""
    picture, reference = picture_or_none(decode_bytes, data), picture_or_none(dec.decode, data)
    assert (picture is None) == (reference is None)
    if picture is None:
        return False
    np.testing.assert_array_equal(picture, reference)
    return True


@small_files
def test_truncation_at_every_byte(data):
    for size in range(len(data)):
        for check_crc in (True, False):
            with pytest.raises(DecodeError):
                decode_bytes(data[:size], check_crc=check_crc)
        with pytest.raises(DecodeError):
            info(data[:size])


def test_truncation_with_a_valid_checksum():
    data = SMALL["small"][:-4]
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            decode_bytes(enc.seal(data[:size]))


@small_files
def test_every_bit_flip_is_noticed(data):
    for bit in range(8 * len(data)):
        with pytest.raises(DecodeError):
            decode_bytes(flipped(data, bit))


@small_files
def test_every_bit_flip_without_the_checksum(data):
    pictures = 0
    for bit in range(8 * len(data)):
        picture = picture_or_none(decode_bytes, flipped(data, bit))
        if picture is None:
            continue
        pictures += 1
        header = dec.read_header(dec.Reader(flipped(data, bit)), MAX_PIXELS)
        assert picture.shape == (header.height, header.width, header.channels)
        assert picture.dtype == np.uint8
    assert pictures >= 32, "flips in the checksum itself do no harm"


@small_files
def test_bit_flips_decode_alike(data):
    bits = range(8 * len(data)) if len(data) < 200 else range(0, 8 * len(data), 67)
    assert sum(assert_alike(flipped(data, bit)) for bit in bits)


def test_several_damaged_bytes_decode_alike():
    rng = RandomState(0)
    names = ["paper_3_channels", "eight_layers", "escapes_300", "context_8", "extensions"]
    names += ["rich_far", "rich_bands", "filtered_1x1", "convolutions_1_channels_3"]
    for name in names:
        data = np.frombuffer((VECTORS / f"{name}.cool").read_bytes(), np.uint8)
        for _ in range(60):
            damaged = data.copy()
            where = rng.randint(len(data), size=rng.randint(1, 5))
            damaged[where] = rng.randint(256, size=len(where))
            assert_alike(damaged.tobytes())


def test_random_bytes():
    rng = RandomState(1)
    for size in range(1, 400):
        noise = rng.bytes(size)
        starts = (dec.MAGIC + bytes([version]) for version in (1, 2, 3))
        for data in (noise, dec.MAGIC + noise, *(start + noise for start in starts)):
            with pytest.raises(DecodeError):
                decode_bytes(data)


def test_random_sections_after_valid_ones():
    rng = RandomState(2)
    file = replace(small_file(), coded=(True, True))
    header = enc.write_header(file.header) + enc.write_extensions(file.extensions)
    weights = enc.write_weights(file)
    valid = header + enc.varint(len(weights)) + weights
    for _ in range(400):
        latents = b"\x00\x03\x01" + rng.bytes(2 * rng.randint(2, 40) + 1)
        assert not assert_alike(valid + enc.varint(len(latents)) + latents + bytes(4))
        assert not assert_alike(valid + rng.bytes(int(rng.randint(60))))
        assert not assert_alike(header + rng.bytes(int(rng.randint(60))))


def claim(width: int, height: int, grids: int = 1) -> bytes:
    """A file of these sides, all grids coded, with a state and no more of latents."""
    mask = (2**grids - 1).to_bytes(-(-grids // 8), "little")
    return body(
        sides=enc.varint(width - 1) + enc.varint(height - 1),
        architecture=described(grids=grids),
        weights=weight_fields(count=5 + grids),
        latents=b"\x00" + mask + bytes.fromhex("01000000"),
    )


def claim_of_modules(width: int, height: int) -> bytes:
    """The same with a parent, filters and a convolution."""
    grids = 3
    architecture = described(
        grids=grids, parents=b"\x88", upsampling=1, synthesis=b"\x00\x01\x01\x01"
    )
    count = 2 * 2 + 2 + grids + 1 + 9 + 1 + 4 * (grids - 1)
    return body(
        version=3,
        sides=enc.varint(width - 1) + enc.varint(height - 1),
        architecture=architecture,
        weights=weight_fields(count=count, groups=6),
        latents=b"\x00\x07" + bytes.fromhex("01000000"),
    )


HOSTILE = {
    "65536x65536": claim(65536, 65536),
    "11000x11000": claim(11000, 11000),
    "11000x11000, 16 grids": claim(11000, 11000, 16),
    "65536x2048, modules": claim_of_modules(65536, 2048),
    "65536x2048": claim(65536, 2048),
    "2048x65536": claim(2048, 65536),
    "sections of 4 GB": body()[:19] + b"\xff\xff\xff\xff\x0f",
    "an extension of 16 MB": body(flags=8, extensions=b"\x01\x02\x80\x80\x80\x08"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_huge_claims_cost_nothing(name):
    cost = cost_of_decoding(HOSTILE[name])
    assert cost.error
    assert cost.seconds < 0.5
    assert cost.kilobytes < 4096


def test_max_pixels():
    data = enc.encode(make_file(0, 4, 8))
    assert decode(data, max_pixels=32).shape == (4, 8, 3)
    for call in (decode, info, decode_bytes):
        with pytest.raises(DecodeError, match="8x4 exceeds the limit of 31 pixels"):
            call(data, max_pixels=31)
    with pytest.raises(DecodeError, match="limit of 134217728 pixels"):
        decode(claim(65536, 2049))


def test_buffers_of_any_type():
    data = SMALL["small"]
    expected = decode(data)
    for buffer in (
        bytearray(data),
        memoryview(data),
        memoryview(b"." + data)[1:],
        np.frombuffer(data, np.uint8),
    ):
        np.testing.assert_array_equal(decode(buffer), expected)
        assert info(buffer) == info(data)
    with pytest.raises(BufferError):
        decode(memoryview(data)[::2])


@pytest.mark.parametrize("value", [None, "text", 3, [1, 2], object()])
def test_what_is_not_bytes_is_a_type_error(value):
    with pytest.raises(TypeError):
        decode(value)
    with pytest.raises(TypeError):
        info(value)


def test_empty_input():
    for empty in (b"", bytearray(), np.empty(0, np.uint8)):
        with pytest.raises(DecodeError, match="not a coolchic file"):
            decode(empty)


def test_arguments_out_of_range():
    data = SMALL["small"]
    with pytest.raises(ValueError, match="threads"):
        decode(data, threads=-1)
    with pytest.raises(TypeError):
        decode(data, max_pixels=-1)


def test_messages_name_the_place():
    data = SMALL["small"]
    with pytest.raises(DecodeError, match=rf"byte {len(data) - 2}\)"):
        decode(data[:-2])
    offsets = []
    for section in ("weights", "latents"):
        name = f"bad_{section}_too_long.cool"
        with pytest.raises(DecodeError, match=f"{section} section, byte") as caught:
            decode((VECTORS / name).read_bytes())
        offsets.append(int(str(caught.value).rstrip(")").rsplit(" ", 1)[1]))
    assert all(a < b for a, b in pairwise(offsets))
