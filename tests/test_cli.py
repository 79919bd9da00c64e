"""The commands, as processes: files, pipes, reports, errors, interrupts."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coolchic import decode, info
from coolchic.metrics import psnr
from make_vectors import VECTORS
from pictures import waves

RGB = waves(40, 56)
GREY = waves(30, 25, 1)
QUICK = ("--iterations", "40", "--threads", "1")


def command(name: str, *arguments) -> list[str]:
    return [sys.executable, "-m", "coolchic.cli", name, *map(str, arguments)]


def run(name: str, *arguments, data: bytes | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(command(name, *arguments), input=data, capture_output=True, timeout=120)


def succeed(name: str, *arguments, data: bytes | None = None) -> subprocess.CompletedProcess:
    done = run(name, *arguments, data=data)
    assert done.returncode == 0, done.stderr.decode()
    return done


def as_png(samples: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(samples.squeeze()).save(out, "PNG")
    return out.getvalue()


def pixels(picture) -> np.ndarray:
    return np.atleast_3d(np.asarray(Image.open(picture)))


@pytest.fixture(scope="module")
def coded(tmp_path_factory) -> Path:
    """A folder with rgb.png, coded as rgb.cool, and the report as rgb.json."""
    folder = tmp_path_factory.mktemp("coded")
    (folder / "rgb.png").write_bytes(as_png(RGB))
    done = succeed("encode", folder / "rgb.png", folder / "rgb.cool", "--json", *QUICK)
    (folder / "rgb.json").write_bytes(done.stdout)
    return folder


# Round trips


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".PNG", ".bmp", ".tiff", ".webp"])
def test_decoding_to_files(coded, tmp_path, suffix):
    target = tmp_path / f"picture{suffix}"
    done = succeed("decode", coded / "rgb.cool", target, "--threads", 2)
    assert done.stdout == done.stderr == b""
    expected = decode((coded / "rgb.cool").read_bytes())
    if suffix == ".webp":
        assert pixels(target).shape == expected.shape
    else:
        np.testing.assert_array_equal(pixels(target), expected)
    assert os.listdir(tmp_path) == [target.name]


def test_grey_and_pgm(tmp_path):
    Image.fromarray(GREY[:, :, 0]).save(tmp_path / "grey.pgm")
    done = succeed("encode", tmp_path / "grey.pgm", tmp_path / "grey.cool", *QUICK)
    data = (tmp_path / "grey.cool").read_bytes()
    line = done.stdout.decode()
    assert line.startswith(f"{len(data)} bytes, {8 * len(data) / GREY.size:.4f} bpp, ")
    assert f"{psnr(decode(data), GREY):.2f} dB" in line
    assert line.count("\n") == 1
    succeed("decode", tmp_path / "grey.cool", tmp_path / "again.pgm")
    assert (tmp_path / "again.pgm").read_bytes().startswith(b"P5")
    np.testing.assert_array_equal(pixels(tmp_path / "again.pgm"), decode(data))


def test_pipes_and_seeds(coded):
    same = succeed("encode", "-", "-", *QUICK, data=as_png(RGB))
    assert same.stdout == (coded / "rgb.cool").read_bytes(), "same seed, same bytes"
    assert b" dB, " in same.stderr.splitlines()[-1]
    other = succeed("encode", "-", "-", "--seed", 1, "--json", *QUICK, data=as_png(RGB))
    assert other.stdout != same.stdout
    assert json.loads(other.stderr.splitlines()[-1])["seed"] == 1
    for arguments, magic in [((), b"\x89PNG"), (("--format", "ppm"), b"P6")]:
        done = succeed("decode", "-", "-", *arguments, data=same.stdout)
        assert done.stdout.startswith(magic)
        np.testing.assert_array_equal(pixels(io.BytesIO(done.stdout)), decode(same.stdout))
    told = json.loads(succeed("info", "-", "--json", data=same.stdout).stdout)
    assert told == info(same.stdout)


def test_channels_with_alpha(tmp_path):
    for channels, mode in [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")]:
        source = VECTORS / f"paper_{channels}_channels.cool"
        succeed("decode", source, tmp_path / "picture.png")
        picture = Image.open(tmp_path / "picture.png")
        assert picture.mode == mode
        np.testing.assert_array_equal(
            np.atleast_3d(np.asarray(picture)), decode(source.read_bytes())
        )


# Reports


def test_json_report(coded):
    report = json.loads((coded / "rgb.json").read_text())
    data = (coded / "rgb.cool").read_bytes()
    assert report["bytes"] == len(data)
    assert report["bpp"] == pytest.approx(8 * len(data) / (40 * 56))
    assert report["psnr"] == pytest.approx(psnr(decode(data), RGB))
    assert (report["iterations"], report["stopped"], report["seed"]) == (40, False, 0)
    assert report["lambda"] == 1e-3


def test_progress_and_quiet(tmp_path):
    (tmp_path / "in.png").write_bytes(as_png(RGB))
    arguments = (tmp_path / "in.png", tmp_path / "out.cool", *QUICK)
    loud = succeed("encode", "-v", *arguments).stderr.decode()
    for word in ("loss", "bpp", "PSNR", "100%", "40/40", "latent search", "quantisation"):
        assert word in loud
    quiet = succeed("encode", "--quiet", *arguments)
    assert quiet.stdout == quiet.stderr == b""


def test_lost_metadata_is_told(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "in.png", icc_profile=b"profile")
    done = succeed("encode", tmp_path / "in.png", tmp_path / "out.cool", "--json", *QUICK)
    assert b"not kept: ICC profile" in done.stderr


def test_info_text(coded):
    text = succeed("info", coded / "rgb.cool").stdout.decode()
    size = len((coded / "rgb.cool").read_bytes())
    for part in ("56x40", "1107 parameters", "MAC/pixel", "grid 6", f"{size} bytes 100.00 %"):
        assert part in text


def test_compare(coded, tmp_path):
    done = succeed("decode", coded / "rgb.cool", tmp_path / "a.png", "--compare", coded / "rgb.png")
    expected = psnr(decode((coded / "rgb.cool").read_bytes()), RGB)
    assert f"{expected:.2f} dB" in done.stdout.decode()


@pytest.mark.parametrize("name", ["encode", "decode", "info"])
def test_help_and_version(name):
    assert f"coolchic-{name}".encode() in succeed(name, "--help").stdout
    assert succeed(name, "--version").stdout.startswith(f"coolchic-{name} ".encode())
    assert run(name).returncode == 2


@pytest.mark.parametrize("name", ["decode", "info"])
def test_decoding_does_not_import_torch(coded, tmp_path, name):
    script = (
        "import sys; from coolchic.cli import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'tqdm'} & set(sys.modules); sys.exit(code)"
    )
    arguments = [name, coded / "rgb.cool", *([tmp_path / "a.png"] if name == "decode" else [])]
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True)


def test_output_is_replaced_and_has_usual_permissions(coded, tmp_path):
    target, other = tmp_path / "picture.png", tmp_path / "other"
    other.touch()
    succeed("decode", coded / "rgb.cool", target)
    assert target.stat().st_mode == other.stat().st_mode
    target.write_bytes(b"old")
    target.chmod(0o600)
    succeed("decode", coded / "rgb.cool", target)
    np.testing.assert_array_equal(pixels(target), decode((coded / "rgb.cool").read_bytes()))
    assert target.stat().st_mode & 0o777 == 0o600


# Errors


def save_inputs(folder: Path) -> None:
    (folder / "text.png").write_text("not a picture")
    (folder / "cut.png").write_bytes(as_png(RGB)[:-200])
    Image.fromarray(RGB).convert("RGBA").save(folder / "rgba.png")
    Image.fromarray(RGB).convert("P").save(folder / "palette.png")
    Image.fromarray(RGB).save(folder / "fine.png")
    data = (VECTORS / "photo_rgb.cool").read_bytes()
    (folder / "fine.cool").write_bytes(data)
    (folder / "cut.cool").write_bytes(data[:-100])
    (folder / "bit.cool").write_bytes(data[:300] + bytes([data[300] ^ 4]) + data[301:])
    (folder / "folder").mkdir()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("encode missing.png out.cool", "No such file"),
        ("encode text.png out.cool", "not a picture"),
        ("encode cut.png out.cool", "truncated"),
        ("encode rgba.png out.cool", "RGB and alpha"),
        ("encode palette.png out.cool", "palette"),
        ("encode folder out.cool", "directory"),
        ("encode fine.png folder", "folder"),
        ("encode fine.png missing/out.cool", "missing"),
        ("encode fine.png out.cool --lambda -1", "lambda"),
        ("decode missing.cool out.png", "No such file"),
        ("decode cut.cool out.png", "truncated file"),
        ("decode bit.cool out.png", "checksum"),
        ("decode fine.png out.png", "not a coolchic file"),
        ("decode fine.cool out.xyz", "'.xyz'"),
        ("decode fine.cool out", "extension"),
        ("decode fine.cool out.png --max-pixels 6143", "limit of 6143 pixels"),
        ("decode fine.cool out.png --format bogus", "BOGUS"),
        ("decode fine.cool missing/out.png", "missing"),
        ("decode fine.cool folder", "extension"),
        ("decode folder out.png", "directory"),
        ("decode fine.cool out.png --compare fine.png", "size"),
        ("info missing.cool", "No such file"),
        ("info bit.cool", "checksum"),
        ("info text.png", "not a coolchic file"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, arguments, reason):
    save_inputs(tmp_path)
    before = sorted(os.listdir(tmp_path))
    monkeypatch.chdir(tmp_path)
    name, *rest = arguments.split()
    done = run(name, *rest)
    assert done.returncode not in (0, 2)
    message = done.stderr.decode()
    assert message.startswith(f"coolchic-{name}: ")
    assert message.count("\n") == 1
    assert message.endswith("\n")
    assert reason.lower() in message.lower()
    assert done.stdout == b""
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "arguments",
    [
        "encode a.png b.cool --preset best",
        "encode a.png b.cool --iterations 0",
        "encode a.png b.cool --quiet -v",
        "decode a.cool b.png --threads -1",
        "decode a.cool b.png --max-pixels x",
        "bogus",
    ],
)
def test_usage_errors(arguments):
    done = run(*arguments.split())
    assert done.returncode == 2
    assert b"usage" in done.stderr


def test_closed_pipe(coded):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            command("decode", coded / "rgb.cool", "-"), stdout=closed, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


# Interrupts


def start_training(folder: Path) -> subprocess.Popen:
    """A long encode of in.png to out.cool, returned when it has been going on for a while."""
    (folder / "in.png").write_bytes(as_png(waves(384, 512)))
    arguments = ("-v", folder / "in.png", folder / "out.cool", "--iterations", 10**6)
    process = subprocess.Popen(
        command("encode", *arguments, "--threads", 1), stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if "iteration " in line:
            return process
    raise AssertionError("ended before the first evaluation")


def test_interrupting_once(tmp_path):
    process = start_training(tmp_path)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "stopped after" in messages
    assert "the best state so far was written" in messages
    assert "Traceback" not in messages
    assert sorted(os.listdir(tmp_path)) == ["in.png", "out.cool"]
    assert psnr(decode((tmp_path / "out.cool").read_bytes()), waves(384, 512)) > 20


def test_interrupting_twice(tmp_path):
    process = start_training(tmp_path)
    process.send_signal(signal.SIGINT)
    # Choosing the quantisation steps, which comes next, takes longer than this.
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 130
    assert messages.rstrip().endswith("coolchic-encode: interrupted, nothing written")
    assert "Traceback" not in messages
    assert os.listdir(tmp_path) == ["in.png"]
