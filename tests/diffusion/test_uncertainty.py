"""How guidance behaves: what it skips, limits, reports and refuses."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from skiagraph.diffusion import DDIM, Levels, Prediction, Quadratic, Snapped, final, invert, linear_table, trajectory
from skiagraph.diffusion.denoiser import EMPTY, Condition
from skiagraph.diffusion.guidance import (
    ClassifierTerm,
    Clip,
    Counted,
    Energy,
    EnergyGradient,
    Every,
    Evidence,
    LabelFlipWarning,
    Tally,
    label_flip_risks,
    warn_of_label_flips,
)
from skiagraph.diffusion.laboratory import alternating, term, two_classes

TABLE = linear_table()
BASE = two_classes(TABLE)
LABEL = {"label": alternating(16)}
X = torch.randn(16, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
T = torch.tensor(60.0)
GRID = Quadratic(12)


class Counting:
    """The exact classifier, counting its calls and remembering the times it was told."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.times += sorted(set(t.tolist()))
        return BASE.logits(x, t)


def walked(denoiser: Any, x: Tensor = X, cond: Condition = LABEL, grid: Any = GRID) -> Tensor:
    return final(trajectory(denoiser, x, grid, DDIM(), cond=cond))


def test_scale_zero_is_the_unguided_decode_bit_for_bit_and_calls_no_classifier() -> None:
    counting = Counting()
    off = Energy(Clip(BASE), ClassifierTerm(counting, "entropy"), 0.0, trust=1.5)
    assert torch.equal(walked(off), walked(Clip(BASE)))
    assert counting.times == []
    assert torch.equal(EnergyGradient(ClassifierTerm(counting, "entropy"), 0.0)(X, T, X, LABEL), torch.zeros_like(X))


def test_the_classifier_is_told_the_times_of_training() -> None:
    """Positions in a respaced table become original times, or those of the convention asked for."""
    table = TABLE.respaced("ddim250")
    base = two_classes(table)
    for kind, expected in (("original_index", range(0, 1000, 4)), ("index", range(250))):
        counting = Counting()
        clipped = ClassifierTerm(lambda x, t, c=counting: c(x, t), "entropy", schedule=table, time=kind)  # type: ignore[arg-type, misc]
        walked(Energy(base, clipped), grid=Levels())
        assert sorted(counting.times) == list(expected)
    with pytest.raises(ValueError, match="kind: found 'spaced'"):
        ClassifierTerm(Counting(), "entropy", schedule=table, time="spaced")  # type: ignore[arg-type]


def test_a_gradient_that_is_not_finite_names_level_and_samples() -> None:
    def broken(x: Tensor, t: Tensor) -> Tensor:
        factor = torch.ones(len(x), 1, dtype=x.dtype)
        factor[[2, 5]] = math.nan
        return BASE.logits(x, t) * factor

    with pytest.raises(FloatingPointError, match=r"at t = 60 .* for samples 2, 5 of a batch of 16"):
        Energy(BASE, ClassifierTerm(broken, "entropy"))(X, T, LABEL)
    with pytest.raises(FloatingPointError, match="samples 2, 5"):
        EnergyGradient(ClassifierTerm(broken, "entropy"))(X, T, X, LABEL)


def test_normalised_pushes_are_a_share_of_the_noise() -> None:
    alpha, sigma = TABLE(T)
    base = BASE(X, T, LABEL).x0
    eps = (X - alpha * base) / sigma
    push = (Energy(BASE, term(BASE, "log_odds_target"), 0.3, normalised=True)(X, T, LABEL).x0 - base) * alpha / sigma
    assert torch.allclose(push.square().mean(1).sqrt(), 0.3 * eps.square().mean(1).sqrt(), rtol=1e-9)
    raw = Energy(BASE, term(BASE, "log_odds_target"))(X, T, LABEL).x0 - base
    assert torch.allclose(torch.nn.functional.cosine_similarity(raw, push), torch.ones(16).double(), atol=1e-9)
    flat = Energy(BASE, lambda x, t, x0, cond: 0 * x.sum(1), 0.3, normalised=True)(X, T, LABEL).x0
    assert torch.equal(flat, base)


