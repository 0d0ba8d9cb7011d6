"""The sign of each channel, learned from cases with and cases without a lesion: no mask is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError
from skiagraph.tasks.segment.calibrate import learned_signs
from skiagraph.tasks.segment.cases import Case, read_cases
from skiagraph.tasks.segment.command_settings import SegmentSettings
from skiagraph.tasks.segment.decide import CaseMap
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.look import look
from skiagraph.tasks.segment.settings import DifferenceSettings

__all__ = ["signs_of_cases", "with_learned_signs"]

ENDS = (0.005, 0.995)
"""The quantiles of a signed map that are taken for its ends: a lesion fills a small share of a case."""


def signs_of_cases(
    settings: DifferenceSettings,
    channels: int,
    positives: Sequence[Case],
    normals: Sequence[Case],
    mapped: Callable[[Case, DifferenceSettings], CaseMap],
) -> DifferenceSettings:
    """The settings with sign "learned" replaced by a factor of 1 or -1 for every channel; others as they are.

    Args:
        settings: of the map.
        channels: of the prior.
        positives: cases with a lesion, known from their labels.
        normals: cases without.
        mapped: maps a case by the settings it is given.
    """
    if settings.sign != "learned":
        return settings
    for name, cases in (("positives", positives), ("normals", normals)):
        if not cases:
            raise DataError(f"{name}: found no case; the sign 'learned' compares cases with and without a lesion")

    def ends(case: Case) -> NDArray[np.float64]:
        rows = []
        for channel in range(channels):
            factors = [float(number == channel) for number in range(channels)]
            found = mapped(case, settings.model_copy(update={"sign": "signed", "channel_signs": factors}))
            rows.append(np.quantile(found.maps[found.foreground], ENDS))
        return np.stack(rows, axis=1)

    signs = learned_signs(*(np.stack([ends(case) for case in cases]) for cases in (positives, normals)))
    return settings.model_copy(update={"sign": "signed", "channel_signs": list(signs)})


def with_learned_signs(
    prior: LabelledPrior, settings: SegmentSettings, normals: Sequence[Case], window: tuple[float, float] | None
) -> SegmentSettings:
    """The settings of a run with the sign "learned" settled; the classifier's term has no part in it.

    Args:
        prior: that maps are made with.
        settings: of the run; `positives` names the cases with a lesion.
        normals: cases without, as read.
        window: intensities that become -1 and 1.
    """
    known = []
    if settings.positives is not None:
        known = read_cases(settings.positives, window=window, pixel_mm=prior.spacing_mm)
    plain = settings.map.model_copy(update={"classifier_scale": 0.0})

    def mapped(case: Case, one: DifferenceSettings) -> CaseMap:
        return look(prior, case, settings.model_copy(update={"map": one})).found

    settled = signs_of_cases(plain, prior.shape[0], known, normals, mapped)
    changes = {"sign": settled.sign, "channel_signs": settled.channel_signs}
    return settings.model_copy(update={"map": settings.map.model_copy(update=changes)})
