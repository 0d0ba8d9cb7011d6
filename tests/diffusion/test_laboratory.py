"""Measurement guidance against closed-form truth: exact identities and the published yardsticks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition
from skiagraph.diffusion.grid import Levels, Quadratic
from skiagraph.diffusion.guidance import ClassifierFree, Clip, Energy, find_knee
from skiagraph.diffusion.inversion import InversionMode, inversion_times
from skiagraph.diffusion.laboratory import (
    DEVIATION,
    MEANS,
    SOURCES,
    UNIFORM,
    Judgement,
    Laboratory,
    alternating,
    real_points,
    term,
    two_classes,
)
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.rules import DDIM
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import linear_table

TABLE = linear_table()
BASE = two_classes(TABLE)
LABEL = {"label": alternating(32)}
STATES = torch.randn(32, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.fixture(scope="module")
def laboratory() -> Laboratory:
    """All 4000 points of the published stream."""
    return Laboratory()


def shares(found: Judgement) -> tuple[float, float]:
    return found.hard, found.kept


def near(found: Judgement, hard: float, kept: float, density: float | None, share: float = 0.02) -> None:
    """Within the tolerance of the published figure."""
    assert found.hard == pytest.approx(hard, abs=share)
    assert found.kept == pytest.approx(kept, abs=share)
    if density is not None:
        assert found.negative_log_density == pytest.approx(density, abs=0.1)


def test_density_score_and_classifier_are_those_of_the_definition() -> None:
    t = torch.tensor(300.0)
    alpha, sigma = TABLE(t)
    total = DEVIATION**2 * alpha**2 + sigma**2
    means = torch.tensor(MEANS, dtype=torch.float64).reshape(2, 2, 2)
    x = STATES.clone().requires_grad_()
    exponents = -(x[:, None, None] - alpha * means).square().sum(-1) / (2 * total)
    log_p = torch.logsumexp(exponents, 2) - torch.log(2 * torch.pi * total) - torch.log(torch.tensor(2.0))
    assert torch.allclose(BASE.log_density(STATES, t, LABEL["label"]), log_p.gather(1, LABEL["label"][:, None])[:, 0])
    odds = BASE.logits(STATES, t).diff(dim=1)
    assert torch.allclose(odds, log_p.diff(dim=1))
    (score,) = torch.autograd.grad(log_p.gather(1, LABEL["label"][:, None]).sum(), x)
    eps = (STATES - alpha * BASE(STATES, t, LABEL).x0) / sigma
    assert torch.allclose(eps, -sigma * score, atol=1e-12)


def noise_of(denoiser: object, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
    alpha, sigma = TABLE(t)
    return (x - alpha * denoiser(x, t, cond).x0) / sigma  # type: ignore[operator]


class Unconditional:
    """The whole mixture, whatever the label: classifier guidance supplies the class."""

    schedule = TABLE

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = {}) -> object:  # noqa: B006
        return BASE(x, t)


@pytest.mark.parametrize("time", [0, 4, 100, 480, 980, 996])
def test_exact_classifier_guidance_makes_the_conditional_denoiser(time: int) -> None:
    """I1: eps_u - sigma grad log p(y | x_t) = eps_y."""
    t = torch.tensor(float(time))
    guided = Energy(Unconditional(), term(BASE, "log_prob"))  # type: ignore[arg-type]
    difference = noise_of(guided, STATES, t, LABEL) - noise_of(BASE, STATES, t, LABEL)
    assert float(difference.abs().max()) < 1e-12


def test_whole_trajectories_coincide() -> None:
    """I1, walked: 50 levels of classifier guidance on the unconditional base end where the conditional base does."""
    guided = Energy(Unconditional(), term(BASE, "log_prob"))  # type: ignore[arg-type]
    ends = [final(trajectory(base, STATES, Levels(20), DDIM(), cond=LABEL)) for base in (guided, BASE)]
    assert torch.allclose(ends[0], ends[1], atol=1e-9)


@pytest.mark.parametrize("time", [0, 4, 100, 480, 980, 996])
def test_classifier_free_guidance_is_classifier_guidance(time: int) -> None:
    """I2: eps_c + w (eps_c - eps_u) = eps_c - sigma w grad log p(y | x_t); with clipping in between they differ."""
    t = torch.tensor(float(time))
    free = ClassifierFree.beyond(BASE, 2.5)
    guided = Energy(BASE, term(BASE, "log_prob"), 2.5)
    difference = noise_of(free, STATES, t, LABEL) - noise_of(guided, STATES, t, LABEL)
    assert float(difference.abs().max()) < 1e-12
    if time == 480:
        clipped = Energy(Clip(BASE), term(BASE, "log_prob"), 2.5)
        apart = noise_of(Clip(free), STATES, t, LABEL) - noise_of(clipped, STATES, t, LABEL)
        assert float(apart.abs().max()) > 0.1


def tilted(levels: int, doob: bool) -> tuple[float, float]:
    """Mean and standard deviation that DDIM makes of N(0, 1) under guidance towards larger x_0 by 0.8."""
    variance = 0.25
    base = GaussianDenoiser(TABLE, torch.zeros(1).double(), torch.tensor([variance]).double())

    def value(x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        alpha, sigma = TABLE(t)
        consistent = alpha * variance / (alpha**2 * variance + sigma**2)
        return (consistent if doob else 1.0) * x.sum(1)

    ends = torch.tensor([[0.0], [1.0]]).double()  # the map is affine
    walked = final(trajectory(Energy(base, value, 0.8), ends, UNIFORM[levels], DDIM()))
    return float(walked[0, 0]), float(walked[1, 0] - walked[0, 0])


def test_only_a_consistent_tilt_reaches_its_law() -> None:
    """I3: the Doob-consistent gradient ends at mean 0.2, sd 0.5; the naive one, ten times too far."""
    for levels, mean, deviation, naive in ((25, 0.1992, 0.446, 2.08), (250, 0.1994, 0.494, 2.14)):
        assert tilted(levels, True)[0] == pytest.approx(mean, abs=2e-4)
        assert tilted(levels, True)[1] == pytest.approx(deviation, abs=1e-3)
        assert tilted(levels, False)[0] == pytest.approx(naive, abs=0.01)


def test_sources(laboratory: Laboratory) -> None:
    for name, hard, kept, density in (("real", 0.004, 0.999, -0.70), ("unguided", 0.003, 0.999, -0.76)):
        near(laboratory.judge(laboratory.sources[name]), hard, kept, density, 0.002)
    near(laboratory.judge(laboratory.sources["s = 10"]), 0.0, 1.0, 2.29, 0.002)


@pytest.mark.parametrize(
    ("measure", "scale", "source", "figures"),
    [
        ("entropy", 5, "unguided", (0.986, 1.0, 3.25)),
        ("entropy", 5, "s = 10", (0.153, 1.0, -0.04)),
        ("log_odds_target", 1, "s = 10", (0.940, 1.0, 2.87)),
        ("margin", 2, "unguided", (0.632, 0.968, 2.32)),
        ("entropy", 30, "real", (0.555, 0.591, 3.25)),
        ("log_odds_abs", 1, "s = 10", (0.983, 0.912, 3.15)),
    ],
)
def test_released_guidance(
    laboratory: Laboratory, measure: str, scale: float, source: str, figures: tuple[float, float, float]
) -> None:
    points = laboratory.two_stage(source, laboratory.guided(measure, scale), UNIFORM[250])
    near(laboratory.judge(points), *figures)


def test_margin_is_least_confidence_of_twice_the_scale(laboratory: Laboratory) -> None:
    """K = 2, to 1e-12 per evaluation."""
    x, cond = laboratory.sources["unguided"], {"label": laboratory.labels}
    for time in (0, 40, 400):
        t = torch.tensor(float(time))
        margin, least = (laboratory.guided(name, scale) for name, scale in (("margin", 2), ("least_confidence", 4)))
        assert float((noise_of(margin, x, t, cond) - noise_of(least, x, t, cond)).abs().max()) < 1e-12


def test_the_default_makes_every_source_hard_for_sixty_calls(laboratory: Laboratory) -> None:
    """At 50 points of a quadratic grid: all labels kept, far more than 80 % uncertain, from every source."""
    assert len(inversion_times(TABLE, Quadratic(50))[1]) - 1 == 30
    guided = laboratory.guided("log_odds_target", 2.0, trust=1.5)
    for source, density in zip(SOURCES, (3.15, 3.17, 3.13), strict=True):
        found = laboratory.judge(laboratory.two_stage(source, guided, Quadratic(50), "mirrored"))
        near(found, 1.0, 1.0, density, 0.01)
        assert found.kept == 1.0


def test_seventy_five_calls_do_as_well_as_the_released_seven_hundred_and_fifty(laboratory: Laboratory) -> None:
    levels = len(inversion_times(TABLE, Quadratic(40))[1]) - 1
    assert 2 * levels + levels == 75  # both ways by the network, one way by the classifier
    guided = laboratory.guided("log_odds_target", 2.0, trust=1.5)
    for source, released in zip(SOURCES, (0.984, 0.986, 0.153), strict=True):
        found = laboratory.judge(laboratory.two_stage(source, guided, Quadratic(40), "mirrored"))
        assert found.hard > released
        assert found.kept == 1.0


def test_a_wrong_time_label_collapses_guidance(laboratory: Laboratory) -> None:
    wrong = laboratory.guided("entropy", 5, laboratory.late)
    found = laboratory.judge(laboratory.two_stage("unguided", wrong, UNIFORM[250]))
    assert found.hard < 0.02
    assert found.kept > 0.99


@pytest.mark.parametrize(
    ("levels", "measure", "scale", "free", "held"),
    [
        (25, "entropy", 5, (0.101, 0.880), (0.395, 0.998)),
        (50, "log_odds_target", 2, (0.021, 0.038), (0.764, 1.0)),
    ],
)
def test_few_uniform_levels_lose_labels_without_a_trust_region(
    laboratory: Laboratory,
    levels: int,
    measure: str,
    scale: float,
    free: tuple[float, float],
    held: tuple[float, float],
) -> None:
    assert shares(laboratory.one_stage(measure, scale, UNIFORM[levels])) == pytest.approx(free, abs=0.03)
    assert shares(laboratory.one_stage(measure, scale, UNIFORM[levels], trust=1.0)) == pytest.approx(held, abs=0.03)


def test_entropy_rises_to_a_knee_between_15_and_20() -> None:
    small = Laboratory(count=500)
    scales = (1, 3, 15, 20)
    found = [small.judge(small.two_stage("unguided", small.guided("entropy", s), UNIFORM[250])) for s in scales]
    entropies = [each.entropy for each in found]
    assert entropies[:3] == sorted(entropies[:3])
    knee = find_knee(scales, [each.kept for each in found])
    assert knee.largest == 15
    assert 15 < knee.crossing < 20


def test_knees() -> None:
    assert find_knee((1.0, 2.0), (1.0, 0.99)).largest == 2.0
    assert find_knee((1.0, 2.0), (0.9, 1.0)).largest is None
    assert find_knee((1.0, 2.0, 4.0), (1.0, 1.0, 0.96)).crossing == pytest.approx(3.0)
    for bad in (((2.0, 1.0), (1.0, 1.0), 0.02), ((1.0,), (1.0, 1.0), 0.02), ((1.0,), (1.0,), 1.0)):
        with pytest.raises(ValueError, match=r"(scales|budget): found"):
            find_knee(*bad)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("reference", {25: 0.049, 50: 0.032, 100: 0.019}),
        ("mirrored", {25: 0.049, 50: 0.032, 100: 0.019}),
        ("heun", {25: 0.0075, 50: 0.0012, 100: 2.3e-4}),
    ],
)
def test_round_trips(laboratory: Laboratory, mode: InversionMode, expected: dict[int, float]) -> None:
    for levels, error in expected.items():
        assert laboratory.round_trip(levels, mode) == pytest.approx(error, rel=0.05)


def test_second_order_round_trips_at_250_levels() -> None:
    assert Laboratory(count=100).round_trip(250, "heun") < 1e-4


def test_points_are_those_of_their_class() -> None:
    labels, component = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    exact = real_points(labels, component, torch.zeros(4, 2, dtype=torch.float64))
    assert exact.tolist() == [list(mean) for mean in MEANS]
