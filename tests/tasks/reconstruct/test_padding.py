"""Scans of several coil counts in one batch: coils of zeros change nothing that a slice alone would give."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from helpers.tiny_scans import filled_network, phantom_slices
from skiagraph.data.maps import espirit
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.inverse.objective import MeasurementObjective
from skiagraph.physics.coils import pad_coils
from skiagraph.tasks.reconstruct.baselines import CGSense, ZeroFilled
from skiagraph.tasks.reconstruct.calibrate import calibrate_spread
from skiagraph.tasks.reconstruct.posterior import SamplerSettings, conditional_mean, posterior_samples
from skiagraph.tasks.reconstruct.scan import PreparedScan, prepare_slices


def _scans() -> tuple[PreparedScan, PreparedScan]:
    """A slice with four coils, and another with the first two and three of its own maps."""
    both = phantom_slices().scan
    few = both.select([1])
    kspace = few.kspace[:, :3]
    maps = torch.from_numpy(espirit(kspace[0].numpy(), 12))[None]
    return both.select([0]), prepare_slices(kspace, few.mask.flatten(), maps, few.noise)


def test_joined_scans_keep_their_own_values() -> None:
    four, three = _scans()
    both = PreparedScan.join([four, three])
    assert both.kspace.shape == both.maps.shape == (2, 4, 32, 32)
    assert torch.equal(both.kspace[1, :3], three.kspace[0])
    assert not both.maps[1, 3].any()
    other = replace(three, kspace=three.kspace[..., :30], maps=three.maps[..., :30], mask=three.mask[..., :30])
    with pytest.raises(InputError, match=r"matrices \[\(32, 30\), \(32, 32\)\]"):
        PreparedScan.join([four, other])


@pytest.mark.parametrize("sampler", ["anchored", "measurement-score", "reference"])
def test_samples_are_those_of_the_slice_alone(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skiagraph.tasks.reconstruct.posterior.linear_table", _short_table)
    four, three = _scans()
    both = PreparedScan.join([four, three])
    settings = SamplerSettings(sampler=sampler, samples=1, steps=3, centre=12, acceleration=2.0)  # type: ignore[arg-type]
    network = filled_network()
    batch = posterior_samples(network, both, settings, [5, 6])
    for index, (alone, seed) in enumerate(((four, 5), (three, 6))):
        single = posterior_samples(network, alone, settings, [seed])
        torch.testing.assert_close(batch[index], single[0], rtol=0, atol=1e-5 * float(single.abs().max()))
        mean = conditional_mean(network, alone)
        torch.testing.assert_close(conditional_mean(network, both)[index], mean[0], rtol=0, atol=1e-5)


def _short_table() -> object:
    class Short:
        def respaced(self, name: str) -> object:
            from skiagraph.diffusion.schedule import linear_table

            return linear_table().respaced("ddim4")

    return Short()


def test_losses_and_their_gradients_are_those_of_the_item_alone() -> None:
    four, three = _scans()
    both = PreparedScan.join([four, three])
    objective = MeasurementObjective(centre=6, rows=16)
    network = filled_network().requires_grad_(True)
    batch = objective(network, both.batch(torch.tensor([0, 1])), Streams([5, 6])).loss
    alone = torch.cat(
        [
            objective(network, scan.batch(torch.tensor([0])), Streams([seed])).loss
            for scan, seed in ((four, 5), (three, 6))
        ]
    )
    torch.testing.assert_close(batch, alone, rtol=1e-6, atol=1e-6)
    parameters = list(network.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(batch.sum(), parameters), torch.autograd.grad(alone.sum(), parameters), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_baselines_and_calibration_see_no_difference() -> None:
    _, three = _scans()
    wide = replace(three, kspace=pad_coils(three.kspace, 6), maps=pad_coils(three.maps, 6))
    for baseline in (ZeroFilled(), CGSense()):
        torch.testing.assert_close(baseline(wide), baseline(three), rtol=0, atol=1e-6)
    network, settings = filled_network(), SamplerSettings(samples=2, steps=2)
    found, expected = (calibrate_spread(network, scan, settings).factor for scan in (wide, three))
    assert found == pytest.approx(expected, rel=1e-4)
