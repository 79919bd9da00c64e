"""The Python interface: what goes in, what comes out, what is refused, what is imported."""

import io
import json
import re
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coolchic import (
    Architecture,
    DecodeError,
    Layer,
    _encoder,
    decode,
    encode,
    encode_image,
    info,
)
from coolchic._decoder import decode_bytes, profile
from coolchic.bitstream import assemble, write_header
from coolchic.metrics import psnr
from fresh_process import cost_of_decoding
from make_vectors import VECTORS
from pictures import waves

ODD_IMAGES = Path(__file__).parent.parent.parent / "shared" / "images" / "odd"


def black_file(height: int, width: int, arch: Architecture | None = None) -> bytes:
    """A file of zeros, without training."""
    arch = arch or Architecture()
    header = write_header(arch, height, width)
    values = np.zeros(arch.parameters(), np.int32)
    weights = _encoder.encode_weights(header, (8, 8, 8), (0, 0, 0, 0), values)
    grids = [np.zeros(shape, np.int32) for shape in arch.grid_shapes(height, width)]
    latents = _encoder.Model(header, weights).encode_latents(grids, 1)
    return assemble(header, weights, latents)


def quick(image, **arguments) -> bytes:
    return encode(image, **{"iterations": 6, "threads": 1, **arguments})


# Imports and threads


def test_decoding_does_not_import_torch():
    script = """
import sys
import coolchic
data = sys.stdin.buffer.read()
coolchic.decode(data)
coolchic.info(data)
assert not [name for name in sys.modules if name.split(".")[0] in ("torch", "PIL", "tqdm")]
assert {"encode", "decode", "info", "Architecture"} <= set(dir(coolchic))
assert coolchic.Architecture().parameters() == 629
assert "torch" not in sys.modules
coolchic.encode
assert "torch" in sys.modules
"""
    data = (VECTORS / "photo_rgb.cool").read_bytes()
    subprocess.run([sys.executable, "-c", script], input=data, check=True)


def test_decoding_releases_the_gil():
    data = black_file(5000, 5000)
    worker = threading.Thread(target=decode_bytes, args=(data,), kwargs={"threads": 1})
    worker.start()
    turns = 0
    while worker.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 10


@pytest.mark.parametrize("name", ["bands", "photo_rgb", "photo_grey", "size_31x33"])
def test_results_do_not_depend_on_threads(name):
    data = (VECTORS / f"{name}.cool").read_bytes()
    one = decode(data, threads=1)
    for threads in (2, 3, 1000, 0):
        np.testing.assert_array_equal(decode(data, threads=threads), one)


def test_many_decoders_at_once():
    data = (VECTORS / "photo_rgb.cool").read_bytes()
    expected, results = decode(data), []
    workers = [threading.Thread(target=lambda: results.append(decode(data))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 8
    for result in results:
        np.testing.assert_array_equal(result, expected)


def test_memory_of_decoding():
    side = 1500
    cost = cost_of_decoding(black_file(side, side))
    assert cost.error is None
    assert 2 < 1024 * cost.kilobytes / side**2 < 20


# Encoding


def test_seeds():
    image = waves(20, 24)
    first = quick(image, seed=3)
    assert quick(image, seed=3) == first
    assert quick(image, seed=4) != first


GREY, RGB = waves(24, 17, 1), waves(24, 17)


@pytest.mark.parametrize(
    ("image", "channels"),
    [
        (GREY[:, :, 0], 1),
        (GREY, 1),
        (RGB, 3),
        (RGB[::-1, ::-1], 3),
        (Image.fromarray(GREY[:, :, 0]), 1),
        (Image.fromarray(RGB), 3),
    ],
    ids=["(H, W)", "(H, W, 1)", "(H, W, 3)", "reversed view", "PIL L", "PIL RGB"],
)
def test_pictures_of_every_kind(image, channels):
    samples = np.asarray(image).reshape(24, 17, channels)
    encoded = encode_image(image, lmbda=1e-4, iterations=60, threads=1)
    decoded = decode(encoded.data)
    assert decoded.shape == samples.shape
    assert encoded.psnr == pytest.approx(psnr(decoded, samples), abs=1e-9)
    error = np.mean(np.square(decoded.astype(np.float64) - samples))
    assert encoded.psnr == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)
    assert encoded.psnr > 30
    assert encoded.bpp == 8 * len(encoded.data) / (24 * 17)
    assert (encoded.iterations, encoded.stopped) == (60, False)
    assert encode(image, lmbda=1e-4, iterations=60, threads=1) == encoded.data


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 3), (2, 130)])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes(shape, channels):
    image = waves(*shape, channels)
    assert decode(quick(image)).shape == (*shape, channels)


