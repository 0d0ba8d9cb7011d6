"""The arms of the claim on all sets at once, where they were drawn alike: fresh noise, one synthetic crop a real one.

    python experiments/synthesize-organs/together.py

reads the trainings that `walk.py` and `run.py --set trunk-wall-few` and `--set coronal-few` left, prints how far the
uncertainty arm, and unpushed images chosen for uncertainty (`mined`), are ahead of every other on each set and on the
mean of the sets, and trains nothing. Test crops are
drawn anew within every set; networks and seeds are the same in all of them and are drawn once for all. The sets are of
one patient, and two of them hold the same organs in other planes: they are not independent heads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from screen import ROOT

from skiagraph.config import load_settings
from skiagraph.evaluation.classification import Predictions, class_recalls, mean_of_known
from skiagraph.evaluation.downstream import Draws, draw_study
from skiagraph.tasks.downstream.arms import Arm, Cell
from skiagraph.tasks.downstream.sets import read_study_sets
from skiagraph.tasks.downstream.settings import DownstreamSettings
from skiagraph.tasks.downstream.study import Study

__all__ = ["together"]

SETS = {  # title: folder of the study, what stands before the names of its synthetic sets
    "organs, axial": (Path("runs/organs-few/walk/downstream"), "fresh-"),
    "trunk's wall, axial": (Path("runs/trunk-wall-few/downstream"), ""),
    "organs, coronal": (Path("runs/coronal-few/downstream"), ""),
}
RIVALS = ("real", "unguided", "classifier", "cfg")
UNSURE = ("uncertainty", "mined")


def scored(folder: Path, before: str, shared: Draws | None) -> tuple[dict[str, NDArray[np.float64]], Draws]:
    """(B + 1,) balanced accuracy of every arm on every draw, the plain one first; {} if a run is missing; the draws.

    Args:
        folder: of the study.
        before: of the names of its synthetic sets.
        shared: draws of which networks and seeds are taken.
    """
    settings = load_settings(DownstreamSettings, folder / "config.yaml")
    study = Study(folder, read_study_sets(settings), settings)
    runs = [(network, seed) for seed, network in product(range(settings.seeds), settings.networks)]
    test = study.sets.test
    groups = list(zip(test.patients or (), test.labels.tolist(), strict=True))
    order = list(SETS.values()).index((folder, before))
    draws = draw_study(test.labels, runs, groups=groups, resamples=settings.resamples, seed=order)
    draws = draws if shared is None else replace(draws, runs=shared.runs)
    found = {}
    for name in (*RIVALS, *UNSURE):
        arm = Arm("real") if name == "real" else Arm(before + name, settings.ratio)
        results = [study.read(Cell(seed, network, arm)) for network, seed in runs]
        if any(result is None for result in results):
            return {}, draws
        logits = np.stack([result["logits"] for result in results if result is not None]).astype(np.float64)
        recalls = class_recalls(Predictions.of(softmax(logits, -1), test.labels), draws.images)
        found[name] = (mean_of_known(recalls) * draws.runs).sum(1)
    return found, draws


def line(ahead: NDArray[np.float64]) -> str:
    """Points with their 95 % interval."""
    low, high = np.quantile(ahead[1:], [0.025, 0.975])
    return f"{100 * ahead[0]:+.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def together() -> list[str]:
    """Lines of the table; none where a study is not there yet."""
    if not all((folder / "claim-results.json").exists() or before for folder, before in SETS.values()):
        return []
    found: dict[str, Mapping[str, NDArray[np.float64]]] = {}
    shared: Draws | None = None
    for title, (folder, before) in SETS.items():
        found[title], draws = scored(folder, before, shared)
        shared = shared or draws
        if not found[title]:
            return []
    lines = ["| difference | " + " | ".join(found) + " | mean of the sets |", "|" + " --- |" * (len(found) + 2)]
    for arm, rival in (*product(UNSURE, RIVALS), UNSURE[::-1]):
        ahead = [scores[arm] - scores[rival] for scores in found.values()]
        lines += [f"| {arm} - {rival} | " + " | ".join([*map(line, ahead), line(np.mean(ahead, 0))]) + " |"]
    said = "Points of balanced accuracy; bootstrap over test crops (slabs by class) within each set, and over networks "
    said += "and\nseeds for all sets at once (`together.py`). All sets are of one patient."
    return ["## The claim on all sets drawn alike", "", said, "", *lines, ""]


if __name__ == "__main__":
    os.chdir(ROOT)
    print("\n".join(together()) or "not all of the studies are there yet")
