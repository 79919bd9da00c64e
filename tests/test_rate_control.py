"""Goals of size, rate and PSNR: where files land, and what is refused."""

import functools
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import coolchic
from coolchic.encoder import Encoded
from coolchic.engine import Losses, StepSettings, TorchEngine
from coolchic.metrics import psnr
from coolchic.model import CoolChic
from coolchic.native import NativeEngine
from coolchic.rate_control import Goal, RateControl, lambda_or_goal, quality_lambda

PHOTO = Path(__file__).parent.parent / "examples" / "city.png"
PICTURE = (96, 144)


@functools.cache
def photograph(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(
        np.asarray(Image.open(PHOTO))[200 : 200 + height, 200 : 200 + width]
    )


def encode(image: np.ndarray, iterations: int = 400, **goal) -> Encoded:
    encoded = coolchic.encode_image(image, preset="fast", iterations=iterations, threads=1, **goal)
    decoded = coolchic.decode(encoded.data)
    assert encoded.psnr == psnr(decoded, np.atleast_3d(image))
    assert encoded.bpp == 8 * len(encoded.data) / (image.shape[0] * image.shape[1])
    return encoded


# Arguments


def test_quality_is_a_scale_of_lambda():
    assert [quality_lambda(q) for q in (0, 50, 100)] == pytest.approx([4e-2, 1e-3, 2.5e-5])
    encoded = encode(photograph(16, 16), iterations=5, quality=75)
    assert encoded.lmbda == pytest.approx(1e-3 / 40**0.5)


def test_one_goal_at_a_time():
    assert lambda_or_goal(100) == 1e-3
    assert lambda_or_goal(100, lmbda=0.5) == 0.5
    assert lambda_or_goal(1001, bpp=1) == Goal(size=125), "whole bytes, not above"
    with pytest.raises(ValueError, match="lambda and bpp exclude each other"):
        coolchic.encode(photograph(16, 16), lmbda=1e-3, bpp=1)


@pytest.mark.parametrize(
    "wrong", [{"bpp": 0}, {"psnr": float("nan")}, {"quality": 101}, {"size": -1}, {"lmbda": 0}]
)
def test_ranges(wrong):
    with pytest.raises(ValueError, match="must be"):
        coolchic.encode(photograph(16, 16), **wrong)


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        ("--bpp 1 --psnr 30", 2, "not allowed with"),
        ("--lambda 1e-3 -q 50", 2, "not allowed with"),
        ("--size 10k", 2, "invalid"),
        ("--bpp 0", 1, "bpp must be"),
        ("--quality 101", 1, "quality must be"),
        ("--psnr nan", 1, "PSNR must be"),
        ("--size 10 --iterations 5", 1, "10 bytes are out of reach: the smallest file"),
    ],
)
def test_command_line_refuses(tmp_path, options, code, reason):
    source = io.BytesIO()
    Image.fromarray(photograph(8, 8)).save(source, "PNG")
    command = [sys.executable, "-m", "coolchic.cli", "encode", "-", str(tmp_path / "out.cool")]
    done = subprocess.run(
        [*command, "--quiet", *options.split()], input=source.getvalue(), capture_output=True
    )
    message = done.stderr.decode()
    assert done.returncode == code
    assert reason in message
    assert "Traceback" not in message
    assert code == 2 or message.count("\n") == 1
    assert not list(tmp_path.iterdir())


# λ


def test_lambda_follows_the_goal():
    assert Goal(size=9000).first_lambda(10**5, 629) < Goal(size=900).first_lambda(10**5, 629)
    assert Goal(size=900).first_lambda(10**5, 300) < Goal(size=900).first_lambda(10**5, 629)
    assert Goal(psnr=40).first_lambda(1, 629) < Goal(psnr=30).first_lambda(1, 629)
    for goal, too_good in (
        (Goal(size=5000), Losses(1e-3, 1.0)),
        (Goal(psnr=30), Losses(1e-4, 1.0)),
    ):
        control = RateControl(goal, pixels=10**5, parameters=629, interval=50)
        before = control.lmbda
        control.observe(too_good, 0.5)
        assert control.lmbda > before
        held = control.lmbda
        control.observe(too_good, 0.95)
        assert control.lmbda == held, "latents hardly answer at the end"


@pytest.mark.parametrize("make_engine", [TorchEngine, NativeEngine])
def test_engines_take_another_lambda(make_engine):
    """As many bits weigh more: the same gradients as from an engine made for that λ."""
    target = torch.from_numpy(photograph(16, 24).astype(np.float32) / 256).permute(2, 0, 1)
    gradients = []
    for first, then in ((1e-3, 0.5), (0.5, 0.5)):
        model = CoolChic(coolchic.Architecture(), 16, 24)
        engine = make_engine(model, target.contiguous(), first)
        engine.lmbda = then
        engine.step(StepSettings("hard", 0.0, 0.0, 0.0, 0.0))
        gradients.append(torch.cat([p.grad.flatten() for p in model.network_parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].abs().max() > 0


# Landing


@pytest.mark.parametrize("goal", [{"bpp": 0.8}, {"bpp": 2.5}, {"size": 2600}])
def test_rate_is_met_and_not_exceeded(goal):
    height, width = PICTURE
    encoded = encode(photograph(height, width), **goal)
    wanted = goal.get("size") or goal["bpp"] * height * width / 8
    assert 0.975 * wanted <= len(encoded.data) <= wanted


@pytest.mark.parametrize("wanted", [28, 34])
def test_psnr_is_met(wanted):
    encoded = encode(photograph(*PICTURE), iterations=600, psnr=wanted)
    assert encoded.psnr == pytest.approx(wanted, abs=0.1)


def test_quality_is_that_of_plain_encodes():
    """At the same size, between two plain encodes. So short a training of so small a picture has
    hardly time to follow λ, which may cost a dB; a ruined picture costs many."""
    picture = photograph(*PICTURE)
    steered = encode(picture, bpp=1.5)
    plain = [encode(picture, lmbda=steered.lmbda * factor) for factor in (1.25, 0.25)]
    sizes = np.log([len(e.data) for e in plain])
    assert sizes[0] < np.log(len(steered.data)) < sizes[1]
    expected = np.interp(np.log(len(steered.data)), sizes, [e.psnr for e in plain])
    assert steered.psnr > expected - 1.5


def test_too_short_a_training_still_keeps_to_the_size():
    assert len(encode(photograph(*PICTURE), iterations=4, size=700).data) <= 700


def test_results_do_not_depend_on_threads():
    files = {
        coolchic.encode(photograph(48, 72), size=900, preset="fast", iterations=100, threads=n)
        for n in (1, 2)
    }
    assert len(files) == 1


@pytest.mark.parametrize("side", [1, 8, 16])
def test_tiny_pictures(side):
    picture = photograph(side, side)
    assert len(encode(picture, iterations=50, size=150).data) <= 150
    assert encode(picture, iterations=50, psnr=99).psnr > 25, "the best there is"


@pytest.mark.parametrize(
    "picture", [np.full((24, 32, 3), 77, np.uint8), photograph(24, 32)[:, :, :1]]
)
def test_flat_and_grey_pictures(picture):
    assert len(encode(picture, iterations=50, size=200).data) <= 200
    assert encode(picture, iterations=50, bpp=100).psnr > 30, "the best there is"
