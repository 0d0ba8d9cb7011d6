"""Whether a scan is one that a prior can judge, and what a reader must know where it only nearly is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.physics.coils import present_coils
from skiagraph.physics.masks import MaskDistance, MaskProfile, mask_distance, mask_profile
from skiagraph.tasks.reconstruct.acquire import ToReconstruct
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.simulated import mask_family
from skiagraph.training.record import PriorRecord

__all__ = [
    "check_fit",
    "column_warnings",
    "mask_distances",
    "mask_record",
    "mask_warnings",
    "training_masks",
    "training_warnings",
]

EXAMPLES = 256
NOISE_RATIO = 3.0


def training_masks(scan: PreparedScan) -> dict[str, Any]:
    """What a prior's record says of the masks it learned from: their profile, and lines that none of them sampled."""
    masks = scan.mask[:, 0, 0]
    return {
        "mask_profile": mask_profile(masks).record(),
        "columns": int(masks.shape[-1]),
        "uncovered_columns": (masks.amax(0) == 0).nonzero()[:, 0].tolist(),
    }


def training_warnings(scan: PreparedScan) -> tuple[str, ...]:
    """What a reader of a prior must know of its training scans: lines that no mask covers, single coils, one mask."""
    warnings = column_warnings(scan.mask[:, 0, 0])
    if int(present_coils(scan.maps).min()) == 1:
        warnings.append("There are training scans of a single coil: they tell nothing about the lines between theirs.")
    return tuple(warnings)


def column_warnings(masks: Tensor) -> list[str]:
    """What the masks (S, W) of the training scans cannot teach: columns that none of them holds, one mask for all."""
    warnings = []
    missed = (masks.amax(0) == 0).nonzero()[:, 0].tolist()
    if missed:
        warnings.append(
            f"{len(missed)} of {masks.shape[-1]} columns were sampled in no training scan ({_ranges(missed)}): what "
            "the prior puts there it never learned from data. Add scans with other masks, unless this is padding."
        )
    if len(torch.unique(masks, dim=0)) == 1 and not bool(masks.all()) and len(masks) > 1:
        warnings.append("All training scans have the same mask: lines that it leaves out cannot be learned.")
    return warnings


