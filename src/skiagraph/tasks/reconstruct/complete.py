"""Complete undersampled scans by posterior samples: the expectation step of an EM round (measurement-score, 12.8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from skiagraph.physics.fourier import CoilFourier, to_real
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.posterior import SamplerSettings, posterior_samples, slice_seeds
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["complete_scans"]


def complete_scans(
    scan: PreparedScan,
    prior: Path,
    *,
    steps: int = 5,
    seed: int = 0,
    precision: Literal["float32", "bfloat16"] = "float32",
    on_progress: Callable[[int, int], None] | None = None,
) -> PreparedScan:
    """Fill the lines that were not measured with those of one posterior sample per slice: scans without gaps.

        k = M y + (1 - M) T x,   x ~ p(x | y) under the prior

    A prior that learns from them sees every line of every scan, as one of fully sampled scans would, and yet no
    fully sampled scan was ever measured. Measured lines stay as they are, noise included.

    Args:
        scan: S undersampled slices.
        prior: folder of a measurement prior, as a rule one trained on these very slices.
        steps: noise levels of the sampler.
        seed: seed of the samples.
        precision: number format of the network.
        on_progress: called with (slices done, slices in all).
    """
    network, _ = load_prior(prior)
    settings = SamplerSettings(samples=1, steps=steps, precision=precision)
    seeds = slice_seeds(seed, [f"completion/{index}" for index in range(len(scan))], 1)
    filled = torch.empty_like(scan.kspace)
    for first in range(0, len(scan), settings.rows):
        chosen = slice(first, first + settings.rows)
        part = scan.select(chosen)
        images = posterior_samples(network, part, settings, seeds[chosen])[:, 0]
        lines = CoilFourier(part.maps).forward(to_real(images))
        filled[chosen] = part.mask * part.kspace + (1 - part.mask) * lines
        if on_progress is not None:
            on_progress(min(first + settings.rows, len(scan)), len(scan))
    return replace(scan, kspace=filled, mask=torch.ones_like(scan.mask))
