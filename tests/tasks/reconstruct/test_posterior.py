"""Posterior samples: their seeds, their independence of the batch, their cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from helpers.tiny_scans import filled_network, phantom_slices, prepared
from skiagraph.errors import InputError
from skiagraph.inverse.consistent import Anchors, ConsistentNetwork, Estimate
from skiagraph.inverse.variation import mirror
from skiagraph.physics.fourier import CoilFourier, to_complex, to_real
from skiagraph.tasks.reconstruct.network import build_network
from skiagraph.tasks.reconstruct.posterior import (
    LEAST_WALK_NOISE,
    UNINFORMATIVE,
    SamplerSettings,
    conditional_mean,
    evaluations_per_slice,
    posterior_samples,
    slice_seeds,
)
from skiagraph.tasks.reconstruct.settings import NetworkSettings


class Counter(nn.Module):
    """The adjoint image of all lines, and how many images and calls went through."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0
        self.largest = 0
        self.evaluations = 1

    def forward(self, q: Tensor, rho: Tensor, mask: Tensor, maps: Tensor, anchors: Anchors | None = None) -> Estimate:
        """As `ConsistentNetwork`."""
        self.images += len(q)
        self.largest = max(self.largest, len(q))
        lines = mask * q if anchors is None else anchors.kspace + (1 - anchors.mask) * mask * q
        return Estimate(to_real(to_complex(CoilFourier(maps).adjoint(lines))), torch.zeros(len(q), 2))


def test_seeds_are_a_function_of_run_slice_and_sample_alone() -> None:
    both = slice_seeds(7, ["slice 0", "slice 4"], 3)
    assert len(set(both)) == 6
    assert slice_seeds(7, ["slice 4"], 3) == both[3:]
    assert slice_seeds(7, ["slice 4", "slice 0"], 2) == [*both[3:5], *both[:2]]
    assert not set(slice_seeds(8, ["slice 0", "slice 4"], 3)) & set(both)
    assert all(0 <= seed < 2**32 for seed in both)


@pytest.mark.parametrize("sampler", ["anchored", "measurement-score"])
def test_a_batch_is_its_samples_one_by_one(sampler: Any) -> None:
    network, scan = filled_network(), prepared()
    settings = SamplerSettings(sampler=sampler, samples=3, steps=4, views=2, acceleration=2.0, centre=12)
    seeds = slice_seeds(0, ["a", "b"], 3)
    together = posterior_samples(network, scan, replace(settings, rows=16), seeds)
    alone = posterior_samples(network, scan, replace(settings, rows=1), seeds)
    size = float(together.abs().max())
    assert float((together - alone).abs().max()) < 1e-4 * size
    assert float((together[:, 0] - together[:, 1]).abs().max()) > 1e-3 * size
    last = posterior_samples(network, scan.select([1]), replace(settings, rows=16), slice_seeds(0, ["b"], 3))
    assert float((last[0] - together[1]).abs().max()) < 1e-4 * size


def test_samples_of_noiseless_scans_differ_and_their_mean_is_told_the_true_noise() -> None:
    network, scan = filled_network(), prepared()
    clean = replace(scan, noise=torch.full_like(scan.noise, 1e-4))
    at_least = replace(scan, noise=torch.full_like(scan.noise, LEAST_WALK_NOISE))
    settings, seeds = SamplerSettings(samples=2, steps=3), slice_seeds(0, ["a", "b"], 2)
    found = posterior_samples(network, clean, settings, seeds)
    assert torch.equal(found, posterior_samples(network, at_least, settings, seeds))
    above = replace(scan, noise=torch.full_like(scan.noise, 2 * LEAST_WALK_NOISE))
    assert not torch.equal(found, posterior_samples(network, above, settings, seeds))
    assert not torch.equal(conditional_mean(network, clean), conditional_mean(network, at_least))


@pytest.mark.parametrize(
    ("sampler", "steps", "evaluations"), [("anchored", 12, 12), ("measurement-score", 5, 20), ("reference", 12, 800)]
)
def test_every_sampler_runs_at_the_cost_it_states(sampler: Any, steps: int, evaluations: int) -> None:
    network: Any = Counter()
    settings = SamplerSettings(sampler=sampler, samples=2, steps=steps, acceleration=2.0, centre=12)
    seen: list[tuple[int, int]] = []
    images = posterior_samples(
        network, prepared(), settings, slice_seeds(0, ["a", "b"], 2), on_progress=lambda *now: seen.append(now)
    )
    assert images.shape == (2, 2, 32, 32)
    assert images.dtype == torch.complex64
    assert bool(torch.isfinite(torch.view_as_real(images)).all())
    assert settings.evaluations() == evaluations
    assert network.images == 4 * evaluations
    assert network.largest <= settings.rows
    assert seen[-1] == (4, 4)


