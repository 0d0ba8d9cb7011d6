"""Files in exactly the layouts that scanners and public data sets come in, written here with h5py and ismrmrd alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import ismrmrd
import numpy as np

from skiagraph.data.simulation import centred_fft2, centred_ifft2

__all__ = ["HEADER", "oversampled", "padded_columns", "write_export", "write_fastmri_layout"]

HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD" xmlns:xs="http://www.w3.org/2001/XMLSchema"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.ismrm.org/ISMRMRD ismrmrd.xsd">
 <studyInformation><studyTime>00:00:00</studyTime></studyInformation>
 <measurementInformation><measurementID>1_2_3</measurementID><patientPosition>HFS</patientPosition>
  <protocolName>t1_tse</protocolName></measurementInformation>
 <acquisitionSystemInformation><systemVendor>VENDOR</systemVendor><systemModel>Model</systemModel>
  <systemFieldStrength_T>2.89362</systemFieldStrength_T>
  <relativeReceiverNoiseBandwidth>{bandwidth}</relativeReceiverNoiseBandwidth>
  <receiverChannels>{coils}</receiverChannels></acquisitionSystemInformation>
 <experimentalConditions><H1resonanceFrequency_Hz>123251815</H1resonanceFrequency_Hz></experimentalConditions>
 <encoding>
  <encodedSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>{rows_mm}</x><y>{columns_mm}</y><z>4.5</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>{image_rows}</x><y>{image_columns}</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>{image_rows_mm}</x><y>{image_columns_mm}</y><z>4.5</z></fieldOfView_mm></reconSpace>
  <encodingLimits>
   <kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{centre}</center>
   </kspace_encoding_step_1>
   <slice><minimum>0</minimum><maximum>{last_slice}</maximum><center>0</center></slice>
  </encodingLimits>
  <trajectory>cartesian</trajectory>
  <parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>
   <kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>
   <calibrationMode>{mode}</calibrationMode></parallelImaging>
 </encoding>
 <sequenceParameters><TR>2800</TR><TE>22</TE></sequenceParameters>
</ismrmrdHeader>
"""


def _header(
    shape: tuple[int, int, int, int],
    image: tuple[int, int],
    pixel: tuple[float, float],
    limits: tuple[int, int],
    mode: str = "embedded",
    bandwidth: float = 0.793,
) -> str:
    """Header of k-space (S, coils, rows, columns) and of an image with the same pixels."""
    slices, coils, rows, columns = shape
    return HEADER.format(
        bandwidth=bandwidth,
        coils=coils,
        rows=rows,
        columns=columns,
        rows_mm=pixel[0] * rows,
        columns_mm=pixel[1] * columns,
        image_rows=image[0],
        image_columns=image[1],
        image_rows_mm=pixel[0] * image[0],
        image_columns_mm=pixel[1] * image[1],
        centre=limits[0],
        last=limits[1],
        last_slice=slices - 1,
        mode=mode,
    )


def oversampled(kspace: np.ndarray, factor: int = 2) -> np.ndarray:
    """k-space (..., H, W) as a readout `factor` times as dense gives it: the image with air above and below."""
    image = centred_ifft2(kspace)
    height = image.shape[-2]
    wide = np.zeros((*image.shape[:-2], factor * height, image.shape[-1]), dtype=np.complex64)
    first = factor * height // 2 - height // 2
    wide[..., first : first + height, :] = image
    return centred_fft2(wide)


def padded_columns(width: int, before: int, after: int) -> np.ndarray:
    """(W,) bool: columns between `before` empty ones on the left and `after` on the right."""
    inside = np.ones(width, dtype=bool)
    inside[:before], inside[width - after :] = False, False
    return inside


