"""What a segmentation will take, before it is started."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skiagraph.tasks.segment.cases import Case, read_cases
from skiagraph.tasks.segment.checks import require_free, require_workable
from skiagraph.tasks.segment.command_settings import SegmentSettings
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.look import windows_of
from skiagraph.tasks.segment.references import require_expected
from skiagraph.tasks.segment.run import facts_of

__all__ = ["expectation"]


def expectation(settings: SegmentSettings) -> dict[str, Any]:
    """What a run costs, without starting it; what it would refuse is refused here too."""
    require_free(settings.output)
    missing = [str(path) for path in (settings.input, settings.prior, settings.normals) if path and not path.exists()]
    if missing:
        return {"missing": f"not there yet: {', '.join(missing)}; windows, evaluations and time follow from them"}
    prior = LabelledPrior.load(settings.prior, settings.present, settings.absent)
    require_expected(prior, settings.expects)
    window, pixel_mm = settings.window or prior.window, prior.spacing_mm

    def read(path: Path | None) -> list[Case]:
        return [] if path is None else read_cases(path, window=window, pixel_mm=pixel_mm)

    cases, normals, positives = read(settings.input), read(settings.normals), read(settings.positives)
    require_workable(prior, settings, cases, normals)
    learning = [*normals, *positives] * prior.shape[0] if positives else []  # a map a channel, to learn its sign
    looked = [*cases, *normals, *learning]
    windows = sum(windows_of(prior, case, settings) for case in looked)
    one = settings.map
    copies = {"none": 1, "horizontal": 2, "vertical": 2, "both": 4}[one.flips]
    draws = one.seeds * (one.steps if one.engine == "reference" else len(one.levels) * copies)
    evaluations = 2 * draws
    seconds = windows * evaluations * _seconds_an_evaluation(prior)
    return {
        **facts_of(prior, settings, None),
        "cases": len(cases),
        "normals": len(normals),
        "slices": sum(len(case.slices) for case in looked),
        "windows": windows,
        "network_evaluations_per_window": evaluations,
        "seconds_in_the_network": round(seconds, 1),
        "writes": settings.output,
    }


def _seconds_an_evaluation(prior: LabelledPrior) -> float:
    """One evaluation of the network for one window, on this machine just now."""
    x, label = torch.zeros(8, *prior.shape, device=prior.device), prior.label("absent", 8)
    time_of_network = torch.tensor(10.0, dtype=torch.float64)
    found = []
    with torch.no_grad():
        for _ in range(4):  # the first one warms up
            started = time.perf_counter()
            prior.denoiser(x, time_of_network, {"label": label})
            found.append((time.perf_counter() - started) / len(x))
    return float(np.median(found[1:]))
