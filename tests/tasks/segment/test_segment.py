"""The command on an exact prior: bright means present, so that every mask, gate and refusal is known beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from helpers.tiny_cases import QUICK, SIZE, head, oracle, write
from skiagraph.config import load_settings
from skiagraph.diffusion import Streams, cosine_table
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.command_settings import ExpectedPrior, MaskSettings, SegmentSettings
from skiagraph.tasks.segment.decide import CaseMap
from skiagraph.tasks.segment.maps import check_maps, difference_map
from skiagraph.tasks.segment.references import require_expected
from skiagraph.tasks.segment.run import segment_with
from skiagraph.tasks.segment.settings import DifferenceSettings
from skiagraph.tasks.segment.signs import signs_of_cases
from skiagraph.tasks.segment.windows import map_of_slices, window_places

PRESETS = Path(__file__).parents[3] / "src/skiagraph/presets/segment"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    write(tmp_path / "cases", "ill", head(1, True))
    write(tmp_path / "cases", "well", head(2, False))
    for number in range(3):
        write(tmp_path / "normals", f"normal{number}", head(10 + number, False))
    return tmp_path


def settings(folder: Path, **changes: Any) -> SegmentSettings:
    mask = MaskSettings(delta=0.3, gate_delta=0.3, smoothing_mm=0.0, minimum_mm3=100.0, extent=0.0)
    values: dict[str, Any] = {"input": folder / "cases", "normals": folder / "normals", "map": QUICK, "mask": mask}
    values |= {"prior": folder / "prior", "output": folder / "run"}
    return SegmentSettings(**{**values, **changes})


def test_the_lesion_is_found_and_the_normal_case_stays_empty(folders: Path) -> None:
    import nibabel

    result = segment_with(oracle(), settings(folders))
    rows = {row["name"]: row for row in result.rows}
    assert rows["ill"]["positive"]
    assert not rows["well"]["positive"]
    assert rows["well"]["volume_ml"] == 0
    assert rows["well"]["score"] <= rows["well"]["needed"]
    mask = nibabel.load(folders / "run/ill.mask.nii.gz").get_fdata().transpose(2, 1, 0)[:, ::-1]
    truth = head(1, True) > 140
    assert np.array_equal(mask > 0, truth)
    assert rows["ill"]["volume_ml"] == pytest.approx(truth.sum() * 36 / 1000)
    assert rows["ill"]["intensity_ml"] > 0
    likely, source = (nibabel.load(folders / name) for name in ("run/ill.probability.nii.gz", "cases/ill.nii.gz"))
    assert np.array_equal(likely.affine, source.affine)
    assert likely.shape == source.shape
    chance = likely.get_fdata().transpose(2, 1, 0)[:, ::-1]
    assert chance[truth].min() > 0.9
    assert chance.max() <= 1
    assert np.median(chance[~truth]) < 0.1
    record = json.loads((folders / "run/run.json").read_text())
    for name in ("engine", "levels", "seeds", "tau", "sign", "threshold_rule", "gate", "normals"):
        assert name in record
    assert record["network_evaluations_per_window"] == 2
    page = (folders / "run/report.html").read_text()
    assert "intensity baseline" in page
    assert "errors and standard deviations" not in page  # the map is in its own colours, with its own scale
    assert "black to yellow: 0 to" in page
    assert "evidence" in page


def test_a_calibration_serves_later_runs_of_the_same_maps_only(folders: Path) -> None:
    first = segment_with(oracle(), settings(folders))
    kept = folders / "run/calibration.json"
    changes: dict[str, Any] = {"normals": None, "calibration": kept, "output": folders / "again"}
    second = segment_with(oracle(), settings(folders, **changes))
    for one, two in zip(first.rows, second.rows, strict=True):
        assert (one["volume_ml"], one["threshold"]) == (two["volume_ml"], two["threshold"])
    other = QUICK.model_copy(update={"levels": [0.5]})
    with pytest.raises(InputError, match="calibrated with another prior"):
        segment_with(oracle(), settings(folders, **{**changes, "map": other, "output": folders / "third"}))
    rules = settings(folders).mask.model_copy(update={"area": 0.02})
    with pytest.raises(InputError, match=r"mask\.area: found 0\.02"):
        segment_with(oracle(), settings(folders, **{**changes, "mask": rules, "output": folders / "third"}))


def test_the_sign_is_learned_from_cases_without_their_masks(folders: Path) -> None:
    found = segment_with(
        oracle(),
        settings(folders, map=QUICK.model_copy(update={"sign": "learned"}), positives=folders / "cases"),
    )
    assert found.facts["sign"] in ([1.0], [-1.0])  # this oracle's map knows nothing of the image
    cases = [SimpleNamespace(name=name) for name in ("dark1", "dark2", "well1", "well2")]
    asked = []

    def mapped(case: Any, how: DifferenceSettings) -> CaseMap:
        asked.append((how.chosen_sign, how.channel_signs))
        values = np.random.default_rng(len(asked)).normal(size=(2, 8, 8))
        values[0, :2, :2] -= 9 * (case.name.startswith("dark") and how.channel_signs == [0.0, 1.0])
        return CaseMap(case.name, values, np.ones((2, 8, 8), dtype=bool), (4.0, 3.0, 3.0))

    learned = QUICK.model_copy(update={"sign": "learned"})
    assert signs_of_cases(learned, 2, cases[:2], cases[2:], mapped).channel_signs[1] == -1.0  # type: ignore[arg-type,index]
    assert asked[:2] == [("signed", [1.0, 0.0]), ("signed", [0.0, 1.0])]
    assert signs_of_cases(QUICK, 2, [], [], mapped) is QUICK
    with pytest.raises(DataError, match="positives: found no case"):
        signs_of_cases(learned, 2, [], cases[2:], mapped)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="settled by `segment`"):
        _ = learned.chosen_sign


def test_too_few_normals_a_case_among_them_and_an_empty_case_are_refused(folders: Path) -> None:
    rules = MaskSettings(delta=0.1)
    with pytest.raises(DataError, match=r"found 3; a rate of delta = 0\.1 needs at least 9"):
        segment_with(oracle(), settings(folders, mask=rules))
    with pytest.raises(DataError, match="also stands among the normals"):
        segment_with(oracle(), settings(folders, input=folders / "normals"))
    write(folders / "empty", "flat", np.full((4, 20, 24), 7.0, dtype=np.float32))
    with pytest.raises(DataError):
        segment_with(oracle(), settings(folders, input=folders / "empty"))


def test_a_case_of_another_modality_is_refused_before_anything_is_written(folders: Path) -> None:
    other = head(1, True)
    other[:, 2:10, 3:-3] *= 0.3  # half of the head is dark in this sequence
    write(folders / "other", "t2", other)
    with pytest.raises(DataError, match=r"t2: its intensities are 0\.\d\d away .* another modality"):
        segment_with(oracle(), settings(folders, input=folders / "other"))
    assert not list((folders / "run").glob("t2*"))
    known = segment_with(oracle(), settings(folders, output=folders / "known")).folder / "calibration.json"
    stored = {"normals": None, "calibration": known, "input": folders / "other", "output": folders / "fresh"}
    with pytest.raises(DataError, match="another modality"):
        segment_with(oracle(), settings(folders, **stored))
    assert not (folders / "fresh").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"normals": None}, "need cases without a lesion"),
        ({"calibration": Path("c.json")}, "give one of them"),
        ({"classifier": Path("c")}, "classifier belongs to"),
        ({"positives": Path("c")}, "needs positives and normals"),
        ({"mask": {"gate": "none", "gate_confidence": 0.9}}, "gate_confidence has an effect"),
        ({"gate_classifier": Path("c")}, "gate_classifier belongs to"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(tmp_path, **changes)


def test_windows_cover_every_pixel_and_slices_of_the_priors_size_are_one(folders: Path) -> None:
    assert window_places((16, 16), (16, 16), 0.5) == [(0, 0)]
    rows = sorted({row for row, _ in window_places((37, 16), (16, 16), 0.5)})
    assert rows == [0, 8, 16, 21]
    prior, inside = oracle(), np.ones((2, 37, 11), dtype=np.bool_)
    slices = np.zeros((2, 1, 37, 11), dtype=np.float32)
    inside[1] = False
    found = map_of_slices(prior, slices, inside, QUICK, seed=3, batch=3)
    assert found.windows == 4
    assert found.maps.shape == (2, 37, 11)
    assert (found.maps[0] != 0).all()
    assert not found.maps[1].any()
    again = map_of_slices(prior, slices, inside, QUICK, seed=3, batch=1)
    assert np.allclose(found.maps, again.maps, atol=1e-6)


def test_slices_share_their_noise() -> None:
    slices = np.zeros((3, 1, SIZE, SIZE), dtype=np.float32)
    found = map_of_slices(oracle(), slices, np.ones((3, SIZE, SIZE), dtype=np.bool_), QUICK, seed=1)
    assert np.array_equal(found.maps[0], found.maps[1])
    assert np.array_equal(found.maps[0], found.maps[2])


def test_coarser_slices_are_looked_at_on_the_priors_grid(folders: Path) -> None:
    write(folders / "fine", "ill", np.kron(head(1, True), np.ones((1, 2, 2), dtype=np.float32)), spacing=1.5)
    for number in range(3):
        fine = np.kron(head(10 + number, False), np.ones((1, 2, 2), dtype=np.float32))
        write(folders / "fine-normals", f"normal{number}", fine, spacing=1.5)
    mask = MaskSettings(delta=0.3, gate_delta=0.3, smoothing_mm=0.0, minimum_mm3=100.0, extent=0.5)
    chosen = settings(folders, input=folders / "fine", normals=folders / "fine-normals", mask=mask)
    result = segment_with(oracle(), chosen)
    assert result.rows[0]["windows"] == 4 * 4
    assert result.rows[0]["volume_ml"] == pytest.approx((head(1, True) > 140).sum() * 36 / 1000, rel=0.1)


def test_images_that_are_not_the_priors_are_refused() -> None:
    prior, streams = oracle(), Streams([1])
    with pytest.raises(InputError, match="takes"):
        difference_map(prior, torch.zeros(1, 1, 8, 8), QUICK, streams)
    with pytest.raises(InputError, match="trained on"):
        difference_map(prior, torch.full((1, 1, SIZE, SIZE), 255.0), QUICK, streams)
    with pytest.raises(DataError, match="not finite"):
        difference_map(prior, torch.full((1, 1, SIZE, SIZE), torch.nan), QUICK, streams)
    with pytest.raises(InputError, match="float32"):
        difference_map(prior, torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bfloat16), QUICK, streams)
    guided = QUICK.model_copy(update={"classifier_scale": 1.0})
    with pytest.raises(InputError, match="classifier is missing"):
        difference_map(prior, torch.zeros(1, 1, SIZE, SIZE), guided, streams)


@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "constant"), (float("nan"), "not finite"), (float("inf"), "not finite")]
)
def test_maps_that_say_nothing_are_refused(value: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_maps(torch.full((2, 1, 4, 4), value))


def test_presets_of_the_released_settings_hold_their_literals_and_refuse_other_priors(tmp_path: Path) -> None:
    wanted = {"reference-1000cos": 400, "reference-4000lin": 400, "reference-abs": 500}
    for name, level in wanted.items():
        paths = {"input": tmp_path, "prior": tmp_path, "output": tmp_path / "out"}
        found = load_settings(SegmentSettings, PRESETS / f"{name}.yaml", **paths)
        one = found.map
        assert (one.engine, one.level, one.steps, one.tau, one.clamp) == ("reference", level, 10, 0.95, True)
        assert one.first_call == "below"
        assert one.sign == ("absolute" if name == "reference-abs" else "signed")
        assert found.mask.released
        with pytest.raises(InputError, match="not the one these settings were made for") as refusal:
            require_expected(oracle(), found.expects)
        assert "size: the prior has 16, the settings expect" in str(refusal.value)
    fits = oracle(shape=(3, 224, 224), low=0.0, high=1.0)
    object.__setattr__(fits, "denoiser", GaussianDenoiser(cosine_table(), torch.zeros(1), torch.ones(1)))
    expected = ExpectedPrior(schedule="cosine", steps=1000, size=224, channels=3, low=0.0, high=1.0)
    require_expected(fits, expected)
    with pytest.raises(InputError, match="steps: the prior has 1000, the settings expect 4000"):
        require_expected(fits, ExpectedPrior(steps=4000))
