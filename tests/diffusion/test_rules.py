"""Solvers against closed forms: orders of convergence, exact laws, batches, inversion."""

from __future__ import annotations

import itertools

import pytest
import torch

from helpers.walks import VARIANCE, flow_error, gaussian, law_variance, start
from helpers.zoo import DETERMINISTIC, STOCHASTIC, WRAPPERS, condition_for, mixture
from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.grid import Ascending, Karras, Levels, LogSNR, Partial, Uniform
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.reverse import learned_log_variance, reverse_step
from skiagraph.diffusion.rules import DDIM, DDPM, Churn, DPMSolverPP2M, DPMSolverPP2MSDE, Euler, Heun, UniPC
from skiagraph.diffusion.rules.unipc import exponential_weights
from skiagraph.diffusion.sampling import Rule, final, preferred_grid, trajectory
from skiagraph.diffusion.schedule import EDM, Cosine, Schedule, VPLinear, linear_table
from skiagraph.diffusion.streams import Streams

RULES = DETERMINISTIC | STOCHASTIC
FINE = [VPLinear(finest=1e-5), EDM(sigma_min=5e-4), Cosine(finest=1e-5)]


@pytest.mark.parametrize("schedule", [*FINE, linear_table()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_order_of_convergence_to_a_noisy_end(name: str, schedule: Schedule) -> None:
    rule = DETERMINISTIC[name]
    steps = (192, 384) if name == "UniPC3" else (48, 96)  # fourth order shows late
    errors = [flow_error(rule, schedule, LogSNR(n, clean=False)) for n in steps]
    assert errors[0] / errors[1] > 0.85 * 2**rule.order
    assert errors[1] < 0.05


@pytest.mark.parametrize("schedule", FINE, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_order_of_convergence_to_the_clean_end(name: str, schedule: Schedule) -> None:
    rule = DETERMINISTIC[name]
    steps, share = ((48, 96), 0.5) if name == "UniPC3" else ((64, 128), 0.85)  # then the last step rules
    errors = [flow_error(rule, schedule, LogSNR(n)) for n in steps]
    assert errors[0] / errors[1] > share * 2**rule.order


@pytest.mark.parametrize("name", ["DDIM", "Heun", "DPM++2M", "UniPC2"])
def test_preferred_grid_is_a_good_one(name: str) -> None:
    rule = DETERMINISTIC[name]
    chosen = flow_error(rule, VPLinear(), preferred_grid(rule, 32))
    others = [flow_error(rule, VPLinear(), grid(32)) for grid in (Uniform, LogSNR, Karras)]
    assert chosen < 1.5 * min(others)


@pytest.mark.parametrize("schedule", [VPLinear(finest=1e-4), EDM()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", ["DDIM1", "DDIM.5", "DDPMsmall", "DDPMlarge", "DPM++2MSDE"])
def test_law_converges_with_the_declared_order(name: str, schedule: Schedule) -> None:
    rule = STOCHASTIC[name]
    errors = [float((law_variance(rule, schedule, LogSNR(n)) / VARIANCE - 1).abs().max()) for n in (128, 256)]
    assert errors[0] / errors[1] > 0.9 * 2**rule.order
    assert errors[1] < 0.05


@pytest.mark.parametrize("kind", [Euler, Heun])
def test_law_with_churn(kind: type[Euler] | type[Heun]) -> None:
    errors = [
        float((law_variance(kind(Churn(10 / n, 1e-2, 50.0)), VPLinear(), Karras(n)) / VARIANCE - 1).abs().max())
        for n in (100, 200)
    ]
    assert errors[0] / errors[1] > 0.85 * 2**kind.order


def test_draws_have_the_predicted_law() -> None:
    schedule, rule = VPLinear(), DDIM(eta=1.0)
    streams = Streams(range(20_000))
    grid = Uniform(12)
    denoiser = GaussianDenoiser(schedule, torch.zeros(4).double(), VARIANCE)
    alpha, sigma = schedule(1.0)
    x = streams.normal(4, dtype=torch.float64) * (alpha**2 * VARIANCE + sigma**2).sqrt()
    end = final(trajectory(denoiser, x, grid, rule, streams=streams))
    assert torch.allclose(end.var(0), law_variance(rule, schedule, grid), rtol=0.04)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", RULES)
def test_a_batch_equals_its_samples_bit_for_bit(name: str, wrapper: str) -> None:
    rule, denoiser, seeds = RULES[name], WRAPPERS[wrapper](VPLinear()), [0, 1, 5]

    def walk(chosen: list[int]) -> torch.Tensor:
        streams = Streams(chosen)
        x = streams.normal(4, dtype=torch.float64)
        return final(trajectory(denoiser, x, Uniform(4), rule, cond=condition_for(wrapper, chosen), streams=streams))

    together = walk(seeds)
    assert bool(together.isfinite().all())
    for index, seed in enumerate(seeds):
        assert torch.equal(together[index], walk([seed])[0])


@pytest.mark.parametrize("name", RULES)
def test_seeds_matter_and_seed_zero_is_a_seed(name: str) -> None:
    def walk(seed: int) -> torch.Tensor:
        streams = Streams([seed])
        x = torch.ones(1, 4).double() if name in STOCHASTIC else streams.normal(4, dtype=torch.float64)
        return final(trajectory(gaussian(VPLinear()), x, Uniform(5), RULES[name], streams=streams))

    assert torch.equal(walk(0), walk(0))
    assert not torch.equal(walk(0), walk(1))


@pytest.mark.parametrize("name", RULES)
def test_complex_states_are_two_real_ones(name: str) -> None:
    rule, schedule = RULES[name], VPLinear()
    mean, variance = torch.tensor([0.5, -0.5]).double(), torch.tensor([0.3, 2.0]).double()
    plane = GaussianDenoiser(schedule, torch.complex(mean, -mean), variance)
    pair = GaussianDenoiser(schedule, torch.stack([mean, -mean], -1), variance[:, None])
    one, two = Streams([0, 1]), Streams([0, 1])
    x, y = one.normal(2, dtype=torch.complex128), two.normal(2, 2, dtype=torch.float64)
    ends = [final(trajectory(d, v, Uniform(5), rule, streams=s)) for d, v, s in ((plane, x, one), (pair, y, two))]
    assert torch.allclose(torch.view_as_real(ends[0]), ends[1], atol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_inputs_are_left_alone_and_dtype_is_kept(name: str) -> None:
    x = Streams([0, 1]).normal(4)
    before = x.clone()
    streams = Streams([0, 1])
    for step in trajectory(gaussian(VPLinear()), x, LogSNR(4), RULES[name], streams=streams):
        assert step.x.dtype == torch.float32
        assert step.x0.dtype == torch.float32
    assert torch.equal(x, before)


def test_single_precision_stays_close_to_double() -> None:
    x = start(VPLinear())
    for rule in DETERMINISTIC.values():
        ends = [
            final(trajectory(gaussian(VPLinear()), x.to(d), LogSNR(32), rule)) for d in (torch.float32, torch.float64)
        ]
        assert torch.allclose(ends[0].double(), ends[1], atol=2e-5)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_rules_ask_for_streams(name: str) -> None:
    with pytest.raises(ValueError, match="streams: found None"):
        final(trajectory(gaussian(VPLinear()), start(VPLinear()), Uniform(3), STOCHASTIC[name]))


@pytest.mark.parametrize("name", [n for n in STOCHASTIC if n != "DDPMfinal"])
def test_no_noise_is_left_at_the_clean_end(name: str) -> None:
    """The last step returns the estimate itself, whatever the streams."""
    streams = Streams(range(8))
    walk = list(trajectory(gaussian(EDM()), start(EDM()), Karras(4), STOCHASTIC[name], streams=streams))
    assert torch.allclose(walk[-1].x, walk[-1].x0, atol=1e-14)


def test_ddim_and_euler_and_ancestral_sampling_agree_where_they_must() -> None:
    x, s = start(VPLinear()), VPLinear()

    def walk(rule: Rule) -> torch.Tensor:
        return final(trajectory(gaussian(s), x, Uniform(9), rule, streams=Streams(range(8))))

    assert torch.allclose(walk(DDIM()), walk(Euler()), atol=1e-12)
    assert torch.allclose(walk(DDIM(eta=1.0)), walk(DDPM()), atol=1e-12)
    assert torch.equal(walk(Heun()), walk(Heun(Churn(0.3, low=1e6, high=1e7))))


def test_inversion_round_trip() -> None:
    """Encode from the clean end and decode again: Heun loses far less than DDIM (both converge)."""
    schedule = VPLinear()
    image = gaussian(schedule).flow(start(schedule), torch.tensor(1.0), torch.tensor(0.0))

    def error(rule: Rule, steps: int) -> float:
        grid = LogSNR(steps)
        latent = final(trajectory(gaussian(schedule), image, Ascending(grid), rule))
        return float((final(trajectory(gaussian(schedule), latent, grid, rule)) - image).abs().max())

    first, second = error(DDIM(), 100), error(Heun(), 100)
    assert second < 0.02 * first
    assert error(DDIM(), 200) < 0.6 * first
    assert error(DPMSolverPP2M(), 100) < 0.2 * first
    assert error(UniPC(2), 100) < 0.05 * first


def test_partial_inversion_stops_where_asked() -> None:
    schedule = VPLinear()
    image = gaussian(schedule).flow(start(schedule), torch.tensor(1.0), torch.tensor(0.0))
    grid = Partial(LogSNR(200), start=0.5)
    latent = final(trajectory(gaussian(schedule), image, Ascending(grid), Heun()))
    expected = gaussian(schedule).flow(image, torch.tensor(0.0), torch.tensor(0.5))
    assert torch.allclose(latent, expected, atol=2e-3)


@pytest.mark.parametrize(
    "rule", [DDIM(eta=0.5), DPMSolverPP2MSDE(), DDPM(), Heun(Churn(0.1)), Euler(Churn(0.1))], ids=repr
)
def test_noise_cannot_be_added_on_the_way_up(rule: Rule) -> None:
    grid = Ascending(Uniform(4)) if isinstance(rule, DDIM) else Ascending(LogSNR(4, clean=False))
    with pytest.raises(ValueError, match="noisy"):
        final(trajectory(gaussian(VPLinear()), start(VPLinear()), grid, rule, streams=Streams(range(8))))


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_pure_noise_beyond_the_table(name: str) -> None:
    """A walk may start at alpha = 0, the level T of a table, where x0 is the prior's mean."""
    schedule = linear_table()
    times = torch.cat([torch.tensor([1000.0]).double(), LogSNR(40)(schedule)])
    end = final(trajectory(gaussian(schedule), start(schedule), times, DETERMINISTIC[name]))
    assert bool(end.isfinite().all())


def test_unipc_weights_integrate_polynomials_exactly() -> None:
    for step, places in itertools.product(
        (1e-3, 0.3, 2.0, -0.7, 9.0), ([0.0], [0.0, -1.0], [1.0, 0.0, -1.1], [1.0, 0.0, -0.5, -2.0])
    ):
        weights = torch.tensor(exponential_weights(step, places)).double()
        u = (torch.arange(20_000).double() + 0.5) / 20_000
        for power in range(len(places)):
            value = (weights * torch.tensor(places).double() ** power).sum()
            integral = (step * torch.exp(step * (u - 1)) * u**power).mean()
            assert float(value) == pytest.approx(float(integral), rel=1e-7, abs=1e-9)


class LearnedVariance:
    """A denoiser that also predicts where the variance lies."""

    def __init__(self, output: float) -> None:
        self.schedule, self.output = linear_table().respaced("ddim25"), output

    def __call__(self, x: torch.Tensor, t: torch.Tensor, cond: Condition = EMPTY) -> Prediction:
        log_var = learned_log_variance(self.schedule, t, torch.full_like(x, self.output))
        return Prediction(torch.zeros_like(x), log_var)


@pytest.mark.parametrize(("output", "variance"), [(-1.0, "small"), (1.0, "large")])
def test_learned_variance_reaches_its_bounds(output: float, variance: str) -> None:
    denoiser = LearnedVariance(output)
    x = torch.ones(2, 4).double()
    grid = Partial(Levels(), stop=0)

    def walk(rule: Rule) -> torch.Tensor:
        return final(trajectory(denoiser, x, grid, rule, streams=Streams([0, 1])))

    assert torch.allclose(walk(DDPM("learned")), walk(DDPM(variance)), atol=1e-12)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="neighbouring levels"):
        final(trajectory(denoiser, x, Uniform(7), DDPM("learned"), streams=Streams([0, 1])))
    with pytest.raises(ValueError, match="predicts none"):
        final(trajectory(mixture(denoiser.schedule), x, Levels(), DDPM("learned"), streams=Streams([0, 1])))


@pytest.mark.parametrize("variance", ["small", "large"])
def test_mean_drift_is_variance_times_gradient(variance: str) -> None:
    table = linear_table().respaced("ddim25")
    t, s = torch.tensor(6.0).double(), torch.tensor(5.0).double()
    x = torch.ones(1, 4).double()

    def mean(rule: Rule) -> torch.Tensor:
        return rule(gaussian(table), x, t, s, EMPTY, Streams([0]), None)[0]

    drifted = mean(DDPM(variance, mean_drift=lambda x, t, x0, cond: 3 * torch.ones_like(x)))  # type: ignore[arg-type]
    move = drifted - mean(DDPM(variance))  # type: ignore[arg-type]
    step = reverse_step(table, t, s)
    expected = step.log_small if variance == "small" else step.log_large
    assert torch.allclose(move, 3 * expected.exp().expand(1, 4), atol=1e-12)
    # Against the shift of x0 by (sigma^2 / alpha) g the ratio is sqrt(1 - beta') for the large variance.
    (alpha, sigma), (alpha_s, _) = table(t), table(s)
    shift = step.of_x0 * sigma**2 / alpha * 3
    if variance == "large":
        assert float(move[0, 0] / shift) == pytest.approx(float(alpha / alpha_s), rel=1e-9)


def test_final_noise_has_the_variance_of_the_step_before() -> None:
    table = linear_table()
    x = torch.zeros(1, 4).double()
    t, s = torch.tensor(0.0).double(), torch.tensor(-1.0).double()
    quiet, loud = (
        DDPM("large", final_noise=noise)(gaussian(table), x, t, s, EMPTY, Streams([0]), None)[0]
        for noise in (False, True)
    )
    expected = Streams([0]).normal(4, dtype=torch.float64) * 5.453e-5**0.5
    assert torch.allclose(loud - quiet, expected, rtol=1e-3)


def test_settings_are_checked() -> None:
    for make in (
        lambda: DDIM(eta=1.5),
        lambda: DDIM(eta=-0.1),
        lambda: UniPC(4),
        lambda: DDPM("medium"),  # type: ignore[arg-type]
        lambda: Churn(-1.0),
        lambda: Churn(0.1, low=2.0, high=1.0),
        lambda: Churn(0.1, inflation=0.0),
    ):
        with pytest.raises(ValueError, match=r"found .*allowed"):
            make()
