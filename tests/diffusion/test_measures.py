"""Every measure against its closed-form gradient."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from skiagraph.diffusion.guidance import ClassifierTerm, Ensemble
from skiagraph.diffusion.guidance.measures import MEASURES, measure, uses_label

Row = Callable[[Tensor, Tensor], Tensor]


def parts(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """p, log p and the indicator of the label, each (B, K)."""
    log_p = z - torch.logsumexp(z, 1, keepdim=True)
    return log_p.exp(), log_p, torch.eye(z.shape[1], dtype=z.dtype)[y]


def entropy_row(z: Tensor, y: Tensor) -> Tensor:
    p, log_p, _ = parts(z, y)
    return -p * (log_p - (p * log_p).sum(1, keepdim=True))


def log_prob_row(z: Tensor, y: Tensor) -> Tensor:
    p, _, is_y = parts(z, y)
    return is_y - p


def top_rows(z: Tensor) -> tuple[Tensor, Tensor]:
    """p_a ([k = a] - p_k) for the largest and the second."""
    p, _, _ = parts(z, torch.zeros(len(z), dtype=torch.int64))
    order = p.argsort(1, descending=True)
    first, second = (torch.eye(z.shape[1], dtype=z.dtype)[order[:, n]] for n in (0, 1))
    rows = [(p * which).sum(1, keepdim=True) * (which - p) for which in (first, second)]
    return rows[0], rows[1]


def log_odds_row(z: Tensor, y: Tensor, runner_up: bool = False) -> tuple[Tensor, Tensor]:
    """l_y (B, 1) and dl_y/dz (B, K)."""
    is_y = torch.eye(z.shape[1], dtype=z.dtype)[y]
    others = z.masked_fill(is_y.bool(), -math.inf)
    q = torch.eye(z.shape[1], dtype=z.dtype)[others.argmax(1)] if runner_up else torch.softmax(others, 1)
    rival = others.amax(1, keepdim=True) if runner_up else torch.logsumexp(others, 1, keepdim=True)
    return (z * is_y).sum(1, keepdim=True) - rival, is_y - q


def target_row(target: float, delta: float, runner_up: bool) -> Row:
    def row(z: Tensor, y: Tensor) -> Tensor:
        value, slope = log_odds_row(z, y, runner_up)
        return -(value - target).clamp(-delta, delta) * slope

    return row


def abs_row(z: Tensor, y: Tensor) -> Tensor:
    value, slope = log_odds_row(z, y)
    return -value.sign() * slope


ROWS: list[tuple[str, dict[str, Any], Row]] = [
    ("log_prob", {}, log_prob_row),
    ("entropy", {}, entropy_row),
    ("margin", {}, lambda z, y: top_rows(z)[1] - top_rows(z)[0]),
    ("least_confidence", {}, lambda z, y: -top_rows(z)[0]),
    ("log_odds_target", {}, target_row(0.5, 1.0, False)),
    ("log_odds_target", {"target": -0.3, "delta": 2.0}, target_row(-0.3, 2.0, False)),
    ("log_odds_target", {"runner_up": True}, target_row(0.5, 1.0, True)),
    ("log_odds_abs", {}, abs_row),
    ("entropy_normalised", {}, lambda z, y: entropy_row(z, y) / math.log(z.shape[1])),
    ("energy", {}, lambda z, y: -parts(z, y)[0]),
]


def logits(classes: int, scale: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(64, classes, generator=generator, dtype=torch.float64)
    return z, torch.randint(0, classes, (64,), generator=generator)


def slope(function: Any, z: Tensor, y: Tensor) -> Tensor:
    at = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(at, y).sum(), at)
    return gradient


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("name", "options", "row"), ROWS, ids=lambda v: v if isinstance(v, str) else "")
def test_gradients_are_the_rows_of_the_table(name: str, options: dict[str, Any], row: Row, classes: int) -> None:
    function = measure(name, **options)
    for scale in (2.0, 20.0):
        z, y = logits(classes, scale)
        assert float((slope(function, z, y) - row(z, y)).abs().max()) < 1e-10


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("name", "options", "row"), ROWS, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_extreme_logits_stay_finite(
    name: str, options: dict[str, Any], row: Row, classes: int, dtype: torch.dtype
) -> None:
    z, y = logits(classes)
    extreme = (80 * z.sign()).to(dtype) + z.to(dtype) * 1e-3
    function = measure(name, **options)
    found = slope(function, extreme, y)
    assert bool(function(extreme, y).isfinite().all())
    assert bool(found.isfinite().all())
    if dtype == torch.float64:
        assert float((found - row(extreme, y)).abs().max()) < 1e-10


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "bald"])
@pytest.mark.parametrize("classes", [2, 5])
def test_finite_difference_of_the_sum_and_batches_of_one(name: str, classes: int) -> None:
    z, y = logits(classes)
    function = measure(name)
    way = torch.randn(z.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    step = 1e-6
    difference = (function(z + step * way, y).sum() - function(z - step * way, y).sum()) / (2 * step)
    assert float(difference) == pytest.approx(float((slope(function, z, y) * way).sum()), abs=1e-4)
    alone = torch.cat([slope(function, z[k : k + 1], y[k : k + 1]) for k in range(len(z))])
    assert torch.allclose(alone, slope(function, z, y), rtol=0, atol=1e-15)


def test_bald_is_the_disagreement_of_members() -> None:
    z = torch.randn(16, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    y = torch.zeros(16, dtype=torch.int64)
    p = torch.softmax(z, 2)
    expected = -(p.mean(1) * p.mean(1).log()).sum(1) + (p * p.log()).sum(2).mean(1)
    assert torch.allclose(measure("bald")(z, y), expected, atol=1e-12)
    agreeing = z[:, :1].expand(-1, 4, -1)
    assert float(measure("bald")(agreeing, y).abs().max()) < 1e-12
    assert torch.autograd.gradcheck(lambda v: measure("bald")(v, y), z.requires_grad_())
    with pytest.raises(ValueError, match="at least 2 members"):
        measure("bald")(z[:, 0], y)


@pytest.mark.parametrize("name", [name for name in MEASURES if name not in ("bald", "energy")])
def test_members_stand_for_their_mean_probability(name: str) -> None:
    z = torch.randn(16, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.randint(0, 3, (16,), generator=torch.Generator().manual_seed(1))
    mean = torch.softmax(z, 2).mean(1).log()
    assert torch.allclose(measure(name)(z, y), measure(name)(mean, y), atol=1e-12)


def test_two_classes_in_closed_form() -> None:
    """dH/du = -u p (1 - p); the margin's gradient is twice that of least confidence; targets where they should be."""
    z, y = logits(2)
    gap = z[:, 0] - z[:, 1]
    p = torch.sigmoid(gap)
    assert torch.allclose(slope(measure("entropy"), z, y)[:, 0], -gap * p * (1 - p), atol=1e-12)
    twice = 2 * slope(measure("least_confidence"), z, y)
    assert float((slope(measure("margin"), z, y) - twice).abs().max()) < 1e-12
    at_target = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    assert float(measure("log_odds_target")(at_target, torch.tensor([0]))) == 0
    assert float(slope(measure("log_odds_target"), at_target, torch.tensor([0])).abs().max()) == 0
    assert float(measure("log_odds_target", target=-0.5)(at_target, torch.tensor([1]))) == 0


