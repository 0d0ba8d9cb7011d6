"""Measurement noise and fixed masks: one prior at R = 4, 6, 8 and noise 0, 0.01, 0.1 of the image's peak.

    OMP_NUM_THREADS=1 python experiments/noise-and-masks/run.py

does everything; a step whose result is there is skipped, a training that was stopped goes on.

    --quick           the same steps at the smallest size, into runs/noise-and-masks-quick
    --only tune       some of the steps: tune, baselines, choose, priors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from measure import choose, compare, kept, reconstruct, tune_all
from settings import Setting, Size

from skiagraph.tasks.reconstruct.demo import shipped_prior

STEPS = ("tune", "baselines", "choose", "priors")
ACQUIRED = 0.005


def quick() -> Size:
    """The smallest size that passes through every line."""
    folder = Path("runs/noise-and-masks-quick")
    return Size(folder, rates=(4.0,), noises=(0.1,), slices=2, tuned_on=1, samples=2, part=0.01, grid=2)


def priors(size: Size) -> dict[str, Path]:
    """Folders of the priors that stand side by side at every setting."""
    return {"shipped": shipped_prior()}


def measure(size: Size, only: list[str]) -> None:
    """Every step that measures, in the order in which they need one another."""
    for setting in size.settings():
        strengths = size.folder / f"tuned-{setting.name}.json"
        if "tune" in only:
            kept(strengths, lambda setting=setting: tune_all(setting, size))  # type: ignore[misc]
        if "baselines" in only:
            found = kept(strengths, lambda setting=setting: tune_all(setting, size))  # type: ignore[misc]
            path = size.folder / f"baselines-{setting.name}.json"
            kept(path, lambda setting=setting, found=found: compare(setting, size, found))  # type: ignore[misc]
    for name, folder in priors(size).items():
        for setting in size.settings():
            if "priors" in only:
                path = size.folder / f"{name}-{setting.name}.json"
                kept(path, lambda f=folder, s=setting: reconstruct(f, s, size))  # type: ignore[misc]
        for setting in [Setting(rate, noise) for rate in size.rates for noise in (*size.noises, ACQUIRED)]:
            if "choose" in only:
                path = size.folder / f"choice-{name}-{setting.name}.json"
                kept(path, lambda f=folder, s=setting: choose(f, s, size))  # type: ignore[misc]


def main() -> None:
    """Run the steps asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest size")
    parser.add_argument("--only", nargs="*", choices=STEPS, default=list(STEPS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measure(quick() if arguments.quick else Size(Path("runs/noise-and-masks")), arguments.only)


if __name__ == "__main__":
    main()