def write_fastmri_layout(
    path: Path,
    kspace: np.ndarray,
    image: tuple[int, int],
    *,
    pixel: tuple[float, float] = (8.0, 8.0),
    mask: np.ndarray | None = None,
    padding: tuple[int, int] = (0, 0),
    truth: np.ndarray | None = None,
    single: bool = False,
) -> Path:
    """A file as the fastMRI data set has it.

    Args:
        path: file to write.
        kspace: (S, coils, rows, columns), oversampled readout, or (S, rows, columns) of single-coil files.
        image: rows and columns of the reconstruction.
        pixel: mm.
        mask: key `mask` of test files; None as in training files.
        padding: empty columns at either end, which the header's limits say.
        truth: reference images of training and validation files.
        single: name the reference images as single-coil files do.
    """
    columns = kspace.shape[-1]
    inside = padded_columns(columns, *padding)
    limits = (columns // 2 - padding[0], columns - sum(padding) - 1)
    shape = (kspace.shape[0], 1 if kspace.ndim == 3 else kspace.shape[1], kspace.shape[-2], columns)
    data = kspace * inside
    with h5py.File(path, "w") as content:
        content.attrs["acquisition"] = "CORPD_FBK"
        content.attrs["patient_id"] = "0" * 64
        content["ismrmrd_header"] = _header(shape, image, pixel, limits)
        if mask is None:
            content["kspace"] = data.astype(np.complex64)
        else:
            content["kspace"] = (data * mask).astype(np.complex64)
            content["mask"] = mask.astype(np.float32)
            content.attrs["num_low_frequency"] = 8
            content.attrs["acceleration"] = 4
        if truth is not None:
            content["reconstruction_esc" if single else "reconstruction_rss"] = truth.astype(np.float32)
            content.attrs["max"], content.attrs["norm"] = float(truth.max()), float(np.linalg.norm(truth))
    return path


def write_export(
    path: Path,
    kspace: np.ndarray,
    mask: np.ndarray,
    *,
    image: tuple[int, int],
    pixel: tuple[float, float] = (8.0, 8.0),
    centre: int | None = None,
    calibration: Sequence[int] = (),
    both: bool = True,
    mode: str = "embedded",
    noise: np.ndarray | None = None,
    dwell: tuple[float, float] = (0.0, 0.0),
    bandwidth: float = 1.0,
    change: Callable[[list[ismrmrd.Acquisition]], list[ismrmrd.Acquisition]] | None = None,
) -> Path:
    """An ISMRMRD file as converters of vendors' raw data write it.

    Args:
        path: file to write.
        kspace: (S, coils, rows, columns), readout oversampled.
        mask: (columns,) bool, columns that are acquired.
        image: rows and columns of the reconstruction.
        pixel: mm.
        centre: header's step of zero frequency; column j is step j - columns // 2 + centre. Default columns // 2.
        calibration: columns that are calibration lines.
        both: flag calibration lines as imaging lines too; otherwise as calibration only.
        mode: header's calibration mode.
        noise: (coils, samples) noise, written first in a line of its own.
        dwell: time per sample in us of noise and imaging lines.
        bandwidth: header's relative receiver noise bandwidth.
        change: last change to the list of acquisitions.
    """
    slices, _, rows, columns = kspace.shape
    centre = columns // 2 if centre is None else centre
    lines = []
    if noise is not None:
        lines.append(ismrmrd.Acquisition.from_array(np.ascontiguousarray(noise, np.complex64)))
        lines[0].set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        lines[0].sample_time_us = dwell[0]
    order = [*range(0, slices, 2), *range(1, slices, 2)]  # interleaved
    for slot in order:
        for column in np.flatnonzero(mask):
            line = ismrmrd.Acquisition.from_array(np.ascontiguousarray(kspace[slot, :, :, column], np.complex64))
            line.idx.slice, line.idx.kspace_encode_step_1 = slot, int(column) - columns // 2 + centre
            line.center_sample, line.sample_time_us = rows // 2, dwell[1]
            line.read_dir[:], line.phase_dir[:], line.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
            line.position[:] = (0.0, 0.0, 5.0 * slot)
            if column in calibration:
                kind = "PARALLEL_CALIBRATION_AND_IMAGING" if both else "PARALLEL_CALIBRATION"
                line.set_flag(getattr(ismrmrd, f"ACQ_IS_{kind}"))
            lines.append(line)
    steps = np.flatnonzero(mask) - columns // 2 + centre
    with ismrmrd.File(str(path), "w") as content:
        dataset = content["dataset"]
        text = _header(kspace.shape, image, pixel, (centre, int(steps.max())), mode, bandwidth)
        dataset.header = ismrmrd.xsd.CreateFromDocument(text)
        dataset.acquisitions = lines if change is None else change(lines)
    return path
