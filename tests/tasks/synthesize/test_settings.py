"""Settings of `synthesize`: contradictions are named, presets fill what is left open, files repeat runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from skiagraph.config import dump_yaml, load_settings
from skiagraph.diffusion.guidance import MEASURES
from skiagraph.errors import InputError
from skiagraph.tasks.synthesize.choices import Measure
from skiagraph.tasks.synthesize.presets import filled
from skiagraph.tasks.synthesize.settings import SweepSettings, SynthesizeSettings


def given(**values: Any) -> SynthesizeSettings:
    return load_settings(SynthesizeSettings, **{"prior": "p", "output": "o", "per_class": 1, **values})


def test_the_words_for_measures_are_those_there_are() -> None:
    assert set(get_args(Measure)) - {"none"} == set(MEASURES)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"per_class": None}, "per_class, counts or balance_to"),
        ({"counts": {"a": 1}}, "per_class and counts"),
        ({"per_class": None, "counts": {"a": 0}}, "counts"),
        ({"per_class": None, "balance_to": 9}, "give `real`"),
        ({"mode": "harden"}, "give `real`"),
        ({"class_map": {"a": "b"}}, "mode harden only"),
        ({"first_scale": 3}, "mode two-stage only"),
        ({"walk": {"depth": 0.5}}, "walk.depth has no effect"),
        ({"walk": {"handover": "latent"}}, "mode two-stage only"),
        ({"mode": "two-stage", "first_scale": 3, "walk": {"handover": "latent"}}, "unguided first stage"),
        ({"guide": {"measure": "entropy", "target": 1}}, "guide.target has no effect"),
        ({"guide": {"measure": "Entropy"}}, "measure"),
        ({"guide": {"window": (0.5, 0.1)}}, "guide.window"),
        ({"guide": {"measure": "bald"}, "classifier": ["a"]}, "two classifier folders"),
        ({"classifier": ["a", "a"]}, "twice"),
        ({"classifier": ["a"], "judge": "a"}, "judge"),
        ({"real_data": {"split": "s.json"}}, "real_data"),
        ({"balance": 3}, "balance_to"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        given(**values)


def test_presets_fill_what_is_left_open_and_nothing_else() -> None:
    ours = filled(given(mode="two-stage", classifier=["c"]))
    assert (ours.guide.measure, ours.guide.scale, ours.guide.trust) == ("log_odds_target", 2.0, 1.5)
    assert (ours.walk.grid, ours.walk.levels, ours.walk.handover, ours.walk.depth) == ("quadratic", 36, "latent", 0.5)
    theirs = filled(given(mode="two-stage", preset="reference", classifier=["c"], guide={"scale": 0.7}))
    assert (theirs.guide.measure, theirs.guide.scale, theirs.guide.trust) == ("entropy", 0.7, 0.0)
    assert (theirs.walk.inversion, theirs.walk.levels, theirs.walk.handover) == ("reference", 250, "8-bit")
    assert filled(theirs) == theirs


@pytest.mark.parametrize(
    ("walk", "trust"),
    [({"grid": "uniform", "levels": 50}, 1.0), ({"grid": "uniform", "levels": 250}, 0.0), ({"levels": 25}, 1.5)],
)
def test_the_trust_region_follows_the_grid(walk: dict[str, Any], trust: float) -> None:
    assert filled(given(classifier=["c"], walk=walk)).guide.trust == trust


def test_without_a_classifier_images_from_noise_are_not_pushed() -> None:
    assert filled(given()).guide.measure == "none"
    assert filled(given()).guide.scale == 0


def test_a_guided_first_stage_is_inverted_from_its_image() -> None:
    assert filled(given(mode="two-stage", first_scale=10.0, classifier=["c"])).walk.handover == "image"


@pytest.mark.parametrize("mode", ["noise", "two-stage"])
def test_a_written_configuration_repeats_the_run(tmp_path: Path, mode: str) -> None:
    settings = filled(given(mode=mode, classifier=["c"], counts={"2": 3, "10": 1}, per_class=None))
    (tmp_path / "config.yaml").write_text(dump_yaml(settings), encoding="utf-8")
    assert load_settings(SynthesizeSettings, tmp_path / "config.yaml") == settings


def test_a_sweep_takes_rising_scales_and_no_counts() -> None:
    with pytest.raises(InputError, match="rising order"):
        load_settings(SweepSettings, prior="p", output="o", scales=[1, 0])
    with pytest.raises(InputError, match="per_class has no effect"):
        load_settings(SweepSettings, prior="p", output="o", per_class=3)
