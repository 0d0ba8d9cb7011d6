"""Translate brain contrasts that a prior never saw: every method, one held-out head, with intervals.

    OMP_NUM_THREADS=1 python experiments/translate-brain/run.py

simulates the heads, trains the priors and networks, and does the rest; a step whose result is there is skipped. About
100 minutes on one free core, most of it training.

    --quick           20 slices, 6 calls, two directions, tiny trainings, into runs/translate-quick: about ten minutes
    --only score      some of the steps: data, train, tune, score, distances, ablation, steps, lesions, real,
                      collect
    --shard 0 2       every second method, for two processes in one folder

Provenance: simulated contrast. Source and target are computed from one real T1-weighted head by signal equations, with
noise, shading and texture of their own; contrasts are nearly functions of each other, so translation is easier here
than between real scans. Colin27 (n = 1 head) is held out; intervals are over its slabs of 10 slices and describe that
head only. Options of all methods are chosen on a validation head (T2 to T1; for T2 as target, T1 to T2).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from collect import collect
from distances import distances_path, measure_distances
from heads import Head, read_head
from lesions import contrast_kept, insert
from methods import ABLATION, ENTRIES, OURS, SWEEPS, Entry, Kit
from real import carried_over, real_checks
from score import SLAB, score

from data import HELD_OUT, TRAINING, prepare
from networks import train_networks
from skiagraph.cli import main as program
from skiagraph.data.files import atomic_path, write_whole
from skiagraph.evaluation.fidelity import psnr
from skiagraph.tasks.translate.method import SourceStack, stack_streams
from skiagraph.tasks.translate.segmenter import TissueSegmenter
from skiagraph.tasks.translate.small_network import SmallTraining

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PRIORS = {  # name: where its weights start
    "t1-start": None,
    "t1-middle": "t1-start",
    "t1": "t1-middle",
    "t1-edges": "t1",
    "t2-middle": "t1-start",
    "t2": "t2-middle",
    "t1-lmi": "t1",
}
STEPS = ("data", "train", "tune", "score", "distances", "ablation", "steps", "lesions", "real", "collect")
VALIDATION = "cn200"
PLAIN = ("target", "copy", "histogram-matching", "matching-either", "intensity-lookup", "supervised")
FIRST = (*PLAIN, "sdedit", "ilvr", "fgdm", OURS, "ours-matched-start", "ours-one-walk")
STANDARD = SmallTraining(steps=350, batch=8)


@dataclass(frozen=True)
class Size:
    """What differs between the study and its trial."""

    folder: Path = Path("runs/translate")
    data: Path = Path("runs/translate/data")
    directions: tuple[tuple[str, str], ...] = (("T2", "T1"), ("PD", "T1"), ("FLAIR", "T1"), ("T1", "T2"))
    slabs: int = 3
    calls: int = 24
    training: SmallTraining = STANDARD
    words: tuple[str, ...] = ()
    long: int = 1000


def quick() -> Size:
    """The smallest size that passes through every line."""
    small = SmallTraining(20, 4, 2e-3, 4)
    words = ("--images", "64", "--warmup", "0")
    directions = (("T2", "T1"), ("T1", "T2"))
    return Size(Path("runs/translate-quick"), Size.data, directions, 2, 6, small, words, 12)


def part_of(stack: SourceStack, chosen: slice) -> SourceStack:
    """Some slices of a stack."""
    return SourceStack(stack.images[chosen], stack.mask[chosen], stack.spacing_mm, stack.name)


def middle(head: Head, slabs: int) -> slice:
    """So many slabs of slices around the middle of the brain."""
    inside = next(iter(head.sources.values())).mask.flatten(1).any(1).nonzero()[:, 0]
    start = int(inside[0] + inside[-1] + 1 - slabs * SLAB) // 2
    return slice(start, start + slabs * SLAB)


def translated(
    kit: Kit, entry: Entry, source: SourceStack, calls: int | None = None
) -> tuple[torch.Tensor, float, float]:
    """Result with background outside the mask, calls a slice, seconds a slice."""
    started = time.perf_counter()
    found = kit.method(entry, calls)(source, stack_streams(0, len(source)))
    seconds = (time.perf_counter() - started) / len(source)
    return torch.where(source.mask, found.images, -1.0), found.calls, seconds


class Study:
    """The steps, with heads read once."""

    def __init__(self, size: Size, shard: tuple[int, int], directions: Sequence[str] = ()) -> None:
        self.size, self.shard, self.wanted = size, shard, directions
        self.results = size.folder / "results"
        self._heads: dict[str, Head] = {}
        self._kits: dict[tuple[str, str], Kit] = {}

    def head(self, name: str) -> Head:
        """A simulated head."""
        if name not in self._heads:
            self._heads[name] = read_head(self.size.data / name)
        return self._heads[name]

    def kit(self, source: str, target: str) -> Kit:
        """Tools of one direction."""
        if (source, target) not in self._kits:
            heads = [self.head(name) for name in TRAINING]
            self._kits[source, target] = Kit(self.size.folder, source, target, heads, self.size.calls)
        return self._kits[source, target]

    def mine(self, items: Sequence[Any]) -> Iterator[Any]:
        """This shard's share."""
        number, count = self.shard
        yield from (item for place, item in enumerate(items) if place % count == number)

    def keep(self, path: Path, record: dict[str, Any], images: torch.Tensor | None = None) -> None:
        """A record and its pictures, whole or not at all."""
        if images is not None:
            with atomic_path(path.with_suffix(".npy"), suffix=".npy") as partial:
                np.save(partial, images[:, 0].numpy().astype(np.float16))
        write_whole(path, (json.dumps(record, indent=1) + "\n").encode())

    def train(self) -> None:
        """The prior of the study, those of its rivals, and the networks that learn from pairs."""
        for name, start in PRIORS.items():
            if (self.size.folder / name / "model.safetensors").exists():
                continue
            words = ["train", "translate-prior", "--config", str(HERE / "priors" / f"{name}.yaml")]
            words += ["--output", str(self.size.folder / name), "--data", str(self.size.data)]
            words += [] if start is None else ["--initial", str(self.size.folder / start)]
            if program([*words, *self.size.words]) != 0:
                sys.exit(f"stopped at {name}; the same call goes on from here")
        heads = [self.head(name) for name in TRAINING]
        train_networks(heads, self.size.directions, self.size.folder / "networks", self.size.training)

    def tuned(self, name: str, target: str) -> Path:
        """Where a method's options for a target are kept."""
        first = target == self.size.directions[0][1]
        return self.results / "tune" / (f"{name}.json" if first else f"{name}, to {target}.json")

    def options(self, target: str) -> dict[str, Entry]:
        """The entries with the options that tuning chose for a target; those that are still to be tuned wait."""
        chosen = dict(ENTRIES)
        for name in SWEEPS:
            path = self.tuned(name, target)
            if path.exists():
                chosen[name] = replace(chosen[name], options=json.loads(path.read_text())["best"])
            else:
                del chosen[name]
        return chosen

    def tune(self) -> None:
        """Options by PSNR on five slices, 6 mm apart, of the validation head, in the first direction of each target."""
        whole = middle(self.head(VALIDATION), 1)
        part = slice(whole.start - 2, whole.stop + 2, 3)
        firsts = {target: source for source, target in reversed(self.size.directions)}
        for name, (target, source) in self.mine(list(product(SWEEPS, firsts.items()))):
            path, kit = self.tuned(name, target), self.kit(source, target)
            if not path.exists() and not kit.missing(ENTRIES[name]):
                self.keep(path, self.choice(name, kit, part))

    def choice(self, name: str, kit: Kit, part: slice) -> dict[str, Any]:
        """The best of a sweep, and then whether it is better at the scale of the target's scans."""
        head = self.head(VALIDATION)
        stack, truth = part_of(head.sources[kit.source], part), head.truth[kit.target][part]
        tried, figures = list(SWEEPS[name]), list[float]()
        while len(figures) < len(tried):
            result, _, _ = translated(kit, replace(ENTRIES[name], options=tried[len(figures)]), stack)
            figures.append(psnr(result.numpy() / 2, truth.numpy() / 2, 1.0, stack.mask.numpy()))
            print(f"tune {name} {kit.source}-{kit.target} {tried[len(figures) - 1]} {figures[-1]:.2f} dB", flush=True)
            if len(figures) == len(SWEEPS[name]):
                tried.append({**tried[int(np.argmax(figures))], "rescale": True})
        return {"best": tried[int(np.argmax(figures))], "options": tried, "psnr": figures}

    def score(self) -> None:
        """Every method in every direction."""
        head = self.head(HELD_OUT)
        part = middle(head, self.size.slabs)
        for soon, (source, target) in product((True, False), self.size.directions):
            if self.wanted and f"{source}-{target}" not in self.wanted:
                continue
            entries = self.options(target)
            for name in self.mine([name for name in entries if (name in FIRST) is soon]):
                self.one(self.results / f"{source}-{target}" / f"{name}.json", source, target, entries[name], part)

    def one(self, path: Path, source: str, target: str, entry: Entry, part: slice, calls: int | None = None) -> None:
        """Translate and score some slices of the held-out head, unless it is done."""
        kit, head = self.kit(source, target), self.head(HELD_OUT)
        if path.exists() or kit.missing(entry):
            return
        if entry.method == "target":
            result, spent, seconds = head.sources[target].images[part], 0.0, 0.0
        else:
            result, spent, seconds = translated(kit, entry, part_of(head.sources[source], part), calls)
        segmenter = TissueSegmenter.load(self.size.folder / "networks" / f"segmenter-{target}")
        mask = head.sources[target].mask[part]
        figures = score(result, head.truth[target][part], mask, head.tissues[part], segmenter)
        about = {"calls": spent, "seconds_a_slice": seconds, "options": dict(entry.options), "gets": entry.gets}
        print(f"{path.parent.name} {path.stem} {np.mean(figures['slices']['psnr']):.2f} dB", flush=True)
        self.keep(path, {**about, "first_slice": part.start, **figures}, result)

    def distances(self) -> None:
        """Of the sets of slices, by what was scored."""
        for source, target in [] if self.shard[0] else self.size.directions:
            folder = self.results / f"{source}-{target}"
            if folder.exists() and not distances_path(folder).exists():
                measure_distances(folder, self.head(HELD_OUT))

    def ablation(self) -> None:
        """Kind of map x use x start on two slabs of the first direction."""
        part = middle(self.head(HELD_OUT), min(2, self.size.slabs))
        for name in self.mine(list(ABLATION)):
            place = self.results / "ablation" / f"{name.replace(' | ', '--').replace(' ', '_')}.json"
            self.one(place, *self.size.directions[0], ABLATION[name], part)

    def steps(self) -> None:
        """Few calls against a thousand, one walk, four slices that are 6 mm apart."""
        whole = middle(self.head(HELD_OUT), 1)
        part = slice(whole.start, whole.stop, 3)
        for calls in self.mine([self.size.calls // 2, self.size.calls, 2 * self.size.calls, self.size.long]):
            entry = Entry("skiagraph", {"candidates": 1, "rule": "ddpm" if calls == self.size.long else "dpmpp"})
            self.one(self.results / "steps" / f"{calls:04d}.json", *self.size.directions[0], entry, part, calls)
        if not self.shard[0]:
            tuned = self.results / "steps" / f"{self.size.calls:04d}-as-tuned.json"
            source, target = self.size.directions[0]
            self.one(tuned, source, target, self.options(target)[OURS], part, self.size.calls)

    def lesions(self) -> None:
        """Contrast of inserted lesions that is left, ten slices."""
        head = self.head(HELD_OUT)
        part = middle(head, 1)
        for source, target in [pair for pair in self.size.directions if pair[0] in ("T2", "FLAIR")]:
            kit, made = self.kit(source, target), insert(head, source, target, range(part.start, part.stop))
            entries = self.options(target)
            for name in self.mine([name for name in entries if name != "target"]):
                path = self.results / f"lesions-{source}-{target}" / f"{name}.json"
                if path.exists() or kit.missing(entries[name]):
                    continue
                result, _, _ = translated(kit, entries[name], made.source)
                self.keep(path, {"kept": contrast_kept(result, made)}, result)

    def real(self) -> None:
        """What is not from the simulator, and the check before the work."""
        if self.shard[0]:
            return
        training = [self.head(name) for name in TRAINING if name != VALIDATION]
        carried_over(training, self.head(VALIDATION), self.head(HELD_OUT), self.results / "real")
        real_checks(self.kit("PD", "T1"), self.results / "real")


def main() -> None:
    """Everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", choices=STEPS, default=list(STEPS))
    parser.add_argument("--shard", type=int, nargs=2, default=(0, 1))
    parser.add_argument("--directions", nargs="*", default=(), help="that are scored, such as PD-T1; default: all")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    size = quick() if chosen.quick else Size()
    study = Study(size, tuple(chosen.shard), chosen.directions)
    steps = {name: getattr(study, name) for name in STEPS[1:-2]}
    steps["data"] = lambda: prepare(size.data)
    steps["real"] = study.real
    steps["collect"] = lambda: collect(size.folder, size.folder if chosen.quick else HERE, __doc__ or "")
    for name in STEPS:
        if name in chosen.only:
            steps[name]()


if __name__ == "__main__":
    main()