def _ranges(columns: list[int]) -> str:
    """Columns in words: 0-5, 90, 95-101."""
    parts: list[list[int]] = []
    for column in columns:
        if parts and column == parts[-1][-1] + 1:
            parts[-1][1:] = [column]
        else:
            parts.append([column])
    shown = [f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more ranges" if len(shown) > 12 else "")


def _trained(record: PriorRecord) -> dict[str, Any]:
    return dict(record.measurement.settings) if record.measurement else {}


def _profile(record: PriorRecord, width: int) -> MaskProfile | None:
    """The profile of the training masks: as stored, or drawn from the family that an older record names."""
    trained = _trained(record)
    stored = trained.get("mask_profile")
    if isinstance(stored, dict):
        return MaskProfile.from_record(stored)
    kind = record.measurement.family.split(" columns")[0] if record.measurement else ""
    if kind not in ("random", "equispaced", "variable-density") or not {"acceleration", "centre"} <= set(trained):
        return None
    columns = record.size[1] if record.size else width
    family = mask_family(kind, columns, float(trained["acceleration"]), int(trained["centre"]))  # type: ignore[arg-type]
    return mask_profile(family.draw(Streams(range(EXAMPLES))))


def _farthest(masks: Tensor, profile: MaskProfile) -> MaskDistance:
    """Distance of the most foreign of the scan's masks (S, W)."""
    found = [mask_distance(mask, profile) for mask in torch.unique(masks, dim=0)]
    return max(found, key=lambda distance: (distance.foreign(profile), distance.value))


def mask_record(record: PriorRecord, data: ToReconstruct) -> dict[str, Any] | None:
    """Distance of the scan's mask from the prior's family, for run.json; None where the family is not known."""
    profile = _profile(record, data.scan.mask.shape[-1])
    return None if profile is None else mask_distances(record, data.scan.mask[:, 0, 0], profile)


def mask_distances(record: PriorRecord, masks: Tensor, profile: MaskProfile) -> dict[str, Any]:
    """Distance of the most foreign of the masks (S, W) from those that a prior learned from, names and values."""
    found = _farthest(masks, profile)
    return {
        "trained_on": record.measurement.family if record.measurement else "",
        "density_distance": round(found.density, 4),
        "gap_distance": round(found.gaps, 4),
        "own_masks_stay_below": [round(value, 4) for value in profile.own],
        "acceleration_ratio": round(found.acceleration, 3),
        "centre_lines": [found.centre, profile.centre],
        "foreign": found.foreign(profile),
    }


def mask_warnings(found: dict[str, Any] | None) -> list[str]:
    """What is said of masks that are not of the prior's family (see `mask_distances`)."""
    if found is None or not found["foreign"]:
        return []
    own = found["own_masks_stay_below"]
    return [
        f"The scan's mask is not of the family that the prior was trained on ({found['trained_on']}): the density of "
        f"its lines is {found['density_distance']:.2f} away (99 % of the family's own: below {own[0]:.2f}), their "
        f"gaps {found['gap_distance']:.2f} (own: {own[1]:.2f}), as total variation from 0 to 1; the effective "
        f"acceleration is {found['acceleration_ratio']:.2f} times the family's, with {found['centre_lines'][0]} centre "
        f"lines against {found['centre_lines'][1]}. Figures and error bars stated for the prior need not hold."
    ]


def _coverage_warnings(record: PriorRecord, data: ToReconstruct) -> list[str]:
    trained = _trained(record)
    missed = trained.get("uncovered_columns")
    if not isinstance(missed, list) or not missed or trained.get("columns") != data.scan.mask.shape[-1]:
        return []
    wanted = [int(column) for column in missed if not bool(data.scan.mask[..., int(column)].any())]
    if not wanted:
        return []
    return [
        f"The prior never saw the columns {_ranges(wanted)}, and this scan doesn't hold them either: nothing that was "
        "measured says what is there."
    ]


def _coil_warnings(record: PriorRecord, data: ToReconstruct) -> list[str]:
    warnings = []
    coils, known = int(present_coils(data.scan.maps).max()), _trained(record).get("coils")
    if coils == 1:
        warnings.append(
            "The scan has a single coil: no coil tells apart what folds together, so the prior alone fills the missing "
            "lines. Look at the error bars."
        )
    elif known is not None and int(str(known)) != coils:
        warnings.append(f"The scan has {coils} coils; the prior was trained with {known}. Coil maps take care of it.")
    if data.acceleration > coils > 1:
        warnings.append(
            f"Effective acceleration {data.acceleration:.1f} with {coils} coils: there are fewer measured values than "
            "pixels, and the prior decides the rest."
        )
    return warnings


def _noise_warnings(record: PriorRecord, data: ToReconstruct) -> list[str]:
    """Noise far above that of the training scans, unless the prior was shown as much (`objective.noisier`)."""
    known = record.measurement.noise_level if record.measurement else None
    if not known:
        return []
    stated = record.training.settings.get("objective")
    objective = stated if isinstance(stated, dict) else {}
    shown = float(str(objective.get("noisiest", 0))) if objective.get("noisier") else 0.0
    found = float(data.scan.noise.max())
    if found <= max(NOISE_RATIO * known, shown):
        return []
    return [
        f"The scan's noise is {found / known:.0f} times that of the scans that the prior learned from ({found:.3g} "
        f"against {known:.3g} of the normalised unit): it may erase or invent structure. Train a prior with "
        "`objective.noisier`, or trust the baselines beside it."
    ]


def check_fit(record: PriorRecord, data: ToReconstruct) -> tuple[str, ...]:
    """Refuse a scan that the prior was not made for; warn of one that it only nearly fits.

    Warnings: those of the scan itself (see `prepare_scan`), coils, noise, pixel size, masks of another family (with the
    distance, see `mask_distance`), columns that neither prior nor scan ever saw, extreme acceleration.
    """
    warnings = [*data.warnings, *_coil_warnings(record, data), *_noise_warnings(record, data)]
    for axis, (asked, made) in enumerate(zip(data.spacing_mm[:2], record.spacing_mm, strict=True)):
        if abs(asked - made) > 0.3 * made:
            raise InputError(
                f"scan: its pixels are {asked:.2f} mm along axis {axis}, but prior {record.name!r} was trained on "
                f"{made:.2f} mm; give a scan of that resolution, or train a prior on scans like yours."
            )
        if abs(asked - made) > 0.05 * made:
            warnings.append(f"Pixels are {asked:.2f} mm along axis {axis}; the prior was trained on {made:.2f} mm.")
    effective = _trained(record).get("effective_acceleration")
    if effective is not None and data.acceleration > 3.0 * float(str(effective)):
        warnings.append(
            f"Effective acceleration {data.acceleration:.1f}; the prior learned from {float(str(effective)):.1f}. "
            "Far beyond it, structure is guessed rather than measured: look at the error bars."
        )
    return (*warnings, *mask_warnings(mask_record(record, data)), *_coverage_warnings(record, data))
