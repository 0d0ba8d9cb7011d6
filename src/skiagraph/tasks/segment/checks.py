"""What `segment` refuses before any long work, and before a dry run says what it would cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from skiagraph.data.dicom_segmentation import require_segmentable
from skiagraph.diffusion import DiscreteTable
from skiagraph.diffusion.difference.average import level_times
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.reconstruct.outputs import check_writable
from skiagraph.tasks.segment.calibrate import require_enough
from skiagraph.tasks.segment.cases import Case
from skiagraph.tasks.segment.command_settings import SegmentSettings
from skiagraph.tasks.segment.decide import read_calibration
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.likeness import require_alike, usual_profile
from skiagraph.tasks.segment.look import made_with
from skiagraph.tasks.segment.maps import trajectory_plan
from skiagraph.tasks.segment.settings import DifferenceSettings

__all__ = ["require_free", "require_workable"]


def require_free(folder: Path) -> None:
    """Refuse a folder that cannot be written, or that holds files."""
    check_writable(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"output: {folder} holds files already; nothing is overwritten. Give a new folder")


def require_workable(
    prior: LabelledPrior, settings: SegmentSettings, cases: Sequence[Case], normals: Sequence[Case]
) -> None:
    """Refuse levels that the prior has not, too few normal cases, and cases that nothing true can be said of.

    Args:
        prior: the prior.
        settings: of the run.
        cases: as read.
        normals: cases without a lesion; empty for none.
    """
    _require_levels(prior, settings.map)
    if settings.normals is not None:
        for delta in (settings.mask.delta, settings.mask.gate_delta):
            require_enough(len(normals), delta)
    for case in cases:
        if case.kind == "dicom":
            require_segmentable(case.sources)
    _apart(cases, normals)
    if settings.calibration is not None:  # it knows its normal cases
        profile = read_calibration(settings.calibration, settings.mask, made_with(prior, settings)).profile
        for case in cases:
            require_alike(case, profile)


def _require_levels(prior: LabelledPrior, settings: DifferenceSettings) -> None:
    schedule = prior.denoiser.schedule
    try:
        if settings.engine != "reference":
            level_times(schedule, settings.levels)
        elif isinstance(schedule, DiscreteTable):
            trajectory_plan(settings).indices(len(schedule))
        else:
            raise InputError(f"map.engine: 'reference' walks a table of levels, which prior {prior.name!r} has not")
    except ValueError as error:
        raise InputError(f"map.{error}") from None


def _apart(cases: Sequence[Case], normals: Sequence[Case]) -> None:
    """Refuse a slice that is both a case and a normal case: its label contradicts itself; and cases unlike them."""
    profile = usual_profile(normals) if normals else ()
    known = {case.slices.tobytes(): case.name for case in normals}
    for case in cases:
        if case.slices.tobytes() in known:
            raise DataError(f"{case.name}: also stands among the normals ({known[case.slices.tobytes()]}); remove one")
        require_alike(case, profile)
