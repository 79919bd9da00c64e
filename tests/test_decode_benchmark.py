"""The decoding benchmark finds files of equal rate, resumes, and counts what it says."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scipy")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import arithmetic  # noqa: E402
import costs  # noqa: E402
import decode  # noqa: E402
import matched  # noqa: E402
from pictures import waves  # noqa: E402


class FakePoints:
    """An encoder whose rate is a power of λ."""

    def __init__(self, exponent: float) -> None:
        self.exponent, self.tried = exponent, []

    def get(self, jobs):
        self.tried += [job.lmbda for job in jobs]
        return [
            {"lambda": job.lmbda, "bpp": 2.5 * (job.lmbda / 3.5e-4) ** self.exponent}
            for job in jobs
        ]

    def at_any_rate(self, job):
        return []

    def file(self, job):
        return str(job.lmbda).encode()


@pytest.mark.parametrize("exponent", [-0.3, -0.585, -0.9])
@pytest.mark.parametrize("bpp", [0.25, 1.0, 4.0])
def test_our_rate_is_found(exponent, bpp):
    points = FakePoints(exponent)
    point, data = matched.our_file(points, Path("x.png"), bpp, preset="fast", iterations=None)
    assert abs(np.log(point["bpp"] / bpp)) < matched.WITHIN / 2
    assert data == str(point["lambda"]).encode()
    assert len(points.tried) <= matched.ATTEMPTS


def test_crossing():
    for first in range(2, 100):
        assert matched._crossing(lambda q, first=first: q >= first, 1, 99) == min(first, 99)


def test_their_rate_is_found_and_kept(tmp_path, monkeypatch):
    Image.fromarray(waves(120, 160)).save(tmp_path / "waves.png")
    coded = matched.their_file("jpeg", tmp_path / "waves.png", 1.5, tmp_path / "files")
    assert abs(np.log(coded.bpp / 1.5)) <= np.log1p(matched.WITHIN)
    assert coded.bpp == 8 * len(coded.data) / (120 * 160)
    monkeypatch.setattr(matched, "_nearest", lambda *_: pytest.fail("encoded again"))
    assert matched.their_file("jpeg", tmp_path / "waves.png", 1.5, tmp_path / "files") == coded


def test_a_rate_that_no_setting_gives(tmp_path, capsys):
    Image.fromarray(waves(120, 160)).save(tmp_path / "waves.png")
    assert matched.their_file("jpeg", tmp_path / "waves.png", 30, tmp_path) is None
    assert "no setting within 3 %" in capsys.readouterr().err


def test_pictures_of_any_size(tmp_path):
    Image.fromarray(waves(20, 30)).save(tmp_path / "wide.png")
    Image.fromarray(waves(32, 21)).save(tmp_path / "high.png")
    images = [tmp_path / "wide.png", tmp_path / "high.png"]
    samples, made = decode.make_picture(images, 10, 8)
    np.testing.assert_array_equal(samples, waves(20, 30)[6:14, 10:20])
    assert made == "centre of wide"
    samples, made = decode.make_picture(images, 70, 45)
    assert samples.shape == (45, 70, 3)
    np.testing.assert_array_equal(samples[:20, :30], waves(20, 30))
    np.testing.assert_array_equal(samples[:20, 30:60], np.rot90(waves(32, 21))[:20, :30])
    assert made == "mosaic of wide, high"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
def test_peak_memory(tmp_path):
    megabytes = 40
    (tmp_path / "file").write_bytes(b"x")
    peak = costs.peak_of_decoding(tmp_path / "file", "", f"bytes({megabytes << 20})[::-1]")
    assert 0.9 * megabytes <= peak / 2**20 <= 2.2 * megabytes
    program = f"import sys; sys.stdout.buffer.write(bytes({megabytes << 20})[::-1])"
    whole = costs.peak_of_program([sys.executable, "-c", program])
    assert 0.9 * megabytes <= whole / 2**20 <= 2 * megabytes + 40


def test_arithmetic():
    fields = {"mac_per_pixel": {"arm + synthesis": 600.0, "upsampling": 40.0}}
    fields |= {"width": 100, "height": 50}
    assert arithmetic.floor_ms(fields, {"x": 3.2e9}) == {"x": 1.0}
    rates = arithmetic.madd_rates()
    if not rates:
        pytest.skip("no compiler, or an instruction set that madd_rate.cpp does not know")
    assert all(1e9 < rate < 1e12 for rate in rates.values())


def test_whole_run_and_its_resumption(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(arithmetic, "madd_rates", lambda: {"made up": 1e9})
    (tmp_path / "images").mkdir()
    Image.fromarray(waves(48, 64)).save(tmp_path / "images" / "waves.png")
    arguments = ["decode.py", "--images", str(tmp_path / "images"), "--bpp", "3"]
    arguments += ["--sizes", "32x24", "--decoders", "16x8", "--codecs", "jpeg", "--repeat", "2"]
    arguments += ["--iterations", "20", "--decode-threads", "1", "2", "--threads", "1"]
    for option in ("results", "output", "files"):
        arguments += [f"--{option}", str(tmp_path / option)]
    monkeypatch.setattr(sys, "argv", arguments)
    decode.main()
    assert capsys.readouterr().out.count("timing") == 3
    table = (tmp_path / "results" / "decode.json").read_text()
    rows = json.loads(table)["points"]
    assert [row["decoder"] for row in rows] == ["standard", "16x8", "standard"]
    for row in rows:
        ours = [e for e in row["decoders"] if e["codec"] == "coolchic"]
        assert {(e["cpu"], e["threads"]) for e in ours} == {
            (cpu, threads) for cpu in row["cpus"] for threads in (1, 2)
        }
        assert all(0 < e["min_ms"] <= e["median_ms"] for e in row["decoders"])
        for entry in ours:
            if entry["threads"] == 1:
                stages = sum(stage["min_ms"] for stage in entry["stages"].values())
                assert stages < 10 * entry["median_ms"]
    (average,) = (
        e
        for e in json.loads((tmp_path / "results" / "decode_average.json").read_text())
        if e["name"] == "coolchic-scalar"
    )
    (scalar,) = (e for e in rows[0]["decoders"] if (e["cpu"], e["threads"]) == ("scalar", 1))
    assert average["results"]["decoding_time"] == [scalar["min_ms"] / 1e3]

    decode.main()
    assert "timing" not in capsys.readouterr().out
    assert (tmp_path / "results" / "decode.json").read_text() == table


def test_contenders_decode_what_they_are_given():
    data = io.BytesIO()
    Image.fromarray(waves(20, 30)).save(data, "PNG")
    contender = decode.Contender("jpeg", None, 1, data.getvalue(), 99.0)
    contender.action()()
    broken = decode.Contender("coolchic", "scalar", 1, b"", 99.0)
    with pytest.raises(ValueError, match="not a coolchic file"):
        broken.action()()
