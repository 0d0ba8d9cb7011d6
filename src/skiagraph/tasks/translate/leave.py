"""What a translation leaves: volumes marked as synthetic, a sidecar, run.json, config.yaml, the page."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph import __version__
from skiagraph.config import dump_yaml
from skiagraph.data.dicom_derived import write_derived_series
from skiagraph.data.files import write_whole
from skiagraph.data.volume import nifti_codes, write_nifti
from skiagraph.report import Highlight, Page, Picture, PictureRow, Table, write_page
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.outputs import run_folder, write_text
from skiagraph.tasks.translate.method import Translation
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.result import Translated
from skiagraph.tasks.translate.run_settings import TranslateSettings
from skiagraph.tasks.translate.scan import Scan, scan_name
from skiagraph.training.metrics import peak_memory_gib

__all__ = ["Left", "leave"]

PROVENANCE = "synthetic"
_SHOWN, _LISTED = 6, 12
_PANELS = (0.3, 0.645)
"""Where the check's picture is cut into its three panels."""


@dataclass(frozen=True)
class Left:
    """Where the image lies, and the run's figures."""

    image: Path
    figures: dict[str, Any]


def leave(
    folder: Path,
    settings: TranslateSettings,
    prior: TargetPrior,
    scan: Scan,
    made: Translation,
    result: Translated,
    check: Mapping[str, Any],
    warnings: Sequence[str],
    seconds: Mapping[str, float],
    picture: bytes | None,
) -> Left:
    """Write everything, all of it or nothing."""
    name, modality = scan_name(settings.scan), prior.prior.record.channels[0].name.replace(" ", "-")
    figures = _figures(scan, made, result, check, seconds)
    record = {
        **run_record(),
        "provenance": PROVENANCE,
        "input": _input_record(scan),
        "prior": {"name": prior.prior.record.name, "weights_sha256": prior.prior.record.weights_sha256},
        "modality": modality,
        "preset": settings.preset,
        "seed": settings.seed,
        **figures,
        "warnings": list(warnings),
    }
    image = f"{name}_{modality}_synthetic.nii.gz"
    with run_folder(folder, stale=_stale(folder, name, modality)) as staged:
        codes = (1, 1) if settings.scan.is_dir() else nifti_codes(settings.scan)  # viewers treat both alike
        _write_volumes(staged, result, name, modality, codes)
        if settings.dicom:
            _write_series(staged / f"{name}_{modality}_synthetic", scan, result, modality)
        side = {"synthetic": True, "modality": modality, "made_by": "skiagraph translate", "unit": _unit(prior)}
        write_text(staged / f"{name}_{modality}_synthetic.json", json.dumps({**side, "run": record}, indent=1))
        write_text(staged / "config.yaml", dump_yaml(settings))
        write_text(staged / "run.json", json.dumps(record, indent=1))
        if picture is not None:
            write_whole(staged / "translatability.png", picture)
        page = _page(f"{name} as {modality}", settings, scan, result, record)
        write_page(replace(page, rows=(*page.rows, *_check_rows(picture, check))), staged / "report.html")
    return Left(folder / image, figures)


def _stale(folder: Path, name: str, modality: str) -> list[str]:
    """Files of an earlier run of the same scan, which would pass for this one's where it does not write them."""
    kinds = ("deviation", "candidate-*")
    found = [item.name for kind in kinds for item in folder.glob(f"{escape(name)}_{escape(modality)}_{kind}.nii.gz")]
    return [*found, "translatability.png"]


