"""The decoder's kernels against the scalar ones, on this machine and on an emulated one.

`kernels_check.cpp` draws random and extreme inputs for every operation; the vectors run under
every kernel in `test_conformance.py` as well.
"""

import platform
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from coolchic import _decoder, decode
from make_vectors import PHOTOS, VECTORS

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "cpp"
ARM64_TOOLS = ("aarch64-linux-gnu-g++", "qemu-aarch64")
FILES = [
    VECTORS / f"{name}.cool"
    for name in (
        *PHOTOS,
        *("wrap_gain", "widest_layers", "context_32", "grids_16", "all_tables"),
        *("rich_bands", "rich_4_channels", "rich_wrap_8_11_13_15_0_15_15_15_15"),
    )
]


def build(folder: Path, compiler: str, kernels: dict[str, list[str]], defines: list[str]) -> Path:
    """kernels_check, with the files of these kernels besides the scalar ones, by flags."""
    flags = [compiler, "-O2", "-std=c++17", "-Wno-psabi", f"-I{SOURCES}", *defines]
    jobs = {path: [] for path in SOURCES.glob("decoder/*.cpp") if "kernels_" not in path.name}
    jobs |= {SOURCES / "decoder" / "kernels_scalar.cpp": []}
    jobs |= {SOURCES / "decoder" / f"kernels_{name}.cpp": kernels[name] for name in kernels}
    jobs |= {SOURCES / "rangecoder" / "laplace_tables.cpp": []}
    jobs |= {Path(__file__).parent / "kernels_check.cpp": []}
    objects = []
    for path, extra in jobs.items():
        objects.append(folder / f"{path.stem}.o")
        subprocess.run([*flags, *extra, "-c", path, "-o", objects[-1]], check=True)
    program = folder / "kernels_check"
    subprocess.run([compiler, *objects, "-static", "-pthread", "-o", program], check=True)
    return program


def check(command: list) -> None:
    """Runs one kernel on drawn inputs, then on files."""
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")
    run = subprocess.run([*command, *FILES], capture_output=True, text=True)
    checksums = [f"{zlib.crc32(decode(path.read_bytes()).tobytes()):08x}" for path in FILES]
    assert run.stdout.split() == checksums


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which("g++"), reason="needs g++ on x86-64"
)
def test_kernels_of_this_machine(tmp_path: Path) -> None:
    avx512 = [f"-mavx512{part}" for part in ("f", "bw", "dq", "vl", "vnni")]
    flags = {"avx2": ["-mavx2"], "avx512": ["-mavx2", *avx512, "-Wno-maybe-uninitialized"]}
    program = build(tmp_path, "g++", flags, ["-DCOOLCHIC_AVX2", "-DCOOLCHIC_AVX512"])
    names = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    assert names == _decoder.kernels()
    for name in names:
        check([program, name])


@pytest.mark.skipif(
    not all(map(shutil.which, ARM64_TOOLS)),
    reason="needs a cross compiler and an emulator for arm64",
)
def test_kernels_of_arm64(tmp_path: Path) -> None:
    program = build(tmp_path, ARM64_TOOLS[0], {"neon": []}, ["-DCOOLCHIC_NEON"])
    check([ARM64_TOOLS[1], program, "neon"])


def test_scalar_kernels_are_always_there() -> None:
    assert _decoder.kernels()[-1] == "scalar"
    assert len(set(_decoder.kernels())) == len(_decoder.kernels())


@pytest.mark.parametrize("name", ["", "mmx", "AVX2", "scalar "])
def test_unknown_kernels_are_refused(name: str) -> None:
    data = (VECTORS / "small.cool").read_bytes()
    with pytest.raises(ValueError, match=f"no kernels '{name}' for this machine; there are auto"):
        decode(data, cpu=name)
