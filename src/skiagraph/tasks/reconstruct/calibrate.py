"""Calibrate the error bars of a prior on lines that were measured but hidden: no ground truth is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.physics.coils import present_coils
from skiagraph.physics.fourier import CoilFourier, to_real
from skiagraph.physics.masks import centre_columns
from skiagraph.tasks.reconstruct.posterior import SamplerSettings, conditional_mean, posterior_samples, slice_seeds
from skiagraph.tasks.reconstruct.scan import PreparedScan

__all__ = ["Spread", "calibrate_spread", "hide_lines"]

INNER = 12


@dataclass(frozen=True)
class Spread:
    """Factor on the posterior standard deviation, and what it was measured on.

        factor^2 = (sum |mean - y|^2 - noise) / sum variance      over hidden measured lines

    Args:
        factor: ratio of the error's root mean square to the predicted one, noise taken out; 1 where nothing could be
            compared.
        slices: number of slices.
        lines: number of hidden lines in all.
    """

    factor: float
    slices: int
    lines: int


def hide_lines(scan: PreparedScan, share: float, centre: int, seed: int = 0) -> tuple[PreparedScan, Tensor]:
    """Hide a random share of each slice's measured lines beyond the innermost `centre` ones: (scan, hidden mask)."""
    generator = torch.Generator().manual_seed(seed)
    coin = torch.rand(scan.mask.shape, generator=generator) < share
    inner = centre_columns(scan.mask.shape[-1], centre)
    hidden = scan.mask * (coin & ~inner).to(scan.mask)
    kept = scan.mask - hidden
    return replace(scan, kspace=scan.kspace * kept, mask=kept), hidden


def calibrate_spread(
    network: ConsistentNetwork, scan: PreparedScan, settings: SamplerSettings, *, share: float = 0.5, seed: int = 0
) -> Spread:
    """Compare predicted and actual errors on hidden lines of scans, their own measurements being the truth.

    Args:
        network: trained network.
        scan: slices with measured lines to spare; undersampled scans will do.
        settings: the sampler whose error bars are calibrated; at least 2 samples.
        share: share of the lines to hide.
        seed: seed of the hidden lines and of the samples.
    """
    reduced, hidden = hide_lines(scan, share, INNER, seed)
    names = [f"calibration/{index}" for index in range(len(scan))]
    means = conditional_mean(network, reduced)
    samples = posterior_samples(network, reduced, settings, slice_seeds(seed, names, settings.samples))
    count, coils = settings.samples, present_coils(scan.maps).tolist()
    error = predicted = noise = 0.0
    for index in range(len(scan)):
        operator = CoilFourier(scan.maps[index : index + 1].expand(count, -1, -1, -1))
        lines = hidden[index] * operator.forward(to_real(samples[index]))
        measured = hidden[index] * scan.kspace[index]
        centre = hidden[index] * CoilFourier(scan.maps[index : index + 1]).forward(to_real(means[index : index + 1]))
        error += float((centre[0] - measured).abs().square().sum())
        predicted += float((lines - lines.mean(0)).abs().square().sum()) / (count - 1)
        noise += 2 * float(scan.noise[index]) ** 2 * float(hidden[index].sum()) * coils[index] * measured.shape[-2]
    if predicted == 0:  # no line beyond the innermost to compare on
        return Spread(1.0, len(scan), int(hidden.sum()))
    factor = max((error - noise) / predicted, 0.0) ** 0.5
    return Spread(factor, len(scan), int(hidden.sum()))