def _figures(
    scan: Scan, made: Translation, result: Translated, check: Mapping[str, Any], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """What the run came to."""
    inside = scan.stack.mask
    return {
        "slices": len(scan.stack),
        "network_calls_per_slice": made.calls,
        "seconds": round(seconds["all"], 1),
        "seconds_in_the_network": round(seconds["network"], 1),
        "peak_memory_gib": round(peak_memory_gib(torch.device("cpu")), 3),
        "mean_consistency": round(float(result.consistency[inside].mean()), 4),
        "mean_deviation": None if result.deviation is None else round(float(result.deviation[inside].mean()), 4),
        "between_slices": {
            key: round(value, 5) if math.isfinite(value) else None for key, value in result.between_slices.items()
        },
        "low_consistency_regions": [asdict(region) for region in result.regions[:_LISTED]],
        "translatability": dict(check),
    }


def _unit(prior: TargetPrior) -> str:
    return f"{prior.prior.record.normalisation.method}; as in the prior's training scans (median)"


def _input_record(scan: Scan) -> dict[str, Any]:
    return {
        "shape": list(scan.volume.array.shape),
        "orientation": scan.volume.orientation,
        "spacing_mm": [round(step, 4) for step in scan.volume.spacing_mm],
        "mask": scan.mask_from,
        "mask_litres": round(float(scan.mask.sum() * abs(np.linalg.det(scan.volume.affine[:3, :3]))) / 1e6, 4),
        "scaling": scan.scaling.record(),
        "frame_shape": list(scan.frame.grid.shape),
    }


def _write_volumes(folder: Path, result: Translated, name: str, modality: str, codes: tuple[int, int]) -> None:
    for kind, volume in result.volumes.items():
        label = f"{modality}_synthetic" if kind == "translated" else f"{modality}_{kind}"
        told = f"synthetic {modality} by skiagraph: {kind}"
        write_nifti(folder / f"{name}_{label}.nii.gz", volume, description=told, codes=codes)


def _write_series(folder: Path, scan: Scan, result: Translated, modality: str) -> None:
    write_derived_series(
        folder,
        result.volumes["translated"],
        scan.files,
        description=f"SYNTHETIC {modality[:20]} by skiagraph, no measurement",
        derivation=f"{modality} computed from another scan by a prior that never saw its modality; lesions may be "
        "missing or invented",
        version=__version__,
    )


def _page(title: str, settings: TranslateSettings, scan: Scan, result: Translated, record: Mapping[str, Any]) -> Page:
    modality = record["modality"]
    cells = tuple((key, str(value)) for key, value in settings.model_dump(mode="json").items())
    return Page(
        title=title,
        provenance=PROVENANCE,
        summary=f"A {modality} image computed from another scan by a prior that never saw its modality. It is no "
        "measurement: lesions may be missing or invented.",
        highlights=(
            Highlight(f"{record['mean_consistency']:.3f}", "mean consistency with the source (0 to 1)"),
            *_between(record["between_slices"]),
            Highlight(f"{record['network_calls_per_slice']:g}", "network calls a slice"),
            Highlight(f"{record['seconds']:.0f} s", "in all"),
        ),
        warnings=tuple(record["warnings"]),
        rows=_rows(scan, result),
        tables=(_region_table(result), Table("What was run", ("setting", "value"), cells, folded=True)),
        footer=f"skiagraph {record['skiagraph']}, commit {record['commit'] or 'unknown'}",
    )


def _between(steps: Mapping[str, float | None]) -> tuple[Highlight, ...]:
    """How far neighbouring slices differ; nothing where there is one slice."""
    if steps["result"] is None:
        return ()
    return (Highlight(f"{steps['result']:.4f}", f"step between slices (source {steps['source']:.4f})"),)


def _check_rows(picture: bytes | None, check: Mapping[str, Any]) -> tuple[PictureRow, ...]:
    """Number and picture of the check before the work, where the prior has a range."""
    from PIL import Image

    if picture is None:
        return ()
    drawn = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=np.float64) / 255
    low, high = check["usual_95_percent"]
    told = (
        f"distance of self maps {check['distance']:.3f}; 95 % of the target's own slices have {low:.3f} to {high:.3f}; "
        f"{100 * check['share_of_slices_outside']:.0f} % of this source's slices lie outside"
    )
    cuts = [round(share * drawn.shape[1]) for share in _PANELS]
    labels = ("self map of a slice", "how often each value occurs", "slice by slice")
    panels = zip(np.split(drawn, cuts, axis=1), labels, ("", "", told), strict=True)
    shown = tuple(Picture(panel, label, caption, provenance="computed") for panel, label, caption in panels)
    return (PictureRow("Can the prior serve this source?", shown, window=(0.0, 1.0)),)


def _region_table(result: Translated) -> Table:
    rows = tuple(
        (*(round(value, 1) for value in region.centre_mm), region.millilitres, region.consistency)
        for region in result.regions[:_LISTED]
    )
    return Table(
        "Regions of low consistency",
        ("right (mm)", "anterior (mm)", "superior (mm)", "ml", "consistency"),
        rows,
        (".1f", ".1f", ".1f", ".1f", ".3f"),
        note="Pieces of at least 0.5 ml whose consistency is below half of the median.",
    )


def _rows(scan: Scan, result: Translated) -> tuple[PictureRow, ...]:
    """Source, result and maps of evenly spaced slices with foreground, front of the head up."""
    filled = [number for number in range(len(scan.stack)) if bool(scan.stack.mask[number].any())]
    ends = (0.1 * (len(filled) - 1), 0.9 * (len(filled) - 1))  # the outermost slices show next to nothing
    chosen = sorted({filled[round(place)] for place in np.linspace(*ends, min(_SHOWN, len(filled)))})

    def shown(images: Tensor, number: int) -> Any:
        return images[number, 0].numpy()[::-1]

    rows = []
    for number in chosen:
        pictures = [
            Picture(shown(scan.stack.unit, number), "source", provenance="as given"),
            Picture(shown(result.unit, number), "translated"),
            Picture(shown(result.consistency, number), "consistency"),
        ]
        if result.deviation is not None:
            pictures.append(Picture(shown(result.deviation, number), "standard deviation", kind="deviation"))
        steps = scan.stack.spacing_mm
        rows.append(PictureRow(f"slice {number}", tuple(pictures), window=(0.0, 1.0), spacing=(steps[1], steps[2])))
    return tuple(rows)
