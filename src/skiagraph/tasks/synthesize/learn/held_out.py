"""What a prior is worth on images it never saw: its denoising error there beside that on its training images."""

from __future__ import annotations

import torch

from skiagraph.data.labelled_split import ImageSplit
from skiagraph.diffusion.denoiser import Denoiser
from skiagraph.diffusion.schedule import perturb
from skiagraph.diffusion.streams import Streams
from skiagraph.tasks.synthesize.learn.data import side_tensors
from skiagraph.training.order import derive_seed

__all__ = ["held_out_errors"]

LEVELS, MOST, BATCH = 10, 128, 64


@torch.no_grad()
def held_out_errors(denoiser: Denoiser, split: ImageSplit, seed: int) -> dict[str, float]:
    """Mean squared error of the noise, averaged over ten levels from finest to noisiest, on at most 128 images a side.

    A held-out error well above the one on training images says that the prior knows its training images too well.

    Args:
        denoiser: of the averaged weights.
        split: images of both sides.
        seed: of the choice of images and of the noise.
    """
    device = next(denoiser.network.parameters()).device if hasattr(denoiser, "network") else torch.device("cpu")
    levels = torch.linspace(denoiser.schedule.finest, denoiser.schedule.span[0], LEVELS, dtype=torch.float64).round()
    errors = {}
    for side, name in (("train", "noise_error_training"), ("validation", "noise_error_held_out")):
        images = split.side(side)
        if len(images) == 0:
            continue
        order = sorted(
            range(len(images)), key=lambda place: derive_seed("skiagraph-held-out", seed, images.names[place])
        )
        x, labels = side_tensors(images.select(order[:MOST]))
        total = 0.0
        for start in range(0, len(x), BATCH):
            part, label = x[start : start + BATCH].to(device), labels[start : start + BATCH].to(device)
            streams = Streams([derive_seed("skiagraph-held-out", seed, start + k) for k in range(len(part))], device)
            for t in levels:
                noise = streams.normal_like(part)
                alpha, sigma = (value.to(part) for value in denoiser.schedule(t))
                state = perturb(denoiser.schedule, part, t, noise)
                guess = (state - alpha * denoiser(state, t, {"label": label}).x0) / sigma
                total += float((guess - noise).square().flatten(1).mean(1).sum())
        errors[name] = total / (LEVELS * len(x))
    return errors
