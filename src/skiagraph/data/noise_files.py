"""Noise of a scan that lies in a file of its own: a noise measurement in ISMRMRD, or samples or covariance in HDF5."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from skiagraph.data.files import existing_file
from skiagraph.data.noise import NoiseModel, noise_from_covariance, noise_from_scan
from skiagraph.data.raw_lines import read_lines, scaled_noise
from skiagraph.errors import DataError

__all__ = ["read_noise"]


def read_noise(path: str | os.PathLike[str], coils: int, *, dwell_us: float = 0.0, averages: int = 1) -> NoiseModel:
    """Read the noise of `coils` receivers.

    Args:
        path: HDF5 with `noise_covariance` (coils, coils), E[n n^H] / 2, or `noise_scan` (coils, samples), in the unit
            of the scan's k-space; or ISMRMRD with noise acquisitions, which are brought to the scan's bandwidth and
            averages (see `scaled_noise`).
        coils: receivers of the scan that it belongs to.
        dwell_us: dwell time of the scan (`KSpace.dwell_us`); 0: that of the noise lines.
        averages: averages of the scan (`KSpace.averages`).

    Raises DataError for any other file, and for noise of another number of coils.
    """
    import h5py

    file = existing_file(path, "an HDF5 file with noise")
    try:
        with h5py.File(file, "r") as content:
            model = _model(content, file, dwell_us, averages)
    except OSError as error:
        raise DataError(
            f"{file} is not a readable HDF5 file ({error}); noise_scan or noise lines are needed"
        ) from error
    if len(model.covariance) != coils:
        raise DataError(
            f"{file}: the noise is that of {len(model.covariance)} coils, but the scan has {coils}; give the noise "
            "measured with the coils of this scan"
        )
    return model


def _model(content: Any, file: Path, dwell_us: float, averages: int) -> NoiseModel:
    if "noise_covariance" in content:
        return noise_from_covariance(np.asarray(content["noise_covariance"]), file.name)
    if "noise_scan" in content:
        return noise_from_scan(np.asarray(content["noise_scan"], dtype=np.complex64), file.name)
    groups = [key for key in content if "data" in getattr(content[key], "keys", list)()]
    if not groups:
        raise DataError(
            f"{file} has the keys {sorted(content)}; 'noise_covariance', 'noise_scan' or an ISMRMRD group is needed"
        )
    return _from_lines(file, groups[0], dwell_us, averages)


def _from_lines(file: Path, group: str, dwell_us: float, averages: int) -> NoiseModel:
    import ismrmrd

    encoding, found = read_lines(file, group)
    lines = [line for line in found if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    if not lines:
        raise DataError(f"{file}: none of its acquisitions is a noise measurement")
    if len({int(line.active_channels) for line in lines}) > 1:
        raise DataError(f"{file}: its noise measurements have several numbers of coils; one is needed")
    if len({float(line.sample_time_us) for line in lines}) > 1:
        raise DataError(f"{file}: its noise measurements have several dwell times; one is needed")
    return noise_from_scan(scaled_noise(lines, encoding, dwell_us, averages), file.name)
