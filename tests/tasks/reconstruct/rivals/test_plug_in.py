"""The samplers around an exact Gaussian prior reach the posterior that is known in closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.tiny_scans import phantom_slices
from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.schedule import EDM
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.inverse.ambient import AmbientDenoiser, AmbientNetwork
from skiagraph.inverse.variation import mirror
from skiagraph.physics.fourier import CoilFourier, MaskedCoilFourier, to_complex, to_real
from skiagraph.tasks.reconstruct.rivals.plug_in import (
    MirroredDenoiser,
    NoiselessDenoiser,
    PlugIn,
    ambient_prior,
    mirrored_prior,
)
from skiagraph.tasks.reconstruct.rivals.settings import PlugInSettings
from skiagraph.tasks.reconstruct.scan import PreparedScan

SCALE, NOISE, SAMPLES = 0.25, 0.1, 8


def gaussian(schedule: EDM, scan: PreparedScan, streams: Streams) -> GaussianDenoiser:
    """x ~ N(0, s^2) in every real and imaginary part."""
    return GaussianDenoiser(schedule, torch.zeros(1), torch.full((1,), SCALE**2))


def drawn_scan() -> PreparedScan:
    """Two images of that prior, measured by the coils and masks of a small scan with much noise."""
    known = phantom_slices().scan
    image = SCALE * torch.randn(2, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    kspace = CoilFourier(known.maps).forward(image)
    kspace = kspace + NOISE * Streams([7, 8]).normal_like(kspace)
    return replace(known, kspace=known.mask * kspace, noise=torch.full((2,), NOISE))


def exact(scan: PreparedScan) -> tuple[Tensor, float]:
    """Posterior mean (S, 32, 32) complex, and posterior variance per real number, averaged over the image."""
    operator = MaskedCoilFourier(scan.maps, scan.mask)
    weight = NOISE**2 / SCALE**2
    shape = (len(scan), 2, 32, 32)
    mean = operator.prox(torch.zeros(shape), scan.kspace, weight, iterations=200, tolerance=0.0)
    # trace of nu^2 (N + w)^-1 by probes of signs
    probes = torch.sign(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    kspace = torch.zeros_like(scan.kspace)
    solved = operator.prox(probes, kspace, weight, iterations=200, tolerance=0.0) / weight
    return to_complex(mean), float(NOISE**2 * (probes * solved).mean())


def sampler(method: Any, **numbers: float) -> PlugIn:
    settings = PlugInSettings(**{"steps": 50, "noisiest": 5.0, "finest": 0.005, "eta": 0.0, **numbers})
    return PlugIn(method, method, gaussian, settings, sigma_data=SCALE, samples=SAMPLES, rows=16)


@pytest.mark.parametrize("method", ["ddnm", "pigdm"])
def test_samples_have_the_mean_and_the_variance_of_the_posterior(method: Any) -> None:
    """A white prior makes both data steps exact, and without fresh noise both walk the posterior's own flow."""
    scan = drawn_scan().select([0])
    mean, variance = exact(scan)
    found = sampler(method, steps=110)(scan, ("a",))
    assert found.samples is not None
    error = to_real(found.images - mean).square().mean()
    spread = torch.view_as_real(found.samples).var(1).mean()
    assert float(spread) == pytest.approx(variance, rel=0.06)
    assert float(error) == pytest.approx(variance / SAMPLES, rel=0.25)


@pytest.mark.parametrize(("method", "numbers"), [("ddnm", {"eta": 0.85}), ("diffpir", {"strength": 1.0, "eta": 0.5})])
def test_fresh_noise_leaves_the_mean_of_the_posterior(method: Any, numbers: dict[str, float]) -> None:
    scan = drawn_scan().select([0])
    mean, variance = exact(scan)
    found = sampler(method, **numbers)(scan, ("a",))
    error = float(to_real(found.images - mean).square().mean())
    assert error < (2 if method == "ddnm" else 8) * variance / SAMPLES
    assert error < 0.2 * float(to_real(mean).square().mean())


def test_dps_comes_nearer_to_the_data_than_the_prior_alone() -> None:
    scan = drawn_scan()
    operator = MaskedCoilFourier(scan.maps, scan.mask)

    def residual(strength: float) -> float:
        image = replace(sampler("dps", strength=strength, eta=1.0), samples=1)(scan, ("a", "b")).images
        return float((operator.forward(to_real(image)) - scan.kspace).abs().square().mean())

    assert residual(1.0) < 0.3 * residual(1e-6)


