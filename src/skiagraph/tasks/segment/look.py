"""Looking at a case with a prior: brought to the prior's grid and range, mapped, and the map brought back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.cases import Case
from skiagraph.tasks.segment.command_settings import SegmentSettings
from skiagraph.tasks.segment.decide import CaseMap
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.windows import OnSlice, count_windows, map_of_slices
from skiagraph.training.classifier import Classifier
from skiagraph.training.order import derive_seed

__all__ = ["Looked", "intensity_map", "look", "made_with", "windows_of"]

TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Looked:
    """A case and its map on the case's own grid.

    Args:
        case: as read.
        found: the map, (D, H, W).
        spread: (D, H, W), standard deviation over the draws.
        calls: evaluations of the network for each window; an exact derivative counts as two.
        classifier_calls: of the noisy classifier, with gradient.
        windows: windows looked at.
        message: what differs from what was asked; empty if nothing does.
    """

    case: Case
    found: CaseMap
    spread: NDArray[np.float32]
    calls: int
    classifier_calls: int
    windows: int
    message: str


def look(
    prior: LabelledPrior,
    case: Case,
    settings: SegmentSettings,
    *,
    classifier: Classifier | None = None,
    judge: Classifier | None = None,
    on_slice: OnSlice = lambda done, total: None,
) -> Looked:
    """Map a case.

    Args:
        prior: the prior.
        case: as read.
        settings: of the run.
        classifier: noisy classifier, for the map.
        judge: classifier of clean images, for the gate.
        on_slice: told of windows done.
    """
    if case.foreground is None or not case.foreground.any():
        raise DataError(f"{case.name}: every value is alike; there is nothing in it to look at. Leave it out")
    slices, inside = _fitted(prior, case, settings.resample)
    seed = derive_seed("skiagraph-segment", settings.seed, case.name)
    made = map_of_slices(
        *(prior, slices, inside, settings.map, seed),
        overlap=settings.overlap,
        batch=settings.batch,
        classifier=classifier,
        on_slice=on_slice,
    )
    shape = (len(case.slices), *case.slices.shape[2:])
    probability = None if judge is None else _probability(judge, prior, slices, inside)
    found = CaseMap(case.name, _resized(made.maps, shape), case.foreground, case.spacing_mm, probability)
    spread = _resized(made.spread, shape)
    return Looked(case, found, spread, made.calls, made.classifier_calls, made.windows, made.message)


def windows_of(prior: LabelledPrior, case: Case, settings: SegmentSettings) -> int:
    """How many windows `look` will look at."""
    _, inside = _fitted(prior, case, settings.resample)
    return count_windows(inside, prior.shape[1:], settings.overlap)


def intensity_map(case: Case, sign: str = "signed") -> CaseMap:
    """The intensity itself as a map, inside the foreground: the baseline that every report contains.

    Args:
        case: as read.
        sign: "negative" for dark lesions; anything else takes bright ones.
    """
    foreground = np.zeros(case.slices[:, 0].shape, dtype=np.bool_) if case.foreground is None else case.foreground
    values = case.slices.mean(axis=1)
    return CaseMap(case.name, -values if sign == "negative" else values, foreground, case.spacing_mm)


def made_with(prior: LabelledPrior, settings: SegmentSettings) -> str:
    """SHA-256 of everything that decides a map but the image: a calibration holds for the same only."""
    facts: dict[str, Any] = {
        "prior": prior.sha256,
        "classes": [prior.present, prior.absent],
        "map": settings.map.model_dump(mode="json", exclude={"batch"}),
        "window": settings.window,
        "resample": settings.resample,
        "overlap": settings.overlap,
        "classifier": None if settings.classifier is None else settings.classifier.name,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _fitted(prior: LabelledPrior, case: Case, resample: bool) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Slices and foreground at the prior's spacing, channels and range; pictures keep their pixels."""
    slices = case.slices
    if slices.shape[1] != prior.shape[0]:
        if slices.shape[1] != 1:
            raise InputError(
                f"{case.name}: {slices.shape[1]} channels, but prior {prior.name!r} takes {prior.shape[0]}; convert it"
            )
        slices = np.repeat(slices, prior.shape[0], axis=1)
    slices = ((slices + 1) / 2 * (prior.high - prior.low) + prior.low).astype(np.float32)
    inside = case.foreground if case.foreground is not None else np.ones_like(slices[:, 0], dtype=np.bool_)
    factors = [case.spacing_mm[axis + 1] / prior.spacing_mm[axis] for axis in (0, 1)]
    alike = all(abs(factor - 1) <= TOLERANCE for factor in factors)
    if alike or not resample or case.kind == "picture":
        return np.ascontiguousarray(slices, dtype=np.float32), inside
    height, width = (max(1, round(size * factor)) for size, factor in zip(slices.shape[2:], factors, strict=True))
    shape = (*slices.shape[:2], height, width)
    fine = _resized(inside.astype(np.float32), (len(inside), height, width)) > 0.5
    return np.clip(_resized(slices, shape), prior.low, prior.high), fine


def _resized(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Linear in plane, smoothed before where it shrinks."""
    if values.shape == shape:
        return np.asarray(values, dtype=np.float32)
    from skimage.transform import resize

    shrinks = any(new < old for new, old in zip(shape, values.shape, strict=True))
    found = resize(values.astype(np.float32), shape, order=1, mode="edge", anti_aliasing=shrinks, preserve_range=True)
    return np.asarray(found, dtype=np.float32)


def _probability(
    judge: Classifier, prior: LabelledPrior, slices: NDArray[np.float32], inside: NDArray[np.bool_]
) -> float:
    """Largest probability of "present" (against "absent") over the slices with content, cut or padded to its size."""
    missing = [name for name in (prior.present, prior.absent) if name not in judge.classes]
    if judge.kind != "clean" or missing or judge.channels != slices.shape[1]:
        raise InputError(
            f"gate_classifier: found a {judge.kind} one of {list(judge.classes)} on {judge.channels} channels; needed: "
            f"a clean one that knows {prior.present!r} and {prior.absent!r}, with {slices.shape[1]} channels"
        )
    chosen = torch.from_numpy(_centred(slices[inside.any(axis=(1, 2))], judge.size, prior.low))
    places = [judge.classes.index(prior.present), judge.classes.index(prior.absent)]
    with torch.no_grad():
        device = next(judge.network.parameters()).device
        parts = [chosen[start : start + 32].to(device) for start in range(0, len(chosen), 32)]
        logits = torch.cat([judge(part) for part in parts]) / judge.temperature
    return float(torch.softmax(logits[:, places], dim=1)[:, 0].max())


def _centred(slices: NDArray[np.float32], size: tuple[int, ...], low: float) -> NDArray[np.float32]:
    """Cut or padded about the middle."""
    for axis, wanted in zip((2, 3), size, strict=True):
        length = slices.shape[axis]
        if length > wanted:
            start = (length - wanted) // 2
            slices = np.take(slices, range(start, start + wanted), axis=axis)
        elif length < wanted:
            margins = [(0, 0)] * 4
            margins[axis] = ((wanted - length) // 2, wanted - length - (wanted - length) // 2)
            slices = np.pad(slices, margins, constant_values=low)
    return np.ascontiguousarray(slices)