def test_every_kth_level_from_the_cleanest() -> None:
    times = GRID(TABLE)
    every = Every.of(3, TABLE, times)
    assert every.levels == tuple(times.flip(0)[1:].tolist())
    assert [bool(every.acts(time)) for time in times.flip(0)[1:8]] == [True, False, False, True, False, False, True]
    assert Every.of(3, TABLE, times.flip(0)).levels == every.levels
    counting = Counting()
    walked(Energy(BASE, ClassifierTerm(counting, "entropy"), every=every))
    assert sorted(counting.times) == list(every.levels[::3])
    with pytest.raises(ValueError, match="found the time 61, which is no level"):
        Energy(BASE, term(BASE, "entropy"), every=every)(X, torch.tensor(61.0), LABEL)
    for bad in (lambda: Every(0, (1.0,)), lambda: Every(2, ())):
        with pytest.raises(ValueError, match=r"(k|levels): found"):
            bad()


def test_multiplying_is_asked_for_and_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = Every(5, (60.0,))
        Every(1, (60.0,), multiply=True)
    with pytest.warns(LabelFlipWarning, match=r"every 5\. level with its gradient multiplied by 5.*lose their label"):
        times_five = Every(5, (60.0,), multiply=True)
    base = BASE(X, T, LABEL).x0
    once, five = (
        Energy(BASE, term(BASE, "entropy"), every=each)(X, T, LABEL).x0 - base for each in (plain, times_five)
    )
    assert torch.allclose(5 * once, five)


def test_samples_that_reached_their_target_are_left_alone() -> None:
    target = term(BASE, "log_odds_target")
    value = target(X, T, X, LABEL)
    limit = float(value.median())
    base = BASE(X, T, LABEL).x0
    found = Energy(BASE, target, until=limit)(X, T, LABEL).x0
    reached = value >= limit
    assert 0 < int(reached.sum()) < 16
    assert torch.equal(found[reached], base[reached])
    assert torch.equal(found[~reached], Energy(BASE, target)(X, T, LABEL).x0[~reached])
    with pytest.raises(ValueError, match="until: found nan"):
        Energy(BASE, target, until=math.nan)


def test_evidence_of_a_walk() -> None:
    evidence, tally = Evidence(), Tally()
    guided = Energy(
        Clip(Counted(BASE, tally)),
        term(BASE, "log_odds_target"),
        20.0,
        trust=1.5,
        interval=(0.0, 0.8),
        observe=evidence,
    )
    times = GRID(TABLE)
    walked(guided)
    acting = int((TABLE(times[:-1])[1] ** 2 <= 0.8).sum())
    assert (evidence.calls, tally.calls, tally.samples) == (acting, len(times) - 1, 16 * (len(times) - 1))
    sizes = torch.stack([step.size for step in evidence.steps])
    assert torch.equal(evidence.limited, (sizes > 1.5).double().mean(0))
    assert 0 < float(evidence.limited.mean()) < 1
    assert 0 < float(evidence.outside.max()) <= 1
    assert torch.equal(evidence.first, evidence.steps[0].value)
    assert torch.equal(evidence.last, evidence.steps[-1].value)
    with pytest.raises(ValueError, match="found no step"):
        _ = Evidence().limited


def test_observing_changes_nothing() -> None:
    plain = Energy(Clip(BASE), term(BASE, "entropy"), 5.0)
    watched = Energy(Clip(BASE), term(BASE, "entropy"), 5.0, observe=Evidence())
    assert torch.equal(walked(plain), walked(watched))


@pytest.mark.parametrize(
    ("grid", "trust", "named"),
    [
        (Levels(20), math.inf, "a uniform grid of 50 levels, 2 of them below sigma^2 = 0.02, with no trust region"),
        (Levels(20), 1.5, "with a trust region of 1.5"),
        (Levels(40), 1.01, "a uniform grid of 25 levels"),
        (Quadratic(12), math.inf, "a grid of 12 levels, 3 of them"),
    ],
)
def test_coarse_walks_warn_of_label_flips(grid: Any, trust: float, named: str) -> None:
    with pytest.warns(LabelFlipWarning, match="lose their label") as caught:
        warn_of_label_flips(TABLE, grid(TABLE), trust)
    assert named in str(caught[0].message)