def test_confident_images_keep_a_pull_under_the_log_odds_target_only() -> None:
    z, y = torch.tensor([[40.0, -40.0]], dtype=torch.float64), torch.tensor([0])
    for name in ("entropy", "margin", "least_confidence"):
        assert float(slope(measure(name), z, y).abs().max()) < 1e-30
    assert slope(measure("log_odds_target"), z, y).tolist() == [[-1.0, 1.0]]


def test_names_and_options_are_checked() -> None:
    for name, meant in (("Entropy", "entropy"), ("LeastConf", "least_confidence"), ("entrpy", "entropy")):
        with pytest.raises(ValueError, match=f"found '{name}'; did you mean '{meant}'\\? Allowed: log_prob, entropy"):
            measure(name)
    with pytest.raises(ValueError, match=r"option tarket for 'log_odds_target'; allowed: target, delta, runner_up\."):
        measure("log_odds_target", tarket=1)
    with pytest.raises(ValueError, match="option target for 'entropy'; allowed: none"):
        measure("entropy", target=1)
    with pytest.raises(ValueError, match="delta: found 0"):
        measure("log_odds_target", delta=0.0)
    with pytest.raises(ValueError, match="target: found nan"):
        measure("log_odds_target", target=math.nan)


def test_a_function_of_the_caller_is_a_measure() -> None:
    def brier(logits: Tensor, labels: Tensor) -> Tensor:
        return (torch.softmax(logits, 1) ** 2).sum(1)

    assert measure(brier) is brier
    assert uses_label(brier)
    assert not uses_label(measure("entropy"))
    assert uses_label(measure("log_odds_target"))
    with pytest.raises(ValueError, match="takes no options"):
        measure(brier, target=1)


