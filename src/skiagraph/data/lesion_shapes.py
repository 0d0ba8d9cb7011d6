"""Shapes of real lesions to insert into images: outlines of pneumothoraces, read from a pinned archive of radiographs.

Outlines only: nothing of a chest is used but the shape of a region that a reader drew.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.archives import Archive, Member, cache_folder, download, extract, file_sha256
from skiagraph.errors import DataError, InputError, SampleUnavailable

__all__ = [
    "SHAPE_ARCHIVE",
    "LesionShape",
    "ShapeBank",
    "Side",
    "decode_runs",
    "fetch_shapes",
    "read_shapes",
    "shape_of",
]

Side = Literal["train", "validation", "test"]
SIZE = 1024
_COARSE = 4
_LEAST_PIXELS = 300
SHAPE_ARCHIVE = Archive(
    "pypi",
    "torchxrayvision",
    "1.5.7",
    29002185,
    "95f6c3475661f3515d4258deb0855bd5d1b1a56e0b65384251d3dd3fa61fac41",
    {
        "outlines": Member(
            "torchxrayvision/data/siim-pneumothorax-train-rle.csv.gz",
            "f3663a1ae9d11067b7a37a3c4fb69e22eb3c7a960d4118c47235e0e1cab64489",
        ),
    },
)
"""Outlines of 2,669 radiographs as run lengths (package licence Apache-2.0)."""


@dataclass(frozen=True, eq=False)
class LesionShape:
    """One outline, scaled so that its area is that of a disc of diameter 1.

    Attributes:
        distance: (H, W) float32, signed distance to the outline in units of that diameter, negative inside.
        step: width of a pixel in the same unit.
        compact: whether it fills at least 0.7 of its convex hull; else it is a crescent or the like.
        source: name of the image it was drawn on.
    """

    distance: NDArray[np.float32]
    step: float
    compact: bool
    source: str

    @property
    def depth(self) -> float:
        """Largest distance from the outline inside: 0.5 for a disc."""
        return -float(self.distance.min())


def decode_runs(rows: Sequence[str], size: int = SIZE) -> NDArray[np.bool_]:
    """The mask (size, size) of one image from its rows of run lengths.

    Pairs (gap, length), the gap counted from the end of the run before; runs go down columns; "-1" is no mask.

    Args:
        rows: one text a mask; their union is returned.
        size: pixels of a side.
    """
    flat = np.zeros(size * size, dtype=bool)
    for row in rows:
        numbers = np.array(row.split(), dtype=np.int64)
        if numbers.size == 1 and numbers[0] == -1:
            continue
        if numbers.size % 2 or (numbers < 0).any():
            raise DataError(f"run lengths: found {numbers.size} numbers, {row[:40]!r}; pairs of gap and length needed")
        ends = np.cumsum(numbers)[1::2]
        if numbers.size and ends[-1] > flat.size:
            raise DataError(f"run lengths: they end at pixel {int(ends[-1])} of an image of {flat.size}")
        for end, length in zip(ends, numbers[1::2], strict=True):
            flat[end - length : end] = True
    return flat.reshape(size, size).T


def shape_of(mask: NDArray[np.bool_], source: str, *, least: int = 1) -> LesionShape | None:
    """The shape of a mask's largest piece, or None where it has fewer than `least` pixels.

    Args:
        mask: (H, W).
        source: for records.
        least: pixels.
    """
    from scipy import ndimage
    from skimage.morphology import convex_hull_image

    pieces, count = ndimage.label(mask)
    if count == 0:
        return None
    piece = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    area = int(piece.sum())
    if area < least:
        return None
    rows, columns = (np.flatnonzero(piece.any(axis=axis)) for axis in (1, 0))
    cut = piece[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    compact = bool(area / max(int(convex_hull_image(cut).sum()), 1) >= 0.7) if min(cut.shape) > 2 else False
    cut = np.pad(cut, max(cut.shape) // 2 + 2)
    # half a pixel less on either side, so that the outline lies between the pixels
    signed = np.where(cut, 0.5 - ndimage.distance_transform_edt(cut), ndimage.distance_transform_edt(~cut) - 0.5)
    diameter = 2 * math.sqrt(area / math.pi)
    return LesionShape((signed / diameter).astype(np.float32), 1 / diameter, compact, source)


@dataclass(frozen=True, eq=False)
class ShapeBank:
    """Outlines by image, decoded on demand.

    Attributes:
        runs: image -> its rows of run lengths.
        compact_share: share of drawn shapes that are compact; the others are elongated.
        least_depth: shapes thinner than this are not drawn; depth in equivalent diameters, 0.5 for a disc.
        origin: for records.
    """

    runs: dict[str, tuple[str, ...]]
    compact_share: float = 0.8
    least_depth: float = 0.2
    origin: str = ""
    _known: dict[str, LesionShape | None] = field(default_factory=dict, repr=False)

    def names(self, side: Side) -> list[str]:
        """Images of one side: 70 % train, 15 % validation, 15 % test, by a hash of their names."""
        return [name for name in self.runs if _side_of(name) == side]

    def shape(self, name: str) -> LesionShape | None:
        """The shape drawn on one image; None where it is too small."""
        if name not in self._known:
            mask = decode_runs(self.runs[name])
            rough = mask.reshape(SIZE // _COARSE, _COARSE, SIZE // _COARSE, _COARSE).mean((1, 3)) >= 0.5
            self._known[name] = shape_of(rough, name, least=_LEAST_PIXELS // _COARSE**2)
        return self._known[name]

    def draw(self, side: Side, generator: np.random.Generator) -> LesionShape:
        """A shape of one side; test shapes are never drawn in training.

        Args:
            side: "train", "validation" or "test".
            generator: of every draw.
        """
        names = self.names(side)
        if not names:
            raise InputError(f"side is {side!r}; the bank has no shape there (it has {len(self.runs)} images in all)")
        wanted = bool(generator.random() < self.compact_share)
        for _ in range(200):
            found = self.shape(names[int(generator.integers(len(names)))])
            if found is not None and found.compact == wanted and found.depth >= self.least_depth:
                return found
        raise DataError(f"no {'compact' if wanted else 'elongated'} shape in 200 draws of side {side!r}")


def _side_of(name: str) -> Side:
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return "train" if place < 0.7 else "validation" if place < 0.85 else "test"


def read_shapes(path: Path, *, compact_share: float = 0.8) -> ShapeBank:
    """The bank from a gzipped CSV with the columns ImageId and EncodedPixels.

    Args:
        path: the file.
        compact_share: see `ShapeBank`.
    """
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = list(csv.reader(io.StringIO(stream.read())))
    names = [name.strip() for name in rows[0]]
    if names[:2] != ["ImageId", "EncodedPixels"]:
        raise DataError(f"{path} has the columns {names}; ImageId and EncodedPixels are needed")
    runs: dict[str, tuple[str, ...]] = {}
    for name, text in (row[:2] for row in rows[1:]):
        if text.strip() != "-1":
            runs[name] = (*runs.get(name, ()), text.strip())
    return ShapeBank(runs, compact_share, origin=path.name)


def fetch_shapes(
    *, cache: str | os.PathLike[str] | None = None, download_allowed: bool = True, compact_share: float = 0.8
) -> ShapeBank:
    """The bank, from the cache or from the registry, its sha256 checked either way.

    Args:
        cache: folder; default $SKIAGRAPH_CACHE, else ~/.cache/skiagraph.
        download_allowed: False looks in the cache only.
        compact_share: see `ShapeBank`.
    """
    member = SHAPE_ARCHIVE.members["outlines"]
    target = cache_folder(cache) / "shapes" / SHAPE_ARCHIVE.sha256[:16] / Path(member.path).name
    if not (target.is_file() and file_sha256(target) == member.sha256):
        if not download_allowed:
            raise SampleUnavailable(f"{SHAPE_ARCHIVE}: not in {target.parent}, and downloading was not allowed")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target.parent) as work:
            path = download(SHAPE_ARCHIVE, Path(work) / "download")
            os.replace(extract(path, SHAPE_ARCHIVE, Path(work) / "members")["outlines"], target)
    return read_shapes(target, compact_share=compact_share)
