"""Training presets: data, read by ``coolchic.train``."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["PRESETS", "Preset", "Stage"]

FULL_STEP_LAMBDA, STEP_GROWTH, MOST_GAIN = 1e-3, 0.67, 6.0
"""The λ below which latents' steps grow, with this power of 1e-3/λ, up to so many times."""
LEAST_LAMBDA = 1e-12
"""Smaller ones, and zero, are as this one."""
LOW_RATE_LAMBDA, CALM = 4e-3, 0.43
LONG_STAGE, CALM_IF_LONG = 3000, 0.65
"""Beyond both this λ and so many iterations, latents' steps fall with these powers of how far
beyond the one and the other, by that which does less."""
COARSE_START_LAMBDA, COARSE_START_SHARE = 3e-3, 0.4
"""The least λ with which coarse grids start first (an ARM without parents needs more:
``coolchic.coarse_start``), and what share of the training that may be."""
HEAT = 0.36
"""Power of 1e-3/λ by which the first temperature rises, up to ``Stage.hottest``, and the latents'
momentum, up to MOST_MOMENTUM."""
MOST_MOMENTUM = 0.9


@dataclass(frozen=True)
class Stage:
    """A run of iterations with one quantisation proxy and one learning-rate schedule.

    Attributes:
        iterations: how many.
        proxy: a name in ``coolchic.proxy.PROXIES``.
        latent_lr: Adam step of the latents at the start, in quantisation steps, for λ from
            1e-3 to 4e-3; see :meth:`for_lambda`.
        network_lr: step of the networks at the start.
        network_rows: the networks' gradients come from one row of so many of the picture and the
            finest grids, another one in each iteration; PyTorch's are always of all.
        network_hold: share of the iterations before that step begins to fall, 0 … below 1.
        gain_lr: step of the logarithms of the grids' gains (``coolchic.gains``) at the start.
        latent_share: of the grid's gradients in what divides a latent's step, 0 … 1
            (:class:`coolchic.optimizer.GridAdam`); 0 is Adam.
        latent_momentum: decay of the average of gradients that latents' steps go along, for λ of
            1e-3 and above; see :meth:`for_lambda`.
        latent_decay: power of the cosine that latents' steps fall along; below 1, they stay
            large for longer.
        final: all steps fall to this fraction of themselves, along a cosine.
        temperature: of the proxy, from start to end, linearly.
        hottest: the temperature that training starts with is raised up to this for small λ;
            see :meth:`for_lambda`.
        sigma: noise of the proxy, from start to end, linearly.
    """

    iterations: int
    proxy: str
    latent_lr: float
    network_lr: float
    network_rows: int = 1
    network_hold: float = 0.0
    gain_lr: float = 0.0
    latent_share: float = 0.0
    latent_momentum: float = MOST_MOMENTUM
    latent_decay: float = 1.0
    final: float = 0.0
    temperature: tuple[float, float] = (0.0, 0.0)
    hottest: float = 0.0
    sigma: tuple[float, float] = (0.0, 0.0)

    def for_lambda(self, lmbda: float) -> Stage:
        """The same stage with latent steps, their momentum and a first temperature to suit λ.

        The best quantisation step is in proportion to the root of λ, at high rate (the
        distortion is its square over 12), so below 1e-3 latents have farther to go, and on
        their way cross many integers, around which a cold soft-rounding is flat. Momentum takes
        them there; where they have not far to go, it keeps them from what they might find on
        either side.

        At low rates most latents are to be zero and hardly matter. Steps that are large for long
        drive some away from it, for good: networks learn to use them. Short trainings need them.
        """
        finer = max(1.0, FULL_STEP_LAMBDA / max(lmbda, LEAST_LAMBDA))
        coarser = max(1.0, lmbda / LOW_RATE_LAMBDA)
        longer = max(1.0, self.iterations / LONG_STAGE)
        calm = max(coarser**-CALM, longer**-CALM_IF_LONG)
        first, last = self.temperature
        return replace(
            self,
            latent_lr=self.latent_lr * calm * min(MOST_GAIN, finer**STEP_GROWTH),
            latent_momentum=min(MOST_MOMENTUM, self.latent_momentum * finer**HEAT),
            temperature=(max(first, min(self.hottest, first * finer**HEAT)), last),
            hottest=0.0,
        )


