"""Rows of pictures that may be compared by eye: one grey window a row, one stated scale for errors and deviations."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["DrawnPicture", "DrawnRow", "Picture", "PictureRow", "colour_bar", "draw_row"]

Kind = Literal["image", "error", "deviation"]
_COLOURS: dict[Kind, str] = {"image": "gray", "error": "inferno", "deviation": "inferno"}


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture with its label and caption.

    Args:
        array: (H, W) real and finite, or (H, W, 3) for an image in colours; row 0 is drawn on top. Errors and
            deviations are drawn by magnitude.
        label: what it shows, e.g. "CG-SENSE".
        caption: figures of this picture, e.g. "30.1 dB, SSIM 0.91"; may be empty.
        kind: "image" in the row's grey window; "error" and "deviation" in colour, from 0 to the window's width divided
            by the row's `error_factor`.
        provenance: tag that opens the caption, e.g. "measured"; empty for the row's.
    """

    array: ArrayLike
    label: str
    caption: str = ""
    kind: Kind = "image"
    provenance: str = ""


@dataclass(frozen=True, eq=False)
class PictureRow:
    """Pictures of one slice.

    Args:
        title: e.g. the slice's name.
        pictures: the upper line, at least one.
        below: the lower line, aligned with the upper one (e.g. the error under its image); None leaves a gap.
        window: (black, white) of the grey images; None for 0 to the 99.8th percentile of the first picture.
        error_factor: errors and deviations are drawn this many times brighter than images, > 0.
        spacing: (row, column) size of a pixel in any unit, for the shape of the pictures.
        provenance: tag of the pictures without one of their own; empty for the page's.
        unit: unit of the intensities; empty for normalised ones.
    """

    title: str
    pictures: tuple[Picture, ...]
    below: tuple[Picture | None, ...] = ()
    window: tuple[float, float] | None = None
    error_factor: float = 5.0
    spacing: tuple[float, float] = (1.0, 1.0)
    provenance: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.pictures:
            raise ValueError(f"pictures of row {self.title!r}: found none; give at least one.")
        if len(self.below) > len(self.pictures):
            raise ValueError(
                f"below of row {self.title!r}: found {len(self.below)} pictures under {len(self.pictures)}; "
                "give at most one for each, None for a gap."
            )
        if not (np.isfinite(self.error_factor) and self.error_factor > 0):
            raise ValueError(f"error_factor: found {self.error_factor}; it must be finite and > 0.")
        if min(self.spacing) <= 0:
            raise ValueError(f"spacing: found {self.spacing}; both sizes must be > 0.")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(f"window: found {self.window}; black must be below white.")


@dataclass(frozen=True)
class DrawnPicture:
    """A picture as the template needs it: `source` is a data URI, `shape` the ratio width / height."""

    source: str
    shape: float
    label: str
    caption: str
    provenance: str


@dataclass(frozen=True)
class DrawnRow:
    """A row as the template needs it; `lines` are the upper and the lower line, None for gaps."""

    title: str
    lines: tuple[tuple[DrawnPicture | None, ...], ...]
    window: tuple[str, str]
    scale: str
    factor: str
    unit: str


def draw_row(row: PictureRow, provenance: str) -> DrawnRow:
    """Window, colour and encode the pictures of a row.

    Args:
        row: the row.
        provenance: the page's tag, for pictures without one.
    """
    first = _checked(row.pictures[0])
    low, high = row.window or _window(first)
    scale = (high - low) / row.error_factor
    tag = row.provenance or provenance

    def drawn(picture: Picture | None) -> DrawnPicture | None:
        if picture is None:
            return None
        values = _checked(picture)
        limits = (low, high) if picture.kind == "image" else (0.0, scale)
        values = values if picture.kind == "image" else np.abs(values)
        height, width = values.shape[0] * row.spacing[0], values.shape[1] * row.spacing[1]
        source = _png(values, limits, _COLOURS[picture.kind])
        return DrawnPicture(source, width / height, picture.label, picture.caption, picture.provenance or tag)

    lines = [tuple(drawn(picture) for picture in row.pictures)]
    if row.below:
        gaps = (None,) * (len(row.pictures) - len(row.below))
        lines.append((*(drawn(picture) for picture in row.below), *gaps))
    coloured = any(picture is not None and picture.kind != "image" for picture in (*row.pictures, *row.below))
    return DrawnRow(
        title=row.title,
        lines=tuple(lines),
        window=(f"{low:.3g}", f"{high:.3g}"),
        scale=f"{scale:.3g}" if coloured else "",
        factor=f"{row.error_factor:g}",
        unit=row.unit,
    )


def colour_bar() -> str:
    """Data URI of the horizontal colour scale of errors and deviations, 256 x 1."""
    return _png(np.arange(256.0)[None], (0.0, 255.0), _COLOURS["error"])


def _checked(picture: Picture) -> NDArray[np.float64]:
    array = np.asarray(picture.array)
    colours = picture.kind == "image" and array.ndim == 3 and array.shape[2] == 3
    if not (array.ndim == 2 or colours) or array.size == 0 or np.iscomplexobj(array):
        raise ValueError(
            f"picture {picture.label!r}: found {array.dtype} of shape {array.shape}; allowed are real arrays (H, W), "
            "and (H, W, 3) for images in colours."
        )
    if picture.kind not in _COLOURS:
        raise ValueError(f"picture {picture.label!r}: found kind {picture.kind!r}; allowed are {', '.join(_COLOURS)}.")
    values: NDArray[np.float64] = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"picture {picture.label!r}: found values that are not finite; set them before drawing.")
    return values


def _window(values: NDArray[np.float64]) -> tuple[float, float]:
    """Black at 0, or below it where there are negative values; white at the 99.8th percentile."""
    low, high = min(0.0, float(np.quantile(values, 0.002))), float(np.quantile(values, 0.998))
    return (low, high) if high > low else (low, low + 1.0)


def _png(values: NDArray[np.float64], limits: tuple[float, float], colours: str) -> str:
    """Encode as an 8-bit palette PNG; values outside the limits take the colours at the ends."""
    from matplotlib import colormaps
    from PIL import Image

    low, high = limits
    index = np.clip(np.rint((values - low) / (high - low) * 255), 0, 255).astype(np.uint8)
    image = Image.fromarray(index)
    if colours != "gray":
        image.putpalette((colormaps[colours](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