def test_safe_walks_do_not_warn() -> None:
    safe = ((Levels(20), 1.0), (Levels(10), math.inf), (Levels(4), 1.5), (Quadratic(50), 1.5), (Snapped(50), 1.5))
    for grid, trust in safe:
        assert label_flip_risks(TABLE, grid(TABLE), trust) == ()
    with pytest.warns(LabelFlipWarning):
        every = Every.of(5, TABLE, Levels(4)(TABLE), multiply=True)
    assert len(label_flip_risks(TABLE, Levels(4)(TABLE), every=every)) == 1
    assert len(label_flip_risks(TABLE.respaced("ddim50"), Levels()(TABLE.respaced("ddim50")))) == 1


def test_the_walks_that_a_warning_proposes_do_not_warn() -> None:
    (reason,) = label_flip_risks(TABLE, Quadratic(6)(TABLE), 1.5)
    quadratic, uniform = (int(word) for word in re.findall(r"(\d+) (?:quadratic|uniform)", reason))
    assert label_flip_risks(TABLE, Quadratic(quadratic)(TABLE), 1.5) == ()
    assert label_flip_risks(TABLE, Levels(1000 // uniform)(TABLE), 1.5) == ()


class Frozen(nn.Module):
    """A small noisy classifier of any image or volume."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(5, 1, generator=generator))

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        mean = torch.tanh(x).flatten(1).mean(1, keepdim=True)
        return 20 * mean * self.weight.T + (0 if time is None else 1e-3 * time[:, None])


class Shrinking:
    """A denoiser with weights, of any shape."""

    schedule = TABLE

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.tensor(0.5))

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        return Prediction(self.weight * x)


@pytest.mark.parametrize("shape", [(4, 1, 6, 5), (4, 3, 4, 4), (4, 1, 2, 3, 4)])
@pytest.mark.parametrize(("on", "through"), [("state", "state"), ("x0", "x0"), ("x0", "network")])
@pytest.mark.parametrize("freeze", [True, False])
def test_images_volumes_and_frozen_weights(shape: tuple[int, ...], on: Any, through: Any, freeze: bool) -> None:
    """Any shape, with the classifier frozen or not; no weight receives a gradient; a batch is its samples."""
    classifier, net = Frozen(), Shrinking()
    classifier.requires_grad_(not freeze)
    guided = Energy(Clip(net), ClassifierTerm(classifier, "entropy", on=on), 5.0, through=through)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    cond = {"label": torch.arange(len(x)) % 5}
    found = walked(guided, x, cond)
    assert found.shape == x.shape
    assert classifier.weight.grad is None
    assert net.weight.grad is None
    assert not found.requires_grad
    assert not torch.allclose(found, walked(Clip(net), x, cond))
    alone = torch.cat([walked(guided, x[k : k + 1], {"label": cond["label"][k : k + 1]}) for k in range(len(x))])
    assert torch.allclose(alone, found, atol=1e-5)
    off = Energy(Clip(net), ClassifierTerm(classifier, "entropy", on=on), 0.0, through=through)
    assert torch.equal(walked(off, x, cond), walked(Clip(net), x, cond))


def test_partial_batches_and_order() -> None:
    """Stage 2 of three images, of one, and in another order: the same images."""
    guided = Energy(Clip(BASE), term(BASE, "log_odds_target"), 2.0, trust=1.5)

    def harder(rows: list[int]) -> Tensor:
        cond = {"label": LABEL["label"][rows]}
        latent = invert(BASE, X[rows].clamp(-0.8, 0.8), Quadratic(30), cond=cond)
        return walked(guided, latent.x, cond, latent.times)

    whole = harder([0, 1, 2])
    assert torch.allclose(harder([2, 0, 1]), whole[[2, 0, 1]], atol=1e-9)
    assert torch.allclose(harder([1]), whole[[1]], atol=1e-9)


def test_half_precision_logits_are_measured_in_single() -> None:
    half = ClassifierTerm(lambda x, t: BASE.logits(x, t).bfloat16(), "entropy")
    assert half(X, T, X, LABEL).dtype == torch.float32
