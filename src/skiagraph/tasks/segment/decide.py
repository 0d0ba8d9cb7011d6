"""From the map of a case to its mask: threshold, gate and parts, calibrated on cases without a lesion."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import write_whole
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.calibrate import (
    anofpdm_quantile,
    calibrated_threshold,
    foreground_quantile,
    otsu_threshold,
    own_scale,
    tolerance_limit,
)
from skiagraph.tasks.segment.command_settings import MaskSettings
from skiagraph.tasks.segment.likeness import Profile
from skiagraph.tasks.segment.masks import MaskRules, mask_of, parts_of, released_mask, smoothed
from skiagraph.tasks.segment.probability import Tail, lesion_probability, normal_tail

__all__ = ["Calibration", "CaseMap", "CaseMask", "calibrate", "decide", "read_calibration", "write_calibration"]


@dataclass(frozen=True, eq=False)
class CaseMap:
    """The map of a case, or of one of its rivals.

    Args:
        name: of the case.
        maps: (D, H, W) float, larger where a lesion is likelier.
        foreground: (D, H, W) bool.
        spacing_mm: between slices, rows and columns.
        probability: of a lesion, by a classifier of images; None without one.
    """

    name: str
    maps: NDArray[np.floating[Any]]
    foreground: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    probability: float | None = None

    def blurred(self, settings: MaskSettings) -> NDArray[np.floating[Any]]:
        """The map smoothed in mm, in its own or in the case's units; a picture is not smoothed across slices."""
        sigma = settings.smoothing_mm
        if len(self.maps) == 1:
            found = smoothed(self.maps[0], self.foreground[0], self.spacing_mm[1:], sigma)[None]
        else:
            found = smoothed(self.maps, self.foreground, self.spacing_mm, sigma)
        return found if settings.scale == "none" else found / own_scale(found, self.foreground)


@dataclass(frozen=True)
class Calibration:
    """What cases without a lesion say.

    Args:
        threshold: of the smoothed map, at area and delta.
        least_mass: heaviest part, above the threshold, that at most gate_delta of normal cases exceed.
        probability: the classifier's probability that at most gate_delta of normal cases exceed; None without one.
        strongest: largest mean square of a map.
        normals: how many cases.
        area, delta, gate_delta, smoothing_mm, gate_confidence, scale: as in `MaskSettings`.
        made_with: prior, classes and map settings; a calibration is used with the same only.
        found_threshold: at found_area and delta, for parts of cases that the gate let through; None for `threshold`.
        found_area: as in `MaskSettings`.
        tail: how high the normal cases' maps reach, for probabilities; empty in a calibration of an older version.
        profile: intensities of the normal cases, which cases must resemble; empty for no such check.
    """

    threshold: float
    least_mass: float
    probability: float | None
    strongest: float
    normals: int
    area: float
    delta: float
    gate_delta: float
    smoothing_mm: float
    made_with: str = ""
    gate_confidence: float | None = None
    scale: str = "none"
    found_threshold: float | None = None
    found_area: float | None = None
    tail: Tail = ()
    profile: Profile = ()


@dataclass(frozen=True, eq=False)
class CaseMask:
    """What was decided about a case.

    Args:
        mask: (D, H, W) bool; empty where the gate says that there is no lesion.
        threshold: that was used.
        score: of the gate: the heaviest part's mass, or the probability.
        needed: what the score had to reach; -inf without a gate.
        positive: whether there is a mask: the gate let the case through, and a part is large enough.
        probability: (D, H, W) float32 by `lesion_probability`, whatever threshold and gate say; None without normals.
    """

    mask: NDArray[np.bool_]
    threshold: float
    score: float
    needed: float
    positive: bool
    probability: NDArray[np.float32] | None = None


