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
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier, to_complex, to_real


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

    def forward(self, u: Tensor, rho: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        self.u, self.rho, self.mask = u, rho, mask
        return self.answer


class Plain(nn.Module):
    """The zero-filled image times a factor: what the published parametrisation starts from."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, u: Tensor, rho: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        return self.factor * u


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


def silent(**changes: float) -> AmbientNetwork:
    network = AmbientNetwork(Mixing(), linear_iterations=200, data_iterations=200, **changes)  # type: ignore[arg-type]
    network.backbone.register_forward_hook(lambda module, args, out: 0 * out)
    return network


def dense(maps: Tensor, mask: Tensor) -> Tensor:
    """T^H A T of one item as a complex matrix."""
    height, width = maps.shape[-2:]
    basis = torch.eye(height * width, dtype=torch.complex64).reshape(-1, height, width)
    operator = MaskedCoilFourier(maps.expand(len(basis), -1, -1, -1), mask.expand(len(basis), -1, -1, -1))
    return operator.normal_complex(basis).flatten(1).T.to(torch.complex128)


def test_a_silent_network_gives_the_posterior_mean_of_white_images() -> None:
    """Signal s^2, diffusion noise rho^2 through the operator, scanner noise nu^2: Wiener's filter, by dense algebra."""
    mask, fields, rho = columns(1, 8), maps(1, 2, (6, 8)), torch.tensor([0.1])
    network = silent(noise=0.05)
    network.log_width.data.fill_(-30.0)  # no data step
    normal = dense(fields, mask)
    cov = (0.25**2 + 0.1**2) * normal @ normal + 0.05**2 * normal
    seen = normal @ to_complex(image(1, (6, 8))).flatten().to(torch.complex128)  # in the range of T^H A, as every u is
    found = to_complex(network(to_real(seen.reshape(1, 6, 8).to(torch.complex64)), rho, mask, fields)).flatten()
    exact = 0.25**2 * normal @ (torch.linalg.pinv(cov, rtol=1e-6, hermitian=True) @ seen)
    assert torch.allclose(found.to(torch.complex128), exact, atol=1e-5)


def test_the_optimum_of_the_objective_is_the_posterior_mean_whatever_stands_around_the_backbone() -> None:
    """On white images: the silent network cannot be bettered, |y - T h|^2 falls along no direction of its output."""
    count, s = 400, 0.25
    fields, mask = (value.expand(count, -1, -1, -1) for value in (maps(1, 2, (6, 8)), columns(1, 8)))
    streams = Streams(range(count))
    truth = s * streams.normal(2, 6, 8)
    kspace = mask * CoilFourier(fields).forward(truth)
    batch = {"kspace": kspace, "mask": mask, "maps": fields, "noise": torch.zeros(count)}
    network = silent(noise=1e-3)
    network.log_width.data.fill_(-30.0)
    judge = objective(network, flips=False, log_rho=(math.log(0.1), 0.0))

    class Moved(nn.Module):
        """The silent network's image, with a share of something else that it could say."""

        def __init__(self, start: float) -> None:
            super().__init__()
            self.start = start

        def forward(self, u: Tensor, rho: Tensor, fewer: Tensor, fields: Tensor) -> Tensor:
            best = network(u, rho, fewer, fields)
            return best + self.start * (u if self.start else 0 * u)

    def losses(share: float) -> Tensor:
        return judge(Moved(share), batch, Streams(range(count))).loss.detach().double()

    slope = (losses(0.05) - losses(-0.05)) / 0.1
    assert abs(float(slope.mean())) < 4 * float(slope.std()) / count**0.5
    curvature = losses(0.05) + losses(-0.05) - 2 * losses(0.0)
    assert float(curvature.mean()) > 0
    filtered = 0.1**2 + s**2
    zero_filled = judge(Plain(s**2 / filtered), batch, Streams(range(count))).loss
    assert float(zero_filled.mean()) > 1.2 * float(losses(0.0).mean())


def test_without_noise_the_lines_stay_whatever_the_network_says() -> None:
    fields, mask = maps(coils=1), columns()
    network = AmbientNetwork(Mixing(), linear_iterations=200, data_iterations=200, noise=1e-3)
    operator = MaskedCoilFourier(fields, mask)
    given = (operator.normal(image()), torch.full((3,), 1e-3), mask, fields)
    with torch.no_grad():
        fitted, unheard = network(*given), silent(noise=1e-3)(*given)
        network.log_width.fill_(-30.0)
        free = network(*given)
    said, left = (operator.full.forward(found - unheard).abs() for found in (free, fitted))
    assert float((mask * left).max()) < 0.01 * float((mask * said).max())
    assert torch.allclose((1 - mask) * left, (1 - mask) * said, atol=1e-5)
    assert float(((1 - mask) * said).max()) > 0.01
    assert torch.allclose(AmbientNetwork(Mixing()).output_scale(torch.tensor([1e-6])), torch.tensor([0.25 * 0.1**0.5]))


def test_conditions_are_refused() -> None:
    operator = MaskedCoilFourier(maps(), columns())
    denoiser = AmbientDenoiser(AmbientNetwork(Mixing()), EDM(), operator)
    with pytest.raises(ValueError, match="cond: found"):
        denoiser(image(), torch.tensor(1.0), {"label": 1})
