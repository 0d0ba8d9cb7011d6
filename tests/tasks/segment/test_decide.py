"""Thresholds, gates and parts on maps whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.command_settings import MaskSettings
from skiagraph.tasks.segment.decide import CaseMap, calibrate, decide, read_calibration, write_calibration


def case(maps: NDArray[np.float64], name: str = "case") -> CaseMap:
    return CaseMap(name, maps, np.ones(maps.shape, dtype=np.bool_), (4.0, 3.0, 3.0))


def test_rules_of_the_threshold_and_of_the_gate() -> None:
    random = np.random.default_rng(0)
    normals = [case(random.normal(size=(3, 8, 8))) for _ in range(9)]
    rules = MaskSettings(smoothing_mm=0.0, minimum_mm3=0.0, extent=0.0, area=0.005)
    known = calibrate(normals, rules)
    strong = random.normal(size=(3, 8, 8))
    strong[1, 2:5, 2:5] = 9.0
    found = decide(case(strong), rules, known)
    assert found.positive
    assert found.mask[1, 2:5, 2:5].all()
    assert found.mask.sum() < 15
    assert found.score > found.needed == known.least_mass
    half = decide(case(strong), rules.model_copy(update={"extent": 0.5}), known)
    assert half.mask.sum() == 9
    fixed = MaskSettings(threshold="fixed", value=8.0, gate="none", smoothing_mm=0.0, minimum_mm3=0.0, extent=0.0)
    assert decide(case(strong), fixed, None).mask.sum() == 9
    released = MaskSettings(threshold="otsu", gate="none", released=True)
    assert decide(case(strong), released, None).mask[1, 2:5, 2:5].all()
    assert decide(case(strong), rules.model_copy(update={"threshold": "anofpdm"}), known).mask[1, 3, 3]
    own = rules.model_copy(update={"scale": "own"})
    own_known = calibrate(normals, own)
    louder = decide(case(7 * strong), own, own_known)
    assert np.array_equal(louder.mask, decide(case(strong), own, own_known).mask)
    assert louder.mask.any()
    assert not decide(case(7 * random.normal(size=(3, 8, 8))), own, own_known).mask.any()
    assert decide(case(7 * random.normal(size=(3, 8, 8))), rules, known).mask.any()
    surer = calibrate(normals, rules.model_copy(update={"gate_confidence": 0.95}))
    assert surer.gate_confidence == 0.95
    assert surer.least_mass >= known.least_mass
    with pytest.raises(InputError, match="calibration is missing"):
        decide(case(strong), rules, None)
    with pytest.raises(InputError, match="no classifier spoke"):
        decide(case(strong), rules.model_copy(update={"gate": "classifier"}), known)


def test_a_case_that_the_gate_let_through_keeps_its_fainter_parts() -> None:
    random = np.random.default_rng(0)
    normals = [case(random.uniform(0, 1, size=(1, 40, 40))) for _ in range(9)]
    rules = MaskSettings(smoothing_mm=0.0, minimum_mm3=3.0, extent=0.0, area=0.001, found_area=0.1)
    known = calibrate(normals, rules)
    assert known.found_threshold is not None
    assert known.found_threshold < 0.93 < known.threshold
    ill = np.full((1, 40, 40), 0.5)
    ill[0, 2:6, 2:6], ill[0, 20:23, 20:23] = 9.0, 0.93
    found = decide(case(ill), rules, known)
    assert found.positive
    assert found.mask.sum() == 25
    assert (
        decide(
            case(ill),
            rules.model_copy(update={"found_area": None}),
            calibrate(normals, rules.model_copy(update={"found_area": None})),
        ).mask.sum()
        == 16
    )
    small = decide(case(ill), rules.model_copy(update={"minimum_mm3": 200.0}), known)  # pixels of 9 mm2, 1 mm thick
    assert small.score > small.needed
    assert not small.mask.any()
    assert not small.positive
    faint = ill.copy()
    faint[0, 2:6, 2:6] = 0.5
    assert not decide(case(faint), rules, known).mask.any()


def test_a_calibration_is_read_back_as_it_was(tmp_path: Path) -> None:
    rules = MaskSettings()
    known = calibrate([case(np.random.default_rng(n).normal(size=(2, 9, 9))) for n in range(9)], rules, "key")
    write_calibration(tmp_path / "c.json", known)
    assert read_calibration(tmp_path / "c.json", rules, "key") == known
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(DataError, match="not readable as a calibration"):
        read_calibration(tmp_path / "c.json", rules, "key")
