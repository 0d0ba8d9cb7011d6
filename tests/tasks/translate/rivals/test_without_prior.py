"""Rivals that use no prior: copying, histograms, lookups, and regression on pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from skiagraph.errors import InputError
from skiagraph.tasks.translate.method import SourceStack, Tools, stack_streams, translation_method
from skiagraph.tasks.translate.rivals.pointwise import fit_lookup
from skiagraph.tasks.translate.rivals.supervised import supervised
from skiagraph.tasks.translate.small_network import SmallTraining

STREAMS = stack_streams(0, 2)


def two_tissues() -> tuple[SourceStack, torch.Tensor]:
    """A source of two tissues and noise, and its target, where the tissues' order is the other way."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.rand(2, 1, 32, 32, generator=generator) < 0.4
    mask = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    mask[..., 4:28, 4:28] = True
    noise = 0.02 * torch.randn(labels.shape, generator=generator)
    source = torch.where(mask, torch.where(labels, 0.5, -0.3) + noise, -1.0)
    target = torch.where(mask, torch.where(labels, -0.6, 0.7), -1.0)
    return SourceStack(source, mask), target


def test_copy_is_the_source() -> None:
    source, _ = two_tissues()
    found = translation_method("copy", Tools())(source, STREAMS)
    assert found.images is source.images
    assert found.calls == 0


def test_histogram_matching_gives_the_target_s_quantiles_and_keeps_the_order() -> None:
    source, target = two_tissues()
    target = target + 0.1 * torch.rand(target.shape, generator=torch.Generator().manual_seed(2)) * (target > -1)
    found = translation_method("histogram-matching", Tools(target_slices=target))(source, STREAMS).images
    inside = found[source.mask]
    assert bool((found[~source.mask] == -1).all())
    wanted = np.quantile(target[target > -0.99].numpy(), [0.1, 0.3, 0.5, 0.9])
    assert np.allclose(np.quantile(inside.numpy(), [0.1, 0.3, 0.5, 0.9]), wanted, atol=0.02)
    order = source.images[source.mask].argsort()
    assert bool((inside[order].diff() >= -1e-5).all())


def test_matching_may_invert_a_source_that_is_the_other_way_round() -> None:
    rows = torch.linspace(-0.8, 0.8, 32)[:, None].expand(4, 1, 32, 32)
    target = rows + 0.1 * torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for sign, notes in ((1, 0), (-1, 1)):
        source = SourceStack((sign * rows).contiguous(), torch.ones(4, 1, 32, 32, dtype=torch.bool))
        found = translation_method("histogram-matching", Tools(target_slices=target), either=True)(source, STREAMS)
        assert float((found.images - target).abs().mean()) < 0.06
        assert len(found.notes) == notes
    with pytest.raises(InputError, match="one frame"):
        translation_method("histogram-matching", Tools(target_slices=target[..., 1:]), either=True)(source, STREAMS)


def test_a_lookup_exchanges_tissues_that_a_histogram_cannot() -> None:
    source, target = two_tissues()
    method = translation_method("intensity-lookup", Tools(paired=(source.images, target)))
    found = method(source, STREAMS)
    assert float((found.images - target)[source.mask].abs().mean()) < 0.01
    assert "paired" in found.notes[0]


def test_a_lookup_is_the_mean_of_the_target_at_each_source_value() -> None:
    source = torch.linspace(-0.98, 0.98, 4000).reshape(1, 1, 50, 80)
    target = 0.5 * source**2 + 0.2 * torch.sign(torch.sin(1e4 * source))
    table = fit_lookup(source, target, bins=20)
    assert np.allclose(table.values, 0.5 * table.centres**2, atol=0.03)


def test_regression_learns_an_inversion_and_is_kept(tmp_path: Path) -> None:
    source, _ = two_tissues()
    pairs = (source.images, torch.where(source.mask, -source.images, -1.0))
    method = supervised(Tools(paired=pairs), tmp_path / "kept", SmallTraining(60, 4, 1e-2, 4))
    found = method(source, STREAMS)
    errors = [float((images - pairs[1])[source.mask].abs().mean()) for images in (found.images, source.images)]
    assert errors[0] < 0.6 * errors[1]
    again = supervised(Tools(), tmp_path / "kept")(source, STREAMS)
    assert torch.equal(again.images, found.images)


@pytest.mark.parametrize(
    ("name", "message"),
    [("histogram-matching", "target_slices"), ("intensity-lookup", "paired"), ("supervised", "paired")],
)
def test_what_is_missing_is_named(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        translation_method(name, Tools())
