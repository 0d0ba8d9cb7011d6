"""Inversion in its three forms, against formulas written out and against the way back."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, Prediction
from skiagraph.diffusion.grid import Levels, Quadratic
from skiagraph.diffusion.guidance import Counted, Tally
from skiagraph.diffusion.inversion import InversionMode, inversion_times, invert
from skiagraph.diffusion.laboratory import alternating, two_classes
from skiagraph.diffusion.rules import DDIM, Heun
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import VPLinear, linear_table

TABLE = linear_table()
LABEL = {"label": alternating(64)}
X = 0.4 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def noise_found(denoiser: Denoiser, x: Tensor, level: float) -> Tensor:
    alpha, sigma = TABLE_50(level)
    return (x - alpha * denoiser(x, torch.tensor(level), LABEL).x0) / sigma


TABLE_50 = TABLE.respaced("ddim50")


def test_reference_inversion_is_offset_and_ends_at_the_noise_predicted_last() -> None:
    base = two_classes(TABLE_50)
    x, last = X, X
    for level in range(50):
        alpha, sigma = TABLE_50(float(level))
        last = noise_found(base, x, float(level))
        x0 = (x - sigma * last) / alpha
        alpha, sigma = TABLE_50(float(level + 1))
        x = alpha * x0 + sigma * last
    found = invert(base, X, Levels(), "reference", LABEL)
    assert torch.allclose(found.x, last, atol=1e-11)
    assert torch.allclose(found.x, x, atol=1e-11)
    assert found.times.tolist() == [*range(49, -1, -1), -1]


def test_mirrored_inversion_stays_on_the_grid() -> None:
    base = two_classes(TABLE_50)
    alpha, sigma = TABLE_50(0.0)
    x = alpha * X + sigma * noise_found(base, alpha * X, 0.0)
    for level, above in itertools.pairwise(range(50)):
        eps = noise_found(base, x, float(level))
        x0 = (x - TABLE_50(float(level))[1] * eps) / TABLE_50(float(level))[0]
        alpha, sigma = TABLE_50(float(above))
        x = alpha * x0 + sigma * eps
    found = invert(base, X, Levels(), "mirrored", LABEL, depth=1.0)
    assert torch.allclose(found.x, x, atol=1e-11)
    assert found.times.tolist() == [*range(49, -1, -1), -1]


def test_heun_inversion_is_the_trapezoid_in_rho() -> None:
    base = two_classes(TABLE_50)
    alpha, sigma = TABLE_50(0.0)
    bar = X + sigma / alpha * noise_found(base, alpha * X, 0.0)
    for level, above in itertools.pairwise(range(50)):
        (alpha, sigma), (alpha_s, sigma_s) = TABLE_50(float(level)), TABLE_50(float(above))
        step = sigma_s / alpha_s - sigma / alpha
        slope = noise_found(base, alpha * bar, float(level))
        corrected = noise_found(base, alpha_s * (bar + step * slope), float(above))
        bar = bar + step * (slope + corrected) / 2
    found = invert(base, X, Levels(), "heun", LABEL, depth=1.0)
    assert torch.allclose(found.x, TABLE_50(49.0)[0] * bar, atol=1e-11)


def test_depth_and_calls() -> None:
    """The default visits 30 of 49 levels and costs as many calls each way; the released form costs all levels."""
    tally = Tally()
    base = Counted(two_classes(TABLE), tally)
    latent = invert(base, X, Quadratic(50), cond=LABEL)
    assert (tally.calls, tally.samples) == (30, 30 * 64)
    assert len(latent.times) == 31
    assert float(TABLE(latent.times[0])[1] ** 2) <= 0.8
    final(trajectory(base, latent.x, latent.times, DDIM(), cond=LABEL))
    assert tally.calls == 60
    assert len(inversion_times(TABLE, Quadratic(50), depth=1.0)[0]) == 50
    assert len(inversion_times(TABLE, Quadratic(50), depth=0.5)[1]) == 25
    up, down = inversion_times(TABLE, Quadratic(50), "reference")
    assert (up[:2].tolist(), up[-2:].tolist(), down[0].item()) == ([0, 2], [996, 1000], 996)
    up, down = inversion_times(TABLE, Quadratic(50), "reference", depth=0.8)
    assert len(down) == 31
    assert float(up[-1]) > float(up[-2]) == float(down[0])


@pytest.mark.parametrize("mode", ["mirrored", "heun"])
def test_the_way_back_is_the_image(mode: InversionMode) -> None:
    base = two_classes(TABLE)
    latent = invert(base, X, Quadratic(100), mode, LABEL)
    rule = Heun() if mode == "heun" else DDIM()
    back = final(trajectory(base, latent.x, latent.times, rule, cond=LABEL))
    assert float((back - X).square().mean().sqrt()) < (
        0.002 if mode == "heun" else 0.03
    )  # points far outside the classes


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (3, 3, 4, 4), (1, 2, 3, 4, 4)])
def test_images_and_volumes(shape: tuple[int, ...]) -> None:
    class Half:
        schedule = TABLE

        def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
            return Prediction(0.5 * x)

    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    latent = invert(Half(), x, Quadratic(50))
    assert latent.x.shape == x.shape
    alone = invert(Half(), x[:1], Quadratic(50))
    assert torch.equal(alone.x, latent.x[:1])


def test_settings_are_checked() -> None:
    base = two_classes(TABLE)
    with pytest.raises(ValueError, match="mode: found 'euler'; allowed 'mirrored', 'reference', 'heun'"):
        invert(base, X, Levels(), "euler")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="depth: found 0"):
        invert(base, X, Levels(), depth=0.0)
    with pytest.raises(ValueError, match="leaves no level of this grid"):
        invert(base, X, Levels(), depth=1e-9)
    with pytest.raises(ValueError, match="descend to the clean end"):
        invert(base, X, Quadratic(50)(TABLE).flip(0))
    with pytest.raises(TypeError, match="needs a DiscreteTable"):
        inversion_times(VPLinear(), torch.tensor([1.0, 0.5, 0.0]).double(), "reference")
