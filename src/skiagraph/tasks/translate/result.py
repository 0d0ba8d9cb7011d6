"""From translated slices back to the scan's grid, with the maps that say how far to trust them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.data.intensity import Scaling
from skiagraph.data.regrid import resample
from skiagraph.data.volume import Volume
from skiagraph.similarity import LocalInformation
from skiagraph.tasks.translate.frame import to_volume
from skiagraph.tasks.translate.method import SourceStack, Translation
from skiagraph.tasks.translate.scan import Scan

__all__ = ["Region", "Translated", "assemble", "consistency_map", "low_regions", "slice_difference"]

_LEAST_ML = 0.5


@dataclass(frozen=True)
class Region:
    """A piece of the foreground whose consistency is below half of the foreground's median.

    Args:
        centre_mm: world position (RAS+).
        millilitres: its volume.
        consistency: its mean.
    """

    centre_mm: tuple[float, float, float]
    millilitres: float
    consistency: float


@dataclass(frozen=True, eq=False)
class Translated:
    """A translated scan.

    Args:
        volumes: by name, on the scan's grid: "translated", "deviation" (more than one candidate), "consistency" in
            [0, 1], and "candidate-K" where asked for.
        unit: slices (N, 1, H, W) of the result in [0, 1], in the prior's frame.
        deviation: of the candidates, in the same frame and unit, or None.
        consistency: (N, 1, H, W) in [0, 1].
        regions: of low consistency, largest first.
        between_slices: mean |x[z + 1] - x[z]| in the mask of result and source, in [0, 1] units.
    """

    volumes: dict[str, Volume]
    unit: Tensor
    deviation: Tensor | None
    consistency: Tensor
    regions: tuple[Region, ...]
    between_slices: dict[str, float]


def consistency_map(source: SourceStack, unit: Tensor, batch: int = 8) -> Tensor:
    """Local mutual information (default form, 2-D) of source and result, (N, 1, H, W) in [0, 1], 0 outside the mask."""
    measure = LocalInformation.default()
    found = []
    for start in range(0, len(unit), batch):
        part = slice(start, start + batch)
        mask = source.mask[part]
        empty = ~mask.flatten(1).any(1)[:, None, None, None]
        values = measure(source.unit[part], unit[part], mask | empty)
        found.append(torch.where(mask, values, 0.0))
    return torch.cat(found)


def slice_difference(unit: Tensor, mask: Tensor) -> float:
    """Mean |x[z + 1] - x[z]| where both slices have foreground; NaN where there is one slice."""
    both = mask[1:] & mask[:-1]
    if not bool(both.any()):
        return float("nan")
    return float((unit[1:] - unit[:-1]).abs()[both].mean())


def low_regions(consistency: NDArray[np.float32], mask: NDArray[np.bool_], affine: NDArray[Any]) -> tuple[Region, ...]:
    """Connected pieces of at least 0.5 ml whose smoothed consistency is below half of the median, largest first."""
    from scipy import ndimage

    weight = ndimage.uniform_filter(mask.astype(np.float32), 3)
    smooth = ndimage.uniform_filter(consistency * mask, 3) / np.maximum(weight, 1e-6)
    inner = ndimage.binary_erosion(mask)
    if not inner.any():
        return ()
    low = inner & (smooth < 0.5 * float(np.median(smooth[inner])))
    labels, count = ndimage.label(low)
    voxel = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    found = []
    for number in range(1, count + 1):
        piece = labels == number
        size = float(piece.sum()) * voxel
        if size < _LEAST_ML:
            continue
        x, y, z = (affine @ np.array([*np.argwhere(piece).mean(0), 1.0]))[:3]
        found.append(Region((float(x), float(y), float(z)), size, float(smooth[piece].mean())))
    return tuple(sorted(found, key=lambda region: -region.millilitres))


def assemble(scan: Scan, made: Translation, target: Scaling, *, best: bool, keep: bool, modality: str) -> Translated:
    """Choose the result, map its consistency, and bring everything to the scan's grid.

    Args:
        scan: the source.
        made: what the method returned.
        target: scaling of the target modality; results come in its unit.
        best: the candidate with the highest mean consistency in place of the mean.
        keep: also the candidates.
        modality: for names.
    """
    unit = (made.images + 1) / 2
    consistency = consistency_map(scan.stack, unit)
    if best and made.candidates is not None:
        scored = [(consistency_map(scan.stack, (one + 1) / 2), (one + 1) / 2) for one in made.candidates]
        consistency, unit = max(scored, key=lambda pair: float(pair[0].sum()))
    width = target.high - target.low
    volumes = {"translated": _home(scan, target.low + width * unit, target.low)}
    deviation = None if made.deviation is None else made.deviation / 2
    if deviation is not None:
        volumes["deviation"] = _home(scan, width * deviation, 0.0)
    volumes["consistency"] = _home(scan, consistency, 0.0)
    if keep and made.candidates is not None:
        for number, one in enumerate(made.candidates):
            volumes[f"candidate-{number}"] = _home(scan, target.low + width * (one + 1) / 2, target.low)
    regions = low_regions(
        to_volume(consistency[:, 0].numpy()), to_volume(scan.stack.mask[:, 0].numpy()), scan.frame.grid.affine
    )
    between = {
        "result": slice_difference(unit, scan.stack.mask),
        "source": slice_difference(scan.stack.unit, scan.stack.mask),
    }
    return Translated(volumes, unit, deviation, consistency, regions, between)


def _home(scan: Scan, slices: Tensor, background: float) -> Volume:
    """Slices of the frame on the scan's own grid; the background's value outside the scan's mask."""
    inside = scan.stack.mask
    # The edge of the foreground must not be blended with the background by interpolation: it is continued outwards.
    framed = Volume(to_volume(_continued(slices, inside)[:, 0].numpy()), scan.frame.grid.affine, scan.volume.source)
    back = resample(framed, scan.frame.origin, outside=background)
    return Volume(np.where(scan.mask, back.array, np.float32(background)), scan.volume.affine, scan.volume.source)


def _continued(slices: Tensor, inside: Tensor) -> Tensor:
    """Values outside the mask replaced by those of the nearest voxel inside."""
    from scipy import ndimage

    mask = inside[:, 0].numpy()
    nearest = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return torch.from_numpy(slices[:, 0].numpy()[tuple(nearest)])[:, None]