def test_extreme_pictures():
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for image in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        encoded = encode_image(image, iterations=100, threads=1)
        assert decode(encoded.data).shape == image.shape
        flat = np.ptp(image) == 0
        assert encoded.psnr > (25 if flat else 5)


def test_stopping_early():
    calls = []
    encoded = encode_image(
        waves(16, 16),
        iterations=500,
        threads=1,
        on_progress=calls.append,
        should_stop=lambda: bool(calls) and calls[-1].iteration >= 20,
    )
    assert encoded.stopped
    assert encoded.iterations == calls[-1].iteration < 500
    assert calls[-1].total == 500
    assert calls[-1].losses.bpp > 0
    assert decode(encoded.data).shape == (16, 16, 3)


def test_phases():
    phases = []
    encode_image(
        waves(16, 16), size=300, arch="auto", iterations=40, threads=1, on_phase=phases.append
    )
    first = ["trials", "start", "training", "latent search", "training"]
    searches = ["latent search", "parameter search", "latent search"]
    assert phases == [*first, "quantisation", *searches, "landing"]


def test_other_architecture():
    arch = Architecture(
        grids=4,
        context=((1, -1), (1, 0), (1, 1), (2, 3), (0, -2), (0, -1)),
        arm_hidden=(Layer(16), Layer(5)),
        synthesis_hidden=(Layer(5), Layer(16)),
    )
    image = waves(21, 30)
    encoded = encode_image(image, arch=arch, iterations=60, threads=1)
    assert encoded.psnr == psnr(decode(encoded.data), image)
    told = info(encoded.data)["architecture"]
    assert told["grids"] == 4
    assert told["context"] == [list(position) for position in arch.context]
    layers = told["arm"] + told["synthesis"]
    assert [layer["outputs"] for layer in layers] == [16, 5, 2, 5, 16, 3]
    assert not any(layer["residual"] for layer in layers)
    assert info(encoded.data)["parameters"] == arch.parameters()


@pytest.mark.parametrize(
    ("image", "arguments", "message"),
    [
        (RGB.astype(np.float32), {}, "uint8, not float32"),
        (RGB.astype(np.uint16), {}, "uint8, not uint16"),
        (RGB > 3, {}, "uint8, not bool"),
        (RGB[:, :, :2], {}, r"not \(24, 17, 2\)"),
        (np.zeros((4, 4, 4), np.uint8), {}, r"not \(4, 4, 4\)"),
        (np.zeros(4, np.uint8), {}, "shape must be"),
        (np.zeros((0, 4, 3), np.uint8), {}, "empty"),
        (np.zeros((1, 65537), np.uint8), {}, "65537x1"),
        (RGB, {"lmbda": 0}, "lambda"),
        (RGB, {"lmbda": -1e-3}, "lambda"),
        (RGB, {"lmbda": float("nan")}, "lambda"),
        (RGB, {"lmbda": float("inf")}, "lambda"),
        (RGB, {"preset": "best"}, "preset 'best'; there are fast, medium, slow"),
        (RGB, {"iterations": 0}, "iterations"),
        (RGB, {"device": "tpu"}, "device 'tpu'"),
        (RGB, {"arch": Architecture(channels=1)}, "3 channels, the architecture 1"),
    ],
)
def test_refused_arguments(image, arguments, message):
    with pytest.raises(ValueError, match=message):
        quick(image, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"channels": 5},
        {"grids": 17},
        {"context": ()},
        {"context": ((0, 0),)},
        {"context": ((8, 0),)},
        {"arm_hidden": (Layer(3),) * 8},
        {"synthesis_hidden": (Layer(8, residual=True),)},
        {"synthesis_hidden": (Layer(64),) * 7, "arm_hidden": (Layer(64),) * 7},
        {"upsampling": "nearest"},
    ],
)
def test_architectures_beyond_the_format(arguments):
    with pytest.raises(ValueError):
        Architecture(**arguments)
    with pytest.raises(ValueError):
        Layer(65)
    with pytest.raises(ValueError):
        Layer(3, activation="tanh")


# Pictures that are not 8-bit grey or RGB


