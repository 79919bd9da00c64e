"""BD-rate reproduces what is known of the published curves, and of curves made for it."""

import math
import sys
from pathlib import Path

import pytest

pytest.importorskip("scipy")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from bdrate import (  # noqa: E402
    Curve,
    average,
    bd_rate,
    bd_rates,
    mean,
    published,
    published_averages,
    rate_at_equal_psnr,
)

IMAGES = [f"kodim{number:02}" for number in (3, 5, 7, 12, 13, 15, 19, 21)]
CURVE = Curve.of([(0.1, 28.0), (0.3, 31.0), (0.8, 35.0), (2.0, 40.0)])


@pytest.mark.parametrize(("release", "expected"), [("v1.0", 0.0), ("v3.4", -33.1), ("v5.0", -37.5)])
def test_releases_per_image(release: str, expected: float) -> None:
    rates = bd_rates(published()["v1.0"], {name: published()[release][name] for name in IMAGES})
    assert list(rates) == IMAGES
    assert mean(rates.values()) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jpeg", 150.8),
        ("webp", 43.8),
        ("compressai-bmshj2018-hyperprior_mse_cuda", 3.7),
        ("av1", -6.6),
        ("vtm", -18.9),
        ("cool-chic-v1.0", 19.8),
        ("cool-chic-v2.0", 3.9),
        ("cool-chic-v3.0", -18.1),
        ("cool-chic-v3.4", -19.9),
        ("cool-chic-v5.0", -25.6),
    ],
)
def test_averages_against_hm(name: str, expected: float) -> None:
    curves = published_averages()
    assert bd_rate(curves["hm"], curves[name]) == pytest.approx(expected, abs=0.05)


def test_average_of_images_is_the_published_average() -> None:
    curve = average(published()["v3.4"].values())
    expected = published_averages()["cool-chic-v3.4"]
    assert curve.bpp == pytest.approx(expected.bpp, abs=1e-5)
    assert curve.psnr == pytest.approx(expected.psnr, abs=1e-5)


def test_a_tenth_more_rate() -> None:
    dearer = Curve(tuple(1.1 * bpp for bpp in CURVE.bpp), CURVE.psnr)
    assert bd_rate(CURVE, dearer) == pytest.approx(10)
    assert bd_rate(dearer, CURVE) == pytest.approx(100 / 1.1 - 100)
    assert rate_at_equal_psnr(CURVE, 0.33, 31.0) == pytest.approx(10)


def test_only_common_psnr_counts() -> None:
    part = Curve.of([(0.3, 31.0), (0.8, 35.0)])
    rate = bd_rate(CURVE, part)
    assert rate is not None
    assert rate == pytest.approx(bd_rate(CURVE, part, within=(20.0, 50.0)))
    lower = bd_rate(CURVE, part, within=(31.0, 33.0))
    upper = bd_rate(CURVE, part, within=(33.0, 35.0))
    assert math.log1p(rate / 100) == pytest.approx(
        (math.log1p(lower / 100) + math.log1p(upper / 100)) / 2
    )


def test_nothing_in_common() -> None:
    assert bd_rate(CURVE, Curve.of([(3.0, 41.0), (4.0, 43.0)])) is None
    assert bd_rate(CURVE, Curve.of([(0.3, 31.0)])) is None
    assert bd_rate(CURVE, CURVE, within=(10.0, 20.0)) is None
    assert rate_at_equal_psnr(CURVE, 1.0, 41.0) is None
    assert bd_rates({"a": CURVE}, {"b": CURVE}) == {}
    assert mean([]) is None


def test_points_in_any_order() -> None:
    points = list(zip(CURVE.bpp, CURVE.psnr, strict=True))
    assert Curve.of(reversed(points)) == CURVE
    assert Curve.of([*points, (0.4, 31.0)]) == CURVE
