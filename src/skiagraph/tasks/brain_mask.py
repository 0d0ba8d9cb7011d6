"""The brain in a head volume of any contrast, by SynthStrip."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.regrid import check_source, grid_of, reorient, resample, spaced_grid
from skiagraph.data.volume import Volume
from skiagraph.errors import DataError

if TYPE_CHECKING:
    from skiagraph.networks.synthstrip import SynthStripNetwork

__all__ = ["BrainMask", "brain_mask", "load_synthstrip"]

_LEAST_SIDE = 192


@dataclass(frozen=True)
class BrainMask:
    """What was found.

    Attributes:
        mask: (X, Y, Z) bool on the volume's own grid.
        distance_mm: (X, Y, Z) float32, signed distance to the surface, negative inside.
        litres: volume of the mask.
    """

    mask: NDArray[np.bool_]
    distance_mm: NDArray[np.float32]
    litres: float


def load_synthstrip(*, cache: str | os.PathLike[str] | None = None, download_allowed: bool = True) -> SynthStripNetwork:
    """The network with its published weights, ready to use.

    The published file is read once, as plain tensors, checked name by name and shape by shape, and kept as safetensors
    in the cache.

    Args:
        cache: folder; default $SKIAGRAPH_CACHE, else ~/.cache/skiagraph.
        download_allowed: False looks in the cache only.
    """
    import torch
    from safetensors.torch import load_file, save_file

    from skiagraph.data.archives import cache_folder
    from skiagraph.data.files import atomic_path
    from skiagraph.data.network_archives import SYNTHSTRIP, fetch_weights
    from skiagraph.networks.synthstrip import SynthStripNetwork

    network = SynthStripNetwork().eval().requires_grad_(False)
    kept = cache_folder(cache) / "networks" / SYNTHSTRIP.sha256[:16] / "synthstrip.safetensors"
    try:
        if kept.is_file():
            network.accept(load_file(kept))
            return network
        path = fetch_weights(SYNTHSTRIP, cache=cache, download_allowed=download_allowed)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        network.accept(content["model_state_dict"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{kept.parent}: the weights are not SynthStrip's as published ({error}); delete it") from error
    with atomic_path(kept, suffix=".safetensors") as partial:
        save_file(network.state_dict(), partial)
    return network


def brain_mask(volume: Volume, network: SynthStripNetwork | None = None, *, border_mm: float = 1.0) -> BrainMask:
    """Segment the brain, with the fluid around it, on the volume's own grid.

    The volume is turned to LIA, sampled at 1 mm, padded, and scaled by its minimum and 99.9th percentile; the mask is
    the largest piece with distance below `border_mm`, holes filled. About half a minute and 4 GB on one core.

    Args:
        volume: a head in any contrast.
        network: from `load_synthstrip`; None fetches it.
        border_mm: larger values take in more of what surrounds the brain.
    """
    import torch
    from scipy import ndimage

    from skiagraph.networks.synthstrip import SIDE_MULTIPLE

    check_source(volume, largest_tilt_degrees=90.0)
    network = load_synthstrip() if network is None else network
    upright = reorient(volume, "LIA")
    image = resample(upright, spaced_grid(grid_of(upright), (1.0, 1.0, 1.0)), order=1)
    padded, inner = _padded(image.array, SIDE_MULTIPLE)
    padded -= padded.min()
    padded = np.clip(padded / max(float(np.quantile(padded, 0.999)), 1e-12), 0.0, 1.0)
    with torch.inference_mode():
        predicted = network(torch.from_numpy(padded.astype(np.float32))[None, None])[0, 0].numpy()[inner]
    found = Volume(np.ascontiguousarray(predicted), image.affine, volume.source)
    distance = resample(found, grid_of(volume), order=1, outside=float(predicted.max())).array
    labels, count = ndimage.label(distance < border_mm)
    if count == 0:
        raise DataError(f"{volume.source or 'volume'}: no brain was found; is it a head, is the grid's unit mm?")
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    mask = np.asarray(ndimage.binary_fill_holes(largest), dtype=bool)
    litres = float(mask.sum() * abs(np.linalg.det(volume.affine[:3, :3])) / 1e6)
    return BrainMask(mask, np.asarray(distance, dtype=np.float32), litres)


def _padded(array: NDArray[Any], multiple: int) -> tuple[NDArray[np.float32], tuple[slice, ...]]:
    """The array in the middle of a box of its minimum, and where it lies."""
    sides = [max(_LEAST_SIDE, -(-side // multiple) * multiple) for side in array.shape]
    before = [(new - old) // 2 for new, old in zip(sides, array.shape, strict=True)]
    inner = tuple(slice(start, start + old) for start, old in zip(before, array.shape, strict=True))
    padded = np.full(sides, array.min(), dtype=np.float32)
    padded[inner] = array
    return padded, inner
