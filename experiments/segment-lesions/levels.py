"""Which noise levels the maps should look at: sets of them compared on the validation head, by image labels alone.

    python experiments/segment-lesions/levels.py

Two criteria need no mask: the area under the ROC curve of slices (label of the slice against the 0.99 quantile of its
smoothed map), and how many volumes with lesions pass the gate that is calibrated on the normal ones. Dice with the
masks of the same head stands beside them and decides nothing. Writes levels.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from volumes import StudyVolume, study_volumes

from skiagraph.data.files import atomic_path
from skiagraph.diffusion import Streams, perturb
from skiagraph.diffusion.difference.average import level_times
from skiagraph.evaluation.masks import dice
from skiagraph.tasks.segment.command_settings import MaskSettings
from skiagraph.tasks.segment.decide import CaseMap, calibrate, decide
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.training.order import derive_seed

KINDS = ("hyper", "hypo", "iso")
LEVELS = (0.06, 0.10, 0.18, 0.35, 0.68, 1.04)
DRAWS = 2
SETS = {
    "before: 0.10, 0.18, 0.35, 0.68, 1.04": (1, 2, 3, 4, 5),
    "all six": (0, 1, 2, 3, 4, 5),
    "lowest five": (0, 1, 2, 3, 4),
    "lowest four": (0, 1, 2, 3),
    "lowest alone": (0,),
    "adopted: 0.06, 0.18, 0.35, 0.68, 1.04": (0, 2, 3, 4, 5),
}
POWERS = (1.0, 1.5, 2.0)


@torch.no_grad()
def errors(path: Path, prior: LabelledPrior, one: StudyVolume, label: int) -> NDArray[np.float32]:
    """(L, D, H, W): (x0 - D(x_t, label))^2, mean over draws of noise that all labels share; kept in a file."""
    if path.is_file():
        with np.load(path) as content:
            return np.asarray(content["errors"])
    images = torch.from_numpy(one.slices)
    streams = Streams([derive_seed("segment-lesions", 0, one.name)] * len(images))
    labels, found = torch.full((len(images),), label), []
    for number, time in enumerate(level_times(prior.denoiser.schedule, LEVELS)):
        t, total = time.expand(len(images)), torch.zeros_like(images)
        for draw in range(DRAWS):
            noise = streams.fork(f"difference/{number}/{draw}/()").normal_like(images)
            x = perturb(prior.denoiser.schedule, images, t, noise)
            total += (images - prior.denoiser(x, t, {"label": labels}).x0) ** 2 / DRAWS
        found.append(total[:, 0].numpy())
    kept = np.stack(found).astype(np.float32)
    with atomic_path(path, suffix=".npz") as partial:
        np.savez(partial, errors=kept)
    return kept


def judged(
    groups: tuple[list[StudyVolume], list[StudyVolume]],
    evidence: dict[str, NDArray[np.float32]],
    chosen: tuple[int, ...],
    power: float,
) -> dict[str, float]:
    """The two criteria and Dice of a set of levels, weighted by 1 / rho^power."""
    weights = np.array([LEVELS[number] ** -power for number in chosen])
    rules, (normals, lesions) = MaskSettings(), groups

    def case(one: StudyVolume) -> CaseMap:
        maps = np.tensordot(weights / weights.sum(), evidence[one.name][list(chosen)], 1)
        return CaseMap(one.name, maps, one.foreground, one.spacing_mm)

    known = calibrate([case(one) for one in normals], rules)
    made = [decide(case(one), rules, known) for one in lesions]
    values: dict[bool, list[float]] = {True: [], False: []}
    for one in (*normals, *lesions):
        blurred = case(one).blurred(rules)
        for values_of, inside, truth in zip(blurred, one.foreground, one.truth, strict=True):
            if inside.sum() >= 50 and (truth.sum() >= 8 or not one.truth.any()):
                values[bool(truth.any())].append(float(np.quantile(values_of[inside], 0.99)))
    area = mannwhitneyu(values[True], values[False]).statistic / len(values[True]) / len(values[False])
    scores = [dice(found.mask, one.truth) for found, one in zip(made, lesions, strict=True)]
    return {
        "slices_auroc": float(area),
        "passed": sum(found.positive for found in made),
        "lesions": len(lesions),
        "dice": float(np.mean(scores)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/segment"))
    parser.add_argument("--prior", type=Path, default=Path("runs/segment/prior"))
    parser.add_argument("--kept", type=Path, default=Path("runs/segment/study/levels"), help="folder of the errors")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent)
    parser.add_argument("--lesions", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.kept.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind in KINDS:
        prior = LabelledPrior.load(args.prior, present=kind, absent="normal")
        groups = (
            study_volumes(args.data, "validation", "normal", 12, 2),
            study_volumes(args.data, "validation", kind, args.lesions, 2),
        )
        evidence = {}
        for one in (*groups[0], *groups[1]):
            absent, present = (
                errors(args.kept / f"{one.name}.{name}.npz", prior, one, label)
                for name, label in (("normal", prior.labels[1]), (kind, prior.labels[0]))
            )
            evidence[one.name] = absent - present
        for name, chosen in SETS.items():
            for power in POWERS:
                found = judged(groups, evidence, chosen, power)
                rows.append({"kind": kind, "levels": name, "power": power, **found})
                print(kind, name, power, " ".join(f"{key} {value:.2f}" for key, value in found.items()), flush=True)
    with atomic_path(args.results / "levels.json", suffix=".json") as partial:
        partial.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
