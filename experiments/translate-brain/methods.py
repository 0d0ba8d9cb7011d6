"""The methods of the study, each with the options that it keeps in all directions, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heads import Head, paired, training_slices

from skiagraph.tasks.translate.method import Tools, TranslationMethod, translation_method
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.rescaled import Rescaled

__all__ = ["ABLATION", "ENTRIES", "OURS", "SWEEPS", "Entry", "Kit"]


@dataclass(frozen=True)
class Entry:
    """One row of the tables.

    Args:
        method: name in `translation_method`; "target" is the real target image (ceiling).
        options: as given to it.
        gets: what it is given beyond the target's training scans.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    gets: str = ""


OURS = "ours"
ENTRIES: dict[str, Entry] = {
    "target": Entry("target", gets="the truth's own noisy scan: ceiling"),
    "copy": Entry("copy"),
    "histogram-matching": Entry("histogram-matching"),
    "matching-either": Entry("histogram-matching", {"either": True}),
    "sdedit": Entry("sdedit", {"strength": 0.3}),
    "ilvr": Entry("ilvr", {"factor": 4}),
    "ilvr-edges": Entry("ilvr", {"factor": 4, "part": "high-pass"}),
    "egsde": Entry("egsde", {"strength": 0.3, "weight": 0.1}),
    "egsde-mind": Entry("egsde", {"strength": 0.5, "energy": "mind-ssc", "weight": 0.1}),
    "fgdm": Entry("fgdm"),
    "lmi": Entry("skiagraph", {"role": "target-lmi", "candidates": 1}),
    OURS: Entry("skiagraph"),
    "ours-matched-start": Entry("matched-start", {"strength": 0.3}),
    "ours-one-walk": Entry("skiagraph", {"candidates": 1}),
    "ours-gradient": Entry("skiagraph", {"mode": "gradient", "candidates": 1}),
    "ddib": Entry("ddib", gets="a prior of the source"),
    "cycle-diffusion": Entry("cycle-diffusion", gets="a prior of the source"),
    "intensity-lookup": Entry("intensity-lookup", gets="paired scans"),
    "supervised": Entry("supervised", gets="paired scans"),
}

SWEEPS: dict[str, tuple[dict[str, Any], ...]] = {
    "ours-matched-start": tuple({"strength": value} for value in (0.1, 0.2, 0.4, 0.7)),
    OURS: tuple({"candidates": count} for count in (1, 4, 8, 12)),
    "fgdm": tuple({"candidates": count} for count in (1, 4, 8, 12)),
    "sdedit": tuple({"strength": value} for value in (0.2, 0.3, 0.5, 0.7)),
    "ilvr": tuple({"factor": factor, "until": until} for factor in (4, 8) for until in (0.0, 0.5)),
    "ilvr-edges": tuple({"factor": factor, "part": "high-pass", "until": u} for factor in (4, 8) for u in (0.0, 0.5)),
    "egsde": tuple({"strength": s, "weight": w} for s in (0.3, 0.5) for w in (0.05, 0.2)),
    "egsde-mind": tuple({"strength": s, "energy": "mind-ssc", "weight": w} for s in (0.5, 0.7) for w in (0.1, 0.3)),
    "cycle-diffusion": tuple({"strength": value} for value in (0.3, 0.5, 0.7)),
    "ours-gradient": tuple({"mode": "gradient", "candidates": 1, "push": push} for push in (0.1, 0.3)),
}
"""Options chosen by PSNR on five slices of a validation head for every target; equal calls. See `Rescaled` too."""

_MAPS = {"mind + source": "target", "edges": "target-edges", "lmi": "target-lmi"}
ABLATION: dict[str, Entry] = {
    **{
        f"{name} | condition | {start}": Entry(
            "skiagraph", {"role": role, "candidates": 1, **({} if start == "noise" else {"strength": 0.6})}
        )
        for name, role in _MAPS.items()
        for start in ("noise", "strength 0.6")
    },
    **{
        f"{energy} | {use} | noise": Entry(
            "skiagraph", {"role": role, "mode": mode, "energy": energy, "candidates": 1, "push": 0.1}
        )
        for energy in ("mind-ssc", "lmi")
        for use, mode, role in (("energy", "gradient", "target"), ("both", "hybrid", "target"))
    },
    "none | - | noise": Entry("skiagraph", {"mode": "gradient", "push": 0.0, "candidates": 1}),
    "none | - | strength 0.6": Entry("sdedit", {"strength": 0.6}),
}
"""Kind of map, how it is used, where the walk starts; all with the same number of calls."""


class Kit:
    """Priors, slices and networks for one direction; priors that are not there yet are left out.

    Args:
        folder: of the study's runs.
        source, target: contrasts.
        heads: training heads.
        calls: budget a slice.
    """

    def __init__(self, folder: Path, source: str, target: str, heads: list[Head], calls: int) -> None:
        self.folder, self.source, self.target, self.calls = folder, source, target, calls
        names = {"target": target, "target-edges": f"{target}-edges", "target-lmi": f"{target}-lmi", "source": source}
        self.priors = {
            role: TargetPrior.load(folder / name.lower())
            for role, name in names.items()
            if (folder / name.lower() / "model.safetensors").exists()
        }
        self.target_slices = training_slices(heads, target)
        self.paired = paired(heads, source, target)

    def tools(self, calls: int | None = None) -> Tools:
        """For `translation_method`."""
        return Tools(self.priors, self.calls if calls is None else calls, self.target_slices, self.paired)

    def missing(self, entry: Entry) -> str | None:
        """The prior that an entry needs and that is not there."""
        needs = {
            "sdedit": "target",
            "ilvr": "target",
            "egsde": "target",
            "matched-start": "target",
            "fgdm": "target-edges",
        }
        role = entry.options.get("role", "target") if entry.method == "skiagraph" else needs.get(entry.method)
        if entry.method in ("ddib", "cycle-diffusion"):
            role = "target" if "target" not in self.priors else "source"
        return role if role is not None and role not in self.priors else None

    def method(self, entry: Entry, calls: int | None = None) -> TranslationMethod:
        """Ready to translate."""
        options = dict(entry.options)
        if entry.method == "supervised":
            options["folder"] = self.folder / "networks" / f"supervised-{self.source}-{self.target}"
        rescale = options.pop("rescale", False)
        method = translation_method(entry.method, self.tools(calls), **options)
        return Rescaled(method) if rescale else method