def png(depth: int, colour_type: int, row: bytes, width: int) -> bytes:
    """A PNG of one row, for the kinds that Pillow reads but does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"\0" + row)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def saved(mode: str, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(out, form, **options)
    return out.getvalue()


OTHER_FRAME = {"save_all": True, "append_images": [Image.fromarray(RGB[::-1])]}
ODD = {
    "16-bit grey PNG": (png(16, 0, bytes(4), 2), "16 bits"),
    "16-bit RGB PNG": (png(16, 2, bytes(12), 2), "16 bits"),
    "4-bit grey PNG": (png(4, 0, b"\x12", 2), "4 bits per sample"),
    "2-bit grey PNG": (png(2, 0, b"\x1b", 4), "2 or 4 bits"),
    "16-bit PPM": (b"P6 1 1 65535\n" + bytes(6), "65535"),
    "10-bit PPM": (b"P6 1 1 1023\n" + bytes(6), "1023"),
    "4-bit PGM": (b"P5 2 1 15\n\x01\x02", "15"),
    "16-bit PGM": (b"P5 1 1 65535\n" + bytes(2), "16 bits"),
    "16-bit plain PPM": (b"P3 1 1 65535 1 2 3\n", "65535"),
    "palette": (saved("P"), "palette"),
    "RGBA": (saved("RGBA"), "RGB and alpha"),
    "LA": (saved("LA"), "grey and alpha"),
    "1-bit": (saved("1"), "1 bit"),
    "RGB with tRNS": (saved("RGB", transparency=(1, 2, 3)), "transparent colour"),
    "grey with tRNS": (saved("L", transparency=7), "transparent colour"),
    "CMYK JPEG": (saved("CMYK", "JPEG"), "CMYK"),
    "float TIFF": (saved("F", "TIFF"), "floating-point"),
    "animated GIF": (saved("RGB", "GIF", **OTHER_FRAME), "palette|frames"),
    "animated PNG": (saved("RGB", "PNG", **OTHER_FRAME), "frames"),
    "TIFF of two pages": (saved("RGB", "TIFF", **OTHER_FRAME), "frames"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_are_refused(name):
    data, reason = ODD[name]
    with pytest.raises(ValueError, match=reason):
        quick(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("form", ["PNG", "PPM", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_plain_pictures_are_taken(form, mode):
    picture = Image.open(io.BytesIO(saved(mode, form)))
    assert decode(quick(picture)).shape == (24, 17, 1 if mode == "L" else 3)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("basn0g01.png", "1 bit"),
        ("basn0g16.png", "16 bits"),
        ("basn2c16.png", "16 bits"),
        ("basn3p04.png", "palette"),
        ("basn4a08.png", "grey and alpha"),
        ("basn4a16.png", "16 bits|alpha"),
        ("basn6a08.png", "RGB and alpha"),
        ("s01n3p01.png", "palette"),
        ("tbbn2c16.png", "16 bits|transparent"),
        ("weld_16bit.png", "16 bits"),
    ],
)
def test_odd_images_of_others_are_refused(name, reason):
    path = ODD_IMAGES / name
    if not path.exists():
        pytest.skip(f"{path} is not there: the collection of odd images is kept elsewhere")
    with pytest.raises(ValueError, match=reason):
        quick(Image.open(path))


# Information


def test_complexity_of_the_paper():
    told = info(black_file(512, 768))
    assert told["parameters"] == 629
    assert told["mac_per_pixel"]["arm + synthesis"] == pytest.approx(679.97, abs=0.01)
    assert told["mac_per_pixel"]["synthesis"] == 264
    assert (told["width"], told["height"], told["channels"]) == (768, 512, 3)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.cool")), ids=lambda path: path.stem)
def test_info_of_vectors(path):
    data = path.read_bytes()
    try:
        shape = decode(data).shape
    except DecodeError as error:
        with pytest.raises(DecodeError, match=re.escape(str(error))):
            info(data)
        return
    told = info(data)
    assert (told["height"], told["width"], told["channels"]) == shape
    assert sum(told["bytes"].values()) == told["total_bytes"] == len(data)
    assert min(told["bytes"].values()) >= 0
    assert told["bpp"] == 8 * len(data) / (shape[0] * shape[1])
    assert json.loads(json.dumps(told)) == told
    assert set(profile(data)) == {"weights", "latents", "upsampling", "synthesis"}


def test_fixed_overhead():
    encoded = encode_image(waves(48, 64), iterations=100, threads=1)
    told = info(encoded.data)
    assert told["lanes"] == 1
    names = ["header", "section lengths and checksum"]
    size = sum(told["bytes"][name] for name in names)
    # Of the 4 bytes of the initial state, 2 carry latents (bitstream section 8.1).
    size += told["bytes"]["latents: layout and states"] - 2
    assert size <= 24
    assert told["bytes"]["header"] <= 11


def test_estimate_of_the_size():
    encoded = encode_image(waves(48, 64), iterations=150, threads=1)
    allowance = 0.005 * encoded.estimate_bytes + 40
    assert abs(len(encoded.data) - encoded.estimate_bytes) <= allowance


def test_functions_are_not_hidden_by_modules():
    code = (
        "import coolchic; coolchic.encode_image; import coolchic.encoder, coolchic.decoder;"
        "assert callable(coolchic.encode) and callable(coolchic.decode)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
