"""The unrolled network is iterated Tikhonov where its network is silent; SSDU sees acquired lines, split in two."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.scans import columns, image, scan
from torch import Tensor, nn

from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.unrolled import SelfSupervisedObjective, UnrolledNetwork, split_acquired
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier

OBJECTIVES = [
    SelfSupervisedObjective(flips=False),
    SelfSupervisedObjective(rows=7),
    SelfSupervisedObjective(kind="points"),
]
IDS = ["whole", "windows and flips", "points"]


class Mixing(nn.Module):
    """Something to say, of two channels."""

    def __init__(self, size: float = 0.3) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(size))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.gain * torch.tanh(x - x.roll(1, -1) + 0.001 * time[:, None, None, None])


def network(size: float = 0.3, cascades: int = 2, data_iterations: int = 4) -> UnrolledNetwork:
    return UnrolledNetwork(Mixing(size), cascades=cascades, data_iterations=data_iterations)


def test_a_silent_network_leaves_iterated_tikhonov() -> None:
    batch = scan(noise=0.1)
    operator = MaskedCoilFourier(batch["maps"], batch["mask"])
    before = torch.zeros(3, 2, 12, 16)
    with torch.no_grad():
        weight = float(network().log_weight.exp())
        for cascades in (1, 2, 3):
            silent = network(0.0, cascades, 200)
            earlier = before
            before = _steps(operator, batch["kspace"], weight, cascades)
            found = silent(batch["kspace"], batch["mask"], batch["maps"])
            assert torch.allclose(found, before, atol=2e-5)
            assert not torch.allclose(found, earlier, atol=1e-3)


def _steps(operator: MaskedCoilFourier, kspace: Tensor, weight: float, cascades: int) -> Tensor:
    """x <- (N + mu)^-1 (T^H y + mu x) once more than there are cascades, by dense algebra."""
    size = 2 * 12 * 16
    images = []
    for item in range(3):
        one = operator.select([item])
        matrix = torch.stack([one.normal(unit[None])[0].flatten() for unit in torch.eye(size).reshape(size, 2, 12, 16)])
        rhs = one.adjoint(kspace[[item]]).flatten()
        x = torch.zeros(size)
        for _ in range(cascades + 1):
            x = torch.linalg.solve(matrix.T + weight * torch.eye(size), rhs + weight * x)
        images.append(x.reshape(2, 12, 16))
    return torch.stack(images)


@pytest.mark.parametrize("kind", ["lines", "points"])
def test_a_split_is_of_what_was_acquired_and_spares_the_centre(kind: Any) -> None:
    mask = columns(40, 32)
    given, held = split_acquired(mask, 10, Streams(range(100, 140)), share=0.4, centre=4, kind=kind)
    assert torch.equal((given + held).expand(40, 1, 10, 32), mask.expand(40, 1, 10, 32))
    assert bool((given * held == 0).all())
    assert not held[..., 14:18].any()
    beyond = mask.clone()
    beyond[..., 14:18] = 0
    share = held.mean() / beyond.mean()
    assert float(share) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=IDS)
def test_lines_off_the_mask_change_nothing(objective: SelfSupervisedObjective) -> None:
    batch, module = scan(noise=0.02), network()
    found = objective(module, batch, Streams([1, 2, 3])).loss
    other = {**batch, "kspace": batch["kspace"] + 50 * (1 - batch["mask"])}
    assert torch.equal(objective(module, other, Streams([1, 2, 3])).loss, found)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=IDS)
def test_an_item_does_not_depend_on_its_batch(objective: SelfSupervisedObjective) -> None:
    batch, module = scan(noise=0.02), network()
    whole = objective(module, batch, Streams([1, 2, 3])).loss
    for item in range(3):
        alone = objective(module, {name: value[[item]] for name, value in batch.items()}, Streams([item + 1])).loss
        assert torch.allclose(alone, whole[[item]], rtol=1e-5)


class Knowing(nn.Module):
    """Answers with an image it was given, and keeps what it saw."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = image

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        self.kspace, self.mask = kspace, mask
        return self.image


def test_the_loss_is_its_formula_and_held_lines_are_hidden() -> None:
    batch = scan(noise=0.02)
    image = 0.1 * torch.randn(3, 2, 12, 16, generator=torch.Generator().manual_seed(0))
    knowing = Knowing(image)
    found = OBJECTIVES[0](knowing, batch, Streams([1, 2, 3]))
    held = batch["mask"] - knowing.mask
    assert bool((held.sum(-1) > 0).all())
    assert not (held * knowing.kspace).any()
    for item in range(3):
        wanted = (held * batch["kspace"])[item]
        error = held[item] * CoilFourier(batch["maps"]).forward(image)[item] - wanted
        expected = error.norm() / wanted.norm() + error.abs().sum() / wanted.abs().sum()
        assert float(found.loss[item]) == pytest.approx(float(expected), rel=1e-5)


def test_the_truth_without_noise_costs_nothing() -> None:
    batch = scan()
    assert bool((OBJECTIVES[0](Knowing(image()), batch, Streams([1, 2, 3])).loss < 1e-4).all())


def test_gradients_reach_the_network_and_its_weight_and_are_finite_where_nothing_is_held_out() -> None:
    batch, module = scan(noise=0.02), network()
    OBJECTIVES[1](module, batch, Streams([1, 2, 3])).loss.sum().backward()
    for value in module.parameters():
        assert value.grad is not None
        assert bool(value.grad.isfinite().all())
        assert bool(value.grad.any())
    nothing = SelfSupervisedObjective(centre=16, flips=False)(module, batch, Streams([1, 2, 3])).loss
    assert nothing.tolist() == [0.0, 0.0, 0.0]
    nothing.sum().backward()
    assert all(bool(value.grad.isfinite().all()) for value in module.parameters() if value.grad is not None)


def test_networks_without_cascades_are_refused() -> None:
    with pytest.raises(ValueError, match="cascades, data_iterations: found 0 and 4"):
        network(cascades=0)
