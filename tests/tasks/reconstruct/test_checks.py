"""Warnings about scans that a prior only nearly fits: foreign masks, lines nobody measured, single coils."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.tiny_scans import phantom_slices
from skiagraph.physics.masks import MaskProfile
from skiagraph.tasks.reconstruct.acquire import ToReconstruct
from skiagraph.tasks.reconstruct.checks import check_fit, mask_record, training_masks, training_warnings
from skiagraph.tasks.reconstruct.demo import shipped_prior
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.simulated import draw_mask
from skiagraph.training.record import MeasurementRecord, PriorRecord


def _with_masks(masks: torch.Tensor, coils: int = 4) -> PreparedScan:
    """Slices with masks (S, W) of any width; their k-space is empty, their maps are not."""
    shape = (len(masks), coils, 16, masks.shape[1])
    zero = torch.zeros(shape, dtype=torch.complex64)
    ones = torch.ones(len(masks))
    return PreparedScan(zero, masks[:, None, None].float(), zero + 0.5, 0.01 * ones, ones, (12 * ones).long())


def _data(scan: PreparedScan, pixel: float = 2.0) -> ToReconstruct:
    names = tuple(str(index) for index in range(len(scan)))
    acceleration = float(1 / scan.mask.mean())
    return ToReconstruct(
        scan, names, None, (pixel, pixel, 2.0), None, None, "measured", "a.h5", acceleration, warnings=("of the scan",)
    )


@pytest.fixture(scope="module")
def shipped() -> PriorRecord:
    return load_prior(shipped_prior())[1]


def _draws(kind: str, acceleration: float, centre: int, count: int = 3) -> torch.Tensor:
    return torch.stack([draw_mask(kind, 128, acceleration, centre, 7, str(i)) for i in range(count)])  # type: ignore[arg-type]


def test_masks_like_those_of_the_training_raise_no_warning(shipped: PriorRecord) -> None:
    data = _data(_with_masks(_draws("random", 4.0, 24), 8))
    assert check_fit(shipped, data) == ("of the scan",)
    found = mask_record(shipped, data)
    assert found is not None
    assert not found["foreign"]
    assert 0 < found["gap_distance"] < found["own_masks_stay_below"][1]


@pytest.mark.parametrize(("kind", "acceleration", "centre"), [("equispaced", 4.0, 24), ("random", 10.0, 12)])
def test_other_masks_are_warned_of_with_their_distance(
    shipped: PriorRecord, kind: str, acceleration: float, centre: int
) -> None:
    data = _data(_with_masks(_draws(kind, acceleration, centre), 8))
    found = mask_record(shipped, data)
    assert found is not None
    warning = next(w for w in check_fit(shipped, data) if "not of the family" in w)
    assert f"gaps {found['gap_distance']:.2f}" in warning
    assert f"{found['centre_lines'][0]} centre lines against 24" in warning


def test_single_coils_and_more_unknowns_than_values_are_said(shipped: PriorRecord) -> None:
    one = check_fit(shipped, _data(_with_masks(_draws("random", 4.0, 24), 1)))
    assert any("single coil" in warning for warning in one)
    two = check_fit(shipped, _data(_with_masks(_draws("random", 4.0, 24), 2)))
    assert any("2 coils: there are fewer measured values than pixels" in warning for warning in two)
    assert any("trained with 8" in warning for warning in two)


def test_a_record_keeps_the_profile_and_the_columns_no_scan_holds(shipped: PriorRecord) -> None:
    masks = torch.ones(2, 128)
    masks[:, 3:6] = 0
    masks[:, 20] = 0
    scan = _with_masks(masks)
    stored = training_masks(scan)
    assert stored["uncovered_columns"] == [3, 4, 5, 20]
    assert MaskProfile.from_record(stored["mask_profile"]).centre >= 24
    settings = {**stored, "coils": 4}
    record = shipped.model_copy(
        update={"measurement": MeasurementRecord(family="measured columns", settings=settings, noise_level=0.01)}
    )
    warnings = check_fit(record, _data(scan))
    assert any(warning.startswith("The prior never saw the columns") and "3-5, 20" in warning for warning in warnings)
    covered = _with_masks(torch.ones(1, 128))
    assert not any("never saw" in warning for warning in check_fit(record, _data(covered)))
    unknown = record.model_copy(
        update={"measurement": MeasurementRecord(family="measured columns", settings={}, noise_level=0.01)}
    )
    assert mask_record(unknown, _data(scan)) is None


def test_training_masks_that_teach_too_little_are_said() -> None:
    masks = torch.ones(2, 128)
    assert training_warnings(_with_masks(masks)) == ()
    masks[:, 5:8] = 0
    masks[:, 100] = 0
    same = training_warnings(_with_masks(masks))
    assert "4 of 128 columns were sampled in no training scan (5-7, 100)" in same[0]
    assert "the same mask" in same[1]
    masks[0, 5:8] = 1
    masks[1, 100] = 1
    assert training_warnings(_with_masks(masks)) == ()
    assert "single coil" in training_warnings(_with_masks(torch.ones(2, 128), 1))[0]
    mixed = PreparedScan.join([_with_masks(torch.ones(1, 128), 1), _with_masks(torch.ones(1, 128), 4)])
    assert "single coil" in training_warnings(mixed)[0]


def test_images_are_shown_weighted_and_cut_about_the_centre() -> None:
    scan = phantom_slices().scan
    image = torch.arange(2 * 32 * 32).reshape(2, 32, 32).float()
    weight = torch.full((2, 32, 32), 2.0)
    data = replace(_data(scan), weight=weight, view=(20, 10))
    shown = data.shown(image)
    assert torch.equal(shown, 2 * image[:, 6:26, 11:21])
    assert torch.equal(data.shown(torch.stack([image, image], 1))[:, 1], shown)
    assert torch.equal(_data(scan).shown(image), image)
    assert np.allclose(data.record()["image"], [20, 10])


def test_noise_far_above_that_of_training_is_said_unless_the_prior_was_shown_it(shipped: PriorRecord) -> None:
    def told(level: float, record: PriorRecord) -> list[str]:
        scan = _with_masks(torch.ones(1, 128), 8)
        found = check_fit(record, _data(replace(scan, noise=torch.tensor([level]))))
        return [warning for warning in found if "noise" in warning]

    assert shipped.measurement is not None
    known = shipped.measurement.noise_level
    assert known is not None
    assert told(2.9 * known, shipped) == []
    assert told(20 * known, shipped)[0].startswith("The scan's noise is 20 times that of the scans")
    settings = {**shipped.training.settings, "objective": {"noisier": 0.75, "noisiest": 0.4}}
    aware = shipped.model_copy(update={"training": shipped.training.model_copy(update={"settings": settings})})
    assert told(20 * known, aware) == []
    assert len(told(0.41, aware)) == 1
