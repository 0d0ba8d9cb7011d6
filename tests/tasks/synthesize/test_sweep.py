"""The sweep: hardness rises with the scale, and the proposal is the last scale before labels are lost."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.synthesize.laboratory import kit, real_images

from skiagraph.tasks.synthesize.presets import filled
from skiagraph.tasks.synthesize.settings import SweepSettings
from skiagraph.tasks.synthesize.sweep import ScaleFigures, propose, sweep_with


def figures(scale: float, lost: float) -> ScaleFigures:
    return ScaleFigures(scale, 0.0, 0.0, 1 - lost, lost, 0.0, None, None, 0.0, 0.0, 72, 18)


@pytest.mark.parametrize(
    ("lost", "budget", "proposed"),
    [([0, 0, 0.1], 0.02, 1.0), ([0, 0.1, 0.0], 0.02, 0.0), ([0.5, 0.6, 0.7], 0.02, None), ([0, 0, 0.02], 0.02, 2.0)],
)
def test_no_scale_behind_one_that_loses_labels_is_proposed(
    lost: list[float], budget: float, proposed: float | None
) -> None:
    assert propose([figures(float(k), share) for k, share in enumerate(lost)], budget).largest == proposed


def swept(folder: Path, **values: Any) -> Any:
    given = {"prior": "p", "classifier": ["c"], "judge": "j", "real": "r", "mode": "harden", "output": folder, **values}
    settings = filled(SweepSettings.model_validate({"images": 20, "flip_budget": 0.02, **given}))
    return sweep_with(kit(), settings, real_images())


def test_entropy_rises_to_a_knee_and_the_proposal_stands_before_it(tmp_path: Path) -> None:
    scales = [0.0, 2.0, 3.0, 4.0, 60.0]
    result = swept(tmp_path / "out", scales=scales, guide={"measure": "entropy", "trust": 0.0}, walk={"levels": 100})
    means = [line.entropy for line in result.figures]
    assert all(low < high for low, high in pairwise(means[:-1]))
    assert result.figures[-1].lost > 0.02
    assert result.proposed == max(line.scale for line in result.figures[:-1] if line.lost <= 0.02)
    assert result.figures[0].moved == 0
    assert result.figures[2].moved > 0.001
    assert "proposed scale" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        *("config.yaml", "report.html", "report.npz", "run.json"),
    ]


def test_scale_0_is_always_among_them(tmp_path: Path) -> None:
    result = swept(tmp_path / "out", scales=[1.0, 2.0], walk={"levels": 20}, guide={"trust": 1.0})
    assert [line.scale for line in result.figures] == [0.0, 1.0, 2.0]
    assert result.proposed == 2.0
    assert result.figures[2].hard >= result.figures[0].hard
    assert [line.classifier_calls for line in result.figures] == [0, 12, 12]
    assert {line.network_calls for line in result.figures} == {24}
    for line in result.figures:
        assert line.hard + line.kept - 1 - 1e-9 <= line.useful <= min(line.hard, line.kept)
