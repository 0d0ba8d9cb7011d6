"""The method on stacks: budgets, candidates, starts, modes; and the closed forms that they must meet."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.local_information_by_hand import phantom
from helpers.tiny_heads import target_prior
from skiagraph.diffusion import DDIM, DDPM, Condition, Rule, linear_table
from skiagraph.diffusion.guidance import Energy
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.errors import InputError
from skiagraph.tasks.translate.guided import GuidedTranslation, guided_translation
from skiagraph.tasks.translate.method import SourceStack, Tools, stack_streams

TABLE = linear_table()
MU, S, Y, TAU = 0.3, 0.25, 0.6, 0.1


@dataclass(frozen=True, eq=False)
class Quadratic:
    """-(x0-hat - y)^2 / (2 (tau^2 + r_t)), r_t the posterior variance of a Gaussian prior (or 0: "naive")."""

    calibrated: bool
    sign: float = 1.0

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        alpha, sigma = TABLE(t)
        spread = S**2 * sigma**2 / (alpha**2 * S**2 + sigma**2) if self.calibrated else torch.zeros(())
        return self.sign * (-((x0 - Y) ** 2) / (2 * (TAU**2 + spread))).flatten(1).sum(1)


def spaced(steps: int) -> Tensor:
    """Unique rounded indices from 999 to 0, then the clean end."""
    indices = torch.linspace(0, 999, steps, dtype=torch.float64).round().unique().flip(0)
    return torch.cat([indices, torch.tensor([-1.0], dtype=torch.float64)])


def moments(denoiser: Any, rule: Rule, steps: int) -> tuple[float, float]:
    """Mean and standard deviation of the result from N(0, 1), exactly: the step's slope and offset are measured."""
    mean, variance = 0.0, 1.0
    times = spaced(steps)
    for t, s in itertools.pairwise(times):
        x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        pair = torch.stack([t, s])
        quiet = Quiet(x)
        out = final(trajectory(denoiser, x, pair, rule, streams=quiet))  # type: ignore[arg-type]
        offset, slope = float(out[0]), float(out[1] - out[0])
        fresh = 0.0
        if isinstance(rule, DDPM) and s >= 0:
            loud = final(trajectory(denoiser, x, pair, rule, streams=Quiet(x, 1.0)))  # type: ignore[arg-type]
            fresh = float(loud[0] - out[0]) ** 2
        mean, variance = slope * mean + offset, slope**2 * variance + fresh
    return mean, variance**0.5


class Quiet:
    """Streams whose normal numbers are all the same."""

    def __init__(self, x: Tensor, value: float = 0.0) -> None:
        self.x, self.value = x, value

    def __len__(self) -> int:
        return len(self.x)

    def normal_like(self, x: Tensor) -> Tensor:
        return torch.full_like(x, self.value)