@dataclass(frozen=True)
class Preset:
    """How an image is trained.

    Attributes:
        start: a name in ``coolchic.start.STARTS``.
        stages: run one after the other.
        restarts: number of random starts that are tried before; 1 is none.
        restart_iterations: iterations of each start, with the first stage's settings.
        evaluate_every: iterations between evaluations with hard rounding; the best
            state seen there is kept and goes on to the next stage.
        curvature_every: iterations for which the networks' axes (``coolchic.optimizer``)
            are kept; 0 trains them with Adam along the parameters themselves.
        curvature_samples: latents and pixels that the axes are found from.
        coarse_iterations: for λ of 3e-3 and above, of latents alone, at half the picture's size
            (:mod:`coolchic.coarse_start`), before all others and not counted with them.
        fine_start: for smaller λ, the two finest grids begin with what filters learned on other
            pictures say (:mod:`coolchic.analysis`), not at zero; only with the default start.
        search_grids: so many, from the finest on, have single latents changed where that pays
            (:mod:`coolchic.latent_search`), before networks learn alone, and for the quantised
            networks.
        search_rounds: how often.
        search_pairs: two neighbours in a grid are changed at once, too, but not in subbands.
        search_parameters: so many changes of single parameters are tried once they are integers
            (:mod:`coolchic.parameter_search`), after which latents are searched once more.
    """

    stages: tuple[Stage, ...]
    start: str = "default"
    restarts: int = 1
    restart_iterations: int = 0
    evaluate_every: int = 100
    curvature_every: int = 50
    curvature_samples: int = 2048
    coarse_iterations: int = 0
    fine_start: bool = False
    search_grids: int = 0
    search_rounds: int = 0
    search_pairs: bool = False
    search_parameters: int = 0

    @property
    def iterations(self) -> int:
        """All iterations, of starts and stages."""
        starts = self.restarts * self.restart_iterations if self.restarts > 1 else 0
        return starts + sum(stage.iterations for stage in self.stages)

    def with_iterations(self, iterations: int) -> Preset:
        """The same preset stretched or cut to a total number of iterations.

        Stages keep their shares; random starts are dropped, since they would be either
        too short to judge or too long to afford.

        Raises:
            ValueError: if there are fewer iterations than stages.
        """
        if iterations < len(self.stages):
            raise ValueError(f"at least {len(self.stages)} iterations are needed")
        total = sum(stage.iterations for stage in self.stages)
        shares = [max(1, iterations * stage.iterations // total) for stage in self.stages]
        shares[0] += iterations - sum(shares)
        stages = tuple(
            replace(stage, iterations=n) for stage, n in zip(self.stages, shares, strict=True)
        )
        coarse = min(self.coarse_iterations, round(COARSE_START_SHARE * iterations))
        return replace(
            self, stages=stages, restarts=1, restart_iterations=0, coarse_iterations=coarse
        )

    def for_lambda(self, lmbda: float) -> Preset:
        """The same preset with what is done for a λ, and no more."""
        return replace(
            self,
            stages=tuple(stage.for_lambda(lmbda) for stage in self.stages),
            coarse_iterations=self.coarse_iterations if lmbda >= COARSE_START_LAMBDA else 0,
            fine_start=self.fine_start and self.start == "default" and lmbda < COARSE_START_LAMBDA,
        )

    def coarse_start(self) -> Preset | None:
        """The training at half the picture's size, if there is one: latents learn alone."""
        if self.coarse_iterations < len(self.stages):
            return None
        plan = self.with_iterations(self.coarse_iterations)
        stages = tuple(replace(s, network_lr=0.0, gain_lr=0.0) for s in plan.stages)
        return replace(plan, stages=stages, curvature_every=0, coarse_iterations=0)


def _preset(
    iterations: int,
    tuning: int,
    temperature: float,
    latent_decay: float = 1.0,
    search: tuple[int, int] = (3, 2),
    curvature_every: int = 50,
    search_pairs: bool = False,
    search_parameters: int = 0,
) -> Preset:
    main = Stage(
        iterations,
        "soft_round",
        latent_lr=0.16,
        network_lr=2e-2,
        network_rows=2,
        network_hold=0.5,
        gain_lr=2e-3,
        latent_share=0.5,
        latent_momentum=0.5,
        latent_decay=latent_decay,
        hottest=0.8,
        temperature=(0.35, temperature),
        sigma=(0.30, 0.15),
    )
    tuned = Stage(tuning, "hard", latent_lr=0.0, network_lr=2e-3)
    return Preset(
        stages=(main, tuned),
        curvature_every=curvature_every,
        coarse_iterations=200,
        fine_start=True,
        search_grids=search[0],
        search_rounds=search[1],
        search_pairs=search_pairs,
        search_parameters=search_parameters,
    )


PRESETS = {
    "fast": _preset(570, 30, 0.14, latent_decay=0.7, search=(2, 1)),
    "medium": _preset(2920, 80, 0.11, search_parameters=100),
    "slow": _preset(8760, 140, 0.11, curvature_every=100, search_parameters=400),
    "veryslow": _preset(
        39700, 300, 0.11, curvature_every=100, search_pairs=True, search_parameters=1000
    ),
}
