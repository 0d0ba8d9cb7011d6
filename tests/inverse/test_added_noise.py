"""Added noise: its size, and that the objective is least at the mean of the clean lines whatever the scan's noise."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.inverse.scans import network, scan
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.added_noise import AddedNoise, added_variance, less_noisy
from skiagraph.inverse.consistent import Anchors, Estimate
from skiagraph.inverse.objective import MeasurementObjective
from skiagraph.physics.fourier import CoilFourier

ITEMS, ROWS, WIDTH, LEVEL = 3000, 4, 8, 0.3
NOISY = MeasurementObjective(hide=0.7, anchored=0.5, centre=2, flips=False, rho_range=(0.1, 2.0))


def covariance() -> Tensor:
    """Of a row of the clean k-space, per part: neighbouring columns are correlated."""
    places = torch.arange(WIDTH)
    return 0.8 ** (places[:, None] - places[None]).abs().float()


class Exact(torch.nn.Module):
    """The posterior mean of correlated Gaussian lines, exact for what it is told, and a share of the noise left in."""

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error

    def forward(self, q: Tensor, rho: Tensor, mask: Tensor, maps: Tensor, anchors: Anchors) -> Estimate:
        seen = mask[:, 0, 0] + anchors.mask[:, 0, 0]
        variance = mask[:, 0, 0] * rho[:, None].square() + anchors.mask[:, 0, 0] * anchors.noise[:, None].square()
        variance = torch.where(seen > 0, variance, 1e8)
        gain = torch.linalg.solve(covariance() + torch.diag_embed(variance), covariance(), left=False)
        lines = mask * q + anchors.mask * anchors.kspace
        mean = torch.einsum("bvw,bchw->bchv", gain.to(lines), lines)
        image = CoilFourier(maps).adjoint(mean + self.error * (seen[:, None, None] * (lines - mean)))
        return Estimate(image, torch.zeros(len(q), 2))


def gaussian_scan() -> dict[str, Tensor]:
    """One coil that sees everything alike, correlated lines of variance 1, noise `LEVEL`, half of the columns."""
    streams = Streams(range(ITEMS))
    shape = torch.zeros(ITEMS, 1, ROWS, WIDTH, dtype=torch.complex64)
    root = torch.linalg.cholesky(covariance()).to(torch.complex64)
    lines = torch.einsum("vw,bchw->bchv", root, streams.normal_like(shape))
    mask = (streams.uniform(1, 1, WIDTH) < 0.5).float()
    mask[..., 3:5] = 1
    kspace = mask * (lines + LEVEL * streams.normal_like(shape))
    return {"kspace": kspace, "mask": mask, "maps": torch.ones_like(shape), "noise": torch.full((ITEMS,), LEVEL)}


def best_error(objective: MeasurementObjective, stated: float = LEVEL) -> float:
    """Where the mean squared error, a parabola in the share of noise left in, is least."""
    batch = gaussian_scan()
    batch["noise"] = torch.full_like(batch["noise"], stated)
    below, exact, above = (
        float(objective(Exact(error), batch, Streams(range(ITEMS))).extra["squared_error"].mean())
        for error in (-0.5, 0.0, 0.5)
    )
    return 0.25 * (below - above) / (below + above - 2 * exact)


@pytest.mark.parametrize("added", [AddedNoise(1.0, 1.5), AddedNoise(0.6, 0.7), AddedNoise(0.0, 1.0)])
def test_the_objective_is_least_at_the_mean_of_the_clean_lines(added: AddedNoise) -> None:
    assert abs(best_error(replace(NOISY, added=added))) < 0.01


def test_a_scan_whose_own_noise_is_not_stated_teaches_with_bias() -> None:
    assert best_error(replace(NOISY, added=AddedNoise(1.0, 1.5)), stated=0.0) > 0.03


def test_expected_lines_in_closed_form() -> None:
    # sigma^2 = 0.04 + 0.12 = 0.16: three quarters of the estimate; a hidden line: all of it; an untouched one: none.
    estimate, shown = torch.full((1, 1, 2, 3), 4.0 + 4.0j), torch.full((1, 1, 2, 3), 8.0 + 0.0j)
    added = torch.tensor([0.12, torch.inf, 0.0])[None, None, None]
    lines, share = less_noisy(estimate, shown, added, torch.tensor([0.2]))
    assert torch.allclose(share.flatten(), torch.tensor([0.75, 1.0, 0.0]))
    assert torch.allclose(lines[0, 0, 0], torch.tensor([5 + 3j, 4 + 4j, 8 + 0j]))
    lines, share = less_noisy(estimate, shown, added, torch.tensor([0.0]))
    assert torch.equal(share.flatten(), torch.tensor([1.0, 1.0, 0.0]))


def test_totals_lie_between_the_scan_and_the_most() -> None:
    level = torch.full((500,), 0.02)
    level[:100] = 0.9
    total = AddedNoise(0.5, 0.4).total(level, Streams(range(500)))
    assert torch.allclose(total[:100], level[:100])
    raised = total[100:] > level[100:]
    assert float(raised.float().mean()) == pytest.approx(0.5, abs=0.08)
    assert bool((total[100:] <= 0.4).all())
    # Logarithms are uniform: their mean is the middle.
    middle = total[100:][raised].log().mean()
    assert float(middle) == pytest.approx(0.5 * math.log(0.02 * 0.4), abs=0.15)
    assert torch.allclose(added_variance(total, level)[:100], torch.zeros(100))
    assert bool((AddedNoise(1.0, 0.4).total(torch.zeros(9), Streams(range(9))) > 0).all())


def test_lines_off_the_mask_change_nothing_and_items_stand_alone() -> None:
    batch, module = scan(noise=0.02), network()
    objective = MeasurementObjective(centre=2, anchored=0.9, alone=0.5, rows=7, added=AddedNoise(1.0, 0.4))
    found = objective(module, batch, Streams([1, 2, 3])).loss
    other = {**batch, "kspace": batch["kspace"] + 50 * (1 - batch["mask"])}
    assert torch.allclose(objective(module, other, Streams([1, 2, 3])).loss, found, rtol=1e-5)
    alone = objective(module, {name: value[[1]] for name, value in batch.items()}, Streams([2]))
    assert torch.allclose(alone.loss, found[[1]], rtol=1e-5)


@pytest.mark.parametrize(("share", "most", "message"), [(1.2, 0.4, "share: found 1.2"), (0.5, 0.0, "most: found 0.0")])
def test_impossible_numbers_are_refused(share: float, most: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AddedNoise(share, most)
