"""The loop: a lazy generator that leaves its caller's world alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.walks import gaussian, start
from skiagraph.diffusion.denoiser import Condition, Denoiser
from skiagraph.diffusion.grid import LogSNR, Uniform
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.rules import DDIM, DDPM, DPMSolverPP2M
from skiagraph.diffusion.sampling import Rule, Step, final, preferred_grid, trajectory
from skiagraph.diffusion.schedule import VPLinear
from skiagraph.diffusion.streams import Streams

SCHEDULE = VPLinear()


def test_steps_say_what_happened() -> None:
    grid = Uniform(4)
    steps = list(trajectory(gaussian(SCHEDULE), start(SCHEDULE), grid, DDIM()))
    times = grid(SCHEDULE)
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [float(step.t) for step in steps] == times[:-1].tolist()
    assert [float(step.s) for step in steps] == times[1:].tolist()
    assert torch.equal(steps[-1].x, final(trajectory(gaussian(SCHEDULE), start(SCHEDULE), times, DDIM())))


def test_is_lazy() -> None:
    calls: list[float] = []

    class Counted:
        schedule = SCHEDULE

        def __call__(self, x: Tensor, t: Tensor, cond: Condition) -> Any:
            calls.append(float(t))
            return gaussian(SCHEDULE)(x, t)

    walk = trajectory(Counted(), start(SCHEDULE), Uniform(100), DDIM())  # type: ignore[arg-type]
    assert calls == []
    list(itertools.islice(walk, 3))
    assert len(calls) == 3


def test_two_walks_side_by_side() -> None:
    """Only the coordinate in which the conditions differ tells them apart."""
    denoiser = gaussian(SCHEDULE)
    shifted = denoiser.mean + torch.tensor([0.0, 1.0, 0.0, 0.0]).double()
    x = start(SCHEDULE)
    pairs = zip(
        trajectory(denoiser, x, Uniform(10), DDIM(), cond={"mean": shifted}),
        trajectory(denoiser, x, Uniform(10), DDIM()),
        strict=True,
    )
    difference = sum((a.x - b.x).abs() for a, b in pairs)
    assert isinstance(difference, Tensor)
    assert bool((difference[:, 1] > 0).all())
    assert float(difference[:, [0, 2, 3]].max()) == 0


def test_grad_mode_of_the_caller_survives() -> None:
    x = start(SCHEDULE).requires_grad_()
    for step in trajectory(gaussian(SCHEDULE), x, Uniform(2), DDIM()):
        assert torch.is_grad_enabled()
        assert not step.x.requires_grad
    with torch.no_grad():
        for step in trajectory(gaussian(SCHEDULE), x, Uniform(2), DDIM(), differentiable=True):
            assert not torch.is_grad_enabled()
            assert not step.x.requires_grad


@pytest.mark.parametrize("rule", [DDIM(), DPMSolverPP2M()], ids=repr)
def test_differentiable_walks(rule: Rule) -> None:
    """The slope of a walk over the Gaussian is that of the exact flow, up to the solver's error."""
    x = start(SCHEDULE, 2).requires_grad_()
    denoiser = gaussian(SCHEDULE)
    end = final(trajectory(denoiser, x, LogSNR(400), rule, differentiable=True))
    (slope,) = torch.autograd.grad(end.sum(), x)
    (exact,) = torch.autograd.grad(denoiser.flow(x, torch.tensor(1.0), torch.tensor(0.0)).sum(), x)
    assert torch.allclose(slope, exact, rtol=0.05, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on first use
def test_forward_derivatives_pass_through_a_walk() -> None:
    denoiser, x = gaussian(SCHEDULE), start(SCHEDULE, 2)

    def end(mean: Tensor) -> Tensor:
        return final(trajectory(denoiser, x, Uniform(8), DDIM(), cond={"mean": mean}, differentiable=True))

    mean, along = denoiser.mean, torch.tensor([0.0, 1.0, 0.0, 0.0]).double()
    _, slope = torch.func.jvp(end, (mean,), (along,))
    assert torch.allclose(slope, (end(mean + 1e-4 * along) - end(mean - 1e-4 * along)) / 2e-4, atol=1e-8)


def test_carry_starts_afresh_with_every_walk() -> None:
    rule = DPMSolverPP2M()
    ends = [final(trajectory(gaussian(SCHEDULE), start(SCHEDULE), LogSNR(6), rule)) for _ in range(2)]
    assert torch.equal(*ends)


def test_preferred_grid_falls_back_to_uniform() -> None:
    class Plain:
        order = 1

        def __call__(
            self,
            denoiser: Denoiser,
            x: Tensor,
            t: Tensor,
            s: Tensor,
            cond: Condition,
            streams: Streams | None,
            carry: Any,
        ) -> tuple[Tensor, Tensor, None]:
            return x, x, None

    assert isinstance(Plain(), Rule)
    assert preferred_grid(Plain(), 5) == Uniform(5)
    assert preferred_grid(DPMSolverPP2M(), 5) == LogSNR(5)


def test_bad_arguments_are_refused_at_once() -> None:
    denoiser, x = gaussian(SCHEDULE), start(SCHEDULE, 2)
    for grid in (
        torch.tensor([1.0]),
        torch.tensor([1.0, 1.0, 0.0]),
        torch.tensor([1.0, 0.0, 0.5]),
        torch.tensor([1.0, torch.nan]),
    ):
        with pytest.raises(ValueError, match="grid: found times"):
            trajectory(denoiser, x, grid, DDIM())
    with pytest.raises(ValueError, match="found 3 for a batch of 2"):
        trajectory(denoiser, x, Uniform(3), DDPM(), streams=Streams([0, 1, 2]))
    with pytest.raises(TypeError, match="x: found"):
        trajectory(denoiser, torch.zeros(2, 4, dtype=torch.int64), Uniform(3), DDIM())
    with pytest.raises(ValueError, match="steps: found none"):
        final(iter(()))


def test_steps_are_immutable() -> None:
    (step,) = trajectory(gaussian(SCHEDULE), start(SCHEDULE), Uniform(1), DDIM())
    assert isinstance(step, Step)
    with pytest.raises(AttributeError):
        step.index = 3  # type: ignore[misc]


def test_per_sample_conditions_stay_with_their_sample() -> None:
    denoiser = GaussianDenoiser(SCHEDULE, torch.zeros(4).double(), torch.ones(4).double())
    means = torch.arange(12).reshape(3, 4).double()
    x = start(SCHEDULE, 3)
    together = final(trajectory(denoiser, x, Uniform(5), DDIM(), cond={"mean": means}))
    for b in range(3):
        alone = final(trajectory(denoiser, x[b : b + 1], Uniform(5), DDIM(), cond={"mean": means[b : b + 1]}))
        assert torch.equal(alone[0], together[b])
