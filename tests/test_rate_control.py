"""Goals of rate and quality, on a small picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import coolchic
from coolchic.rate_control import Goal, fit_rounding, goal_of, quality_lambda

ITERATIONS = 500
PHOTO = Path(__file__).parent.parent / "examples" / "city.png"


def photograph(height: int, width: int) -> np.ndarray:
    return np.asarray(Image.open(PHOTO))[200 : 200 + height, 200 : 200 + width]


def test_quality_is_a_scale_of_lambda():
    assert quality_lambda(50) == pytest.approx(1e-3)
    assert quality_lambda(0) == pytest.approx(4e-2)
    assert quality_lambda(100) == pytest.approx(2.5e-5)


def test_one_goal_at_a_time():
    assert goal_of(100) == 1e-3
    assert goal_of(100, size=50) == Goal(bpp=4.0)
    with pytest.raises(ValueError, match="lambda and bpp exclude each other"):
        goal_of(100, lmbda=1e-3, bpp=1)
    for wrong in ({"bpp": 0}, {"psnr": float("nan")}, {"quality": 101}, {"size": -1}):
        with pytest.raises(ValueError, match="must be"):
            goal_of(100, **wrong)


def test_first_lambda_falls_with_what_is_wanted():
    assert Goal(bpp=2.0).first_lambda() < Goal(bpp=0.2).first_lambda()
    assert Goal(psnr=40).first_lambda() < Goal(psnr=30).first_lambda()


def test_rounding_keeps_what_is_acceptable_and_narrows_the_dead_zone():
    y = [np.array([[0.6, -0.7, 2.4, -2.6]])]
    np.testing.assert_array_equal(fit_rounding(y, lambda grids: -1)[0], [[1, -1, 2, -3]])
    fewer = fit_rounding(y, lambda grids: np.abs(grids[0]).sum() - 5)[0]
    np.testing.assert_array_equal(fewer, [[0, 0, 2, -3]])
    np.testing.assert_array_equal(fit_rounding(y, lambda grids: 1)[0], np.zeros((1, 4)))


@pytest.mark.parametrize("bpp", [0.8, 2.5])
def test_rate_is_never_exceeded(bpp):
    encoded = coolchic.encode_image(photograph(96, 128), bpp=bpp, iterations=ITERATIONS)
    assert 0.6 * bpp < encoded.bpp <= bpp
    assert encoded.bpp == 8 * len(encoded.data) / (96 * 128)


def test_size_is_a_rate():
    data = coolchic.encode(photograph(96, 128), size=2000, iterations=ITERATIONS)
    assert 1200 < len(data) <= 2000


def test_psnr_is_met():
    encoded = coolchic.encode_image(photograph(96, 128), psnr=30, iterations=ITERATIONS)
    assert encoded.psnr == pytest.approx(30, abs=0.6)


def test_out_of_reach_is_said():
    with pytest.raises(ValueError, match="out of reach"):
        coolchic.encode(photograph(32, 32), size=40, iterations=5)
