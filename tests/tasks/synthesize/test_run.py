"""Whole runs on the exact laboratory: resumed, filtered, recorded, failed where labels are lost."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tasks.synthesize.laboratory import CLASSES, kit, real_images, settings

from skiagraph.data.labelled import LabelledImages, read_labelled
from skiagraph.data.pictures import read_picture
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.synthesize import make
from skiagraph.tasks.synthesize.kit import Guide, Kit
from skiagraph.tasks.synthesize.run import SynthesizeResult, synthesize_with
from skiagraph.tasks.synthesize.settings import FilterSettings
from skiagraph.tasks.synthesize.summary import notices
from skiagraph.tasks.synthesize.verdicts import RealImages

WALK = {"levels": 20}
TRUST = {"trust": 1.0}


def run(folder: Path, chosen: Kit | None = None, **values: Any) -> SynthesizeResult:
    given = {"walk": WALK, "guide": TRUST, "flip_budget": 0.5, **values}
    if given.get("mode") == "harden":
        given.setdefault("real", Path("real"))
    return synthesize_with(chosen or kit(), settings(folder, **given), real_images())


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "manifest.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pixels(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.png"))}


def test_the_default_hardens_real_images_and_keeps_their_labels(tmp_path: Path) -> None:
    """As in the laboratory: hardly a real image is hard, every hardened one is, and none loses its label."""
    result = run(tmp_path / "out", mode="harden", walk={}, guide={})
    assert result.figures["hard_share_before"] <= 0.05
    assert result.figures["hard_share_after"] >= 0.97
    assert result.figures["label_flip_rate"] <= 0.01
    assert result.figures["network_calls_per_image"] == 46
    assert result.exit_code == 0


def test_every_image_has_its_row_and_every_row_its_image(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(out, per_class=5, mode="two-stage", floats=True, cfg=0.5)
    found = rows(out)
    assert len(found) == result.figures["drawn"]
    files = {str(file.relative_to(out)) for part in ("images", "rejected") for file in out.glob(f"{part}/*/*.png")}
    assert files == {row["file"] for row in found}
    assert [line["kept"] for line in result.classes] == [5, 5]
    assert len({row["seed"] for row in found}) == len(found)
    for row in found:
        picture = read_picture(out / row["file"])[0].astype(np.float64)
        values = np.load((out / row["file"]).with_suffix(".npy"))
        assert np.abs((values[0] + 1) * 127.5 - picture).max() <= 0.5 + 1e-3
        assert (out / row["before_file"]).exists()
        assert row["label"] == row["file"].split("/")[1] == CLASSES[int(row["label_index"])]
        chances = [float(row[f"judge_p_{name}"]) for name in CLASSES]
        assert sum(chances) == pytest.approx(1, abs=1e-4)
        assert row["judge_label"] == CLASSES[int(np.argmax(chances))]
        assert float(row["measure_after"]) > float(row["measure_before"])
    again = read_labelled(out)
    assert again.classes == CLASSES
    assert list(again.counts.values()) == [5, 5]


def test_everything_says_that_it_is_synthetic(tmp_path: Path) -> None:
    run(tmp_path / "out", per_class=1)
    for file in (tmp_path / "out").rglob("*.png"):
        with Image.open(file) as picture:
            assert picture.info["Source"].startswith("synthetic")
    for name in ("README.md", "run.json", "report.html"):
        assert "ynthetic" in (tmp_path / "out" / name).read_text(encoding="utf-8")


class Killed(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("at", [1, 4, 7])
def test_a_run_killed_at_any_moment_goes_on_to_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    values: dict[str, Any] = {"per_class": 5, "mode": "two-stage", "batch": 3}
    run(tmp_path / "whole", **{**values, "batch": 4})
    write, count = make.RunFolder.write, 0

    def dying(self: Any, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise Killed
        write(self, *arguments)

    monkeypatch.setattr(make.RunFolder, "write", dying)
    with pytest.raises(Killed):
        run(tmp_path / "out", **values)
    monkeypatch.setattr(make.RunFolder, "write", write)
    made: list[int] = []
    draw = make.Recipe.draw
    monkeypatch.setattr(
        make.Recipe, "draw", lambda self, items, *more: made.append(len(items)) or draw(self, items, *more)
    )
    kept_before = len(rows(tmp_path / "out"))
    result = run(tmp_path / "out", **values)
    assert sum(made) == result.figures["drawn"] - kept_before
    assert pixels(tmp_path / "out") == pixels(tmp_path / "whole")
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")


def test_a_picture_that_was_deleted_is_drawn_again(tmp_path: Path) -> None:
    run(tmp_path / "out", per_class=2)
    before = pixels(tmp_path / "out")
    (tmp_path / "out" / "run.json").unlink()
    (tmp_path / "out" / rows(tmp_path / "out")[1]["file"]).unlink()
    run(tmp_path / "out", per_class=2)
    assert pixels(tmp_path / "out") == before


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    replace_file, count = os.replace, 0

    def full(source: Any, target: Any) -> None:
        nonlocal count
        count += str(target).endswith(".png")
        if count == 5:
            raise OSError(28, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DataError, match="the disk is full"):
        run(tmp_path / "out", per_class=3, batch=2)
    monkeypatch.setattr("os.replace", replace_file)
    assert len(rows(tmp_path / "out")) == 4
    assert not list((tmp_path / "out").rglob("*partial*"))
    assert run(tmp_path / "out", per_class=3, batch=2).figures["kept"] == 6


def test_a_run_killed_at_its_very_beginning_starts_again(tmp_path: Path) -> None:
    for name in ("config.yaml", "README.md", ".recipe.json.x.partial"):
        (tmp_path / name).write_text("half")
    assert run(tmp_path, per_class=1).figures["kept"] == 2


def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    chosen = settings(tmp_path / "out", per_class=1, walk=WALK, guide=TRUST)
    first = make.RunFolder(tmp_path / "out", chosen, kit(), None)
    with pytest.raises(InputError, match="another process is writing"):
        make.RunFolder(tmp_path / "out", chosen, kit(), None)
    first.close()
    make.RunFolder(tmp_path / "out", chosen, kit(), None).close()


def test_a_real_image_keeps_its_grey_levels_in_the_reference(tmp_path: Path) -> None:
    """Truncation is for what is drawn; a picture that is read again must not lose a level."""
    result = run(tmp_path / "out", preset="reference", mode="harden", guide={"scale": 0.0}, walk={"levels": 250})
    assert result.figures["median_move"] < 0.02
    real = real_images()
    shown = make.Shown.of(torch.from_numpy(real.images), truncate=False)
    again = make.Shown.of(shown.values, truncate=False)
    assert torch.equal(again.levels, shown.levels)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    run(tmp_path / "out", per_class=1)
    with pytest.raises(InputError, match="this very run, finished"):
        run(tmp_path / "out", per_class=1)
    with pytest.raises(InputError, match=r"another run \(it differs in guide\)"):
        run(tmp_path / "out", per_class=1, guide={**TRUST, "scale": 0.7})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'notes.txt' and is no run of this command"):
        run(tmp_path / "other", per_class=1)


def test_scales_that_share_a_whole_number_share_no_file_name(tmp_path: Path) -> None:
    """As 0.5 and 0.7 did in the released code, which wrote int(gamma)."""
    for scale in (0.5, 0.7):
        run(tmp_path / str(scale), per_class=2, guide={**TRUST, "scale": scale})
    one, other = ({Path(name).name for name in pixels(tmp_path / scale)} for scale in ("0.5", "0.7"))
    assert not one & other
    seeds = [[row["seed"] for row in rows(tmp_path / scale)] for scale in ("0.5", "0.7")]
    assert seeds[0] == seeds[1]


def _contrary() -> Kit:
    """A judge that sees the other class in every third image, by its brightness in one pixel."""
    exact = kit().guides[0]

    def logits(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        found = exact.logits(x, t).clone()
        odd = (x[:, 0, 0, 0] * 1e4).round().long() % 3 == 0
        return torch.where(odd[:, None], found.flip(1), found)

    return replace(kit(), judge=Guide("contrary", logits, True, sha256="f" * 64))


def test_rejected_images_are_replaced_until_the_quota_is_filled(tmp_path: Path) -> None:
    result = run(tmp_path / "out", _contrary(), per_class=6, flip_budget=1.0, batch=5)
    assert [line["kept"] for line in result.classes] == [6, 6]
    assert sum(line["label lost"] for line in result.classes) > 0
    assert result.figures["drawn"] == 12 + result.figures["rejected"]["label lost"]
    lost = [row for row in rows(tmp_path / "out") if row["reason"]]
    assert all(row["file"].startswith("rejected/") and row["judge_rank"] == "2" for row in lost)
    assert pixels(tmp_path / "out").keys() == {row["file"] for row in rows(tmp_path / "out")}
    other = run(tmp_path / "again", _contrary(), per_class=6, flip_budget=1.0, batch=64)
    assert other.figures["drawn"] == result.figures["drawn"]
    assert pixels(tmp_path / "again") == pixels(tmp_path / "out")


def test_quotas_that_cannot_be_filled_fail_with_their_count(tmp_path: Path) -> None:
    result = run(tmp_path / "out", _contrary(), per_class=6, flip_budget=1.0, filter={"attempts": 1.0})
    assert result.exit_code == 5
    assert "of 6 images after 6 were drawn" in result.failures[0]
    assert result.figures["drawn"] == 12


def test_a_run_beyond_the_label_flip_budget_fails_with_the_measured_rate(tmp_path: Path) -> None:
    """Raw entropy at a scale beyond the knee pushes images over the boundary."""
    guide = {"measure": "entropy", "scale": 100.0, "trust": 0.0}
    result = run(tmp_path / "out", mode="harden", guide=guide, flip_budget=0.02)
    assert result.exit_code == 5
    lost = [row for row in rows(tmp_path / "out") if row["judge_rank_before"] == "1" and row["judge_rank"] == "2"]
    assert result.figures["label_flip_rate"] == pytest.approx(len(lost) / 40)
    assert f"{100 * len(lost) / 40:.1f} % of 40 images" in result.failures[0]
    assert "flip_budget allows 2 %" in result.failures[0]
    assert (tmp_path / "out" / "report.html").exists()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["passed"] is False


def test_a_hopeless_run_stops_before_all_its_images_are_drawn(tmp_path: Path) -> None:
    guide = {"measure": "entropy", "scale": 100.0, "trust": 0.0}
    result = run(tmp_path / "out", mode="two-stage", per_class=200, guide=guide, flip_budget=0.02, batch=64)
    assert result.figures["drawn"] == 64
    assert result.exit_code == 5
    kept = sum(row["kept"] == "yes" for row in rows(tmp_path / "out"))
    assert result.failures[1:] == (f"Stopped early, since more images could not mend that: {kept} of 400 are there.",)


def test_a_run_that_changes_nothing_says_so(tmp_path: Path) -> None:
    result = run(tmp_path / "out", mode="harden", guide={"measure": "entropy", "scale": 1e-6})
    assert any("changes nothing" in warning and "take log_odds_target" in warning for warning in result.warnings)
    still = [{"measure_before": "-1.5", "measure_after": "-1.5"}]
    (told, *_) = notices(still, settings(tmp_path / "out"), pushes=True, compared=True)
    assert "changes nothing" in told
    assert "take" not in told  # log_odds_target is what was taken
    moved = run(tmp_path / "other", mode="harden")
    assert not any("changes nothing" in warning for warning in moved.warnings)


def test_images_that_are_real_ones_are_rejected(tmp_path: Path) -> None:
    """A planted copy: the real set holds what the run is about to draw."""
    plain = run(tmp_path / "plain", per_class=3, guide={"measure": "none"}, filter={"reject": False})
    drawn = read_labelled(plain.folder)
    real = real_images()
    real.images[:1], real.labels[:1] = drawn.images[:1], drawn.labels[:1]
    chosen = settings(tmp_path / "out", per_class=3, guide={"measure": "none"}, walk=WALK)
    synthesize_with(kit(), chosen, real)
    copies = [row for row in rows(tmp_path / "out") if row["reason"] == "near-copy"]
    assert float(copies[0]["nearest_distance"]) < 1e-6
    assert copies[0]["nearest_real"] == real.names[0]
    assert copies[0]["file"].startswith("rejected/")


def test_images_far_from_the_real_ones_are_rejected(tmp_path: Path) -> None:
    far = real_images()
    far.images[:] = np.clip(far.images * 0.2 + 0.8, -1, 1)
    synthesize_with(kit(), settings(tmp_path / "out", walk=WALK, guide=TRUST, flip_budget=1.0), far)
    assert {row["reason"] for row in rows(tmp_path / "out")} == {"outlier"}


def test_equal_slices_of_one_patient_do_not_make_everything_else_an_outlier() -> None:
    """Two patients of two nearly equal slices each: how far patients differ counts, not how near their slices are."""
    plain = real_images()
    images = plain.images[[0, 0, 2, 2, 1, 3]] + np.array([0, 1e-4, 0, 1e-4, 0, 0], np.float32)[:, None, None, None]
    labels, names = np.array([0, 0, 0, 0, 1, 1]), tuple(f"{k}.png" for k in range(6))
    known = RealImages(
        LabelledImages(images, labels, plain.classes, names, tuple("aabbab")), FilterSettings(features="image-pca-64")
    )
    features = known.features(images)
    apart = float(np.linalg.norm((features[0] - features[2]) / (features.std(0) + 1e-9)))
    assert known.outlier_distance[0] == pytest.approx(1.5 * apart, rel=0.01)


def test_hardened_images_name_their_source_and_may_change_class(tmp_path: Path) -> None:
    values: dict[str, Any] = {"mode": "harden", "class_map": {"healthy": "ill"}, "guide": {"measure": "none"}}
    result = run(tmp_path / "out", walk={"levels": 20, "depth": 1.0}, flip_budget=1.0, **values)
    found = rows(tmp_path / "out")
    assert {row["label"] for row in found} == {"ill"}
    assert {row["source_label"] for row in found} == set(CLASSES)
    assert len({row["source"] for row in found}) == 40
    assert all(row["source"] != row["nearest_real"] for row in found)
    assert [line["wanted"] for line in result.classes] == [0, 40]
    with pytest.raises(InputError, match="class_map: found sick"):
        run(tmp_path / "other", **{**values, "class_map": {"healthy": "sick"}})


def test_three_channels_and_the_reference_preset_pass(tmp_path: Path) -> None:
    given: dict[str, Any] = {"preset": "reference", "mode": "two-stage", "per_class": 2, "walk": {"levels": 25}}
    chosen = settings(tmp_path / "out", guide={"scale": 1.0}, flip_budget=1.0, **given)
    synthesize_with(kit(channels=3), chosen, real_images(channels=3))
    assert read_picture(tmp_path / "out" / rows(tmp_path / "out")[0]["file"]).shape == (3, 4, 4)


def test_without_a_judge_the_guide_counts_lost_labels_and_the_run_says_so(tmp_path: Path) -> None:
    chosen = settings(tmp_path / "out", walk=WALK, guide=TRUST, judge=None)
    result = synthesize_with(kit(judge=False), chosen, real_images())
    assert any("No judge was given" in warning for warning in result.warnings)
    assert str(result.figures["label_flips"]).endswith("by the guide")
