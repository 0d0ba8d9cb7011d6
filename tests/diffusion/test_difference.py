"""Conditional differences against Gaussian class pairs, whose maps are known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from skiagraph.diffusion import DiscreteTable, NetworkDenoiser, Streams, cosine_table, linear_table
from skiagraph.diffusion.difference import (
    AveragePlan,
    ConditionPair,
    TrajectoryPlan,
    average_difference,
    classifier_slope,
    guided_step,
    label_slope,
    trajectory_map,
)
from skiagraph.diffusion.difference.average import level_times
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.networks import UNet, UNetConfig

TABLES = {
    "1000 linear": linear_table(),
    "1000 cosine": cosine_table(),
    "4000 linear": linear_table(4000),
    "4000 cosine": cosine_table(4000),
}
PLAN = TrajectoryPlan(clamp=False)


def covariance() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    factor = torch.randn(4, 4, generator=generator, dtype=torch.float64) * 0.2
    return factor @ factor.T + 0.02 * torch.eye(4, dtype=torch.float64)


def pair_of(shift: Tensor) -> ConditionPair:
    absent = torch.linspace(-0.3, 0.4, shift.numel(), dtype=torch.float64).reshape(shift.shape)
    return ConditionPair(absent + shift, absent, "mean")


def images(count: int, shape: tuple[int, ...] = (1, 2, 2), seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "one_step", "ten_steps", "ratio"),
    [
        ("1000 linear", 1.100897e-4, 6.099838e-3, 55.41),
        ("1000 cosine", 1.222765e-4, 6.720505e-3, 54.96),
        ("4000 linear", 8.867111e-5, 4.869263e-3, 54.91),
        ("4000 cosine", 4.885613e-5, 2.675973e-3, 54.77),
    ],
)
def test_the_published_values_of_the_scalar_oracle(name: str, one_step: float, ten_steps: float, ratio: float) -> None:
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    denoiser = GaussianDenoiser(TABLES[name], zero, variance=torch.tensor([0.04], dtype=torch.float64))
    found = trajectory_map(
        denoiser, ConditionPair(zero + 1, zero, "mean"), images(1, (1, 1, 1)), images(1, (1, 1, 1), 1), PLAN
    )
    first, total = float(found.by_step[0]), float(found.maps)
    assert first == pytest.approx(one_step, abs=6e-11)
    assert total == pytest.approx(ten_steps, abs=6e-10)
    assert total / first == pytest.approx(ratio, abs=5.1e-3)
    assert 54 < total / first < 56


@pytest.mark.parametrize("name", list(TABLES))
def test_the_walks_follow_the_recursion_whatever_image_and_noise(name: str) -> None:
    table, correlated = TABLES[name], covariance()
    shift = torch.tensor([1.0, 0.0, -0.5, 0.0], dtype=torch.float64).reshape(1, 2, 2)
    denoiser = GaussianDenoiser(table, shift * 0, covariance=correlated)
    found = [
        trajectory_map(denoiser, pair_of(shift), images(2, seed=seed), images(2, seed=seed + 9), PLAN).maps
        for seed in (0, 1)
    ]
    wanted = recursion(table, correlated, shift.flatten(), 400, 10, 0.95).reshape(2, 2)
    for maps in found:
        assert (maps[:, 0] - wanted).abs().max() <= 1e-12


def recursion(table: DiscreteTable, c: Tensor, shift: Tensor, level: int, steps: int, tau: float) -> Tensor:
    """d <- (sigma' / sigma) d + kappa (K d + (1 - tau) S shift); the map is the sum of all d."""
    d, total = torch.zeros_like(shift), torch.zeros_like(shift)
    for t in range(level - 1, level - steps - 1, -1):
        abar, below = table.alpha_bar[t], table.alpha_bar[t - 1]
        inverse = torch.linalg.inv(abar * c + (1 - abar) * torch.eye(len(c), dtype=torch.float64))
        ratio = ((1 / below - 1) / (1 / abar - 1)) ** 0.5
        kappa = below**0.5 * (1 - ratio)
        gain, rest = abar**0.5 * c @ inverse, (1 - abar) * inverse
        d = ((1 - below) / (1 - abar)) ** 0.5 * d + kappa * (gain @ d + (1 - tau) * rest @ shift)
        total = total + d
    return total


def test_with_independent_pixels_only_the_shifted_ones_respond() -> None:
    shift = torch.zeros(1, 2, 2, dtype=torch.float64)
    shift[0, 1, 0] = 0.7
    denoiser = GaussianDenoiser(linear_table(), shift * 0, variance=torch.full((1, 2, 2), 0.05).double())
    plan = AveragePlan(levels=(0.5, 2.0), seeds=2, tau=0.0)
    found = average_difference(denoiser, pair_of(shift), images(3), plan, Streams([1, 2, 3]))
    still = shift[None] == 0
    assert found.maps[still.expand(3, 1, 2, 2)].abs().max() < 1e-12
    assert found.maps[:, 0, 1, 0].min() > 0.1


@pytest.mark.parametrize("tau", [1.0, 0.95, 0.0])
def test_the_slope_is_the_shift_filtered_by_the_noise(tau: float) -> None:
    table, c = linear_table(), covariance()
    shift = torch.tensor([1.0, 0.0, -0.5, 0.2], dtype=torch.float64).reshape(1, 2, 2)
    denoiser = GaussianDenoiser(table, shift * 0, covariance=c)
    t = torch.tensor([120.0, 400.0])
    found = label_slope(denoiser, images(2), t, pair_of(shift), tau=tau)
    for number, time in enumerate((120, 400)):
        abar = table.alpha_bar[time]
        inverse = torch.linalg.inv(abar * c + (1 - abar) * torch.eye(4, dtype=torch.float64))
        wanted = (1 - abar) * inverse @ shift.flatten()
        assert (found.slope[number].flatten() - wanted).abs().max() <= 1e-12 / max(1 - tau, 0.05)
    assert not found.message


def test_one_step_is_the_difference_of_estimates_times_gamma_over_rho() -> None:
    table = cosine_table()
    shift = torch.full((1, 2, 2), 0.4, dtype=torch.float64)
    denoiser = GaussianDenoiser(table, shift * 0, covariance=covariance())
    pair, x = pair_of(shift), images(2)
    abar, below = table.alpha_bar[300], table.alpha_bar[299]
    kappa = below**0.5 * (1 - ((1 / below - 1) / (1 / abar - 1)) ** 0.5)
    for clamp in (False, True):
        plan = TrajectoryPlan(clamp=clamp)
        states, estimates = [], []
        for tau in (1.0, 0.95):
            cond = pair.told(pair.mixed(tau), 2)
            states.append(guided_step(denoiser, x, 300, cond, plan))
            x0 = denoiser(x, torch.tensor(300.0), cond).x0
            estimates.append(x0.clamp(-1, 1) if clamp else x0)
        assert torch.allclose(states[0] - states[1], kappa * (estimates[0] - estimates[1]), atol=1e-14)
    slope = label_slope(denoiser, x, torch.tensor(300.0), pair, tau=0.95).slope
    unclamped = [guided_step(denoiser, x, 300, pair.told(pair.mixed(tau), 2), PLAN) for tau in (1.0, 0.95)]
    assert torch.allclose((unclamped[0] - unclamped[1]) / kappa / 0.05, slope, atol=1e-11)


def test_the_classifiers_share_is_scale_over_one_minus_tau_times_the_conditions() -> None:
    table, c = linear_table(), covariance()
    shift = torch.tensor([1.0, 0.3, -0.5, 0.2], dtype=torch.float64).reshape(1, 2, 2)
    pair = pair_of(shift)
    denoiser = GaussianDenoiser(table, shift * 0, covariance=c)

    def logits(x: Tensor, t: Tensor) -> Tensor:
        """The Bayes classifier of the pair."""
        abar = table.alpha_bar[int(t[0])]
        inverse = torch.linalg.inv(abar * c + (1 - abar) * torch.eye(4, dtype=torch.float64))
        rows = []
        for mean in (pair.absent, pair.present):
            centred = (x - abar**0.5 * mean).flatten(1)
            rows.append(-0.5 * (centred @ inverse * centred).sum(1))
        return torch.stack(rows, dim=1)

    x, t = images(2), torch.tensor(399.0, dtype=torch.float64)
    plan = TrajectoryPlan(scale=10.0, clamp=False)
    plain = [guided_step(denoiser, x, 399, pair.told(pair.mixed(tau), 2), PLAN) for tau in (1.0, 0.95)]
    guided = [
        guided_step(denoiser, x, 399, pair.told(pair.mixed(tau), 2), plan, logits, label)
        for tau, label in ((1.0, 1), (0.95, 0))
    ]
    condition, both = plain[0] - plain[1], guided[0] - guided[1]
    assert torch.allclose((both - condition) / condition, torch.full_like(both, 200.0), rtol=1e-8)
    abar, below = table.alpha_bar[399], table.alpha_bar[398]
    kappa = below**0.5 * (1 - ((1 / below - 1) / (1 / abar - 1)) ** 0.5)
    term = classifier_slope(logits, table, x, t, present=1, absent=0, scale=10.0)
    slope = label_slope(denoiser, x, t, pair, tau=0.95).slope
    assert torch.allclose(kappa * (0.05 * slope + term), both, rtol=1e-8)


def test_evidence_is_positive_where_the_image_is_of_the_present_class_whatever_the_sign_of_the_lesion() -> None:
    """D_p - D_a times 2 x0 - D_p - D_a is the gain of squared error; its mean over noise is known."""
    for brightness in (0.8, -0.8):
        shift = torch.zeros(1, 2, 2, dtype=torch.float64)
        shift[0, 0, 0] = brightness
        pair = pair_of(shift)
        denoiser = GaussianDenoiser(linear_table(), shift * 0, variance=torch.full((1, 2, 2), 0.01).double())
        plan = AveragePlan(levels=(1.0,), seeds=64, tau=0.0, sign="evidence")
        clean = torch.stack([pair.present, pair.absent])
        found = average_difference(denoiser, pair, clean, plan, Streams([4, 5])).maps[:, 0]
        share = 1 / (1 + 0.01)  # sigma^2 / (alpha^2 C + sigma^2) at rho = 1, to the nearest index
        assert found[0, 0, 0] == pytest.approx((share * 0.8) ** 2, rel=0.05)
        assert found[1, 0, 0] == pytest.approx(-((share * 0.8) ** 2), rel=0.05)
        assert found.flatten(1)[:, 1:].abs().max() < 1e-12


@pytest.fixture(scope="module")
def network() -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = UNet(
            UNetConfig(
                channels=8,
                multipliers=(1, 2),
                residual_blocks=1,
                attention_downsamplings=(2,),
                heads=2,
                groups=4,
                classes=2,
                unlabelled=True,
            )
        )
        for value in made.parameters():
            nn.init.normal_(value, std=0.15)
    return made.eval().requires_grad_(False)


def of_network(network: UNet) -> tuple[NetworkDenoiser, ConditionPair]:
    denoiser = NetworkDenoiser(network, linear_table(), accepts=frozenset({"embedding", "label"}))
    rows = network.class_embedding(torch.tensor([1, 0]))
    return denoiser, ConditionPair(rows[0], rows[1])


def test_finite_differences_approach_the_derivative_tenfold_per_decade(network: UNet) -> None:
    denoiser, pair = of_network(network)
    x, t = images(2, (1, 16, 16)), torch.tensor(399.0)
    exact = label_slope(denoiser, x.float(), t, pair).slope
    distances = [
        float((label_slope(denoiser, x.float(), t, pair, tau=tau).slope - exact).norm() / exact.norm())
        for tau in (0.9, 0.99)
    ]
    assert 6 < distances[0] / distances[1] < 14
    precise = network.double()
    try:
        exact64 = label_slope(double_of(precise), x, t, pair).slope
        assert float((exact64.float() - exact).norm() / exact.norm()) < 1e-4
        near = label_slope(double_of(precise), x, t, pair, tau=1 - 1e-4).slope
        nearer = label_slope(double_of(precise), x, t, pair, tau=1 - 1e-5).slope
        first, second = (float((value - exact64).norm() / exact64.norm()) for value in (near, nearer))
        assert first < 1e-3
        assert 8 < first / second < 12
    finally:
        network.float()


def double_of(network: UNet) -> NetworkDenoiser:
    return NetworkDenoiser(network, linear_table(), accepts=frozenset({"embedding"}))


def test_a_map_does_not_depend_on_the_batch_around_it(network: UNet) -> None:
    denoiser, pair = of_network(network)
    clean = images(3, (1, 16, 16)).float()
    for tau in (1.0, 0.0):
        plan = AveragePlan(levels=(0.4, 1.5), seeds=2, tau=tau, flips=((), (-1,)), batch=5)
        together = average_difference(denoiser, pair, clean, plan, Streams([7, 8, 9]))
        alone = average_difference(denoiser, pair, clean[2:], plan, Streams([9]))
        largest = float(alone.maps.abs().max())
        assert (alone.maps - together.maps[2:]).abs().max() <= 1e-4 * largest
        assert (alone.spread - together.spread[2:]).abs().max() <= 1e-3 * largest
        assert together.calls == alone.calls == 16


def test_slices_with_one_seed_share_their_noise(network: UNet) -> None:
    denoiser, pair = of_network(network)
    clean = images(1, (1, 16, 16)).float().expand(2, 1, 16, 16)
    found = average_difference(denoiser, pair, clean, AveragePlan(levels=(1.0,), seeds=1), Streams([3, 3])).maps
    assert torch.allclose(found[0], found[1], atol=1e-6)


def test_the_sign_rules(network: UNet) -> None:
    denoiser, pair = of_network(network)
    clean = images(2, (1, 16, 16)).float()

    def maps(**changes: object) -> Tensor:
        plan = AveragePlan(levels=(0.7,), seeds=2, **changes)  # type: ignore[arg-type]
        return average_difference(denoiser, pair, clean, plan, Streams([1, 2])).maps

    signed = maps()
    assert torch.equal(maps(sign="negative"), -signed)
    assert torch.equal(maps(sign="absolute"), signed.abs())
    assert torch.allclose(maps(channel_signs=(-2.0,)), -2 * signed)
    assert not torch.allclose(maps(sign="evidence"), signed)


def test_weights_of_the_levels() -> None:
    shift = torch.full((1, 1, 1), 1.0, dtype=torch.float64)
    denoiser = GaussianDenoiser(linear_table(), shift * 0, variance=torch.full((1, 1, 1), 0.04).double())
    clean = images(1, (1, 1, 1))

    def value(**changes: object) -> float:
        plan = AveragePlan(seeds=1, **changes)  # type: ignore[arg-type]
        return float(average_difference(denoiser, pair_of(shift), clean, plan, Streams([0])).maps)

    low, high = value(levels=(0.2,)), value(levels=(2.0,))
    assert value(levels=(0.2, 2.0)) == pytest.approx((low + high) / 2)
    assert value(levels=(0.2, 2.0), weights=(3.0, 1.0)) == pytest.approx(0.75 * low + 0.25 * high)
    native, inverse, snr = (value(levels=(0.2, 2.0), weights=name) for name in ("native", "inverse", "snr"))
    assert low < snr < inverse < (low + high) / 2
    assert low < native < (low + high) / 2
    assert inverse == pytest.approx((10 * low + high) / 11, rel=0.02)  # to the nearest index
    found = average_difference(denoiser, pair_of(shift), clean, AveragePlan(levels=(0.2, 2.0), seeds=3), Streams([0]))
    assert float(found.spread) == pytest.approx((high - low) / 2)


def test_levels_are_told_as_the_nearest_index_and_refused_outside_the_schedule() -> None:
    table = linear_table()
    rho_400 = (1 / table.alpha_bar[400] - 1) ** 0.5
    assert level_times(table, [rho_400 * 1.0001]).tolist() == [400.0]
    with pytest.raises(ValueError, match="levels: found rho = 1000"):
        level_times(table, [1000.0])
    with pytest.raises(ValueError, match=r"levels: found rho = 0\.0001"):
        level_times(table, [1e-4])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused(network: UNet, dtype: torch.dtype) -> None:
    denoiser, pair = of_network(network)
    with pytest.raises(TypeError, match="needs float32 or float64"):
        label_slope(denoiser, images(1, (1, 16, 16)).to(dtype), torch.tensor(9.0), pair)
    with pytest.raises(TypeError, match="needs float32 or float64"):
        average_difference(denoiser, pair, images(1, (1, 16, 16)).to(dtype), AveragePlan(levels=(1.0,)), Streams([1]))


def test_autocast_does_not_reach_the_map(network: UNet) -> None:
    denoiser, pair = of_network(network)
    x, t = images(1, (1, 16, 16)).float(), torch.tensor(200.0)
    wanted = label_slope(denoiser, x, t, pair).slope
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = label_slope(denoiser, x, t, pair).slope
    assert torch.equal(found, wanted)


def test_a_network_without_forward_mode_falls_back_to_a_difference_and_says_so(network: UNet) -> None:
    class Blocked(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            return grad

    denoiser = NetworkDenoiser(
        lambda x, t, embedding: network(x, t, embedding=Blocked.apply(embedding)),
        linear_table(),
        accepts=frozenset({"embedding"}),
    )
    _, pair = of_network(network)
    x, t = images(1, (1, 16, 16)).float(), torch.tensor(200.0)
    found = label_slope(denoiser, x, t, pair)
    assert "tau = 0.99" in found.message
    assert torch.equal(found.slope, label_slope(denoiser, x, t, pair, tau=0.99).slope)


def test_what_cannot_be_meant_is_refused(network: UNet) -> None:
    denoiser, pair = of_network(network)
    clean = images(2, (1, 16, 16)).float()
    with pytest.raises(ValueError, match="streams: found 1 for 2 images"):
        average_difference(denoiser, pair, clean, AveragePlan(levels=(1.0,)), Streams([1]))
    with pytest.raises(ValueError, match="not finite"):
        average_difference(denoiser, pair, clean * torch.nan, AveragePlan(levels=(1.0,)), Streams([1, 2]))
    with pytest.raises(ValueError, match=r"tau: found 1\.5"):
        label_slope(denoiser, clean, torch.tensor(9.0), pair, tau=1.5)
    with pytest.raises(ValueError, match="logits: missing"):
        average_difference(denoiser, pair, clean, AveragePlan(levels=(1.0,), scale=1.0), Streams([1, 2]))
    with pytest.raises(ValueError, match="channel_signs: has no effect"):
        AveragePlan(levels=(1.0,), sign="absolute", channel_signs=(1.0,))
    with pytest.raises(ValueError, match="at least one positive noise-to-signal ratio"):
        AveragePlan(levels=())
