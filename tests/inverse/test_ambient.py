"""Ambient: further masking by exact counts, supervision on what was acquired, and the optimum of its objective."""

from __future__ import annotations

import math

import pytest
import torch
from tests.inverse.scans import columns, image, maps, scan
from torch import Tensor, nn

from skiagraph.diffusion.schedule import EDM
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.ambient import AmbientDenoiser, AmbientNetwork, AmbientObjective, drop_lines
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier


class Mixing(nn.Module):
    """Something to say from the image, the mask and the time."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.4))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return torch.tanh(self.gain * x[:, :2].roll(1, -1) + 0.3 * x[:, 2:] + 0.01 * time[:, None, None, None])


class Fixed(AmbientNetwork):
    """Answers with an image, and keeps what it saw."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__(Mixing())
        self.answer = answer

    def forward(self, u: Tensor, rho: Tensor, mask: Tensor) -> Tensor:
        self.u, self.rho, self.mask = u, rho, mask
        return self.answer


def objective(network: AmbientNetwork, **changes: object) -> AmbientObjective:
    return AmbientObjective(network, **{"share": 0.3, "centre": 4, **changes})  # type: ignore[arg-type]


def test_lines_are_dropped_by_exact_counts_and_never_from_the_centre() -> None:
    mask = columns(20, 32)
    fewer = drop_lines(mask, Streams(range(20)), 0.3, 4)
    assert bool((fewer <= mask).all())
    assert bool((fewer[..., 14:18] == 1).all())
    outer = mask.sum(-1) - mask[..., 14:18].sum(-1)
    assert torch.equal((mask - fewer).sum(-1), (0.3 * outer).ceil())
    assert torch.equal(drop_lines(mask, Streams(range(20)), 0.0, 4), mask)
    alone = drop_lines(mask[3:4], Streams([3]), 0.3, 4)
    assert torch.equal(alone, fewer[3:4])


@pytest.mark.parametrize("changes", [{"flips": False}, {"rows": 7}], ids=["whole", "windows and flips"])
def test_lines_off_the_mask_change_nothing_and_items_are_alone(changes: dict[str, object]) -> None:
    batch, network = scan(noise=0.02), AmbientNetwork(Mixing())
    judge = objective(network, **changes)
    found = judge(network, batch, Streams([1, 2, 3]))
    other = {**batch, "kspace": batch["kspace"] + 50 * (1 - batch["mask"])}
    assert torch.equal(judge(network, other, Streams([1, 2, 3])).loss, found.loss)
    for item in range(3):
        alone = judge(network, {name: value[[item]] for name, value in batch.items()}, Streams([item + 1]))
        assert torch.allclose(alone.loss, found.loss[[item]], rtol=1e-5)
        assert torch.equal(alone.level, found.level[[item]])


def test_the_network_sees_fewer_lines_than_judge_it() -> None:
    batch, network = scan(), Fixed(image())
    found = objective(network, flips=False)(network, batch, Streams([1, 2, 3]))
    assert bool((network.mask.sum(-1) < batch["mask"].sum(-1)).all())
    assert bool((found.loss < 1e-9).all())
    lost = (batch["mask"] - network.mask) * CoilFourier(batch["maps"]).forward(image())
    wrong = Fixed(image() - CoilFourier(batch["maps"]).adjoint(lost))
    assert bool((objective(wrong, flips=False)(wrong, batch, Streams([1, 2, 3])).loss > 1e-4).all())


def test_the_loss_is_its_formula() -> None:
    batch, network = scan(noise=0.02), Fixed(torch.zeros(3, 2, 12, 16))
    found = objective(network, flips=False)(network, batch, Streams([1, 2, 3]))
    for item in range(3):
        entries = 2 * 4 * 12 * float(batch["mask"][item].sum())
        rho, s2 = float(network.rho[item]), 0.25**2
        scale = s2 * (rho**2 + 0.1 * s2) / (rho**2 + s2)
        expected = float(batch["kspace"][item].abs().square().sum()) / entries / scale
        assert float(found.loss[item]) == pytest.approx(expected, rel=1e-4)
        assert float(found.level[item]) == pytest.approx(-2 * math.log(rho), rel=1e-5)


def test_training_and_sampling_give_the_network_the_same_input() -> None:
    """u of an item at ratio rho is T^H A T (x + rho n): what the denoiser makes of a noisy image."""
    batch, network = scan(), Fixed(image())
    objective(network, flips=False)(network, batch, Streams([1, 2, 3]))
    streams = Streams([1, 2, 3])
    rho = (math.log(0.15) + 1.6 * streams.normal(1)[:, 0]).exp().clamp(0.004, 20.0)
    mask = drop_lines(batch["mask"], streams, 0.3, 4)
    noise = streams.normal(2, 12, 16)
    seen = Fixed(image())
    denoiser = AmbientDenoiser(seen, EDM(), MaskedCoilFourier(batch["maps"], mask))
    assert torch.equal(denoiser(image() + rho[:, None, None, None] * noise, rho.double()).x0, image())
    assert torch.equal(seen.mask, network.mask)
    assert torch.allclose(seen.rho, network.rho)
    assert torch.allclose(seen.u, network.u, atol=2e-5)


def test_a_silent_network_shrinks_its_input() -> None:
    network = AmbientNetwork(Mixing())
    with torch.no_grad():
        network.backbone.register_forward_hook(lambda module, args, out: 0 * out)
        u, rho = image(), torch.tensor([0.01, 0.25, 3.0])
        shrunk = 0.25**2 / (rho**2 + 0.25**2)
        found = network(u, rho, columns())
    assert torch.allclose(found, shrunk[:, None, None, None] * u, atol=1e-6)
    assert torch.allclose(network.output_scale(torch.tensor([1e-6])), torch.tensor([0.25 * 0.1**0.5]), rtol=1e-4)


def test_conditions_are_refused() -> None:
    operator = MaskedCoilFourier(maps(), columns())
    denoiser = AmbientDenoiser(AmbientNetwork(Mixing()), EDM(), operator)
    with pytest.raises(ValueError, match="cond: found"):
        denoiser(image(), torch.tensor(1.0), {"label": 1})
