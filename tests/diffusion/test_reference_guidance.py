"""The released guided steps, step by step, against formulas written out in float64.

Networks are small and filled with noise, so that guidance moves states far more than the tolerance. Each step is taken
from the same state: with random weights differences grow along a walk, so that ends are not comparable.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.literal_guidance import Chain, Released
from networks.filled import filled_classifier, filled_unet
from skiagraph.diffusion import DDIM, DDPM, NetworkDenoiser, Streams, linear_table
from skiagraph.diffusion.guidance import ClassifierFree, ClassifierTerm, Clip, Energy, EnergyGradient
from skiagraph.networks.classifier import ClassifierConfig
from skiagraph.networks.unet import UNetConfig

LEVELS, SHAPE = 250, (3, 1, 8, 8)
SIZE: dict[str, Any] = {"channels": 8, "multipliers": (1, 2), "residual_blocks": 1, "groups": 4}
UNET = filled_unet(UNetConfig(in_channels=1, out_channels=2, classes=3, **SIZE))
CLASSIFIER = filled_classifier(ClassifierConfig(in_channels=1, out_channels=3, pool="adaptive", **SIZE))
UNET64, CLASSIFIER64 = copy.deepcopy(UNET).double(), copy.deepcopy(CLASSIFIER).double()
TABLE = linear_table().respaced(f"ddim{LEVELS}")
LABELS = torch.tensor([2, 0, 1])
COND = {"label": LABELS}
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
MEASURES = ("log_prob", "entropy", "margin", "least_confidence")
SCALE = 2000.0  # the classifier's gradients are small; pushes come out at about the size of the noise


def network(x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
    """The U-Net, without any label embedding where there is no label."""
    if label is None:
        return UNET(x, time, embedding=torch.zeros(len(x), 32))
    return UNET(x, time, label=label)


def eps64(x: Tensor, time: int, label: Tensor | None) -> Tensor:
    t = torch.full((len(x),), float(time), dtype=torch.float64)
    with torch.no_grad():
        if label is None:
            return UNET64(x, t, embedding=torch.zeros(len(x), 32, dtype=torch.float64))
        return UNET64(x, t, label=label)


def logits64(x: Tensor, time: int) -> Tensor:
    return CLASSIFIER64(x, torch.full((len(x),), float(time), dtype=torch.float64))


NET = NetworkDenoiser(network, TABLE, learned_variance=True, accepts=frozenset({"label"}))


def term(measure: str) -> ClassifierTerm:
    return ClassifierTerm(CLASSIFIER, measure, schedule=TABLE)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())


def literal(clip: bool = True, strength: float = 0.0) -> Released:
    return Released(Chain(LEVELS), eps64, logits64, clip, strength)


def ours(measure: str, clip: bool, strength: float, scale: float) -> Any:
    base = ClassifierFree.beyond(NET, strength) if strength else NET
    return Energy(Clip(base) if clip else base, term(measure), scale)


class Given:
    """Streams that return noise known beforehand."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def __len__(self) -> int:
        return len(self.noise)

    def normal_like(self, x: Tensor) -> Tensor:
        return self.noise.to(x)


NOISE = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))


def step(rule: Any, denoiser: Any, x: Tensor, level: int) -> Tensor:
    t, s = torch.tensor(float(level)), torch.tensor(float(level - 1))
    with torch.no_grad():
        found: Tensor = rule(denoiser, x, t, s, COND, Given(NOISE), None)[0]
    return found


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("strength", [0.0, 1.5])
def test_guided_steps_along_a_trajectory(measure: str, clip: bool, strength: float) -> None:
    released, denoiser, x = literal(clip, strength), ours(measure, clip, strength, SCALE), X
    moved = 0.0
    for level in (249, 180, 100, 40, 10, 1, 0):  # the last returns x0'
        expected, _ = released.ddim(x.double(), level, LABELS, measure, SCALE, 0.0, NOISE.double())
        unguided, _ = released.ddim(x.double(), level, LABELS, measure, 0.0, 0.0, NOISE.double())
        found = step(DDIM(), denoiser, x, level)
        assert relative(found, expected) < 1e-4
        moved = max(moved, relative(unguided, expected))
        x = expected.float().clamp(-3, 3)
    assert moved > 0.01


@pytest.mark.parametrize("level", [249, 120, 1, 0])
def test_other_steps(level: int) -> None:
    """Classifier-free alone; fresh noise; ancestral with the learned variance and the mean drift."""
    plain = literal(True, 2.0).ddim(X.double(), level, LABELS, "entropy", 0.0, 0.0, NOISE.double())[0]
    assert relative(step(DDIM(), Clip(ClassifierFree.beyond(NET, 2.0)), X, level), plain) < 1e-4
    noisy = literal().ddim(X.double(), level, LABELS, "entropy", SCALE, 0.7, NOISE.double())[0]
    assert relative(step(DDIM(0.7), ours("entropy", True, 0.0, SCALE), X, level), noisy) < 1e-4
    drifting = literal().ancestral(X.double(), level, LABELS, "margin", SCALE, NOISE.double())
    rule = DDPM("learned", EnergyGradient(term("margin"), SCALE))
    assert relative(step(rule, Clip(NET), X, level), drifting) < 1e-4


