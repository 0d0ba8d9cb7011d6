"""Overlapping windows are averaged, and masks are outlined where they lie."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from helpers.tiny_cases import QUICK, SIZE, oracle
from skiagraph.tasks.segment import windows
from skiagraph.tasks.segment.page import coloured, overlay


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_windows_that_agree_give_what_they_agree_on(monkeypatch: pytest.MonkeyPatch, overlap: float) -> None:
    def constant(prior: Any, images: torch.Tensor, *given: Any) -> SimpleNamespace:
        value = torch.full_like(images[:, :1], 3.0)
        return SimpleNamespace(maps=value, spread=2 * value, calls=2, classifier_calls=0, message="")

    monkeypatch.setattr(windows, "difference_map", constant)
    slices = np.zeros((2, 1, 2 * SIZE + 5, SIZE + 3), dtype=np.float32)
    inside = np.ones(slices[:, 0].shape, dtype=np.bool_)
    made = windows.map_of_slices(oracle(), slices, inside, QUICK, 0, overlap=overlap)
    np.testing.assert_allclose(made.maps, 3.0, rtol=1e-5)
    np.testing.assert_allclose(made.spread, 6.0, rtol=1e-5)


def test_the_outline_of_a_mask_is_coloured_and_its_inside_is_not() -> None:
    mask = np.zeros((7, 7), dtype=np.bool_)
    mask[1:6, 1:6] = True
    shown = overlay(np.zeros((7, 7), dtype=np.float32), mask)
    grey = np.ptp(shown, axis=2) == 0
    assert grey[2:5, 2:5].all()
    assert grey[~mask].all()
    assert not grey[1, 1:6].any()
    assert shown[0, 0].tolist() == [0.5, 0.5, 0.5]


def test_colours_rise_from_black_to_the_largest_value() -> None:
    found = coloured(np.array([[-1.0, 0.0, 1.0, 2.0, 4.0]]), 2.0).sum(axis=2)[0]
    assert found[0] == found[1] < 0.1
    assert found[1] < found[2] < found[3] == found[4]