def calibrate(normals: Sequence[CaseMap], settings: MaskSettings, made_with: str = "") -> Calibration:
    """Threshold and gate from cases without a lesion, at the stated rates.

    theta: `calibrated_threshold` of each case's (1 - area) quantile. Gate: the same of each case's heaviest part above
    theta (0 where there is none), or `tolerance_limit` with a confidence. A second, lower theta at `found_area` serves
    cases that pass the gate: the rate on normal cases is the gate's and stays as it is.

    Args:
        normals: their maps; they should be cases that the prior never saw.
        settings: rates and smoothing.
        made_with: what the maps were made with.
    """
    blurred, foregrounds = [case.blurred(settings) for case in normals], [case.foreground for case in normals]
    threshold, lower = _thresholds(blurred, foregrounds, settings)
    heaviest = [_heaviest(m, c, threshold) for m, c in zip(blurred, normals, strict=True)]
    told = [case.probability for case in normals if case.probability is not None]
    probability = calibrated_threshold(told, settings.gate_delta) if len(told) == len(normals) else None
    least_mass = calibrated_threshold(heaviest, settings.gate_delta)
    if settings.gate_confidence is not None:
        least_mass = tolerance_limit(heaviest, settings.gate_delta, settings.gate_confidence)
    return Calibration(
        threshold=threshold,
        least_mass=least_mass,
        probability=probability,
        strongest=max(float(np.mean(m[c.foreground] ** 2)) for m, c in zip(blurred, normals, strict=True)),
        normals=len(normals),
        area=settings.area,
        delta=settings.delta,
        gate_delta=settings.gate_delta,
        smoothing_mm=settings.smoothing_mm,
        made_with=made_with,
        gate_confidence=settings.gate_confidence,
        scale=settings.scale,
        found_threshold=lower,
        found_area=settings.found_area,
        tail=normal_tail(blurred, foregrounds),
    )


def _thresholds(
    blurred: Sequence[NDArray[np.floating[Any]]], foregrounds: Sequence[NDArray[np.bool_]], settings: MaskSettings
) -> tuple[float, float | None]:
    """At `area`, and at `found_area`, which is never the stricter of the two."""

    def at(area: float) -> float:
        quantiles = [foreground_quantile(m, f, area) for m, f in zip(blurred, foregrounds, strict=True)]
        return calibrated_threshold(quantiles, settings.delta)

    lower = None if settings.found_area is None else at(max(settings.area, settings.found_area))
    return at(settings.area), lower


def decide(case: CaseMap, settings: MaskSettings, calibration: Calibration | None) -> CaseMask:
    """The mask of a case.

    Args:
        case: its map.
        settings: rules.
        calibration: needed by the rules "calibrated" and "anofpdm" and by every gate.
    """
    if settings.released:
        whole, largest = released_mask(np.asarray(case.maps))
        del whole
        return CaseMask(largest, math.nan, math.inf, -math.inf, True)
    blurred = case.blurred(settings)
    threshold = _threshold(blurred, case, settings, calibration)
    score, needed = _gate(blurred, case, settings, calibration)
    tail = calibration.tail if calibration is not None else ()
    likely = lesion_probability(blurred, case.foreground, tail) if tail else None
    if not score > needed:
        return CaseMask(np.zeros(blurred.shape, dtype=np.bool_), threshold, score, needed, False, likely)
    threshold, least = _for_parts(threshold, settings, calibration)
    rules = MaskRules(minimum_mm3=settings.minimum_mm3, fill_holes=settings.fill_holes, keep=settings.keep)
    values, inside, spacing = _plane(blurred, case)
    mask = mask_of(values, threshold, inside, spacing, rules, least)
    if settings.extent > 0:
        mask = _to_extent(mask, values, spacing, threshold, settings.extent)
    return CaseMask(mask.reshape(blurred.shape), threshold, score, needed, bool(mask.any()), likely)


def _for_parts(threshold: float, settings: MaskSettings, calibration: Calibration | None) -> tuple[float, float]:
    """Threshold and least mass of the parts of a case that passed the gate."""
    if calibration is None or settings.gate == "none":
        return threshold, -math.inf
    if settings.threshold == "calibrated" and calibration.found_threshold is not None:
        return calibration.found_threshold, -math.inf
    return threshold, calibration.least_mass if settings.gate == "map" else -math.inf


