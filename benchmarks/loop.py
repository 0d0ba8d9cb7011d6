"""What a step of `trajectory` costs beside the network: against a bare loop and against a diffusers scheduler."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.networks import our_network
from benchmarks.timing import Action, Effort, Row, Section, race, rows_of, spread, timed
from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.rules import DDIM, DPMSolverPP2M
from skiagraph.diffusion.sampling import Rule, final, trajectory
from skiagraph.diffusion.schedule import Schedule, linear_table
from skiagraph.diffusion.streams import Streams

__all__ = ["compare_loops"]

OURS = "skiagraph trajectory"
STEPS = 200


@dataclass(frozen=True, eq=False)
class _Idle:
    """A denoiser that does nothing: the state is its own estimate."""

    schedule: Schedule

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        return Prediction(x)


def _diffusers_table() -> dict[str, object]:
    return {
        "num_train_timesteps": 1000,
        "beta_start": 1e-4,
        "beta_end": 2e-2,
        "beta_schedule": "linear",
        "prediction_type": "sample",
    }


def _ddim_scheduler() -> tuple[object, list[int]]:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**_diffusers_table(), clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(STEPS)
    return scheduler, scheduler.timesteps.tolist()


def _solver_scheduler() -> tuple[object, list[int]]:
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(**_diffusers_table(), final_sigmas_type="zero")
    scheduler.set_timesteps(STEPS)
    return scheduler, scheduler.timesteps.tolist()


def _bare_ddim(x: Tensor, levels: list[tuple[float, float]]) -> Callable[[], Tensor]:
    """x_s = (sigma_s / sigma_t) x + (alpha_s - alpha_t sigma_s / sigma_t) x0 with numbers worked out beforehand."""
    pairs = [(s[1] / t[1], s[0] - t[0] * s[1] / t[1]) for t, s in pairwise(levels)]

    def walk() -> Tensor:
        state = x
        for kept, gain in pairs:
            estimate = state
            state = kept * state + gain * estimate
        return state

    return walk


def _bare_noisy(x: Tensor, levels: list[tuple[float, float]], draws: list[torch.Generator]) -> Callable[[], Tensor]:
    """DDIM with eta = 1, one generator a sample."""
    triples = []
    for (alpha_t, sigma_t), (alpha_s, sigma_s) in pairwise(levels):
        fresh = sigma_s * math.sqrt(max(0.0, 1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2))
        kept = math.sqrt(max(0.0, sigma_s**2 - fresh**2)) / sigma_t
        triples.append((kept, alpha_s - kept * alpha_t, fresh))

    def walk() -> Tensor:
        state = x
        for kept, gain, fresh in triples:
            estimate = state
            state = kept * state + gain * estimate
            if fresh:
                state = state + fresh * torch.stack(
                    [torch.randn(x.shape[1:], generator=draw, device=x.device) for draw in draws]
                )
        return state

    return walk


def _bare_solver(x: Tensor, levels: list[tuple[float, float]]) -> Callable[[], Tensor]:
    """DPM-Solver++ (2M) with numbers worked out beforehand; the last step, to the clean end, is of first order."""
    rows: list[tuple[float, float, float]] = []
    before: float | None = None
    for (alpha_t, sigma_t), (alpha_s, sigma_s) in pairwise(levels):
        step = math.log(alpha_s / sigma_s) - math.log(alpha_t / sigma_t) if sigma_s else math.inf
        gain = alpha_s * -math.expm1(-step)
        lean = 0.0 if before is None or not sigma_s else 0.5 * step / before
        rows.append((sigma_s / sigma_t, gain * (1 + lean), -gain * lean))
        before = step

    def walk() -> Tensor:
        state, previous = x, x
        for kept, gain, lean in rows:
            estimate = state
            state = kept * state + gain * estimate + lean * previous
            previous = estimate
        return state

    return walk


def _theirs(scheduler: object, x: Tensor, *, reset: bool = False, **options: object) -> Callable[[], Tensor]:
    def walk() -> Tensor:
        if reset:
            scheduler.set_timesteps(STEPS)  # type: ignore[attr-defined]
        state = x
        for time in scheduler.timesteps:  # type: ignore[attr-defined]
            state = scheduler.step(state, time, state, **options, return_dict=False)[0]  # type: ignore[attr-defined]
        return state

    return walk


def _ours(
    x: Tensor, times: Tensor, rule: Rule, streams: Streams | None = None, table: Schedule | None = None
) -> Callable[[], Tensor]:
    denoiser = _Idle(linear_table() if table is None else table)
    return lambda: final(trajectory(denoiser, x, times, rule, streams=streams))


def _levels(times: list[int]) -> tuple[Tensor, list[tuple[float, float]]]:
    """Our grid for diffusers' times, ending clean, and (alpha, sigma) along it."""
    grid = torch.tensor([*times, -1], dtype=torch.float64)
    alpha, sigma = linear_table()(grid)
    return grid, list(zip(alpha.tolist(), sigma.tolist(), strict=True))


