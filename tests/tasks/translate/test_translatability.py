"""The check before the work: new target slices pass, noise does not, another contrast of the anatomy lies between."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from helpers.local_information_by_hand import phantom
from skiagraph.errors import DataError, InputError
from skiagraph.similarity import LocalInformation
from skiagraph.tasks.translate.method import SourceStack
from skiagraph.tasks.translate.translatability import (
    FILE,
    TranslatabilityRange,
    map_correlation,
    map_histograms,
    picture,
)

MEASURE = LocalInformation.reference()


def test_correlation_of_self_maps_tells_anatomies_from_contrasts() -> None:
    t1, *others = (phantom(*which)[None, None] for which in (("T1", "A"), ("PD", "A"), ("PD", "B"), ("T1", "B")))
    found = [float(map_correlation(MEASURE, t1, other)) for other in others]
    assert found == pytest.approx([0.997, 0.097, 0.100], abs=5e-4)


def shifted(contrast: str, numbers: range) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices of anatomy A, rolled and mirrored so that none is another, with a little noise; and the foreground."""
    whole = phantom(contrast, "A")[None, None]
    moved = [torch.roll(whole, (number % 5, number % 3), (2, 3)) for number in numbers]
    images = torch.cat([part.flip(3) if number % 2 else part for number, part in zip(numbers, moved, strict=True)])
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(numbers.start))
    return (images + 0.004 * (1 + torch.arange(len(images)) % 4).reshape(-1, 1, 1, 1) * noise).clamp(0, 1), images > 0.1


@pytest.fixture(scope="module")
def usual() -> TranslatabilityRange:
    """Fitted on T1-like slices."""
    return TranslatabilityRange.fit("lmi-reference", MEASURE, shifted("T1", range(12)), shifted("T1", range(100, 112)))


def stack(images: torch.Tensor, mask: torch.Tensor) -> SourceStack:
    return SourceStack(2 * images - 1, mask)


def test_new_target_slices_are_plausible_and_noise_is_not(usual: TranslatabilityRange) -> None:
    known = usual.check(MEASURE, stack(*shifted("T1", range(50, 60))))
    assert known.plausible
    assert known.warning is None
    images, mask = shifted("PD", range(50, 60))
    contrast = usual.check(MEASURE, stack(images, mask))
    strange = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    unlike = usual.check(MEASURE, stack(torch.where(mask, strange, 0.0), mask))
    assert not unlike.plausible
    assert unlike.outside == 1
    assert known.distance < contrast.distance < unlike.distance / 3
    assert unlike.warning is not None
    assert "100% of the source's slices" in unlike.warning
    assert unlike.record()["plausible"] is False


def test_pixels_in_disorder_are_found_by_what_neighbours_tell() -> None:
    grid = torch.linspace(0, 9, 40)
    waves = [torch.sin(grid[:, None] + n) + torch.cos(1.3 * grid[None] - n) for n in torch.linspace(0, 3, 24)]
    smooth = torch.stack([(wave + 2) / 4 for wave in waves])[:, None]
    noise = 0.02 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    images, mask = (smooth + noise).clamp(0.05, 1), torch.ones_like(smooth, dtype=torch.bool)
    measure = LocalInformation.default()
    usual = TranslatabilityRange.fit("lmi", measure, (images[::2], mask[::2]), (images[1::2], mask[1::2]))
    order = torch.randperm(images[0].numel(), generator=torch.Generator().manual_seed(1))
    disorder = images[:8].flatten(1)[:, order].reshape(images[:8].shape)
    found = usual.check(measure, stack(disorder, mask[:8]))
    assert found.structure_distances is not None
    assert found.structure_usual is not None
    assert min(found.structure_distances) > 2 * found.structure_usual[1]
    assert not found.plausible
    earlier = replace(usual, structure=None, structure_usual=None)  # what a range without it says
    assert earlier.check(measure, stack(disorder, mask[:8])).structure_distances is None


def test_the_range_holds_the_target_s_own_slices_and_is_kept_with_the_prior(
    usual: TranslatabilityRange, tmp_path: Path
) -> None:
    own = usual.check(MEASURE, stack(*shifted("T1", range(100, 112))))
    assert own.outside <= 2 / 12  # one slice of each of the two ranges
    assert sum(usual.histogram) == pytest.approx(1)
    usual.save(tmp_path)
    assert TranslatabilityRange.load(tmp_path) == usual
    assert TranslatabilityRange.load(tmp_path / "elsewhere") is None
    (tmp_path / FILE).write_text(json.dumps({"measure": "lmi", "histogram": [1.0], "usual": [0, 1], "slices": 9}))
    with pytest.raises(DataError, match="1 bins"):
        TranslatabilityRange.load(tmp_path)
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(DataError, match="not the range"):
        TranslatabilityRange.load(tmp_path)


def test_the_picture_is_a_png(usual: TranslatabilityRange) -> None:
    source = stack(*shifted("PD", range(50, 60)))
    assert picture(usual.check(MEASURE, source), MEASURE, source).startswith(b"\x89PNG")


def test_nothing_can_be_said_of_an_empty_scan_or_a_short_one() -> None:
    images, mask = shifted("T1", range(4))
    with pytest.raises(InputError, match="no slice has 100"):
        map_histograms(MEASURE, images, torch.zeros_like(mask))
    with pytest.raises(InputError, match="at least 8"):
        TranslatabilityRange.fit("lmi", MEASURE, (images, mask), (images, mask))
