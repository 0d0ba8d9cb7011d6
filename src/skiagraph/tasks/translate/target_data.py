"""Scans of the target modality as training items: slabs of neighbouring slices, or whole volumes, split by head."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skiagraph.data.intensity import Scaling, percentile_scaling, window_scaling
from skiagraph.data.splits import Split, split_by_head
from skiagraph.data.volume import Volume, read_nifti
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.translate.frame import frame_of, framed, to_slices
from skiagraph.tasks.translate.settings import TranslatePriorSettings

__all__ = ["Slabs", "TargetHead", "cut_off", "find_cases", "fitted", "read_head", "read_heads", "slabs_of", "split_of"]

_MOST_CUT = 0.01  # of the foreground
_LEAST_FOREGROUND = 0.02


@dataclass(frozen=True, eq=False)
class TargetHead:
    """A training scan in the prior's frame.

    Args:
        case: its name.
        image: (X, Y, Z) float32 in [-1, 1].
        mask: (X, Y, Z).
        scaling: of its intensities.
        sha256: of its framed voxels, to recognise the data.
    """

    case: str
    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    scaling: Scaling
    sha256: str


def find_cases(settings: TranslatePriorSettings) -> dict[str, Path]:
    """Case name to file; the name is the folder's where the pattern has one, else the file's."""
    found: dict[str, Path] = {}
    for place in settings.data:
        if not place.exists():
            raise DataError(f"data: {place} does not exist; give NIfTI volumes or folders of them")
        files = sorted(place.glob(settings.pattern)) if place.is_dir() else [place]
        for file in files:
            if file.name == settings.mask_name:
                continue
            nested = place.is_dir() and "/" in settings.pattern
            case = file.parent.name if nested else file.name.removesuffix(".gz").removesuffix(".nii")
            if case in found:
                raise InputError(f"data: {file} and {found[case]} are both called {case!r}; names must differ")
            found[case] = file
    if not found:
        places = ", ".join(map(str, settings.data))
        raise DataError(f"data: nothing in {places} matches {settings.pattern!r}; set `pattern`, such as '*/T1.nii.gz'")
    _require_masks(found, settings)
    return found


def _require_masks(cases: dict[str, Path], settings: TranslatePriorSettings) -> None:
    """Refuse a mask that some volumes have and others lack, and a name that was given and that no mask has."""
    name = settings.mask_name
    without = [] if name is None else [case for case, file in cases.items() if not (file.parent / name).exists()]
    given = name != TranslatePriorSettings.model_fields["mask_name"].default
    if without and (given or len(without) < len(cases)):
        raise DataError(
            f"mask_name: no {name} lies beside the volume of {', '.join(without[:5])}"
            f"{' and others' if len(without) > 5 else ''} ({len(without)} of {len(cases)}); add what is missing, or "
            "set null, so that all that is above a volume's smallest value counts"
        )


def split_of(settings: TranslatePriorSettings, cases: dict[str, Path]) -> Split:
    """Train and validation by head; excluded cases are the test side."""
    unknown = sorted(set(settings.heads) - set(cases))
    if unknown:
        raise InputError(f"heads: {', '.join(unknown)} is no case here; there are {', '.join(sorted(cases))}")
    heads = {case: settings.heads.get(case, case) for case in cases}
    for name in ("exclude", "validation"):
        unknown = sorted(set(getattr(settings, name)) - set(heads.values()))
        if unknown:
            known = ", ".join(sorted(set(heads.values())))
            raise InputError(f"{name}: {', '.join(unknown)} is no head here; there are {known}")
    split = split_by_head(heads, test=settings.exclude, validation=settings.validation)
    if not split.train:
        raise InputError("data: every case is excluded or kept for validation; none is left to learn from")
    return split


def read_head(case: str, file: Path, settings: TranslatePriorSettings) -> TargetHead:
    """One scan, scaled and brought to the prior's frame."""
    volume = read_nifti(file)
    beside = None if settings.mask_name is None else file.parent / settings.mask_name
    if beside is not None and beside.exists():
        given = read_nifti(beside)
        if given.array.shape != volume.array.shape or not np.allclose(given.affine, volume.affine, atol=1e-3):
            raise DataError(f"{beside}: does not lie on the grid of {file.name}; resample it")
        mask = given.array > 0.5
    else:
        mask = volume.array > float(volume.array.min())
    scaling = window_scaling(*settings.window) if settings.window else _scaling(volume, mask, settings)
    rows, columns = settings.size[-2:]
    image, inside = framed(volume, mask, frame_of(volume, mask, settings.spacing_mm, (rows, columns)), scaling)
    return TargetHead(case, image, inside, scaling, hashlib.sha256(image.tobytes()).hexdigest())


