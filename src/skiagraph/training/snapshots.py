"""Saved power-function averages, and the average of any other length rebuilt from them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from skiagraph.errors import DataError
from skiagraph.training.checkpoint import load_tensors, save_tensors
from skiagraph.training.ema import PowerAverage, Profile, combine, posthoc_weights

__all__ = ["find_snapshots", "rebuild_average", "save_snapshot"]


def save_snapshot(folder: Path, average: PowerAverage, images: int) -> Path:
    """Write one average at `images` images seen into `folder`."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{average.name}-{images:012d}.safetensors"
    save_tensors(path, average.values, {"length": average.length, "images": images})
    return path


def find_snapshots(folder: Path) -> dict[Path, Profile]:
    """Return the snapshots in `folder` with their length and images seen, in the order of their names."""
    found = {}
    for path in sorted(folder.glob("power-*.safetensors")):
        length, _, images = path.stem.removeprefix("power-").rpartition("-")
        try:
            found[path] = Profile(float(length), float(images))
        except ValueError as error:
            raise DataError(f"{path}: its name does not read power-LENGTH-IMAGES.safetensors; move it away.") from error
    return found


def rebuild_average(folder: Path, length: float, *, images: int | None = None) -> dict[str, Tensor]:
    """Rebuild the power-function average of a length that was not tracked (Karras et al. 2024, section 3.2).

    Args:
        folder: the run's `snapshots` folder.
        length: wanted relative width sigma_rel in (0, 0.2887).
        images: images seen at which the average ends; None takes the last snapshot's. Later snapshots are not used.
    """
    found = find_snapshots(folder)
    if not found:
        raise DataError(f"{folder}: found no snapshots; train with snapshot_every set.")
    last = max(profile.images for profile in found.values()) if images is None else float(images)
    used = {path: profile for path, profile in found.items() if profile.images <= last}
    if not used:
        raise DataError(f"{folder}: found no snapshot up to {images} images seen.")
    weights = posthoc_weights(list(used.values()), Profile(length, last))
    return combine((load_tensors(path)[0] for path in used), weights)
