"""The part of an ISMRMRD header that says how k-space becomes an image: matrix, field of view, padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.errors import DataError

OURS = "skiagraph"

__all__ = ["Encoding", "build_header", "parse_header", "remove_oversampling"]


@dataclass(frozen=True)
class Encoding:
    """Sizes of one Cartesian encoding; x is the readout, y the phase encoding, z the slice or partition direction.

    Attributes:
        encoded, image: (x, y, z) matrix sizes of k-space and of the image.
        encoded_mm, image_mm: (x, y, z) fields of view in mm.
        centre, last: phase-encoding step at zero frequency and largest step measured.
        slices: number of slices, 0 when not stated.
        trajectory: "cartesian" or another name.
        noise_bandwidth: variance of a noise scan relative to that of the same samples in an imaging line, because the
            receiver's filter falls off towards its edges; 1 when not stated.
        separate_calibration: the calibration lines are a scan of their own.
        provenance: "measured", or what a file that this library wrote says of itself.
    """

    encoded: tuple[int, int, int]
    image: tuple[int, int, int]
    encoded_mm: tuple[float, float, float]
    image_mm: tuple[float, float, float]
    centre: int
    last: int
    slices: int = 0
    trajectory: str = "cartesian"
    noise_bandwidth: float = 1.0
    separate_calibration: bool = False
    provenance: str = "measured"

    def measured_columns(self, width: int) -> tuple[int, int]:
        """Return first and one-past-last column of k-space of `width` columns that the scan could have measured."""
        first = width // 2 - self.centre
        return max(0, first), min(width, first + self.last + 1)

    def kept_rows(self, rows: int) -> int:
        """Rows of `rows` that remain once the readout is cut to the image's field of view; even."""
        wanted = round(rows * self.image_mm[0] / self.encoded_mm[0])
        return min(rows, wanted + wanted % 2)

    def image_columns(self, width: int) -> int:
        """Columns of an image of `width` columns inside the image's field of view.

        The image's own matrix where its pixels are those of k-space to 2 % (as in fastMRI files); otherwise (k-space
        was to be interpolated) as many columns as the field of view holds.
        """
        step, wanted = self.encoded_mm[1] / width, self.image_mm[1] / self.image[1]
        if abs(step - wanted) <= 0.02 * wanted:
            return min(width, self.image[1])
        return min(width, round(self.image_mm[1] / step))


def parse_header(xml: str | bytes, source: str) -> Encoding:
    """Read the first encoding of an ISMRMRD header; nothing about the patient is read.

    Raises DataError when the text is not such a header or a size is missing or not positive.
    """
    from ismrmrd.xsd import ismrmrdHeader
    from xsdata.exceptions import ParserError
    from xsdata.formats.dataclass.parsers import XmlParser
    from xsdata.formats.dataclass.parsers.config import ParserConfig

    text = xml.decode("utf-8", "replace") if isinstance(xml, bytes) else xml
    try:
        header: Any = XmlParser(config=ParserConfig(fail_on_unknown_properties=False)).from_string(text, ismrmrdHeader)
        part = header.encoding[0]
        encoded, image = part.encodedSpace, part.reconSpace
        limits, system, parallel = part.encodingLimits, header.acquisitionSystemInformation, part.parallelImaging
        bandwidth = system.relativeReceiverNoiseBandwidth if system is not None else None
        mode = parallel.calibrationMode if parallel is not None else None
        step = limits.kspace_encoding_step_1 if limits is not None else None
        found = Encoding(
            encoded=_triple(encoded.matrixSize, int),
            image=_triple(image.matrixSize, int),
            encoded_mm=_triple(encoded.fieldOfView_mm, float),
            image_mm=_triple(image.fieldOfView_mm, float),
            centre=int(step.center) if step is not None else int(encoded.matrixSize.y) // 2,
            last=int(step.maximum) if step is not None else int(encoded.matrixSize.y) - 1,
            slices=int(limits.slice.maximum) + 1 if limits is not None and limits.slice is not None else 0,
            trajectory=str(getattr(part.trajectory, "value", part.trajectory)).lower(),
            noise_bandwidth=float(bandwidth) if bandwidth else 1.0,
            separate_calibration=str(getattr(mode, "value", mode)).lower() in ("separate", "external"),
            provenance=str(system.systemModel) if system is not None and system.systemVendor == OURS else "measured",
        )
    except (ParserError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{source}: the ISMRMRD header cannot be read ({type(error).__name__}: {error})") from error
    if min(*found.encoded, *found.image) < 1 or not min(*found.encoded_mm, *found.image_mm) > 0:
        raise DataError(f"{source}: the ISMRMRD header states sizes that are not positive: {found}")
    return found


def _triple(node: Any, kind: type) -> tuple[Any, Any, Any]:
    return kind(node.x), kind(node.y), kind(node.z)


def build_header(encoding: Encoding, coils: int, slices: int) -> str:
    """Write an ISMRMRD header with sizes only: no patient, no date, no device name.

    What is not measured says so: vendor "skiagraph", and the provenance as the model.
    """
    from ismrmrd import xsd

    def space(matrix: tuple[int, int, int], size: tuple[float, float, float]) -> Any:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=matrix[0], y=matrix[1], z=matrix[2]),
            fieldOfView_mm=xsd.fieldOfViewMm(x=size[0], y=size[1], z=size[2]),
        )

    limits = xsd.encodingLimitsType(
        kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=encoding.last, center=encoding.centre),
        slice=xsd.limitType(minimum=0, maximum=slices - 1, center=slices // 2),
    )
    part = xsd.encodingType(
        encodedSpace=space(encoding.encoded, encoding.encoded_mm),
        reconSpace=space(encoding.image, encoding.image_mm),
        encodingLimits=limits,
        trajectory=xsd.trajectoryType.CARTESIAN,
    )
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_870_000),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor=OURS if encoding.provenance != "measured" else None,
            systemModel=encoding.provenance if encoding.provenance != "measured" else None,
            receiverChannels=coils,
        ),
        encoding=[part],
    )
    return str(xsd.ToXML(header))


def remove_oversampling(kspace: NDArray[np.complex64], rows: int) -> NDArray[np.complex64]:
    """Cut the readout (axis -2) to the `rows` central image rows; intensities and the orthonormal scale are kept."""
    from scipy import fft

    height = kspace.shape[-2]
    if rows >= height:
        return kspace
    image = fft.fftshift(fft.ifft(fft.ifftshift(kspace, axes=-2), axis=-2, norm="ortho"), axes=-2)
    first = height // 2 - rows // 2
    cut = image[..., first : first + rows, :]
    out: NDArray[np.complex64] = fft.fftshift(fft.fft(fft.ifftshift(cut, axes=-2), axis=-2, norm="ortho"), axes=-2)
    return out.astype(np.complex64)
