"""The library for C as it is installed: package, example, functions, coolchic-dec."""

import ctypes
import io
import json
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import coolchic
from coolchic import DecodeError
from coolchic._decoder import decode_bytes
from make_vectors import VECTORS

ROOT = Path(__file__).parents[1]
HEADER = ROOT / "include" / "coolchic" / "coolchic.h"
CITY = ROOT / "examples" / "city.cool"
MANIFEST = json.loads((VECTORS / "manifest.json").read_text())
STATUSES = dict(re.findall(r"COOLCHIC_(\w+) = (\d+)", HEADER.read_text()))
STATUSES = {name: int(value) for name, value in STATUSES.items()}
CLASSES = {  # of section 14, as the manifest names them
    "not a coolchic file": "NOT_COOLCHIC",
    "unsupported": "UNSUPPORTED",
    "invalid": "INVALID",
    "truncated": "TRUNCATED",
    "trailing data": "TRAILING",
    "CRC differs": "CHECKSUM",
    "corrupt": "CORRUPT",
    "too large": "TOO_LARGE",
}
BY_CHANNELS = {channels: f"paper_{channels}_channels" for channels in (1, 2, 3, 4)}


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.cool").read_bytes()


def check_run(*command) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Installed:
    """The library as an installation left it."""

    prefix: Path
    build: Path

    @property
    def program(self) -> Path:
        return self.prefix / "bin" / "coolchic-dec"

    @property
    def library(self) -> Path:
        (path,) = (p for p in self.prefix.rglob("libcoolchic.*") if p.suffix in (".so", ".dylib"))
        return path

    @property
    def compiler(self) -> str:
        cache = (self.build / "CMakeCache.txt").read_text()
        return re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE)[1]


def install(folder: Path, *options: str) -> Installed:
    if os.name != "posix":
        pytest.skip("the test looks for files where POSIX systems have them")
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        pytest.skip("there is no C++ compiler")
    installed = Installed(folder / "prefix", folder / "build")
    arguments = ("-DCOOLCHIC_PYTHON=OFF", f"-DCMAKE_INSTALL_PREFIX={installed.prefix}", *options)
    check_run("cmake", "-S", ROOT, "-B", installed.build, *arguments)
    check_run("cmake", "--build", installed.build, "--parallel", "2")
    check_run("cmake", "--install", installed.build)
    return installed


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Installed:
    return install(tmp_path_factory.mktemp("shared"), "-DBUILD_SHARED_LIBS=ON")


@pytest.fixture(scope="session")
def static(tmp_path_factory) -> Installed:
    options = ("-DBUILD_SHARED_LIBS=OFF", "-DCMAKE_BUILD_TYPE=Debug")
    return install(tmp_path_factory.mktemp("static"), *options)


# The package


@pytest.mark.parametrize("kind", ["static", "shared"])
def test_example_with_the_installed_package(kind, request, tmp_path):
    if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        pytest.skip("there is no C compiler")
    installed = request.getfixturevalue(kind)
    check_run(
        "cmake",
        *("-S", ROOT / "examples", "-B", tmp_path / "build"),
        f"-DCMAKE_PREFIX_PATH={installed.prefix}",
        "-DCMAKE_C_FLAGS=-Wall -Wextra -pedantic -Werror",
    )
    check_run("cmake", "--build", tmp_path / "build")
    decode = tmp_path / "build" / "decode"
    for path in (CITY, VECTORS / f"{BY_CHANNELS[4]}.cool"):
        expected = decode_bytes(path.read_bytes())
        height, width, channels = expected.shape
        printed = check_run(decode, path, tmp_path / "samples")
        assert printed == f"{width}x{height}, {channels} channels\n"
        samples = np.fromfile(tmp_path / "samples", np.uint8)
        np.testing.assert_array_equal(samples.reshape(expected.shape), expected)
    bad = subprocess.run([decode, VECTORS / "bad_crc.cool", tmp_path / "x"], capture_output=True)
    assert bad.returncode == 1
    assert bad.stderr.startswith(b"decode: checksum differs")


def test_header_is_plain_c_and_cpp(shared):
    for language in ("-xc", "-std=c99"), ("-xc++", "-std=c++11"):
        flags = ("-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only")
        check_run(shared.compiler, *language, *flags, HEADER)


def declared_functions() -> set[str]:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    return set(re.findall(r"\b(coolchic_\w+)\(", text))


def test_shared_library_exports_the_interface_only(shared):
    if not shutil.which("nm"):
        pytest.skip("nm is not installed")
    listing = check_run("nm", "-D", "--defined-only", shared.library)
    assert {line.split()[-1] for line in listing.splitlines()} == declared_functions()