def _plane(
    blurred: NDArray[np.floating[Any]], case: CaseMap
) -> tuple[NDArray[np.floating[Any]], NDArray[np.bool_], tuple[float, ...]]:
    """A single slice as a picture of two axes, a volume as it is."""
    if len(blurred) == 1:
        return blurred[0], case.foreground[0], case.spacing_mm[1:]
    return blurred, case.foreground, case.spacing_mm


def _threshold(
    blurred: NDArray[np.floating[Any]], case: CaseMap, settings: MaskSettings, calibration: Calibration | None
) -> float:
    if settings.threshold == "fixed":
        return float(settings.value or 0.0)
    inside = blurred[case.foreground]
    if settings.threshold == "otsu":
        return otsu_threshold(inside)
    if calibration is None:
        raise InputError(f"calibration is missing; the threshold rule {settings.threshold!r} needs normal cases")
    if settings.threshold == "calibrated":
        return calibration.threshold
    return float(np.quantile(inside, anofpdm_quantile(float(np.mean(inside**2)), calibration.strongest)))


def _gate(
    blurred: NDArray[np.floating[Any]], case: CaseMap, settings: MaskSettings, calibration: Calibration | None
) -> tuple[float, float]:
    """(score, what it must exceed)."""
    if settings.gate == "none":
        return math.inf, -math.inf
    if calibration is None:
        raise InputError(f"calibration is missing; the gate {settings.gate!r} needs normal cases")
    if settings.gate == "map":
        return _heaviest(blurred, case, calibration.threshold), calibration.least_mass
    if case.probability is None or calibration.probability is None:
        raise InputError(
            "gate 'classifier': no classifier spoke on the case or on the normal ones; give gate_classifier"
        )
    return case.probability, calibration.probability


def _heaviest(blurred: NDArray[np.floating[Any]], case: CaseMap, threshold: float) -> float:
    """Mass of the heaviest part above the threshold, 0 where there is none."""
    values, inside, spacing = _plane(blurred, case)
    _, parts = parts_of((values > threshold) & inside, values, threshold, spacing)
    return max((part.mass for part in parts), default=0.0)


def _to_extent(
    mask: NDArray[np.bool_],
    values: NDArray[np.floating[Any]],
    spacing: Sequence[float],
    threshold: float,
    extent: float,
) -> NDArray[np.bool_]:
    """Cut every part off where the map falls below a share of the part's own peak."""
    labels, parts = parts_of(mask, values, threshold, spacing)
    limits = np.array([math.inf, *(max(threshold, extent * part.peak) for part in parts)])
    cut: NDArray[np.bool_] = mask & (values > limits[labels])
    return cut


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it as JSON."""
    write_whole(path, (json.dumps(asdict(calibration), indent=2) + "\n").encode())


def read_calibration(path: Path, settings: MaskSettings, made_with: str) -> Calibration:
    """Read it back; one made with another prior, other maps or other rates is refused.

    Args:
        path: calibration.json.
        settings: of the present run.
        made_with: what the present maps are made with.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tail = tuple((float(value), float(share)) for value, share in content.get("tail", ()))
        found = Calibration(**{**content, "tail": tail, "profile": tuple(content.get("profile", ()))})
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not readable as a calibration ({error}); calibrate again with normals") from error
    for name in ("area", "delta", "gate_delta", "smoothing_mm", "gate_confidence", "scale", "found_area"):
        if getattr(found, name) != getattr(settings, name):
            raise InputError(
                f"mask.{name}: found {getattr(settings, name)}, but {path} was calibrated at {getattr(found, name)}; "
                "use the same, or calibrate again with normals"
            )
    if found.made_with != made_with:
        raise InputError(f"{path}: calibrated with another prior, other classes or other map settings; calibrate again")
    return found