def test_logits_and_labels_are_checked() -> None:
    z, y = logits(3)
    for bad in (z[:, :1], z[0]):
        with pytest.raises(ValueError, match="at least K = 2 classes"):
            measure("entropy")(bad, y)
    with pytest.raises(ValueError, match=r"found 0 \.\.\. 3; allowed 0 \.\.\. 2"):
        measure("log_prob")(z, torch.tensor([3] + [0] * 63))
    with pytest.raises(ValueError, match=r"allowed whole numbers of shape \(64,\)"):
        measure("log_prob")(z, y[:3])
    with pytest.raises(ValueError, match="allowed whole numbers"):
        measure("log_prob")(z, y.double())


@pytest.mark.parametrize("name", list(MEASURES))
def test_measures_survive_pickling(name: str) -> None:
    assert pickle.loads(pickle.dumps(measure(name))) == measure(name)


X = torch.randn(3, 1, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
T = torch.tensor(7.0, dtype=torch.float64)


def linear(x: Tensor, *time: Tensor) -> Tensor:
    """Logits that are linear in the image."""
    weights = torch.arange(8, dtype=x.dtype).reshape(2, 4)
    return x.flatten(1) @ weights.T


def test_term_is_the_measure_of_cooled_logits() -> None:
    label = {"label": torch.tensor([0, 1, 0])}
    for on, seen in (("state", X), ("x0", 2 * X)):
        term = ClassifierTerm(linear, "log_prob", temperature=3.0, on=on)  # type: ignore[arg-type]
        expected = measure("log_prob")(linear(seen) / 3.0, label["label"])
        assert torch.equal(term(X, T, 2 * X, label), expected)
    assert ClassifierTerm(linear, "entropy")(X, T, X, {}).shape == (3,)
    with pytest.raises(ValueError, match="found no label"):
        ClassifierTerm(linear, "log_prob")(X, T, X, {})
    with pytest.raises(ValueError, match="temperature: found 0"):
        ClassifierTerm(linear, "log_prob", temperature=0.0)
    with pytest.raises(ValueError, match="on: found 'x_t'"):
        ClassifierTerm(linear, "log_prob", on="x_t")  # type: ignore[arg-type]


def test_ensembles_have_a_member_axis() -> None:
    both = Ensemble([linear, lambda x, *time: -linear(x)])
    assert torch.equal(both(X), torch.stack([linear(X), -linear(X)], 1))
    assert ClassifierTerm(both, "bald")(X, T, X, {}).shape == (3,)
    with pytest.raises(ValueError, match="found 1; allowed at least 2"):
        Ensemble([linear])
    with pytest.raises(ValueError, match="the same classes"):
        Ensemble([linear, lambda x: linear(x)[:, :1]])(X)
