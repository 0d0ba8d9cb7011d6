"""The released map against its direct transcription, with a network of random weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.diffusion.literal_difference import literal_map, literal_step, literal_table
from torch import Tensor, nn

from skiagraph.diffusion import DiscreteTable, NetworkDenoiser, cosine_table, linear_table
from skiagraph.diffusion.difference import ConditionPair, TrajectoryPlan, guided_step, trajectory_map
from skiagraph.networks import UNet, UNetConfig

SIZE = 16
TABLES = {
    ("linear", 1000): linear_table(),
    ("cosine", 1000): cosine_table(),
    ("linear", 4000): linear_table(4000),
    ("cosine", 4000): cosine_table(4000),
}


@pytest.fixture(scope="module")
def network() -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = UNet(
            UNetConfig(
                in_channels=3,
                out_channels=6,
                channels=8,
                multipliers=(1, 2),
                residual_blocks=1,
                attention_downsamplings=(2,),
                heads=2,
                groups=4,
                classes=2,
            )
        )
        for value in made.parameters():
            nn.init.normal_(value, std=0.15)
    return made.eval().requires_grad_(False)


def parts(network: UNet, table: DiscreteTable) -> tuple[NetworkDenoiser, ConditionPair]:
    denoiser = NetworkDenoiser(network, table, learned_variance=True, accepts=frozenset({"embedding"}))
    rows = network.class_embedding(torch.tensor([1, 0]))
    return denoiser, ConditionPair(rows[0], rows[1])


def inputs(batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    images = torch.rand(batch, 3, SIZE, SIZE, generator=generator)
    return images, torch.randn(images.shape, generator=generator)


def logits(x: Tensor, t: Tensor) -> Tensor:
    score = (x * torch.linspace(-1, 1, SIZE)).mean((1, 2, 3)) * (1 + t.to(x.dtype) / 1000)
    return torch.stack([score, -(score**2)], dim=1)


def guide(label: int, scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    def gradient(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            state = x.detach().requires_grad_()
            value = torch.log_softmax(logits(state, t), 1)[:, label].sum()
            return torch.autograd.grad(value, state)[0] * scale

    return gradient


def predictors(network: UNet) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """The released way: the second network is a copy whose row 0 is the mixture."""
    f0, f1 = network.class_embedding(torch.tensor(0)), network.class_embedding(torch.tensor(1))
    mixed = 0.95 * f1 + (1 - 0.95) * f0

    def predict(row: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda x, t: network(x, t, embedding=row.expand(len(x), -1))[:, :3]

    return predict(f1), predict(mixed)


@pytest.mark.parametrize("kind", list(TABLES))
def test_the_tables_are_those_of_the_method(kind: tuple[str, int]) -> None:
    own = torch.tensor(TABLES[kind].alpha_bar, dtype=torch.float64)
    assert (own - torch.from_numpy(literal_table(*kind))).abs().max() <= 1e-12


@pytest.mark.parametrize(
    ("kind", "abar_400", "rho_400", "abar_500"),
    [
        (("linear", 1000), 0.19357, 2.041, 0.07780),
        (("cosine", 1000), 0.64599, 0.740, 0.49229),
        (("linear", 4000), 0.89600, 0.341, 0.84503),
        (("cosine", 4000), 0.97196, 0.170, 0.95765),
    ],
)
def test_the_levels_of_the_released_indices(
    kind: tuple[str, int], abar_400: float, rho_400: float, abar_500: float
) -> None:
    levels = TABLES[kind].alpha_bar
    assert levels[400] == pytest.approx(abar_400, abs=5.1e-6)
    assert levels[500] == pytest.approx(abar_500, abs=5.1e-6)
    assert (1 / levels[400] - 1) ** 0.5 == pytest.approx(rho_400, abs=5.1e-4)


@pytest.mark.parametrize("scale", [0.0, 10.0])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("absolute", [False, True])
def test_the_map_is_the_released_one(network: UNet, scale: float, batch: int, absolute: bool) -> None:
    denoiser, pair = parts(network, TABLES["cosine", 1000])
    images, noise = inputs(batch)
    plan = TrajectoryPlan(scale=scale, absolute=absolute)
    found = trajectory_map(denoiser, pair, images, noise, plan, logits if scale else None)
    guides = (guide(1, scale), guide(0, scale)) if scale else None
    wanted = literal_map(predictors(network), images, noise, literal_table("cosine", 1000), guides, absolute=absolute)
    assert torch.equal(found.maps, wanted)
    assert found.indices == tuple(range(399, 389, -1))
    assert found.calls == 20
    assert found.classifier_calls == (20 if scale else 0)


def test_the_network_is_told_the_indices_and_the_other_conventions_are_options(network: UNet) -> None:
    told: list[float] = []

    def recording(x: Tensor, t: Tensor, embedding: Tensor) -> Tensor:
        told.append(float(t[0]))
        return network(x, t, embedding=embedding)

    denoiser = NetworkDenoiser(recording, linear_table(), learned_variance=True, accepts=frozenset({"embedding"}))
    _, pair = parts(network, linear_table())
    images, noise = inputs(1)
    trajectory_map(denoiser, pair, images, noise, TrajectoryPlan())
    assert told == [float(t) for t in range(399, 389, -1) for _ in range(2)]
    told.clear()
    trajectory_map(denoiser, pair, images, noise, TrajectoryPlan(level=50, steps=2, first_call="at"))
    assert told == [50.0, 50.0, 49.0, 49.0]


@pytest.mark.parametrize("kind", list(TABLES))
@pytest.mark.parametrize("index", [0, 1, 399])
def test_a_step_is_the_released_one_and_a_guided_estimate_leaves_the_range(
    network: UNet, kind: tuple[str, int], index: int
) -> None:
    denoiser, pair = parts(network, TABLES[kind])
    x = inputs(2)[1]
    cond = pair.told(pair.present, 2)
    for scale in (0.0, 300.0):
        guided = guide(1, scale) if scale else None
        wanted, x0 = literal_step(predictors(network)[0], x, index, literal_table(*kind), guided)
        found = guided_step(denoiser, x, index, cond, TrajectoryPlan(scale=scale), logits if scale else None, 1)
        assert torch.allclose(found, wanted, atol=1e-5)
        if scale and index == 399 and kind == ("linear", 1000):
            assert x0.abs().max() > 1


def test_a_guided_step_shifts_the_estimate_by_sigma_squared_over_alpha(network: UNet) -> None:
    table = TABLES["linear", 1000]
    denoiser, pair = parts(network, table)
    x, index = inputs(2)[1].double(), 300
    denoiser = NetworkDenoiser(
        lambda x, t, embedding: network(x.float(), t, embedding=embedding.float()).double(),
        table,
        learned_variance=True,
        accepts=frozenset({"embedding"}),
    )
    cond = pair.told(pair.present, 2)
    abar, below = table.alpha_bar[index], table.alpha_bar[index - 1]
    x0 = denoiser(x, torch.tensor(float(index)), cond).x0.clamp(-1, 1)
    t = torch.full((2,), float(index), dtype=torch.float64)
    x0 = x0 + (1 - abar) / abar**0.5 * guide(1, 5.0)(x, t)
    eps = (x - abar**0.5 * x0) / (1 - abar) ** 0.5
    wanted = below**0.5 * x0 + (1 - below) ** 0.5 * eps
    found = guided_step(denoiser, x, index, cond, TrajectoryPlan(scale=5.0), logits, 1)
    assert torch.allclose(found, wanted, atol=1e-12)


def test_another_batch_shape_moves_the_map_by_rounding_only(network: UNet) -> None:
    denoiser, pair = parts(network, TABLES["cosine", 1000])
    images, noise = inputs(3)
    together = trajectory_map(denoiser, pair, images, noise, TrajectoryPlan()).maps
    for number in range(3):
        one = slice(number, number + 1)
        alone = trajectory_map(denoiser, pair, images[one], noise[one], TrajectoryPlan()).maps
        assert (alone - together[one]).abs().max() <= 8e-6  # the rounding that the method page measured


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"level": 1000}, "level: found 1000"),
        ({"level": 5, "steps": 10}, "steps: found 10 below level 5"),
    ],
)
def test_levels_outside_the_table_are_refused(network: UNet, changes: dict[str, int], said: str) -> None:
    denoiser, pair = parts(network, linear_table())
    images, noise = inputs(1)
    with pytest.raises(ValueError, match=said):
        trajectory_map(denoiser, pair, images, noise, TrajectoryPlan(**changes))


def test_what_cannot_be_meant_is_refused(network: UNet) -> None:
    denoiser, pair = parts(network, linear_table())
    images, noise = inputs(1)
    with pytest.raises(ValueError, match="tau: found 1"):
        TrajectoryPlan(tau=1.0)
    with pytest.raises(ValueError, match="logits: missing"):
        trajectory_map(denoiser, pair, images, noise, TrajectoryPlan(scale=1.0))
    with pytest.raises(ValueError, match="label: found 7 for a classifier of 2 classes"):
        trajectory_map(denoiser, pair, images, noise, TrajectoryPlan(scale=1.0, present=7), logits)
    with pytest.raises(ValueError, match="equal conditions"):
        ConditionPair(pair.present, pair.present)
