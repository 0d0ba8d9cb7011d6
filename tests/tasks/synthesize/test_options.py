"""No option of the push or the walk is silently ignored: each changes the images of the exact laboratory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.synthesize.folders import classifier_folder, prior_folder
from tests.tasks.synthesize.laboratory import kit, settings

from skiagraph.tasks.synthesize.kit import load_kit
from skiagraph.tasks.synthesize.levels import chosen_measure
from skiagraph.tasks.synthesize.settings import GuideSettings, WalkSettings

from .test_recipe import ITEMS, draw

BASE: dict[str, Any] = {"mode": "harden", "walk": {"levels": 16}, "guide": {"scale": 2.0, "trust": 0.5}}
GUIDE: dict[str, Any] = {
    "measure": "entropy",
    "scale": 3.0,
    "target": 1.5,
    "delta": 3.0,
    "through": "x0",
    "normalised": True,
    "trust": 0.2,
    "window": (0.0, 0.3),
    "every": 2,
    "stop_at": -1.0,
}
WALK: dict[str, Any] = {
    "grid": "uniform",
    "levels": 20,
    "depth": 0.5,
    "inversion": "heun",
    "eta": 0.5,
    "clip": False,
    "reclip": True,
    "threshold": 0.9,
}
ELSEWHERE = {"runner_up", "multiply", "handover", "temperature"}


def changed(part: str, name: str, value: Any) -> dict[str, Any]:
    return {**BASE, part: {**BASE[part], name: value}}


def test_every_option_stands_here() -> None:
    assert set(GUIDE) | set(WALK) | ELSEWHERE == set(GuideSettings.model_fields) | set(WalkSettings.model_fields)


@pytest.mark.parametrize(("part", "name"), [*(("guide", name) for name in GUIDE), *(("walk", name) for name in WALK)])
def test_each_option_changes_the_images(part: str, name: str) -> None:
    values = changed(part, name, GUIDE[name] if part == "guide" else WALK[name])
    base = dict(BASE)
    if name in ("clip", "reclip", "threshold"):  # which matter where estimates leave [-1, 1]
        strong = {"scale": 60.0, "trust": 5.0, "measure": "energy"}
        values, base = ({**given, "guide": strong} for given in (values, base))
        chosen = replace(kit(), guides=(replace(kit().guides[0], temperature=0.05),))
        assert not torch.equal(draw(chosen, **values).images, draw(chosen, **base).images)
        return
    assert not torch.equal(draw(**values).images, draw(**base).images)


def test_multiplied_pushes_are_longer_than_those_that_are_only_rarer() -> None:
    rare = changed("guide", "every", 2)
    rare["guide"]["trust"] = 0.0
    multiplied = {**rare, "guide": {**rare["guide"], "multiply": True}}
    assert not torch.equal(draw(**rare).images, draw(**multiplied).images)


@pytest.mark.parametrize("handover", ["image", "8-bit"])
def test_each_handover_is_a_path_of_its_own(handover: str) -> None:
    values: dict[str, Any] = {"mode": "two-stage", "walk": {"levels": 16}}
    other = {**values, "walk": {"levels": 16, "handover": handover}}
    assert not torch.equal(draw(**values).images, draw(**other).images)


def test_the_runner_up_reaches_the_measure() -> None:
    logits, label = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([0])
    found = {}
    for name in (False, True):
        for word in ("log_odds_target", "log_odds_abs"):
            measure = chosen_measure(settings(Path("out"), guide={"measure": word, "runner_up": name}))
            assert measure is not None
            found[word, name] = float(measure(logits, label))
    assert found["log_odds_abs", True] == pytest.approx(-2.0)
    assert found["log_odds_abs", False] < -2.0
    assert found["log_odds_target", True] > found["log_odds_target", False]


@pytest.mark.parametrize(
    ("preset", "given", "expected"),
    [("default", None, 2.5), ("default", 4.0, 4.0), ("reference", None, 1.0), ("reference", 4.0, 4.0)],
)
def test_the_temperature_is_the_stated_one_the_fitted_one_or_1_as_released(
    tmp_path: Path, preset: str, given: float | None, expected: float
) -> None:
    found = load_kit(
        settings(
            tmp_path / "out",
            preset=preset,
            prior=prior_folder(tmp_path / "prior"),
            classifier=[classifier_folder(tmp_path / "guide", temperature=2.5)],
            judge=classifier_folder(tmp_path / "judge", seed=2, kind="clean", temperature=3.0),
            guide={"temperature": given},
        )
    )
    assert found.guides[0].temperature == expected
    assert found.judge is not None
    assert found.judge.temperature == 3.0  # what a person says of the guide says nothing of the judge


def test_members_that_disagree_push_under_bald() -> None:
    one = kit().guides[0]
    unlike = replace(one, name="unlike", logits=lambda x, t: 3 * one.logits(x, t) + 1, sha256="f" * 64)
    pair = {"classifier": [Path("a"), Path("b")], "guide": {"measure": "bald", "scale": 5.0}}
    pushed = draw(replace(kit(), guides=(one, unlike)), **pair).images
    assert not torch.equal(pushed, draw(guide={"measure": "none"}).images)
    assert len(pushed) == len(ITEMS)


def test_classifier_free_guidance_is_classifier_guidance_of_the_same_scale() -> None:
    """With exact networks and no clip (identity I2), for all 250 levels of the walk."""
    values: dict[str, Any] = {"mode": "noise", "walk": {"grid": "uniform", "levels": 250, "clip": False}}
    free = draw(cfg=0.7, guide={"measure": "none"}, **values).images
    guided = draw(guide={"measure": "log_prob", "scale": 0.7, "trust": 0.0}, **values).images
    torch.testing.assert_close(free, guided, atol=1e-4, rtol=0)
    assert float((free - draw(guide={"measure": "none"}, **values).images).abs().max()) > 0.01


def test_classifier_free_guidance_acts_in_the_released_first_stage_only() -> None:
    for preset, acts in (("reference", False), ("default", True)):
        values: dict[str, Any] = {"mode": "harden", "preset": preset, "guide": {"measure": "none"}}
        values["walk"] = {"levels": 25}
        assert torch.equal(draw(cfg=1.0, **values).images, draw(**values).images) != acts
