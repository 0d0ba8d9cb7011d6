"""What `translate` says of requests without effect, of runs of one slice, and in folders that hold an earlier run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.tiny_heads import head, prior_folder
from skiagraph.data.volume import Volume, write_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.similarity import similarity
from skiagraph.tasks.translate import plan
from skiagraph.tasks.translate.frame import MARGIN_MM
from skiagraph.tasks.translate.guidance import SimilarityEnergy
from skiagraph.tasks.translate.guided import GuidedTranslation
from skiagraph.tasks.translate.plan import expectation
from skiagraph.tasks.translate.prior import StackMaps, TargetPrior
from skiagraph.tasks.translate.run import chosen_method, translate
from skiagraph.tasks.translate.run_settings import TranslateSettings
from skiagraph.tasks.translate.translatability import TranslatabilityRange


@pytest.fixture(scope="module")
def prior(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prior_folder(heads, tmp_path_factory.mktemp("prior"), modality="T1")


def settings(folder: Path, prior: Path, volume: Volume | None = None, **changes: Any) -> TranslateSettings:
    scan = write_nifti(folder / "scan.nii.gz", head("T2") if volume is None else volume)
    values: dict[str, Any] = {"scan": scan, "prior": prior, "output": folder / "out", "threads": 1}
    return TranslateSettings.model_validate(values | {"solver": {"steps": 1, "candidates": 1}} | changes)


@pytest.mark.parametrize(
    ("kind", "solver", "message"),
    [
        ("mind-ssc", {"energy": "lmi"}, r"solver\.energy has no effect in mode 'condition', which prior"),
        ("mind-ssc", {"push": 0.3}, r"solver\.push has no effect in mode 'condition', which prior"),
        ("mind-ssc", {"refresh": 2}, r"solver\.refresh: found 2, but the mind-ssc maps of prior"),
        ("none", {"weight": 2.0}, r"solver\.weight has no effect in mode 'gradient', which prior"),
        ("none", {"refresh": 2}, r"solver\.refresh has no effect in mode 'gradient', which prior"),
    ],
)
def test_options_without_effect_in_the_mode_that_a_prior_leads_to_are_refused(
    heads: Path, tmp_path: Path, kind: str, solver: dict[str, Any], message: str
) -> None:
    own = prior_folder(heads, tmp_path / "prior", condition={"kind": kind})
    with pytest.raises(InputError, match=message):
        translate(settings(tmp_path, own, solver=solver))
    with pytest.raises(InputError, match=message):
        expectation(settings(tmp_path, own, solver=solver))


def test_state_dependent_maps_may_be_refreshed_less_often(heads: Path, tmp_path: Path) -> None:
    own = prior_folder(heads, tmp_path / "prior", condition={"kind": "lmi"})
    solver = {"steps": 2, "candidates": 1, "refresh": 2}
    assert translate(settings(tmp_path, own, solver=solver)).figures["network_calls_per_slice"] == 2


def test_a_similarity_that_never_pushes_is_told(heads: Path, tmp_path: Path) -> None:
    own = prior_folder(heads, tmp_path / "prior", condition={"kind": "none"})
    told = []
    for steps in (1, 6):
        left = translate(settings(tmp_path, own, solver={"steps": steps, "candidates": 1}))
        told.append(any("the source had no say" in warning for warning in left.warnings))
    assert told == [True, False]


def test_maps_and_candidates_of_an_earlier_run_do_not_stay_beside_a_later_result(prior: Path, tmp_path: Path) -> None:
    first = translate(settings(tmp_path, prior, solver={"steps": 1, "candidates": 2}, keep_candidates=True))
    (first.folder / "notes.txt").write_text("mine")
    names = {item.name for item in first.folder.iterdir()}
    assert {"scan_T1_deviation.nii.gz", "scan_T1_candidate-1.nii.gz"} <= names
    translate(settings(tmp_path, prior))
    left = {item.name for item in first.folder.iterdir()}
    assert not [name for name in left if "deviation" in name or "candidate" in name]
    assert {"notes.txt", "scan_T1_synthetic.nii.gz"} <= left


def test_a_scan_of_one_slice_has_no_step_between_slices(prior: Path, tmp_path: Path) -> None:
    one = Volume(head("T2").array[:, :, 3:4], head("T2").affine)
    left = translate(settings(tmp_path, prior, one))
    text = (left.folder / "run.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["between_slices"] == {"result": None, "source": None}
    assert "nan" not in str(left.__rich__().renderables[2])


def test_a_window_that_the_whole_foreground_lies_beyond_is_refused(prior: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the foreground, from .* lies beyond 5000 to 6000"):
        translate(settings(tmp_path, prior, source={"window": (5000, 6000)}))
    assert not (tmp_path / "out").exists()


def test_a_dry_run_counts_the_margin_of_a_scan_whose_brain_is_to_be_found(prior: Path, tmp_path: Path) -> None:
    volume = head("T2", (14, 16, 10))
    told = expectation(settings(tmp_path, prior, Volume(volume.array + 5, volume.affine), source={"mask": "brain"}))
    assert told["finds_the_brain_first"] is True
    assert told["slices"] == np.round((10 * 4 + 2 * MARGIN_MM) / 4)


@pytest.mark.parametrize("mode", ["condition", "gradient"])
def test_a_dry_run_counts_maps_of_the_state_and_pushes(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    own = prior_folder(heads, tmp_path / "prior", condition={"kind": "lmi" if mode == "condition" else "none"})
    asked = settings(tmp_path, own, solver={"steps": 10, "candidates": 2, "mode": mode})
    clock = [0.0]

    def one(*given: Any, **named: Any) -> Any:
        clock[0] += 100.0
        return whole(*given, **named)

    owner = StackMaps if mode == "condition" else SimilarityEnergy
    whole = owner.__call__
    monkeypatch.setattr(owner, "__call__", one)
    monkeypatch.setattr(plan.time, "perf_counter", lambda: clock[0])
    told = expectation(asked)
    batch = min(asked.batch, told["slices"])
    method = chosen_method(asked, TargetPrior.load(own))
    assert isinstance(method, GuidedTranslation)
    assert (method.pushed > 3) is (mode == "gradient")
    times = 2 * (10 if mode == "condition" else method.pushed)
    assert told["seconds_in_the_network"] == pytest.approx(100.0 * times * told["slices"] / batch, rel=1e-3)


def test_the_page_shows_the_check_before_the_work(prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = settings(tmp_path, prior)
    assert "Can the prior serve this source?" not in translate(asked).page.read_text()
    slices = torch.rand(30, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(slices, dtype=torch.bool)
    usual = TranslatabilityRange.fit("lmi", similarity("lmi"), (slices[:20], mask[:20]), (slices[20:], mask[20:]))
    monkeypatch.setattr(TranslatabilityRange, "load", classmethod(lambda cls, folder: usual))
    left = translate(asked)
    page = left.page.read_text()
    assert "Can the prior serve this source?" in page
    assert f"distance of self maps {left.figures['translatability']['distance']:.3f}" in page
    assert (left.folder / "translatability.png").exists()
