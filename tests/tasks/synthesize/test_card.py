"""The card of a run: classes, judge, labels lost."""

from __future__ import annotations

from pathlib import Path

from .test_run import run


def test_the_card_names_classes_judge_and_labels_lost(tmp_path: Path) -> None:
    result = run(tmp_path / "out", per_class=4, mode="two-stage")
    told = (tmp_path / "out" / "README.md").read_text()
    for number, line in enumerate(result.classes):
        assert f"| {number} | {line['class']} | `{line['class']}` | 4 | {line['drawn']} | {line['kept']} |" in told
    assert f"- Labels lost: {result.figures['label_flips']}." in told
    assert "- Judged by: `" in told
    assert "never for testing" in told


def test_the_card_says_that_images_were_chosen(tmp_path: Path) -> None:
    run(tmp_path / "out", per_class=2, mode="noise", guide={"scale": 0.0}, candidates=2)
    told = (tmp_path / "out" / "README.md").read_text()
    assert "of 2 draws for each image the one of highest `log_odds_target` was taken" in told
    assert "not pushed by a classifier" in told