def test_nothing_of_python_is_installed(shared):
    folders = {path.relative_to(shared.prefix).parts[0] for path in shared.prefix.rglob("*")}
    assert folders == {"bin", "include", shared.library.relative_to(shared.prefix).parts[0]}


# The functions


class Options(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("max_pixels", ctypes.c_uint64),
        ("threads", ctypes.c_int),
        ("ignore_checksum", ctypes.c_int),
        ("cpu", ctypes.c_char_p),
        ("scale", ctypes.c_int),
        ("allow_partial", ctypes.c_int),
    )

    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(type(self)), **fields)


class Info(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        *((n, ctypes.c_uint32) for n in ("width", "height", "channels", "bit_depth")),
        *((n, ctypes.c_uint32) for n in ("version", "sample_bytes")),
        *((n, ctypes.c_uint32) for n in ("grids", "partial")),
        *((n, ctypes.c_size_t) for n in ("row_bytes", "picture_bytes", "header_bytes")),
        *((n, ctypes.c_size_t) for n in ("weights_bytes", "latents_bytes", "file_bytes")),
    )

    def __init__(self):
        super().__init__(size=ctypes.sizeof(type(self)))


class NewerOptions(Options):
    """Of a caller that knows a field which the library does not."""

    _fields_ = (("brightness", ctypes.c_int64),)


class NewerInfo(Info):
    _fields_ = (("frames", ctypes.c_int64),)


