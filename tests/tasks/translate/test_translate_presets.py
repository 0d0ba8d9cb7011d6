"""Shipped settings of translation: all are read, the released ones differ where the release does."""

from __future__ import annotations

from pathlib import Path

import pytest

import skiagraph
from skiagraph.config import read_yaml
from skiagraph.tasks.translate.run_settings import TranslateSettings
from skiagraph.tasks.translate.settings import TranslatePriorSettings

PRESETS = Path(skiagraph.__file__).parent / "presets" / "translate"


@pytest.mark.parametrize("file", sorted(PRESETS.glob("reference-*.yaml")), ids=lambda file: file.stem)
def test_released_samplers_walk_a_thousand_levels_and_four_of_five_take_bits(file: Path) -> None:
    settings = TranslateSettings.model_validate(read_yaml(file) | {"scan": "a.nii.gz", "prior": "b"})
    assert settings.preset == "reference"
    assert settings.solver.steps == 1000
    assert settings.solver.normalise is (file.stem == "reference-ixi")


def test_there_are_five_of_them() -> None:
    assert len(list(PRESETS.glob("reference-*.yaml"))) == 5


@pytest.mark.parametrize("file", sorted(PRESETS.glob("brain-*.yaml")), ids=lambda file: file.stem)
def test_trainings_keep_the_test_head_out(file: Path) -> None:
    settings = TranslatePriorSettings.model_validate(read_yaml(file))
    assert "colin27" in settings.exclude
    assert settings.condition.pseudo_source == "remapped"