def test_ancestral_drift_is_not_the_shift() -> None:
    """For v = 1 and v = -1 the mean moves by a known multiple of what the shift of x0 would do."""
    for level, v in itertools.product((1, 50, 200), (1.0, -1.0)):
        net = NetworkDenoiser(lambda x, time, v=v: torch.cat([0 * x, v + 0 * x], 1), TABLE, learned_variance=True)
        push = lambda x, t, x0, cond: x.flatten(1).sum(1)  # noqa: E731
        x = X.double()
        t, s = torch.tensor(float(level)), torch.tensor(float(level - 1))
        still = Given(torch.zeros(SHAPE, dtype=torch.float64))

        def move(rule: DDPM, denoiser: Any, x: Tensor = x, t: Tensor = t, s: Tensor = s, still: Any = still) -> Tensor:
            return rule(denoiser, x, t, s, {}, still, None)[0]

        plain = move(DDPM("learned"), net)
        drift = move(DDPM("learned", EnergyGradient(push)), net) - plain
        shift = move(DDPM("learned"), Energy(net, push)) - plain
        abar, below = TABLE.alpha_bar[level], TABLE.alpha_bar[level - 1]
        beta = 1 - abar / below
        ratio = (1 - beta) ** 0.5 * (1.0 if v > 0 else (1 - below) / (1 - abar))
        assert torch.allclose(drift / shift, torch.full_like(drift, ratio), rtol=1e-8)


def test_encoding_step_by_step() -> None:
    """Every step of the reference inversion from the same state; the last returns the noise predicted last."""
    released, x = literal(), X
    for level in (0, 60, 120, 180, LEVELS - 1):
        t, s = torch.tensor(float(level)), torch.tensor(float(level + 1))
        with torch.no_grad():
            found = DDIM()(NET, x, t, s, COND, None, None)[0]
        assert relative(found, released.encode(x.double(), level, LABELS)) < 1e-4
        before, x = x, found
    assert relative(x, eps64(before.double(), 996, LABELS).chunk(2, 1)[0]) < 1e-4


def test_guidance_leaves_the_range_and_clipping_last_does_not() -> None:
    """eps' - eps = -sigma g, x0' - x0 = (sigma^2 / alpha) g; not clipped again; the last step returns x0'."""
    t = torch.tensor(120.0)
    alpha, sigma = TABLE(t)
    released = literal()
    _, expected = released.ddim(X.double(), 120, LABELS, "entropy", 5 * SCALE, 0.0, NOISE.double())
    base = Clip(NET)
    with torch.no_grad():
        guided = Energy(base, term("entropy"), 5 * SCALE)(X, t, COND).x0
        before = base(X, t, COND).x0
        again = Clip(Energy(base, term("entropy"), 5 * SCALE))(X, t, COND).x0
    assert float(guided.abs().max()) > 1
    assert float((guided - again).abs().max()) > 0.01
    assert relative(guided, expected) < 1e-4
    shift = EnergyGradient(term("entropy"), 5 * SCALE)(X, t, before, COND).double()
    assert torch.allclose((guided - before).double(), sigma**2 / alpha * shift, rtol=1e-3, atol=1e-5)
    found = step(DDIM(), Energy(base, term("entropy"), SCALE * 1e3), X, 0)
    with torch.no_grad():
        assert torch.allclose(found, Energy(base, term("entropy"), SCALE * 1e3)(X, torch.tensor(0.0), COND).x0)


class Recording:
    """Remembers whether each call had labels."""

    def __init__(self) -> None:
        self.calls: list[bool] = []

    def __call__(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        self.calls.append(label is not None)
        return network(x, time, label)


def test_classifier_free_convention_of_the_released_code() -> None:
    """w = 0: one call; w = 1: 2 eps_c - eps_u; the variance is the conditional call's."""
    seen = Recording()
    net = NetworkDenoiser(seen, TABLE, learned_variance=True, accepts=frozenset({"label"}))
    t = torch.tensor(7.0)
    alpha, sigma = TABLE(t)
    with torch.no_grad():
        off = ClassifierFree.beyond(net, 0.0)(X, t, COND)
        assert seen.calls == [True]
        one = ClassifierFree.beyond(net, 1.0)(X, t, COND)
        assert sorted(seen.calls[1:]) == [False, True]
        given, null = network(X, torch.full((3,), 28.0), LABELS), network(X, torch.full((3,), 28.0))
    assert off.log_var is not None
    assert one.log_var is not None
    eps = (X - float(alpha) * one.x0) / float(sigma)
    assert torch.allclose(eps, 2 * given[:, :1] - null[:, :1], atol=1e-4)
    assert torch.equal(one.log_var, off.log_var)


def test_batched_classifier_free_is_the_same_in_one_call() -> None:
    calls: list[int] = []

    def labelled(x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        calls.append(len(x))
        return UNET(x, time, label=label)

    net = NetworkDenoiser(labelled, TABLE, learned_variance=True, accepts=frozenset({"label"}))
    t = torch.tensor([3.0, 9.0, 20.0])
    with torch.no_grad():
        apart = ClassifierFree.beyond(net, 1.5, null={"label": torch.tensor([1, 1, 1])})(X, t, COND)
        both = ClassifierFree.beyond(net, 1.5, null={"label": 1}, batched=True)(X, t, COND)
    assert calls == [3, 3, 6]
    assert torch.allclose(both.x0, apart.x0, rtol=1e-4, atol=1e-4)
    assert both.log_var is not None
    assert apart.log_var is not None
    assert torch.allclose(both.log_var, apart.log_var, rtol=1e-4, atol=1e-4)


def test_networks_move_states_and_seeds_do_not_meet() -> None:
    """Filled networks: neither output is 0, and both depend on time and label."""
    times = torch.full((3,), 100.0)
    with torch.no_grad():
        assert float(network(X, times, LABELS).abs().max()) > 0.1
        assert float((network(X, times, LABELS) - network(X, times)).abs().max()) > 1e-3
        assert float((CLASSIFIER(X, times) - CLASSIFIER(X, times + 300)).abs().max()) > 1e-3
    assert not torch.equal(Streams([1]).normal(4), Streams([2]).normal(4))