def test_a_slice_is_the_same_alone_and_other_names_give_other_samples() -> None:
    scan, one = drawn_scan(), replace(sampler("ddnm", steps=4, eta=0.85), samples=3)
    whole = one(scan, ("a", "b"))
    assert whole.samples is not None
    alone = replace(one, rows=2)(scan.select([1]), ("b",))
    assert alone.samples is not None
    assert torch.allclose(alone.samples[0], whole.samples[1], atol=1e-5)
    other = one(scan.select([1]), ("c",))
    assert not torch.allclose(other.images[0], whole.images[1], atol=1e-3)
    assert replace(one, samples=1)(scan, ("a", "b")).samples is None
    assert one.evaluations == 12


def test_scans_without_noise_are_taken() -> None:
    scan = replace(drawn_scan(), noise=torch.zeros(2))
    for method in ("ddnm", "diffpir", "pigdm"):
        found = replace(sampler(method, steps=3), samples=1)(scan, ("a", "b")).images
        assert bool(torch.isfinite(torch.view_as_real(found)).all())


def test_ambient_draws_one_mask_per_sample_as_it_was_trained_on() -> None:
    scan = drawn_scan().select([0, 0, 1])
    denoiser = ambient_prior(AmbientNetwork(torch.nn.Identity()), 2.0, 12)(EDM(), scan, Streams([1, 2, 1]))
    assert isinstance(denoiser, AmbientDenoiser)
    mask = denoiser.operator.mask
    assert mask.shape == (3, 1, 1, 32)
    assert bool((mask[..., 10:22] == 1).all())
    assert torch.equal(mask[0], mask[2])
    assert not torch.equal(mask[0], mask[1])


class Lopsided:
    """Keeps the left and the upper edge of what it is given."""

    schedule = EDM()

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        kept = torch.zeros(x.shape[-2:])
        kept[1:4], kept[:, 1:6] = 1.0, 2.0
        return Prediction(kept * x)


def test_a_mirrored_denoiser_acts_on_the_mirror_image_and_turns_it_back() -> None:
    x, t = torch.randn(40, 2, 16, 16, generator=torch.Generator().manual_seed(2)), torch.tensor(1.0)
    found = MirroredDenoiser(Lopsided(), Streams(range(40)))(x, t).x0
    four = []
    for axes in ((), (-1,), (-2,), (-2, -1)):
        turned = x
        for axis in axes:
            turned = mirror(turned, axis)
        turned = Lopsided()(turned, t).x0
        for axis in axes:
            turned = mirror(turned, axis)
        four.append((found - turned).abs().amax((1, 2, 3)) < 1e-6)
    assert torch.equal(torch.stack(four).sum(0), torch.ones(40, dtype=torch.long))
    assert bool((torch.stack(four).sum(1) > 3).all())
    assert torch.equal(MirroredDenoiser(Lopsided(), Streams([7]))(x[7:8], t).x0, found[7:8])


def test_mirroring_leaves_the_posterior_of_a_symmetric_prior() -> None:
    scan = drawn_scan().select([0])
    mean, variance = exact(scan)
    found = replace(sampler("ddnm", eta=0.85), prior=mirrored_prior(gaussian))(scan, ("a",))
    assert float(to_real(found.images - mean).square().mean()) < 2 * variance / SAMPLES


def test_the_noise_of_the_images_is_taken_out_exactly() -> None:
    """A Gaussian prior of noisy images, s^2 + nu^2, becomes that of the images themselves."""
    schedule, noise = EDM(0.02, 5.0), 0.1
    noisy, clean = (
        GaussianDenoiser(schedule, torch.zeros(1), torch.full((1,), SCALE**2 + extra)) for extra in (noise**2, 0.0)
    )
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(3))
    found = NoiselessDenoiser(noisy, noise)
    for level in (0.15, 1.0, 4.0):
        t = torch.tensor(level, dtype=torch.float64)
        assert torch.allclose(found(x, t).x0, clean(x, t).x0, atol=1e-5)
    with pytest.raises(InputError, match=r"finest: the walk goes down to 0\.12.*at least.*0\.1414"):
        found(x, torch.tensor(0.12))
