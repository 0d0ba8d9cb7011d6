"""Guidance against closed-form conditional laws, and its conventions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.walks import VARIANCE, gaussian, start
from helpers.zoo import WRAPPERS, condition_for, mixture, quadratic
from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.grid import LogSNR
from skiagraph.diffusion.guidance import ClassifierFree, Clip, DynamicThreshold, Energy, EnergyGradient, StateCondition
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.rules import DPMSolverPP2M
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import EDM, Schedule, VPLinear
from skiagraph.diffusion.streams import Streams

SCHEDULE = VPLinear(finest=1e-5)
X = Streams(range(3)).normal(4, dtype=torch.float64)
T = torch.tensor(0.3)
LABEL = torch.tensor([0, 1, 0])


def likelihood(schedule: Schedule, measurement: Tensor, noise: float) -> Any:
    """Exact log p(y | x_t) for y = x_0 + N(0, noise^2) on the Gaussian prior."""

    def term(x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        alpha, sigma = schedule(t)
        mean = gaussian(schedule)(x, t).x0
        variance = noise**2 + VARIANCE * sigma**2 / (alpha**2 * VARIANCE + sigma**2)
        return -0.5 * ((measurement - mean) ** 2 / variance).sum(1)

    return term


@pytest.mark.parametrize("schedule", [SCHEDULE, EDM(sigma_min=1e-3)], ids=lambda s: type(s).__name__)
def test_energy_reaches_the_exact_conditional_law(schedule: Schedule) -> None:
    y = torch.tensor([[1.0, 1.0, -1.0, 2.0]]).double()
    prior = gaussian(schedule)
    posterior = prior.posterior(torch.eye(4).double(), y[0], 0.25)
    x = start(schedule)
    exact = posterior.flow(x, torch.tensor(schedule.span[0]), torch.tensor(schedule.span[1]))
    guided = Energy(prior, likelihood(schedule, y, 0.5))
    errors = [
        float((final(trajectory(guided, x, LogSNR(n), DPMSolverPP2M())) - exact).abs().max()) for n in (16, 64, 256)
    ]
    assert errors[0] < 0.2
    assert errors[1] < errors[0] / 6
    assert errors[2] < errors[1] / 10


def test_energy_equals_the_conditional_denoiser_pointwise() -> None:
    """Unconditional mixture + its own exact classifier = conditional mixture."""
    base = mixture(SCHEDULE)

    def classifier(x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        return torch.log_softmax(base.logits(x, t), 1).gather(1, LABEL[:, None])[:, 0]

    for t in (torch.tensor(0.3), torch.tensor([0.01, 0.5, 1.0])):
        assert torch.allclose(Energy(base, classifier)(X, t).x0, base(X, t, {"label": LABEL}).x0, atol=1e-9)


def test_classifier_free_convention() -> None:
    base = mixture(SCHEDULE)
    null, given = base(X, T).x0, base(X, T, {"label": LABEL}).x0
    for scale in (0.0, 0.5, 1.0, 3.0):
        found = ClassifierFree(base, scale)(X, T, {"label": LABEL}).x0
        assert torch.allclose(found, null + scale * (given - null), atol=1e-14)
    assert torch.equal(ClassifierFree(base, 1.0)(X, T, {"label": LABEL}).x0, given)
    assert torch.equal(ClassifierFree(base, 0.0)(X, T, {"label": LABEL}).x0, null)


def test_classifier_free_equals_classifier_guidance_of_the_same_strength() -> None:
    """With w on the conditional base: D(c) + w (D(c) - D(null)) = classifier guidance at s = w on D(c)."""
    base = mixture(SCHEDULE)

    def classifier(x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        return torch.log_softmax(base.logits(x, t), 1).gather(1, LABEL[:, None])[:, 0]

    cond = {"label": LABEL}
    assert torch.allclose(ClassifierFree(base, 1 + 2.5)(X, T, cond).x0, Energy(base, classifier, 2.5)(X, T, cond).x0)


class Recording:
    """A denoiser that remembers the conditions it was called with."""

    schedule = SCHEDULE

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        self.calls.append(dict(cond))
        return Prediction(torch.full_like(x, float(len(self.calls))), torch.full_like(x, -float(len(self.calls))))


def test_null_conditions() -> None:
    for null, expected in ((None, {}), ({"label": None}, {"map": 2}), ({"label": 7}, {"label": 7, "map": 2})):
        base = Recording()
        prediction = ClassifierFree(base, 2.0, null)(X, T, {"label": 1, "map": 2})
        assert base.calls == [expected, {"label": 1, "map": 2}]
        assert prediction.log_var is not None
        assert float(prediction.log_var[0, 0]) == -2  # the conditional call's
    with pytest.raises(ValueError, match="null: found lable"):
        ClassifierFree(Recording(), 2.0, {"lable": None})(X, T, {"label": 1})


def test_guidance_interval() -> None:
    base = mixture(SCHEDULE)
    level = float(SCHEDULE.log_snr(T))
    inside = ClassifierFree(base, 3.0, interval=(level - 1, level + 1))
    outside = ClassifierFree(base, 3.0, interval=(level + 1, level + 2))
    cond = {"label": LABEL}
    assert torch.equal(inside(X, T, cond).x0, ClassifierFree(base, 3.0)(X, T, cond).x0)
    assert torch.equal(outside(X, T, cond).x0, base(X, T, cond).x0)
    with pytest.raises(ValueError, match="both sides"):
        inside(X, torch.tensor([0.3, 0.9, 0.3]), cond)


def test_score_shift_is_sigma_squared_over_alpha() -> None:
    alpha, sigma = SCHEDULE(T)
    for scale in (1.0, -2.5):
        move = Energy(gaussian(SCHEDULE), lambda x, t, x0, cond: x.sum(1), scale)(X, T).x0 - gaussian(SCHEDULE)(X, T).x0
        assert torch.allclose(move, (scale * sigma**2 / alpha).expand(3, 4), rtol=1e-9)


def test_gradient_paths() -> None:
    """At x_t, at x0-hat with the noise held, and through the network: three different chain rules."""
    alpha, sigma = SCHEDULE(T)
    base = gaussian(SCHEDULE)
    plain = base(X, T).x0
    gain = alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2)

    def moved(through: Any, term: Any) -> Tensor:
        return (Energy(base, term, through=through)(X, T).x0 - plain) * alpha / sigma**2

    def square_x0(x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        return 0.5 * (x0**2).sum(1)

    def square_x(x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        return 0.5 * (x**2).sum(1)

    assert torch.allclose(moved("state", square_x), X, atol=1e-9)
    assert torch.allclose(moved("x0", square_x0), plain / alpha, atol=1e-9)
    assert torch.allclose(moved("network", square_x0), gain * plain, atol=1e-9)
    with pytest.raises(ValueError, match="do not depend"):
        moved("state", square_x0)


def test_trust_region_shortens_long_moves_per_sample() -> None:
    alpha, sigma = SCHEDULE(T)
    scales = torch.tensor([0.1, 10.0, 0.0]).double()
    term = lambda x, t, x0, cond: scales * x.sum(1)  # noqa: E731
    free, held = (
        Energy(gaussian(SCHEDULE), term, trust=r)(X, T).x0 - gaussian(SCHEDULE)(X, T).x0 for r in (math.inf, 1.0)
    )
    size = held.square().mean(1).sqrt() * alpha / sigma
    assert torch.allclose(held[0], free[0])
    assert float(size[1]) == pytest.approx(1.0, rel=1e-9)
    assert torch.equal(held[2], torch.zeros(4).double())


def test_guidance_can_be_confined_to_noise_levels() -> None:
    base = gaussian(SCHEDULE)
    t = torch.tensor([0.05, 0.3, 0.9])
    share = SCHEDULE(t)[1] ** 2
    energy = Energy(base, quadratic, interval=(float(share[0]) + 1e-6, float(share[2]) - 1e-6))
    move = energy(X, t).x0 - base(X, t).x0
    assert torch.equal(move[[0, 2]], torch.zeros(2, 4).double())
    assert torch.allclose(energy(X, t).x0[1], Energy(base, quadratic)(X, t).x0[1])


def test_scale_zero_never_calls_the_term() -> None:
    def fails(x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        raise AssertionError

    assert torch.equal(Energy(gaussian(SCHEDULE), fails, 0.0)(X, T).x0, gaussian(SCHEDULE)(X, T).x0)
    assert torch.allclose(Energy(gaussian(SCHEDULE), fails)(X, torch.tensor(0.0)).x0, X)  # the clean end


def test_energies_are_per_sample() -> None:
    with pytest.raises(ValueError, match=r"term: found values of shape \(\)"):
        Energy(gaussian(SCHEDULE), lambda x, t, x0, cond: x.sum())(X, T)


def test_energy_works_inside_no_grad_and_leaves_no_graph() -> None:
    with torch.no_grad():
        guided = Energy(gaussian(SCHEDULE), quadratic, through="network")(X, T)
    assert not guided.x0.requires_grad


def test_mean_drift_is_the_scaled_gradient() -> None:
    drift = EnergyGradient(lambda x, t, x0, cond: 0.5 * (x**2 * x0).sum(1), 3.0)
    assert torch.allclose(drift(X, T, 2 * torch.ones_like(X)), 6 * X)


def test_clip_and_order() -> None:
    base = gaussian(SCHEDULE)
    assert torch.equal(Clip(base, -0.1, 0.2)(X, T).x0, base(X, T).x0.clamp(-0.1, 0.2))
    push: Any = lambda x, t, x0, cond: 100 * x.sum(1)  # noqa: E731
    assert float(Energy(Clip(base), push)(X, T).x0.max()) > 1
    assert float(Clip(Energy(base, push))(X, T).x0.max()) <= 1
    with pytest.raises(TypeError, match="real states"):
        Clip(GaussianDenoiser(SCHEDULE, torch.zeros(4), torch.ones(4)))(torch.complex(X, X), T)


def test_dynamic_threshold() -> None:
    base = GaussianDenoiser(EDM(), torch.zeros(4), torch.ones(4) * 1e12)  # x0 = x
    x = torch.tensor([[0.5, -0.2, 0.1, 0.0], [8.0, -4.0, 2.0, 1.0]]).double()
    found = DynamicThreshold(base, 0.75)(x, torch.tensor(0.002)).x0
    assert torch.allclose(found[0], x[0], atol=1e-9)
    assert torch.allclose(found[1], torch.tensor([1.0, -1.0, 0.5, 0.25]).double(), atol=1e-9)


def test_state_condition_is_computed_at_every_call() -> None:
    base = GaussianDenoiser(SCHEDULE, torch.zeros(4).double(), torch.ones(4).double())
    guided = StateCondition(base, "mean", lambda x, t, cond: 0.5 * x)
    assert torch.equal(guided(X, T).x0, base(X, T, {"mean": 0.5 * X}).x0)
    twice = StateCondition(base, "mean", lambda x, t, cond: 0.5 * x, passes=2)
    assert torch.equal(twice(X, T).x0, base(X, T, {"mean": 0.5 * guided(X, T).x0}).x0)
    with pytest.raises(ValueError, match="computed from the state"):
        guided(X, T, {"mean": X})
    with pytest.raises(ValueError, match="unknown condition label"):
        guided(X, T, {"label": LABEL})


@pytest.mark.parametrize("name", [name for name in WRAPPERS if name not in ("gaussian", "covariance", "mixture")])
def test_wrappers_are_denoisers_and_keep_the_schedule_and_variance(name: str) -> None:
    wrapper = WRAPPERS[name](SCHEDULE)
    assert isinstance(wrapper, Denoiser)
    assert wrapper.schedule is SCHEDULE
    before = X.clone()
    wrapper(X, T, condition_for(name, [0, 1, 2]))
    assert torch.equal(X, before)


@pytest.mark.parametrize("through", ["state", "x0", "network"])
def test_learned_variance_passes_through(through: Any) -> None:
    class Varied:
        schedule = SCHEDULE

        def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
            return Prediction(x**2, x**3)

    for wrapper in (Energy(Varied(), quadratic, through=through), Clip(Varied()), DynamicThreshold(Varied())):
        log_var = wrapper(X, T).log_var
        assert log_var is not None
        assert torch.equal(log_var, X**3)
        assert not log_var.requires_grad


def test_settings_are_checked() -> None:
    base = gaussian(SCHEDULE)
    for make in (
        lambda: Clip(base, 1.0, 1.0),
        lambda: DynamicThreshold(base, 0.0),
        lambda: DynamicThreshold(base, bound=-1.0),
        lambda: ClassifierFree(base, math.nan),
        lambda: ClassifierFree(base, 1.0, interval=(1.0, 0.0)),
        lambda: Energy(base, quadratic, math.inf),
        lambda: Energy(base, quadratic, through="x"),  # type: ignore[arg-type]
        lambda: Energy(base, quadratic, interval=(0.5, 0.2)),
        lambda: Energy(base, quadratic, trust=0.0),
        lambda: StateCondition(base, "mean", lambda x, t, cond: x, passes=0),
    ):
        with pytest.raises(ValueError, match=r"found .*allowed"):
            make()
