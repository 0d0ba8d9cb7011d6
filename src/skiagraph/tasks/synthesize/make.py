"""Draws, judges and writes images, batch after batch, until every class has what was asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skiagraph.data.labelled import LabelledImages
from skiagraph.errors import InputError
from skiagraph.evaluation import share_interval
from skiagraph.tasks.progress import OnProgress
from skiagraph.tasks.synthesize.drawn import Drawn, to_bytes
from skiagraph.tasks.synthesize.folder import RunFolder
from skiagraph.tasks.synthesize.kit import Kit
from skiagraph.tasks.synthesize.plan import Item, Plan, Tally
from skiagraph.tasks.synthesize.presets import truncates
from skiagraph.tasks.synthesize.recipe import Recipe
from skiagraph.tasks.synthesize.settings import SynthesizeSettings
from skiagraph.tasks.synthesize.summary import label_flips
from skiagraph.tasks.synthesize.verdicts import Opinion, RealImages, ask, verdict

__all__ = ["Maker", "Shown", "batch_size"]

PIXELS = 16 * 128**2
FEWEST = 64


def batch_size(kit: Kit, wanted: int | None) -> int:
    """Images at a time: those wanted, else as many as 16 of 128 x 128 pixels make, at most 256."""
    return wanted or max(1, min(256, PIXELS // int(np.prod(kit.shape[1:]))))


@dataclass(eq=False)
class Shown:
    """Images as their pictures hold them.

    Args:
        levels: (B, C, H, W) uint8.
        values: (B, C, H, W) float32 in [-1, 1], those of the grey levels.
    """

    levels: Tensor
    values: Tensor

    @classmethod
    def of(cls, images: Tensor, truncate: bool) -> Shown:
        """From images as drawn."""
        levels = to_bytes(images, truncate)
        return cls(levels, (levels.double() / 127.5 - 1).float())


@dataclass(eq=False)
class Maker:
    """Makes the images of a run.

    Args:
        kit: what is loaded.
        settings: filled settings.
        recipe: how images are drawn.
        plan: which images.
        folder: where they go.
        real: the real images, or None.
        distances: what is too near and too far, or None without real images.
        seconds: spent drawing.
        network_calls, classifier_calls: of this process, for all images.
    """

    kit: Kit
    settings: SynthesizeSettings
    recipe: Recipe
    plan: Plan
    folder: RunFolder
    real: LabelledImages | None
    distances: RealImages | None
    seconds: float = 0.0
    network_calls: int = 0
    classifier_calls: int = 0
    made: int = field(default=0)

    def run(self, on_progress: OnProgress) -> None:
        """Draw what is missing; what an earlier process has written is not drawn again."""
        batch = batch_size(self.kit, self.settings.batch)
        while items := self.plan.round(self.tallies()):
            missing = [item for item in items if not self._there(item)]
            for at in range(0, len(missing), batch):
                self._batch(missing[at : at + batch], at, len(missing), on_progress)
                if self.beyond_hope():
                    return

    def beyond_hope(self) -> bool:
        """Whether more images could not bring the share of lost labels back within the budget."""
        flips = label_flips(list(self.folder.manifest.rows.values()), self.settings)
        if flips is None or not self.recipe.pushes or flips.judged < FEWEST:
            return False
        return share_interval(flips.lost, flips.judged)[0] > self.settings.flip_budget

    def tallies(self) -> dict[int, Tally]:
        """Images drawn and kept of each class, counted without gaps from the first number."""
        found: dict[int, Tally] = {}
        for label in range(len(self.plan.classes)):
            tally = found[label] = Tally()
            while (row := self.folder.manifest.rows.get(self._name(label, self.plan.first + tally.drawn))) is not None:
                tally.drawn += 1
                tally.kept += int(row["kept"] == "yes")
        return found

    def _name(self, label: int, number: int) -> str:
        return self.folder.identifier(label, number)

    def _there(self, item: Item) -> bool:
        row = self.folder.manifest.rows.get(self._name(item.label, item.number))
        return row is not None and (self.folder.folder / row["file"]).exists()

    def _batch(self, items: Sequence[Item], done: int, total: int, on_progress: OnProgress) -> None:
        started, steps, each = time.perf_counter(), 0, max(sum(self.recipe.steps()), 1)
        on_progress("images", done, total)

        def on_step(images: int) -> None:
            nonlocal steps
            steps += images
            on_progress("images", done + min(len(items), steps // each), total)

        try:
            drawn = self.recipe.draw(items, self._sources(items), on_step)
        except FloatingPointError as error:
            raise InputError(f"guide: images {self._name(items[0].label, items[0].number)} ...: {error}") from error
        self.network_calls += drawn.network_calls * len(items)
        self.classifier_calls += drawn.classifier_calls * len(items)
        self.seconds += time.perf_counter() - started
        self.made += len(items)
        self._keep(items, drawn)

    def _sources(self, items: Sequence[Item]) -> Tensor | None:
        if self.real is None or self.settings.mode != "harden":
            return None
        return torch.from_numpy(self.real.images[[int(item.source or 0) for item in items]])

    def _keep(self, items: Sequence[Item], drawn: Drawn) -> None:
        """Judge a batch, write its pictures, then its rows."""
        truncate = truncates(self.settings)
        after = Shown.of(drawn.images, truncate)
        drawn_before = truncate and self.settings.mode != "harden"  # a real image has its grey levels already
        before = None if drawn.before is None else Shown.of(drawn.before, drawn_before)
        rows = self.rows(items, drawn, after, before)
        for place, (item, row) in enumerate(zip(items, rows, strict=True)):
            values = drawn.images[place].clamp(-1, 1).numpy() if self.settings.floats else None
            self.folder.write(str(row["file"]), after.levels[place].numpy(), values)
            if row["before_file"] and before is not None:
                self.folder.write(self.folder.place("before", item.label, str(row["id"])), before.levels[place].numpy())
        self.folder.manifest.append(rows)

    def rows(self, items: Sequence[Item], drawn: Drawn, after: Shown, before: Shown | None) -> list[dict[str, Any]]:
        """The manifest's rows of a batch, with the verdict on each image."""
        labels = torch.tensor([item.label for item in items])
        measured = self._measured(labels, after, before)
        nearest = None if self.distances is None else self.distances.nearest(after.values.numpy(), items)
        features = None if self.distances is None else self.distances.feature_distances(after.values.numpy(), items)
        moved = None
        if before is not None:
            moved = (after.values - before.values).double().flatten(1).square().mean(1).sqrt().numpy() / 2
        rows = []
        for place, item in enumerate(items):
            has = drawn.has_before[place] and before is not None
            row = self._who(item, has)
            row.update(
                seed=drawn.seeds[place],
                limited_share=float(drawn.limited[place]),
                outside_share=float(drawn.outside[place]),
                network_calls=drawn.network_calls,
                classifier_calls=drawn.classifier_calls,
                moved=float(moved[place]) if has and moved is not None else None,
            )
            for name, values in measured.items():
                missing = name.endswith("_before") and not has
                row[name] = None if missing or values is None else values[place]
            if nearest is not None and features is not None and self.real is not None:
                row["nearest_real"] = self.real.names[int(nearest[0][place])]
                row["nearest_distance"] = float(nearest[1][place])
                row["feature_distance"] = float(features[place])
            rows.append(self._decided(item, row))
        return rows

    def _who(self, item: Item, has_before: bool) -> dict[str, Any]:
        name = self._name(item.label, item.number)
        guide, classes = self.settings.guide, self.kit.classes
        source = None if item.source is None or self.real is None else self.real.names[item.source]
        written = has_before and self.settings.mode != "harden"
        return {
            "id": name,
            "label": classes[item.label],
            "label_index": item.label,
            "number": item.number,
            "source": source,
            "source_label": None if item.source_label is None else classes[item.source_label],
            "before_file": self.folder.place("before", item.label, name) if written else "",
            "mode": self.settings.mode,
            "preset": self.settings.preset,
            "measure": guide.measure,
            "scale": float(guide.scale or 0.0),
        }

    def _measured(self, labels: Tensor, after: Shown, before: Shown | None) -> dict[str, Any]:
        """Columns that classifiers fill, by name; arrays (B,)."""
        found: dict[str, Any] = {}
        index = labels.numpy()
        for when, shown in (("after", after), ("before", before)):
            if shown is None:
                continue
            if self.kit.guides:
                opinion, logits = ask(self.kit.guides, self.kit, shown.values, labels)
                found[f"log_odds_{when}"], found[f"entropy_{when}"] = opinion.log_odds, opinion.entropy
                if self.recipe.measure is not None:
                    value = self.recipe.measure(logits, labels.to(logits.device))
                    found[f"measure_{when}"] = value.double().cpu().numpy()
                found[f"guide_rank_{when}"] = opinion.ranks(index)
            if self.kit.judge is not None:
                judged, _ = ask([self.kit.judge], self.kit, shown.values, labels)
                found.update(self._judged(judged, index, when))
        return found

    def _judged(self, judged: Opinion, labels: Any, when: str) -> dict[str, Any]:
        names = [self.kit.classes[int(place)] for place in judged.probabilities.argmax(1)]
        ranks = judged.ranks(labels)
        if when == "before":
            return {"judge_label_before": names, "judge_rank_before": ranks}
        each = {f"judge_p_{name}": judged.probabilities[:, k] for k, name in enumerate(self.kit.classes)}
        return {"judge_label": names, "judge_rank": ranks, "judge_entropy": judged.entropy, **each}

    def _decided(self, item: Item, row: dict[str, Any]) -> dict[str, Any]:
        rank, far = row.get("judge_rank"), self.distances
        reason = verdict(
            self.settings.filter,
            None if rank is None else int(rank),
            len(self.kit.classes),
            row.get("nearest_distance"),
            None if far is None else far.copy_distance,
            row.get("feature_distance"),
            None if far is None else far.outlier_distance[item.label],
            row.get("moved") if item.source is not None else None,
        )
        kept = not reason or not self.settings.filter.reject
        part = "images" if kept else "rejected"
        return {**row, "kept": kept, "reason": reason, "file": self.folder.place(part, item.label, str(row["id"]))}