@pytest.fixture(scope="session")
def library(shared) -> ctypes.CDLL:
    library = ctypes.CDLL(str(shared.library))
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, arguments in (
        ("coolchic_new", pointer, ()),
        ("coolchic_free", None, (pointer,)),
        ("coolchic_open", ctypes.c_int, (pointer, text, size, pointer, pointer)),
        ("coolchic_decode", ctypes.c_int, (pointer, pointer, size, size)),
        ("coolchic_message", text, (pointer,)),
        ("coolchic_cpu", text, (size,)),
        ("coolchic_version", text, ()),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Decoder:
    """The functions on one decoder, with statuses by name."""

    NAMES = {value: name for name, value in STATUSES.items()}

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.pointer = library.coolchic_new()
        assert self.pointer

    def open(self, data: bytes | None, options: Options | None = None, info: Info | None = None):
        return self._checked(
            self.library.coolchic_open(
                self.pointer,
                data,
                len(data or b""),
                options and ctypes.byref(options),
                info and ctypes.byref(info),
            )
        )

    def decode(self, samples: np.ndarray | None, size: int | None = None, stride: int = 0):
        address = None if samples is None else samples.ctypes.data
        size = samples.nbytes if size is None else size
        return self._checked(self.library.coolchic_decode(self.pointer, address, size, stride))

    def message(self) -> str:
        return self.library.coolchic_message(self.pointer).decode()

    def _checked(self, status: int) -> str:
        assert (status == 0) == (self.message() == "")
        return self.NAMES[status]


@pytest.fixture
def decoder(library):
    decoder = Decoder(library)
    yield decoder
    library.coolchic_free(decoder.pointer)


def cpus(library) -> list[bytes]:
    names = []
    while name := library.coolchic_cpu(len(names)):
        names.append(name)
    return names


def test_version(library):
    assert library.coolchic_version().decode() == coolchic.__version__


def test_good_vectors(library, decoder):
    names = cpus(library)
    assert names[-1] == b"scalar"
    assert len(set(names)) == len(names)
    for entry in MANIFEST["good"]:
        data = vector(entry["name"])
        expected = decode_bytes(data)
        for cpu in (None, *names):
            info = Info()
            assert decoder.open(data, Options(threads=1, cpu=cpu), info) == "OK"
            assert [info.height, info.width, info.channels] == entry["shape"]
            assert info.picture_bytes == expected.nbytes
            samples = np.empty(info.picture_bytes, np.uint8)
            assert decoder.decode(samples) == "OK"
            np.testing.assert_array_equal(samples.reshape(expected.shape), expected)


@pytest.mark.parametrize("entry", MANIFEST["bad"], ids=lambda entry: entry["name"])
def test_bad_vectors(decoder, entry):
    data = vector(entry["name"])
    status = decoder.open(data)
    if status == "OK":
        status = decoder.decode(np.empty(1 << 20, np.uint8))
    assert status == CLASSES[entry["reference"].split(":")[0]]
    with pytest.raises(DecodeError) as error:
        decode_bytes(data)
    assert decoder.message() == str(error.value)


def test_info(decoder):
    data, info = CITY.read_bytes(), Info()
    assert decoder.open(data, info=info) == "OK"
    fields = coolchic.info(data)
    names = ("width", "height", "channels", "version")
    assert [getattr(info, n) for n in names] == [fields[n] for n in names]
    assert (info.bit_depth, info.sample_bytes) == (fields["depth"], 1)
    assert info.row_bytes == info.width * info.channels
    assert info.picture_bytes == info.height * info.row_bytes
    sections = fields["bytes"]
    assert info.header_bytes == sections["header"]
    for name in ("weights", "latents"):
        expected = sum(size for key, size in sections.items() if key.startswith(name))
        assert getattr(info, f"{name}_bytes") == expected
    assert info.file_bytes == len(data)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_strided_buffer(decoder, threads):
    data, info = CITY.read_bytes(), Info()
    assert decoder.open(data, Options(threads=threads), info) == "OK"
    stride = info.row_bytes + 5
    size = (info.height - 1) * stride + info.row_bytes
    buffer = np.full(info.height * stride, 0xA5, np.uint8)
    assert decoder.decode(buffer, size - 1, stride) == "BAD_ARGUMENT"
    assert decoder.decode(buffer, size, stride) == "OK"
    rows = buffer.reshape(info.height, stride)
    expected = decode_bytes(data)
    np.testing.assert_array_equal(rows[:, : info.row_bytes], expected.reshape(info.height, -1))
    assert (rows[:, info.row_bytes :] == 0xA5).all()


def test_decoder_can_be_used_again(decoder):
    samples = np.empty(1 << 20, np.uint8)
    for name in ("photo_rgb", "bad_crc", "photo_grey"):
        if decoder.open(vector(name)) != "OK":
            assert decoder.decode(samples) == "BAD_ARGUMENT"
            assert decoder.message() == "no file is open"
            continue
        expected = decode_bytes(vector(name)).ravel()
        for _ in range(2):
            samples[:] = 0
            assert decoder.decode(samples) == "OK"
            np.testing.assert_array_equal(samples[: expected.size], expected)


def test_file_is_copied(decoder):
    data = bytearray(vector("photo_rgb"))
    view = (ctypes.c_char * len(data)).from_buffer(data)
    address, library = ctypes.cast(view, ctypes.c_char_p), decoder.library
    assert library.coolchic_open(decoder.pointer, address, len(data), None, None) == 0
    expected = decode_bytes(data)
    data[:] = bytes(len(data))
    samples = np.empty(expected.shape, np.uint8)
    assert decoder.decode(samples) == "OK"
    np.testing.assert_array_equal(samples, expected)


def test_bad_arguments(decoder):
    data, samples = vector("photo_rgb"), np.empty(1 << 20, np.uint8)
    assert decoder.decode(samples) == "BAD_ARGUMENT"
    assert decoder.open(None) == "BAD_ARGUMENT"
    assert decoder.open(data, Options(threads=-1)) == "BAD_ARGUMENT"
    assert decoder.open(data, Options(scale=-1)) == "BAD_ARGUMENT"
    assert decoder.open(data, Options(cpu=b"abacus")) == "BAD_ARGUMENT"
    assert "abacus" in decoder.message()
    without_size = Options()
    without_size.size = 0
    assert decoder.open(data, without_size) == "BAD_ARGUMENT"
    small = Info()
    small.size -= 1
    assert decoder.open(data, info=small) == "BAD_ARGUMENT"
    assert decoder.decode(samples) == "BAD_ARGUMENT"
    info = Info()
    assert decoder.open(data, info=info) == "OK"
    assert decoder.decode(None, 1 << 20) == "BAD_ARGUMENT"
    assert decoder.decode(samples, stride=info.row_bytes - 1) == "BAD_ARGUMENT"
    for size in (0, info.row_bytes - 1, info.picture_bytes - 1):
        assert decoder.decode(samples, size) == "BAD_ARGUMENT"
    assert decoder.decode(samples, stride=(1 << 64) - 1) == "BAD_ARGUMENT"
    assert decoder.decode(samples, info.picture_bytes) == "OK"


def test_no_decoder(library):
    nothing = np.empty(8, np.uint8)
    assert library.coolchic_open(None, b"", 0, None, None) == STATUSES["OUT_OF_MEMORY"]
    assert library.coolchic_decode(None, nothing.ctypes.data, 8, 0) == STATUSES["OUT_OF_MEMORY"]
    assert library.coolchic_message(None) == b"out of memory"
    library.coolchic_free(None)


def test_callers_newer_than_the_library(decoder):
    data, info = vector("photo_rgb"), NewerInfo()
    info.frames = -1
    assert decoder.open(data, NewerOptions(threads=1), info) == "OK"
    assert (info.width, info.file_bytes, info.frames) == (96, len(data), 0)
    assert info.size == ctypes.sizeof(NewerInfo)
    assert decoder.open(data, NewerOptions(brightness=2)) == "BAD_ARGUMENT"


def test_limit_of_pixels(decoder):
    data = vector("photo_rgb")
    pixels = 64 * 96
    assert decoder.open(data, Options(max_pixels=pixels)) == "OK"
    assert decoder.open(data, Options(max_pixels=pixels - 1)) == "TOO_LARGE"


def test_checksum_may_be_ignored(decoder):
    data = vector("photo_rgb")
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    expected = decode_bytes(data)
    samples = np.empty(expected.shape, np.uint8)
    assert decoder.open(damaged) == "CHECKSUM"
    assert decoder.open(damaged, Options(ignore_checksum=1)) == "OK"
    assert decoder.decode(samples) == "OK"
    np.testing.assert_array_equal(samples, expected)


def test_previews(decoder):
    data, info = CITY.read_bytes(), Info()
    for scale in range(7):
        expected = decode_bytes(data, scale=scale)
        assert decoder.open(data, Options(scale=scale), info) == "OK"
        assert (info.height, info.width, info.channels) == expected.shape
        samples = np.empty(expected.shape, np.uint8)
        assert decoder.decode(samples) == "OK"
        np.testing.assert_array_equal(samples, expected)
    assert info.grids == 7
    assert decoder.open(data, Options(scale=7)) == "UNSUPPORTED"


def test_cut_files(decoder):
    data = CITY.read_bytes()
    cut, info = data[: len(data) * 3 // 4], Info()
    assert decoder.open(cut) == "TRUNCATED"
    assert decoder.open(cut, Options(allow_partial=1), info) == "OK"
    assert (info.partial, info.file_bytes) == (1, len(cut))
    expected = decode_bytes(cut, allow_partial=True)
    samples = np.empty(expected.shape, np.uint8)
    assert decoder.decode(samples) == "OK"
    np.testing.assert_array_equal(samples, expected)
    assert decoder.open(data, Options(allow_partial=1), info) == "OK"
    assert info.partial == 0


# coolchic-dec


@pytest.fixture(scope="session")
def program(shared):
    def run(*arguments, data: bytes = b"") -> subprocess.CompletedProcess:
        command = [str(shared.program), *map(str, arguments)]
        return subprocess.run(command, input=data, capture_output=True, timeout=60)

    return run


def read_pnm(data: bytes) -> np.ndarray:
    """Samples (H, W, C) of 8 bits of a PGM, PPM or PAM without comments."""
    if data.startswith(b"P7\n"):
        head, samples = data[3:].split(b"ENDHDR\n", 1)
        fields = dict(line.split(b" ") for line in head.splitlines())
        kinds = (b"GRAYSCALE", b"GRAYSCALE_ALPHA", b"RGB", b"RGB_ALPHA")
        width, height, channels = (int(fields[n]) for n in (b"WIDTH", b"HEIGHT", b"DEPTH"))
        assert fields[b"MAXVAL"] == b"255"
        assert fields[b"TUPLTYPE"] == kinds[channels - 1]
        return np.frombuffer(samples, np.uint8).reshape(height, width, channels)
    return np.atleast_3d(np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_program_writes_pictures(program, tmp_path, channels):
    data = vector(BY_CHANNELS[channels])
    expected = decode_bytes(data)
    simplest = {1: "pgm", 3: "ppm"}.get(channels, "pam")
    magic = {"pgm": b"P5\n", "ppm": b"P6\n", "pam": b"P7\n"}
    (tmp_path / "in.cool").write_bytes(data)
    for suffix in {simplest, simplest.upper(), "pam", "pnm"}:
        target = tmp_path / f"out.{suffix}"
        done = program("--threads", 1, tmp_path / "in.cool", target)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        written = target.read_bytes()
        assert written.startswith(magic[simplest if suffix == "pnm" else suffix.lower()])
        np.testing.assert_array_equal(read_pnm(written), expected)
    done = program("-", "-", data=data)
    assert done.stdout == (tmp_path / "out.pnm").read_bytes()
    for suffix in {"pgm", "ppm"} - {simplest}:
        refuses(program, tmp_path, f"no pictures of {channels} channels", "in.cool", f"x.{suffix}")


def test_pnm_of_16_bits(shared, tmp_path):
    sources = (ROOT / "tests" / "pnm_16_bits.cpp", ROOT / "src" / "cpp" / "program" / "pnm.cpp")
    include = f"-I{ROOT / 'src' / 'cpp'}"
    check_run(shared.compiler, "-std=c++17", include, *sources, "-o", tmp_path / "write")
    data = subprocess.run(tmp_path / "write", stdout=subprocess.PIPE, check=True).stdout
    assert data.startswith(b"P5\n2 2\n65535\n")
    samples = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(samples, [[0, 255], [256, 65535]])


def refuses(program, folder: Path, message: str, *arguments, code: int = 1) -> None:
    """One line on standard error, and the folder is as it was."""

    def files() -> dict:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    before = files()
    done = program(*(folder / a if re.fullmatch(r"\w+\.\w+", a) else a for a in arguments))
    assert (done.returncode, done.stdout) == (code, b"")
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("coolchic-dec: ")
    assert message in lines[0]
    assert files() == before


@pytest.mark.parametrize("name", ["bad_crc", "bad_empty", "bad_coded_cut", "bad_magic"])
def test_program_leaves_files_alone_if_it_fails(program, tmp_path, name):
    (tmp_path / "in.cool").write_bytes(vector(name))
    (tmp_path / "old.pnm").write_bytes(b"old")
    (message,) = (e["message"] for e in MANIFEST["bad"] if e["name"] == name)
    for target in ("old.pnm", "new.pnm"):
        refuses(program, tmp_path, message, "in.cool", target)


def test_program_refuses(program, tmp_path):
    (tmp_path / "in.cool").write_bytes(vector("photo_rgb"))
    (tmp_path / "folder.ppm").mkdir()
    (tmp_path / "old.png").write_bytes(b"old")
    for message, *arguments in (
        ("No such file", "none.cool", "out.ppm"),
        ("extension", "in.cool", "new.png"),
        ("extension", "in.cool", "old.png"),
        ("No such file", "in.cool", str(tmp_path / "none" / "out.ppm")),
        ("irectory", "in.cool", "folder.ppm"),
        ("exceeds the limit", "--max-pixels", "100", "in.cool", "out.ppm"),
        ("abacus", "--cpu=abacus", "in.cool", "out.ppm"),
    ):
        refuses(program, tmp_path, message, *arguments)
    if Path("/dev/full").exists():
        refuses(program, tmp_path, "No space left", "in.cool", "/dev/full")
    for message, *arguments in (
        ("two files", "in.cool"),
        ("two files",),
        ("one file", "--info"),
        ("--threads", "--threads", "-1", "in.cool", "out.ppm"),
        ("--threads", "--threads=", "in.cool", "out.ppm"),
        ("--max-pixels", "--max-pixels", str(1 << 64), "in.cool", "out.ppm"),
        ("value is missing", "in.cool", "out.ppm", "--cpu"),
        ("--scale", "--scale", "1/3", "in.cool", "out.ppm"),
        ("--scale", "--scale", "1/65536", "in.cool", "out.ppm"),
        ("unknown option --speed", "--speed", "in.cool", "out.ppm"),
        ("unknown option --info=", "--info=1", "in.cool"),
    ):
        refuses(program, tmp_path, message, *arguments, code=2)


def test_program_makes_previews_and_takes_cut_files(program, tmp_path):
    data = CITY.read_bytes()
    done = program("--scale", "1/8", CITY, "-")
    np.testing.assert_array_equal(read_pnm(done.stdout), decode_bytes(data, scale=3))
    cut = data[: len(data) * 3 // 4]
    (tmp_path / "cut.cool").write_bytes(cut)
    refuses(program, tmp_path, "truncated", "cut.cool", "out.ppm")
    done = program("--allow-partial", tmp_path / "cut.cool", "-")
    np.testing.assert_array_equal(read_pnm(done.stdout), decode_bytes(cut, allow_partial=True))


def test_program_replaces_files(program, tmp_path):
    target = tmp_path / "out.ppm"
    target.write_bytes(b"old")
    target.chmod(0o640)
    assert program(CITY, target).returncode == 0
    np.testing.assert_array_equal(read_pnm(target.read_bytes()), decode_bytes(CITY.read_bytes()))
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["out.ppm"]


def test_program_tells(program, library):
    assert program("--version").stdout.decode() == f"coolchic-dec {coolchic.__version__}\n"
    assert program("--help").stdout.startswith(b"usage: coolchic-dec")
    assert program("--cpu", "list").stdout.split() == cpus(library)
    done = program("--info", CITY)
    assert done.returncode == 0
    first, *sections = done.stdout.decode().splitlines()
    assert first.startswith("coolchic version 1: 576x576, 3 channels of 8 bits, ")
    *parts, whole = (int(line.split()[0]) for line in sections)
    assert sum(parts) == whole == CITY.stat().st_size
