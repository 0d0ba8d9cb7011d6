"""A first look at a prior: a few images of every class, beside real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skiagraph.data.labelled_split import ImageSplit
from skiagraph.data.png import contact_sheet, write_png
from skiagraph.diffusion.denoiser import NetworkDenoiser
from skiagraph.diffusion.grid import Grid, Quadratic, Uniform
from skiagraph.diffusion.guidance import Clip
from skiagraph.diffusion.rules.ddim import DDIM
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import DiscreteTable
from skiagraph.diffusion.streams import Streams
from skiagraph.report import Picture, PictureRow
from skiagraph.training.order import derive_seed

__all__ = ["preview"]

EACH, LEVELS = 8, 50


@torch.no_grad()
def preview(denoiser: NetworkDenoiser, split: ImageSplit, seed: int, file: Path) -> tuple[PictureRow, ...]:
    """Draw eight images of every class (deterministic DDIM, 49 levels), write them as one sheet, show one row a class.

    Args:
        denoiser: of the averaged weights, on the levels of training.
        split: real images for comparison, of the training side.
        seed: of the draws.
        file: PNG to write, one line a class.
    """
    images = split.images
    device = next(denoiser.network.parameters()).device
    labels = torch.arange(len(images.classes)).repeat_interleave(EACH).to(device)
    streams = Streams([derive_seed("skiagraph-preview", seed, k) for k in range(len(labels))], device)
    start = streams.normal(images.channels, *images.size)
    whole = len(denoiser.schedule) if isinstance(denoiser.schedule, DiscreteTable) else 0
    grid: Grid = Quadratic(LEVELS) if whole == 1000 else Uniform(min(LEVELS, whole))
    drawn = final(trajectory(Clip(denoiser), start, grid, DDIM(), cond={"label": labels}, streams=streams))
    pixels = _grey(drawn.cpu().numpy())
    write_png(file, contact_sheet(list(pixels), EACH), {"Source": "synthetic, drawn from a prior"})
    rows, real = [], split.side("train")
    for number, name in enumerate(images.classes):
        shown = [Picture(image, "synthetic", provenance="synthetic") for image in pixels[number * EACH :][:EACH]]
        places = np.flatnonzero(real.labels == number)
        chosen = places[np.linspace(0, len(places) - 1, min(EACH, len(places))).astype(int)]
        below = tuple(Picture(image, "real") for image in _grey(real.images[chosen]))
        rows.append(PictureRow(name, tuple(shown), below, window=(0, 255)))
    return tuple(rows)


def _grey(images: NDArray[Any]) -> NDArray[np.uint8]:
    """(N, C, H, W) in [-1, 1] as (N, H, W) or (N, H, W, 3) bytes, rounded."""
    bytes_ = np.round((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return bytes_[:, 0] if bytes_.shape[1] == 1 else np.moveaxis(bytes_, 1, 3)