PRIOR = GaussianDenoiser(TABLE, torch.full((1,), MU, dtype=torch.float64), torch.full((1,), S**2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("calibrated", "rule", "steps", "wanted"),
    [
        (True, DDIM(), 50, (0.55837, 0.07134)),
        (True, DDIM(), 250, (0.55831, 0.08771)),
        (True, DDPM(), 50, (0.55862, 0.06191)),
        (True, DDPM(), 250, (0.55862, 0.08212)),
        (False, DDIM(), 50, (0.63161, 0.00259)),
        (False, DDPM(), 50, (0.60000, 0.02807)),
    ],
    ids=str,
)
def test_energy_guidance_of_a_gaussian_is_the_table(
    calibrated: bool, rule: Rule, steps: int, wanted: tuple[float, float]
) -> None:
    """Table 12.F; the calibrated energy tends to the exact posterior 0.558621 +- 0.092848, the naive one does not."""
    guided = Energy(PRIOR, Quadratic(calibrated), 1.0, "network")
    assert moments(guided, rule, steps) == pytest.approx(wanted, abs=1e-4)


def test_the_unguided_walk_and_the_wrong_sign_are_the_table() -> None:
    assert moments(PRIOR, DDIM(), 50) == pytest.approx((0.29957, 0.22513), abs=1e-4)
    assert moments(PRIOR, DDPM(), 250) == pytest.approx((0.30000, 0.23733), abs=1e-4)
    mean, _ = moments(Energy(PRIOR, Quadratic(True, -1.0), 1.0, "network"), DDIM(), 50)
    assert mean < -0.3


def stack(slices: int = 4) -> SourceStack:
    image = phantom("PD", "A", 16)[None, None]
    images = torch.cat([image * (0.9 + 0.02 * number) for number in range(slices)])
    return SourceStack(2 * images - 1, images > 0)


def tools(heads: Path, **changes: Any) -> Tools:
    return Tools({"target": target_prior(heads, **changes)}, calls=6)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "condition", "candidates": 2},
        {"mode": "condition", "candidates": 1, "weight": 2.0, "rule": "ddim"},
        {"mode": "gradient", "candidates": 2, "strength": 0.5, "rule": "ddpm"},
        {"mode": "hybrid", "candidates": 1, "energy": "lmi", "consistency": "shared"},
    ],
    ids=str,
)
def test_the_budget_is_kept_and_counted(heads: Path, options: dict[str, Any]) -> None:
    seen: list[int] = []
    method = guided_translation(tools(heads), observe=seen.append, **options)
    found = method(stack(), stack_streams(0, 4))
    assert found.calls <= 6
    assert seen[-1] == found.calls * 4
    assert found.images.shape == (4, 1, 16, 16)
    assert bool((found.images[~stack().mask] == -1).all())
    assert found.candidates is not None
    torch.testing.assert_close(found.candidates.mean(0), found.images)
    assert (found.deviation is None) == (options["candidates"] == 1)


def test_a_slice_is_the_same_alone_without_links(heads: Path) -> None:
    method = guided_translation(tools(heads), candidates=1, consistency="independent")
    whole = method(stack(), stack_streams(3, 4)).images
    source = stack()
    part = SourceStack(source.images[:2], source.mask[:2])
    torch.testing.assert_close(method(part, stack_streams(3, 2)).images, whole[:2])
    assert not torch.equal(method(part, stack_streams(4, 2)).images, whole[:2])


def test_shared_noise_makes_equal_slices_of_equal_sources(heads: Path) -> None:
    source = SourceStack(stack().images[:1].repeat(3, 1, 1, 1), stack().mask[:1].repeat(3, 1, 1, 1))
    method = guided_translation(tools(heads), candidates=1, consistency="shared", rule="ddpm", batch=1)
    found = method(source, stack_streams(0, 3)).images
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_no_push_is_the_unguided_walk_bit_for_bit(heads: Path) -> None:
    plain = guided_translation(tools(heads), mode="gradient", candidates=1, push=0.0)
    zero = guided_translation(tools(heads), mode="condition", candidates=1, weight=0.0)
    one, two = (method(stack(), stack_streams(0, 4)).images for method in (plain, zero))
    assert torch.equal(one, two)


def test_a_constant_slice_is_told(heads: Path) -> None:
    source = stack()
    images = source.images.clone()
    images[1] = 0.5
    found = guided_translation(tools(heads), candidates=1)(SourceStack(images, source.mask), stack_streams(0, 4))
    assert "1 source slices are constant (first: 1)" in found.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "bridge"}, "mode: found 'bridge'"),
        ({"candidates": 0}, "candidates: found 0"),
        ({"planes": ("coronal",)}, "learned axial"),
    ],
)
def test_options_that_cannot_be_are_refused(heads: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GuidedTranslation(target_prior(heads), **options)


def test_a_prior_with_maps_always_given_has_no_gradient_mode(heads: Path) -> None:
    always = target_prior(heads, condition={"kind": "mind-ssc", "dropout": 0})
    with pytest.raises(InputError, match="use 'condition' or 'hybrid'"):
        GuidedTranslation(always, "gradient")
