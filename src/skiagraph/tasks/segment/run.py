"""The command `segment`: cases in, masks on their own grids out, with maps, volumes, record and page."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skiagraph.config import dump_yaml
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import run_folder, write_text
from skiagraph.tasks.segment.cases import Case, mask_ml, read_cases, write_case
from skiagraph.tasks.segment.checks import require_free, require_workable
from skiagraph.tasks.segment.command_settings import MaskSettings, SegmentSettings
from skiagraph.tasks.segment.decide import (
    Calibration,
    CaseMask,
    calibrate,
    decide,
    read_calibration,
    write_calibration,
)
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.likeness import usual_profile
from skiagraph.tasks.segment.look import Looked, intensity_map, look, made_with
from skiagraph.tasks.segment.references import require_expected
from skiagraph.tasks.segment.result import SegmentResult
from skiagraph.tasks.segment.signs import with_learned_signs
from skiagraph.training.classifier import Classifier

__all__ = ["SegmentResult", "Shown", "facts_of", "segment", "segment_with"]


@dataclass(frozen=True, eq=False)
class Shown:
    """A case as the page shows it: the slice with the largest map.

    Args:
        name: of the case.
        image, maps, spread: (H, W).
        mask, intensity: (H, W) bool.
        caption: figures of the case.
        spacing_mm: (row, column).
    """

    name: str
    image: NDArray[np.float32]
    maps: NDArray[np.float32]
    spread: NDArray[np.float32]
    mask: NDArray[np.bool_]
    intensity: NDArray[np.bool_]
    caption: str
    spacing_mm: tuple[float, float]


def segment(settings: SegmentSettings, on_progress: OnProgress = silent) -> SegmentResult:
    """Read, map, decide and write; normal cases first, where there are any."""
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    require_free(settings.output)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prior = LabelledPrior.load(settings.prior, settings.present, settings.absent, device)
    classifier = None if settings.classifier is None else Classifier.load(settings.classifier, device)
    judge = None if settings.gate_classifier is None else Classifier.load(settings.gate_classifier, device)
    return segment_with(prior, settings, on_progress, classifier, judge)


def segment_with(
    prior: LabelledPrior,
    settings: SegmentSettings,
    on_progress: OnProgress = silent,
    classifier: Classifier | None = None,
    judge: Classifier | None = None,
) -> SegmentResult:
    """As `segment`, with networks that are loaded, or are none (an oracle).

    Args:
        prior: with its two classes.
        settings: of the run.
        on_progress: told of windows done.
        classifier: noisy classifier, for the map.
        judge: classifier of clean images, for the gate.
    """
    from skiagraph.tasks.segment.page import segment_page

    started = time.perf_counter()
    require_expected(prior, settings.expects)
    window, pixel_mm = settings.window or prior.window, prior.spacing_mm
    cases = read_cases(settings.input, window=window, pixel_mm=pixel_mm)

    def looked(case: Case, stage: str) -> Looked:
        told = lambda done, total: on_progress(f"{stage} {case.name}", done, total)  # noqa: E731
        return look(prior, case, settings, classifier=classifier, judge=judge, on_slice=told)

    normals = [] if settings.normals is None else read_cases(settings.normals, window=window, pixel_mm=pixel_mm)
    require_workable(prior, settings, cases, normals)
    settings = with_learned_signs(prior, settings, normals, window)
    sign = settings.map.chosen_sign
    seen = [looked(case, "normal case") for case in normals]
    calibration, baseline = _calibrations(seen, settings, prior)
    settings.output.mkdir(parents=True, exist_ok=True)
    if calibration is not None:
        write_calibration(settings.output / "calibration.json", calibration)
    rows, shown, facts = [], [], facts_of(prior, settings, calibration)
    for case in cases:
        one = looked(case, "case")
        made = decide(one.found, settings.mask, calibration)
        plain = decide(intensity_map(case, sign), _plain(settings.mask, baseline), baseline)
        maps, score = one.found.maps.astype(np.float32), _finite(made.score)
        with run_folder(settings.output) as staged:  # all files of a case, or none
            write_case(case, staged, mask=made.mask, maps=maps, score=score, probability=made.probability)
        rows.append(_row(one, made, plain))
        shown.append(_shown(one, made, plain))
        facts |= {
            "network_evaluations_per_window": one.calls,
            "classifier_evaluations_per_window": one.classifier_calls,
        }
        facts["message"] = facts.get("message") or one.message
    page = settings.output / "report.html"
    result = SegmentResult(settings.output, page, rows, facts, time.perf_counter() - started)
    segment_page(result, settings, shown, page)
    write_text(settings.output / "config.yaml", dump_yaml(settings))
    write_text(settings.output / "run.json", json.dumps({**run_record(), **result.record()}, indent=2, default=str))
    return result


def _calibrations(
    seen: Sequence[Looked], settings: SegmentSettings, prior: LabelledPrior
) -> tuple[Calibration | None, Calibration | None]:
    """Of the map, and of the intensity as baseline (None where the normals are not at hand)."""
    key = made_with(prior, settings)
    if settings.calibration is not None:
        return read_calibration(settings.calibration, settings.mask, key), None
    if not seen:
        return None, None
    profile = usual_profile([one.case for one in seen])
    own = replace(calibrate([one.found for one in seen], settings.mask, key), profile=profile)
    plain = calibrate([intensity_map(one.case, settings.map.chosen_sign) for one in seen], settings.mask)
    return own, plain


def _plain(mask: MaskSettings, calibration: Calibration | None) -> MaskSettings:
    """Rules of the intensity baseline: calibrated like the map, or Otsu inside the foreground without normal cases."""
    return MaskSettings(
        threshold="otsu" if calibration is None else "calibrated",
        gate="none" if calibration is None else "map",
        area=mask.area,
        delta=mask.delta,
        gate_delta=mask.gate_delta,
        smoothing_mm=mask.smoothing_mm,
        minimum_mm3=mask.minimum_mm3,
        extent=0.0,
        fill_holes=mask.fill_holes,
        keep=mask.keep,
    )


def facts_of(prior: LabelledPrior, settings: SegmentSettings, calibration: Calibration | None) -> dict[str, Any]:
    """What every report names."""
    one, rules = settings.map, settings.mask
    walks = one.engine == "reference"
    tau = {"jvp": "limit 1", "difference": one.tau or 0.0, "reference": 0.95 if one.tau is None else one.tau}
    return {
        "prior": prior.name,
        "present": prior.present,
        "absent": prior.absent,
        "engine": one.engine,
        "levels": f"index {one.level}, {one.steps} steps" if walks else list(one.levels),
        "weights": "native" if walks else one.weights,
        "seeds": one.seeds,
        "seed": settings.seed,
        "tau": tau[one.engine],
        "sign": one.sign if one.sign == "learned" else one.channel_signs or one.chosen_sign,
        "classifier_scale": one.classifier_scale,
        "threshold_rule": rules.threshold,
        "area": rules.area,
        "delta": rules.delta,
        "gate": rules.gate,
        "normals": 0 if calibration is None else calibration.normals,
    }


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _row(one: Looked, made: CaseMask, plain: CaseMask) -> dict[str, Any]:
    return {
        "name": one.case.name,
        "positive": made.positive,
        "volume_ml": round(mask_ml(one.case, made.mask), 4),
        "score": _finite(made.score),
        "needed": _finite(made.needed),
        "threshold": made.threshold if math.isfinite(made.threshold) else None,
        "intensity_ml": round(mask_ml(one.case, plain.mask), 4),
        "windows": one.windows,
    }


def _shown(one: Looked, made: CaseMask, plain: CaseMask) -> Shown:
    """The slice with the largest mask, else with the largest map."""
    sizes = made.mask.sum(axis=(1, 2))
    place = int(sizes.argmax()) if sizes.any() else int(np.argmax(one.found.maps.max(axis=(1, 2))))
    ml = mask_ml(one.case, made.mask)
    caption = f"slice {place}, {ml:.2f} ml" if made.positive else f"slice {place}, no lesion by the gate"
    return Shown(
        one.case.name,
        one.case.slices[place].mean(axis=0),
        np.asarray(one.found.maps[place], dtype=np.float32),
        one.spread[place],
        made.mask[place],
        plain.mask[place],
        caption,
        one.case.spacing_mm[1:],
    )
