"""Which noise a scan has, from what it holds and what is stated, and whether the two agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.kspace import KSpace
from skiagraph.data.noise import NoiseModel, noise_from_calibration, noise_from_covariance, noise_from_scan
from skiagraph.errors import DataError, InputError

__all__ = ["NoiseFound", "find_noise"]

FAR = 2.0
ROUGH = 10


@dataclass(frozen=True, eq=False)
class NoiseFound:
    """The noise of a scan.

    Args:
        level: noise per part in file units that methods are told; None lets `prepare_slices` estimate it by slice.
        whitener: (coils, coils) matrix that makes it white; None where it is not known or not wanted.
        known: covariance from a noise scan or statement, or None.
        estimate: what outer k-space shows.
        warnings: where these contradict each other.
    """

    level: float | None
    whitener: NDArray[np.complex128] | None
    known: NoiseModel | None
    estimate: NoiseModel
    warnings: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Names and values, as JSON types."""
        best = self.estimate if self.known is None else self.known
        return {
            **best.record(),
            "noise_std": best.level if self.level is None else self.level,
            "estimate_from_outer_k_space": self.estimate.level,
            "prewhitened": self.whitener is not None,
        }


def find_noise(
    scan: KSpace, stated: float | None = None, given: NoiseModel | None = None, *, prewhiten: bool = True
) -> NoiseFound:
    """The noise of a scan: stated level, else noise of a file given, else of the scan's own noise, else estimated.

    Args:
        scan: the scan.
        stated: level per part in file units, >= 0, from the user.
        given: noise of the receivers from a file of its own.
        prewhiten: whether to whiten where the covariance is known.
    """
    if stated is not None and not stated >= 0:
        raise InputError(f"noise_std: found {stated}; allowed 0 and above, in the unit of the file's k-space")
    known, warnings = _known(scan, given)
    estimate = noise_from_calibration(scan.data, scan.mask)
    whitener = None
    if known is not None and prewhiten and len(known.covariance) > 1:
        try:
            whitener = known.whitener()
        except DataError as error:
            warnings.append(f"Not pre-whitened: {error}.")
    level = stated if stated is not None else None if known is None else known.level
    warnings += _contradictions(stated, known, estimate)
    return NoiseFound(level, whitener, known, estimate, tuple(warnings))


def _known(scan: KSpace, given: NoiseModel | None) -> tuple[NoiseModel | None, list[str]]:
    """Noise of the file given, or that the scan holds; None where there is none, or only zeros."""
    warnings: list[str] = []
    model = given
    if model is None and scan.noise_covariance is not None:
        model = noise_from_covariance(scan.noise_covariance, "covariance in the scan's file")
    elif model is None and scan.noise_scan is not None:
        model = noise_from_scan(scan.noise_scan, "noise scan in the scan's file")
    if model is None:
        return None, warnings
    if model.level == 0:
        return None, [f"The noise of the {model.source} is zero; it is estimated from outer k-space instead."]
    coils = scan.data.shape[1]
    if len(model.covariance) != coils:
        raise InputError(
            f"noise: that of the {model.source} is of {len(model.covariance)} coils, but {scan.source} has {coils}; "
            "give the noise of the same coils"
        )
    if 0 < model.samples < ROUGH * coils:
        warnings.append(
            f"The {model.source} has {model.samples} samples for {coils} coils: the covariance is rough; "
            f"{ROUGH * coils} samples or more make it good."
        )
    return model, warnings


def _contradictions(stated: float | None, known: NoiseModel | None, estimate: NoiseModel) -> list[str]:
    """Say where the stated noise, the noise scan and the data themselves disagree by more than a factor of 2."""
    if stated is not None:
        return _stated_against(stated, known or estimate)
    if known is not None and estimate.level > FAR * known.level and not estimate.upper:
        return [
            f"The noise of the {known.source} is {known.level:.3g} per part, but outer k-space shows "
            f"{estimate.level:.3g}; was it measured with this gain and bandwidth? Give noise_std where you know better."
        ]
    if known is not None and known.level > FAR * estimate.level:
        return [
            f"The noise of the {known.source} is {known.level:.3g} per part, but outer k-space shows no more than "
            f"{estimate.level:.3g}; was it measured with this gain and bandwidth, or was k-space filtered?"
        ]
    return []


def _stated_against(stated: float, shown: NoiseModel) -> list[str]:
    if stated > FAR * shown.level:
        return [
            f"noise_std is {stated:.3g}, but the {shown.source} shows {shown.level:.3g}: the prior will overrule the "
            f"data. Leave noise_std out, or give about {shown.level:.3g}."
        ]
    if stated * FAR >= shown.level or shown.level == 0:
        return []
    if shown.upper and stated > 0:
        return []
    visible = f"shows {'at most ' if shown.upper else ''}{shown.level:.3g}"
    return [
        f"noise_std is {stated:.3g}, but the {shown.source} {visible}: noise will be taken for structure. "
        f"Leave noise_std out, or give about {shown.level:.3g}."
    ]
