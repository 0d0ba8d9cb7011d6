"""Whether a case can be of the kind that the normal cases are: their intensities side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError
from skiagraph.tasks.segment.cases import Case

__all__ = ["Profile", "require_alike", "usual_profile"]

Profile = tuple[float, ...]
"""Quantiles of the foreground's intensity in [-1, 1], from 2 to 98 %; and last the farthest normal case's distance."""

SHARES = np.linspace(0.02, 0.98, 49)
LEAST, FACTOR = 0.1, 4.0


def usual_profile(cases: Sequence[Case]) -> Profile:
    """Mean quantiles of the normal cases, and the distance of the one that is farthest from them.

    Args:
        cases: normal cases, at least one.
    """
    each = np.stack([_quantiles(case) for case in cases])
    mean = each.mean(axis=0)
    return (*mean.tolist(), float(np.abs(each - mean).mean(axis=1).max()))


def require_alike(case: Case, profile: Profile) -> None:
    """Refuse a case whose intensities are those of another modality or another window.

    The distance is the mean difference of quantiles (that of Wasserstein, of order 1); allowed are four times what the
    farthest normal case has, and at least 0.1 of a range of 2. Lesions move few quantiles: inserted ones of 42 ml make
    0.04. T1 against T2 makes 0.16; contrasts that look alike in their histogram pass.

    Args:
        case: as read, scaled as the normal cases were.
        profile: from `usual_profile`; empty where it was not kept.
    """
    if not profile:
        return
    distance = float(np.abs(_quantiles(case) - np.array(profile[:-1])).mean())
    allowed = max(LEAST, FACTOR * profile[-1])
    if distance > allowed:
        raise DataError(
            f"{case.name}: its intensities are {distance:.2f} away from those of the normal cases (allowed: "
            f"{allowed:.2f}, of a range of 2); is it another modality, sequence or window? Look at it with a prior and "
            "normal cases of its own kind"
        )


def _quantiles(case: Case) -> NDArray[np.float64]:
    inside = case.foreground if case.foreground is not None else np.ones(case.slices[:, 0].shape, dtype=np.bool_)
    found: NDArray[np.float64] = np.quantile(case.slices.mean(axis=1, dtype=np.float64)[inside], SHARES)
    return found