def test_the_default_run_costs_at_most_100_evaluations_a_slice() -> None:
    settings = SamplerSettings()
    network: Any = Counter()
    scan = phantom_slices((10.0,)).scan
    posterior_samples(network, scan, settings, slice_seeds(0, ["a"], settings.samples))
    conditional_mean(network, scan)
    assert network.images * build_network(NetworkSettings()).evaluations <= 100
    assert network.images == evaluations_per_slice(network, settings)


def test_rows_bound_the_images_in_one_call() -> None:
    network: Any = Counter()
    settings = SamplerSettings(
        sampler="measurement-score", samples=3, steps=2, views=2, rows=4, acceleration=2.0, centre=12
    )
    posterior_samples(network, prepared(), settings, slice_seeds(0, ["a", "b"], 3))
    assert network.largest == 4


def test_samples_keep_the_acquired_lines() -> None:
    scan = prepared(noise=(1e-3, 1e-3))
    image = CoilFourier(scan.maps).adjoint(scan.kspace)
    scan = replace(scan, kspace=scan.mask * CoilFourier(scan.maps).forward(image))
    network = filled_network()
    network.data_iterations = 30
    drawn = posterior_samples(network, scan, SamplerSettings(samples=1, steps=3), slice_seeds(0, ["a", "b"], 1))[:, 0]
    lines = scan.mask * CoilFourier(scan.maps).forward(to_real(drawn))
    assert float((lines - scan.kspace).norm()) < 0.01 * float(scan.kspace.norm())
    assert float((drawn - to_complex(image)).norm()) > 0.01 * float(image.norm())


def test_a_wrong_number_of_seeds_is_refused() -> None:
    with pytest.raises(InputError, match=r"seeds: found 3, allowed exactly 4"):
        posterior_samples(filled_network(), prepared(), SamplerSettings(samples=2), [1, 2, 3])


@pytest.mark.parametrize("sampler", ["measurement-score", "reference"])
def test_views_wider_than_the_scan_are_refused(sampler: Any) -> None:
    settings = SamplerSettings(sampler=sampler, samples=1, centre=32)
    with pytest.raises(InputError, match=r"sampler: .* has 32 columns"):
        posterior_samples(filled_network(), prepared(), settings, [1, 2])


def _mirrored(network: ConsistentNetwork, kspace: Tensor, mask: Tensor, maps: Tensor, noise: Tensor) -> Tensor:
    rho = torch.full((len(kspace),), UNINFORMATIVE)
    estimate = network(torch.zeros_like(kspace), rho, torch.zeros_like(mask), maps, Anchors(kspace, mask, noise))
    return to_complex(estimate.image)


def test_the_direct_mean_is_the_average_over_mirror_images() -> None:
    network, scan = filled_network(), prepared()
    total = torch.zeros_like(scan.kspace[:, 0])
    for axes in ((), (-1,), (-2,), (-1, -2)):
        values = [scan.kspace, scan.mask, scan.maps]
        for axis in axes:
            values = [mirror(value, axis) for value in values]
        image = _mirrored(network, values[0], values[1], values[2], scan.noise)
        for axis in axes:
            image = mirror(image, axis)
        total += image / 4
    found = conditional_mean(network, scan)
    torch.testing.assert_close(found, total, rtol=1e-5, atol=1e-5)
    assert float((found - _mirrored(network, scan.kspace, scan.mask, scan.maps, scan.noise)).abs().max()) > 1e-3
    torch.testing.assert_close(conditional_mean(network, scan, rows=1), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", [-1, -2])
def test_the_direct_mean_of_a_mirrored_scan_is_mirrored(axis: int) -> None:
    network, scan = filled_network(), prepared()
    fields = {name: mirror(getattr(scan, name), axis) for name in ("kspace", "mask", "maps")}
    found = conditional_mean(network, replace(scan, **fields))
    torch.testing.assert_close(found, mirror(conditional_mean(network, scan), axis), rtol=1e-4, atol=1e-4)
