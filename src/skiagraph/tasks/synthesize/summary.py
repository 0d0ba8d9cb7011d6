"""What a run comes to, counted from its manifest: kept and rejected, hardness before and after, labels lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.evaluation import share_interval
from skiagraph.tasks.synthesize.settings import SynthesizeSettings

__all__ = ["HARD", "Flips", "Row", "column", "failures", "label_flips", "notices", "per_class", "reasons", "totals"]

Row = Mapping[str, str]
HARD = 0.3
"""Entropy, in nats, above which an image counts as hard: that of two classes at 9 to 91 %."""
UNCHANGED = 1e-3


@dataclass(frozen=True)
class Flips:
    """Labels lost.

    Args:
        lost: images that lost their label.
        judged: images that could lose it.
        by: "judge", or "guide" where no judge was given.
        paired: whether an image counts as lost only where it showed its label before the push.
    """

    lost: int
    judged: int
    by: str
    paired: bool

    @property
    def rate(self) -> float:
        """Share of labels lost."""
        return self.lost / max(self.judged, 1)

    def words(self) -> str:
        """The rate with its interval and what it is of."""
        low, high = share_interval(self.lost, max(self.judged, 1))
        of = "images that showed their label before" if self.paired else "images drawn do not show theirs"
        return f"{100 * self.rate:.1f} % of {self.judged} {of} (95 %: {100 * low:.1f} to {100 * high:.1f} %)"


def column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    """A column as numbers; NaN where there is none."""
    return np.array([float(row[name]) if row.get(name) else np.nan for row in rows])


def label_flips(rows: Sequence[Row], settings: SynthesizeSettings) -> Flips | None:
    """Labels lost by the push, as the judge sees it, or without a judge the guiding classifier itself.

    Where images are paired with what they were (two stages, hardened images), an image loses its label when its class
    was the likeliest before and is not after; hardened images that are given another label by the class map, and images
    from noise, lose it when their class is not the likeliest. None where no classifier has spoken, or where no image
    showed its label before.
    """
    by = "judge" if settings.judge is not None else "guide"
    names = ("judge_rank_before", "judge_rank") if by == "judge" else ("guide_rank_before", "guide_rank_after")
    after = column(rows, names[1])
    if not len(rows) or np.isnan(after).all():
        return None
    paired = settings.mode != "noise" and not settings.class_map
    could = column(rows, names[0]) == 1 if paired else ~np.isnan(after)
    if not could.any():
        return None
    return Flips(int((could & (after > 1)).sum()), int(could.sum()), by, paired)


def per_class(rows: Sequence[Row], classes: Sequence[str], wanted: Sequence[int]) -> list[dict[str, Any]]:
    """One line a class: wanted, drawn, kept, and rejected by reason."""
    found = []
    for name, target in zip(classes, wanted, strict=True):
        own = [row for row in rows if row["label"] == name]
        line: dict[str, Any] = {"class": name, "wanted": int(target), "drawn": len(own)}
        line["kept"] = sum(row["kept"] == "yes" for row in own)
        for reason in ("label lost", "near-copy", "outlier", "unchanged"):
            line[reason] = sum(row["reason"] == reason for row in own)
        found.append(line)
    return found


def reasons(rows: Sequence[Row]) -> dict[str, int]:
    """Images by the reason they were rejected for."""
    found: dict[str, int] = {}
    for row in rows:
        if row["reason"]:
            found[row["reason"]] = found.get(row["reason"], 0) + 1
    return found


def totals(rows: Sequence[Row], settings: SynthesizeSettings) -> dict[str, Any]:
    """Figures of a run; None where they could not be measured."""
    flips = label_flips(rows, settings)
    hard = {when: column(rows, f"entropy_{when}") for when in ("before", "after")}
    judged = column(rows, "judge_entropy")
    change = column(rows, "measure_after") - column(rows, "measure_before")
    return {
        "drawn": len(rows),
        "kept": sum(row["kept"] == "yes" for row in rows),
        "rejected": reasons(rows),
        "hard_share_before": _share(hard["before"]),
        "hard_share_after": _share(hard["after"]),
        "hard_share_by_judge": _share(judged),
        "median_change_of_measure": _median(change),
        "median_move": _median(column(rows, "moved")),
        "median_nearest_real_distance": _median(column(rows, "nearest_distance")),
        "trust_limited_share_of_pushes": _mean(column(rows, "limited_share")),
        "outside_share_of_estimates": _mean(column(rows, "outside_share")),
        "label_flip_rate": None if flips is None else flips.rate,
        "label_flips": None if flips is None else f"{flips.words()}, by the {flips.by}",
        "network_calls_per_image": _mean(column(rows, "network_calls")),
        "classifier_calls_per_image": _mean(column(rows, "classifier_calls")),
    }


def notices(rows: Sequence[Row], settings: SynthesizeSettings, pushes: bool, compared: bool) -> list[str]:
    """What a reader must know of these images, as sentences."""
    told: list[str] = []
    change = column(rows, "measure_after") - column(rows, "measure_before")
    known = change[~np.isnan(change)]
    if pushes and len(known) and abs(float(np.median(known))) < UNCHANGED:
        told.append(
            f"The run changes nothing: the median change of {settings.guide.measure} over {len(known)} images is "
            f"{float(np.median(known)):.2g}. Raise guide.scale (try `skiagraph synthesize sweep`){_instead(settings)}."
        )
    if settings.judge is None:
        told.append(
            "No judge was given: nothing independent says whether the images show their labels. Give `judge`, a "
            "classifier trained apart from the one that guides."
        )
    if not compared:
        told.append("No real images were given: neither near-copies nor outliers were looked for. Give `real`.")
    return told


def _instead(settings: SynthesizeSettings) -> str:
    if settings.guide.measure == "log_odds_target":
        return ""
    return ", or take log_odds_target, which does not vanish on images that the classifier is sure of"


def failures(
    rows: Sequence[Row], settings: SynthesizeSettings, pushes: bool, wanted: Sequence[int], classes: Sequence[str]
) -> list[str]:
    """Why a run fails, as sentences: too many labels lost, quotas not filled."""
    found: list[str] = []
    flips = label_flips(rows, settings)
    if pushes and flips is not None and flips.rate > settings.flip_budget:
        found.append(
            f"Labels lost: {flips.words()}, by the {flips.by}; flip_budget allows {100 * settings.flip_budget:g} %. "
            "Lower guide.scale (`skiagraph synthesize sweep` proposes one), or set a smaller guide.trust."
        )
    if settings.per_class is None and settings.counts is None and settings.balance_to is None:
        return found
    short = [line for line in per_class(rows, classes, wanted) if line["kept"] < line["wanted"]]
    if found and any(line["drawn"] < settings.filter.attempts * line["wanted"] for line in short):
        kept = sum(line["kept"] for line in per_class(rows, classes, wanted))
        return [*found, f"Stopped early, since more images could not mend that: {kept} of {sum(wanted)} are there."]
    for line in short:
        found.append(
            f"Class {line['class']!r} has {line['kept']} of {line['wanted']} images after {line['drawn']} were "
            "drawn (filter.attempts allows no more). Look at rejected/, loosen the filter or lower guide.scale."
        )
    return found


def _share(entropies: NDArray[np.float64]) -> float | None:
    known = entropies[~np.isnan(entropies)]
    return float((known > HARD).mean()) if len(known) else None


def _median(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
