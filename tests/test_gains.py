"""Gains of the grids: what changes with them, and the derivative they follow."""

import pytest
import torch

import coolchic.engine as engines
from coolchic.config import Architecture, Layer
from coolchic.engine import StepSettings, TorchEngine, clipped_error
from coolchic.gains import MOST_LOG_GAIN, Gains
from coolchic.model import CoolChic
from coolchic.native import NativeEngine

LAMBDA = 1e-3
PARENTS = ((0, 0), (0, 1))
STILL = StepSettings("given", 0.0, 0.0, latent_lr=0.0, network_lr=0.0)

ARCHITECTURES = {
    "paper": Architecture(),
    "parents and filters": Architecture(parents=PARENTS, upsampling="filtered"),
    "wavelet": Architecture(grids=8, parents=PARENTS, upsampling="wavelet"),
    "residual first layer": Architecture(synthesis_hidden=(Layer(5, residual=True),)),
}


def random_model(arch: Architecture, height: int, width: int) -> CoolChic:
    generator = torch.Generator().manual_seed(3)
    model = CoolChic(arch, height, width)
    with torch.no_grad():
        for p in model.network_parameters():
            p.normal_(0, 0.2, generator=generator)
        for y in model.latents:
            y.normal_(0, 2, generator=generator)
    return model


def photo(height: int, width: int) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(4))


@pytest.fixture(autouse=True)
def _given(monkeypatch):
    monkeypatch.setitem(engines.PROXIES, "given", lambda y, *_: y)


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize("engine", [TorchEngine, NativeEngine])
def test_products_of_latents_and_gradients(engine, arch):
    model, target = random_model(arch, 21, 34), photo(21, 34)
    walker = engine(model, target, LAMBDA)
    walker.step(STILL)
    y = [latent.detach().clone().requires_grad_() for latent in model.latents]
    picture, bits = model(y)
    mse = clipped_error(picture, target, 255 / 256).square().mean() * (256 / 255) ** 2
    (mse + LAMBDA * bits / (21 * 34)).backward()
    expected = torch.stack([(v * v.grad).sum() for v in y]).detach()
    torch.testing.assert_close(walker.latent_products(), expected, rtol=1e-3, atol=1e-6)


def test_hard_rounding_has_no_products():
    model = random_model(Architecture(), 9, 9)
    walker = TorchEngine(model, photo(9, 9), LAMBDA)
    walker.step(StepSettings("hard", 0.0, 0.0, latent_lr=0.1, network_lr=0.0))
    assert not walker.latent_products().any()


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_a_step_changes_latents_but_not_the_picture(arch):
    model, target = random_model(arch, 21, 34), photo(21, 34)
    walker = NativeEngine(model, target, LAMBDA)
    walker.step(STILL)
    before = [y.detach().clone() for y in model.latents]
    picture = model.decode(list(model.latents)).detach()
    Gains(model, walker).step(0.05)
    factors = [(y / old).flatten() for y, old in zip(model.latents, before, strict=True)]
    assert all(
        abs(f[0].log().abs() - 0.05) < 1e-3 and f.std() < 1e-4 for f in factors if len(f) > 1
    )
    torch.testing.assert_close(
        model.decode(list(model.latents)).detach(), picture, rtol=1e-4, atol=1e-4
    )


def test_steps_lower_the_loss():
    model, target = random_model(Architecture(), 40, 50), photo(40, 50)
    lmbda = 100 * LAMBDA
    walker = NativeEngine(model, target, lmbda)
    gains, losses = Gains(model, walker), []
    for _ in range(30):
        walker.step(STILL)
        losses.append(walker.last().total(lmbda))
        gains.step(0.01)
    assert losses[-1] < 0.98 * losses[0]


def test_gains_have_a_limit() -> None:
    """However long a grid asks for less, its latents shrink by no more than that."""
    model, engine = CoolChic(Architecture(), 16, 16), Asking()
    with torch.no_grad():
        model.latents[0].fill_(1.0)
    model.synthesis.pixelwise()[0].weight.grad = torch.zeros(12, 7)
    gains = Gains(model, engine)
    for _ in range(50):
        gains.step(0.1)
    least = float(torch.tensor(-MOST_LOG_GAIN).exp())
    assert torch.allclose(model.latents[0], torch.tensor(least), rtol=1e-4)


class Asking:
    """An engine whose loss always falls with all latents."""

    def latent_products(self) -> torch.Tensor:
        return torch.ones(7)