def _cases(x: Tensor) -> dict[str, dict[str, Callable[[], Tensor]]]:
    ddim, times = _ddim_scheduler()
    noisy, _ = _ddim_scheduler()
    solver, solver_times = _solver_scheduler()
    grid, levels = _levels(times)
    solver_grid, solver_levels = _levels(solver_times)
    seeds = range(x.shape[0])
    draws, theirs = ([torch.Generator(x.device).manual_seed(seed) for seed in seeds] for _ in range(2))
    streams = Streams(list(seeds), device=str(x.device))
    return {
        "DDIM": {OURS: _ours(x, grid, DDIM()), "bare loop": _bare_ddim(x, levels), "diffusers": _theirs(ddim, x)},
        "DDIM, eta 1": {
            OURS: _ours(x, grid, DDIM(1.0), streams),
            "bare loop": _bare_noisy(x, levels, draws),
            "diffusers": _theirs(noisy, x, eta=1.0, generator=theirs),
        },
        "DPM-Solver++ 2M": {
            OURS: _ours(x, solver_grid, DPMSolverPP2M()),
            "bare loop": _bare_solver(x, solver_levels),
            "diffusers": _theirs(solver, x, reset=True),
        },
    }


def compare_loops(effort: Effort, device: torch.device, report: Callable[[str], None]) -> Section:
    """Time whole walks of a denoiser that does nothing, and divide by the steps."""
    synchronise = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    rows: list[Row] = []
    remarks: list[str] = []
    for shape in ((1, 2, 8, 8), (4, 2, 128, 128)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
        for case, contestants in _cases(x).items():
            name = f"{case}, state {'x'.join(map(str, shape))}"
            report(f"loop: {name} on {device.type}")
            if "eta" not in case and shape[0] == 1:
                remarks.append(_agreement(case, {who: walk() for who, walk in contestants.items()}))
            measured = race(contestants, rounds=effort.rounds, shortest=effort.shortest, synchronise=synchronise)
            rows += rows_of(name, measured, OURS, per=STEPS)
    return Section(
        f"Overhead of a step ({device.type})",
        f"Walks of {STEPS} steps with a denoiser that returns its input, on one table and at the same times. The bare "
        "loop multiplies by numbers worked out beforehand and checks nothing: a lower bound, not a sampler. With eta "
        "1 every sample draws from a generator of its own, in all three.",
        "us",
        rows,
        remarks=(*remarks, _first_walk(x, synchronise), _network_share(x, rows, effort, synchronise)),
    )


def _first_walk(x: Tensor, synchronise: Action) -> str:
    """What a step costs while nothing about the table is known yet."""
    _, times = _ddim_scheduler()
    grid, _ = _levels(times)
    walks = [_ours(x, grid, DDIM(), table=linear_table(stop=2e-2 - 1e-6 * trial)) for trial in range(1, 8)]
    costs = spread([timed(walk, 1, synchronise) / STEPS for walk in walks])
    return (
        "We remember the noise levels of a schedule between walks. The first DDIM walk of the larger state on a table "
        f"costs {1e6 * costs.median:.0f} us a step."
    )


def _agreement(case: str, ends: dict[str, Tensor]) -> str:
    ours = ends[OURS]
    gaps = [f"{name} {float((end - ours).norm() / ours.norm()):.0e}" for name, end in ends.items() if name != OURS]
    return f"{case}: relative distance of the final states from ours: {', '.join(gaps)}."


@torch.no_grad()
def _network_share(x: Tensor, rows: list[Row], effort: Effort, synchronise: Action) -> str:
    """What the overhead is beside one evaluation of the small network of the section on networks."""
    network, time = our_network().to(x.device).eval(), torch.zeros(x.shape[0], device=x.device)
    (measured,) = race(
        {OURS: partial(network, x, time)}, rounds=3, shortest=effort.shortest, synchronise=synchronise
    ).values()
    forward = spread(measured).median
    mine = [row.cost.median for row in rows if row.contestant == OURS and row.case.endswith("128x128")]
    return (
        f"One forward of the network of the section on networks on the larger state takes {1e3 * forward:.1f} ms: our "
        f"steps cost {100 * min(mine) / forward:.2f} to {100 * max(mine) / forward:.2f} % of it."
    )