def _scaling(volume: Volume, mask: NDArray[np.bool_], settings: TranslatePriorSettings) -> Scaling:
    try:
        return percentile_scaling(volume.array, mask, settings.percentiles)
    except DataError as error:
        raise DataError(f"{volume.source}: {error}") from error


def read_heads(
    cases: dict[str, Path], names: tuple[str, ...], settings: TranslatePriorSettings, on_progress: OnProgress = silent
) -> list[TargetHead]:
    """The scans of some cases."""
    heads = []
    for number, case in enumerate(names):
        on_progress("reading scans", number, len(names))
        heads.append(read_head(case, cases[case], settings))
    return heads


def fitted(array: NDArray[Any], shape: tuple[int, ...], fill: Any) -> NDArray[Any]:
    """The last axes cut or padded, about their middle, to `shape`."""
    lead = array.ndim - len(shape)
    source, target = [slice(None)] * lead, [slice(None)] * lead
    for found, wanted in zip(array.shape[lead:], shape, strict=True):
        margin = abs(found - wanted) // 2
        source.append(slice(margin, margin + wanted) if found > wanted else slice(None))
        target.append(slice(margin, margin + found) if found < wanted else slice(None))
    result = np.full((*array.shape[:lead], *shape), fill, dtype=array.dtype)
    result[tuple(target)] = array[tuple(source)]
    return result


def cut_off(heads: list[TargetHead], settings: TranslatePriorSettings) -> str:
    """What to say where heads are larger than the training slices (volumes), which cut them; else nothing."""
    size = tuple(settings.size)
    found: dict[str, float] = {}
    for head in heads:
        for plane in settings.planes:
            mask = to_slices(head.mask, plane)
            share = 1 - float(fitted(mask, size, False).sum()) / max(1, int(mask.sum()))
            if share > _MOST_CUT:
                found[head.case] = max(share, found.get(head.case, 0.0))
    if not found:
        return ""
    worst = max(found, key=lambda case: found[case])
    return (
        f"{len(found)} of {len(heads)} heads are larger than size {size} and are cut to it; most of all {worst!r}, "
        f"which loses {100 * found[worst]:.0f} % of its foreground. Give a larger size, or a larger spacing"
    )


@dataclass(frozen=True, eq=False)
class Slabs:
    """Training items: a slice with neighbours on each side, edge slices repeated; or a whole volume.

    Args:
        stacks: (N, H, W) float32 in [-1, 1], one a head and plane.
        places: (M, 2) int64, stack and middle slice of each item.
        reach: neighbours on each side; None for whole volumes (all stacks of one shape).
    """

    stacks: tuple[Tensor, ...]
    places: Tensor
    reach: int | None

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, indices: Tensor) -> Tensor:
        """(B, D, H, W)."""
        return torch.stack([self._item(*row) for row in self.places[indices].tolist()])

    def _item(self, stack: int, middle: int) -> Tensor:
        whole = self.stacks[stack]
        if self.reach is None:
            return whole
        wanted = torch.arange(middle - self.reach, middle + self.reach + 1).clamp(0, len(whole) - 1)
        return whole[wanted]


def slabs_of(heads: list[TargetHead], settings: TranslatePriorSettings, reach: int) -> Slabs:
    """Items of the heads: every slice with at least 2 % foreground, of every plane; or each head as a volume."""
    stacks: list[Tensor] = []
    places: list[tuple[int, int]] = []
    size = tuple(settings.size)
    for head in heads:
        for plane in settings.planes:
            picture = to_slices(head.image, plane)
            stack = torch.from_numpy(fitted(picture, size if len(size) == 3 else size[-2:], np.float32(-1)))
            if settings.dimensions == 3:
                places.append((len(stacks), 0))
            else:
                shares = fitted(to_slices(head.mask, plane), size[-2:], False).mean((1, 2))
                places += [(len(stacks), int(number)) for number in np.flatnonzero(shares >= _LEAST_FOREGROUND)]
            stacks.append(stack)
    if not places:
        raise DataError("data: no slice has 2 % of foreground; are masks and spacing right?")
    return Slabs(tuple(stacks), torch.tensor(places), None if settings.dimensions == 3 else reach)
