"""Pictures of the laboratory: where points lie before and after guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion import Quadratic
from skiagraph.diffusion.guidance.measures import entropy
from skiagraph.diffusion.laboratory import HARD, UNIFORM, Laboratory, judge

__all__ = ["draw_pictures"]

SHOWN = 600  # points of each panel
COLOURS = ("#1f6fb4", "#d9541e")


def draw_pictures(laboratory: Laboratory, folder: Path) -> None:
    """Write points.png and knee.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = {
        "real points": laboratory.sources["real"],
        "unguided samples": laboratory.sources["unguided"],
        "classifier guidance, s = 10": laboratory.sources["s = 10"],
        "released: entropy, 5\n500 + 250 calls": laboratory.two_stage(
            "unguided", laboratory.guided("entropy", 5.0), UNIFORM[250]
        ),
        "released: entropy, 30\n500 + 250 calls": laboratory.two_stage(
            "unguided", laboratory.guided("entropy", 30.0), UNIFORM[250]
        ),
        "default: log-odds target, 2\n60 + 30 calls": laboratory.two_stage(
            "unguided", laboratory.guided("log_odds_target", 2.0, trust=1.5), Quadratic(50), "mirrored"
        ),
    }
    figure, axes = plt.subplots(2, 3, figsize=(11, 8), sharex=True, sharey=True, layout="constrained")
    for axis, (title, points) in zip(axes.flat, panels.items(), strict=True):
        _panel(axis, laboratory, title, points)
    figure.savefig(folder / "points.png", dpi=110, metadata={"Software": None})
    plt.close(figure)
    _knee(plt, laboratory, folder / "knee.png")


def _panel(axis: Any, laboratory: Laboratory, title: str, points: Tensor) -> None:
    """Points over the region in which the classifier is unsure, with its decision boundary."""
    side = torch.linspace(-1.1, 1.1, 221, dtype=torch.float64)
    first, second = torch.meshgrid(side, side, indexing="xy")
    logits = laboratory.base.logits(torch.stack([first.flatten(), second.flatten()], 1), torch.tensor(-1.0))
    odds, unsure = (
        (logits[:, 0] - logits[:, 1]).reshape(first.shape),
        entropy(logits, logits[:, 0]).reshape(first.shape),
    )
    axis.contourf(side, side, unsure, levels=[HARD, 1], colors=["#dddddd"])
    axis.contour(side, side, odds, levels=[0], colors="black", linewidths=1)
    labels = laboratory.labels
    found = judge(laboratory.base, points, labels)
    for label, colour in enumerate(COLOURS):
        chosen = points[:SHOWN][labels[:SHOWN] == label]
        axis.scatter(chosen[:, 0], chosen[:, 1], s=5, alpha=0.6, color=colour, linewidths=0, label=f"meant as {label}")
    axis.set_title(f"{title}\nunsure {100 * found.hard:.1f} %, label kept {100 * found.kept:.1f} %", fontsize=10)
    axis.set_aspect("equal")
    axis.set_xlim(-1.1, 1.1)
    axis.set_ylim(-1.1, 1.1)


def _knee(plt: Any, laboratory: Laboratory, path: Path) -> None:
    """Unsure and kept shares over the scale: the released measure has a cliff, the target none in sight."""
    scales = (0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for axis, measure, grid, mode, trust in (
        (axes[0], "entropy", UNIFORM[250], "reference", float("inf")),
        (axes[1], "log_odds_target", Quadratic(50), "mirrored", 1.5),
    ):
        found = [
            laboratory.judge(
                laboratory.two_stage("unguided", laboratory.guided(measure, scale, trust=trust), grid, mode)
            )
            for scale in scales
        ]
        axis.plot(scales, [100 * each.hard for each in found], "o-", color="#555555", label="unsure")
        axis.plot(scales, [100 * each.kept for each in found], "s--", color="#2a9d57", label="label kept")
        axis.set_xscale("log")
        axis.set_xticks(scales, [f"{scale:g}" for scale in scales])
        axis.minorticks_off()
        axis.set_xlabel("scale")
        axis.set_title(f"{measure}, {'750' if mode == 'reference' else '90'} calls per point", fontsize=10)
    axes[0].set_ylabel("% of points")
    axes[1].legend(loc="center right", fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
