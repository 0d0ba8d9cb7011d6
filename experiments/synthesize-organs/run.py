"""Do synthetic organ crops make classifiers better? Unguided, guided, hardened; with the controls that cost nothing.

    OMP_NUM_THREADS=1 python experiments/synthesize-organs/run.py

does everything, on one free core in about two hours; a step whose result is there is skipped, one that was stopped
goes on.

    --quick                the same steps at the smallest size, in a few minutes, into runs/organs-quick
    --set organs           classifiers of all 547 training crops, which the generator too has seen, in place of one in
                           five; fewer networks and seeds; into runs/organs
    --set trunk-wall-few   the second set: ten parts of the wall of the same trunk, one crop in five; its generator,
                           guide and judge trained half as long, one synthetic crop a real one;
                           into runs/trunk-wall-few
    --set coronal-few      a third set: coronal crops of the eleven organs, everything else as in the second
    --only downstream      some of the steps: data, train, sweep, synthesize, audit, downstream, collect
    --minutes 40           start no classifier's training after so long; what is there is scored
    --claim                the classifiers of the claim alone; without it, every arm and control
    --shard 0 2            share the classifiers' trainings of one folder between processes

Crops of 28 x 28 pixels of one patient's CT, split by slab of 11 mm, neighbouring slices left out. Generator, guide and
judge learn from 547 training crops. The classifiers that are judged learn from one crop in five of each class (111 in
all) and from what was synthesized, as if the owner of the 547 lent synthetic images only: sets are compared on equal
terms, but against real crops alone they carry what 436 more crops taught the generator. The set `organs` has no such
advantage: there every classifier learns from all 547. Validation slabs choose snapshots, temperatures and the scale of
the push; the test crops are seen by none. One patient: intervals are over slabs and classes of this patient, networks
and seeds, and say nothing about others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import screen
from collect import collect
from few import thin
from sizes import CUT, MORE, SWEEPS, Size, quick, sizes

from skiagraph.cli import main as program

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("experiments/synthesize-organs")
PRESETS = Path("src/skiagraph/presets/synthesize")
KINDS = ("data", "train", "sweep", "synthesize", "audit", "downstream", "collect")
ARMS: dict[str, tuple[str, ...]] = {
    "unguided": ("--guide.measure", "none"),
    "classifier": ("--guide.measure", "log_prob", "--guide.scale", "2"),
    "cfg": ("--guide.measure", "none", "--cfg", "1"),
    "uncertainty": ("--guide.measure", "log_odds_target"),
    "uncertainty-strong": ("--guide.measure", "log_odds_target", "--guide.scale", "{scale:g}"),
    "hardened": ("--mode", "two-stage", "--guide.measure", "log_odds_target", "--guide.scale", "{scale:g}"),
}
ADDED = ("mild-cfg",)  # the best of screen.py on the validation crops
TRIAL = "A trial of every step at the smallest size, networks of 64 images and five steps: the figures mean nothing."
GUIDED = ("classifier", "uncertainty", "uncertainty-strong", "hardened", "mined")


@dataclass(frozen=True)
class Step:
    """One command, the folder it leaves, and the file there that says it is done."""

    kind: str
    folder: Path
    words: tuple[str, ...]
    done: str = "command.json"
    may_fail: bool = False


def trainings(size: Size) -> Iterator[Step]:
    """The prior, the classifier that guides, the judge; a folder that holds one already is left alone."""
    title = size.folder.name.replace("organs", "organ-crops")
    for name, variant, record, own in (
        ("prior", "class-prior", "prior.json", size.prior),
        ("noisy-classifier", "noisy-classifier", "classifier.json", size.guide),
        ("judge", "classifier", "classifier.json", size.judge),
    ):
        config, folder = PRESETS / f"organs-{name}.yaml", size.folder / name
        words = ["train", variant, "--config", str(config), "--data", str(size.folder / "crops")]
        words += ["--split", str(size.folder / "split.json"), "--name", f"{title}-{name}", "--output", str(folder)]
        yield Step("train", folder, (*words, *own), record)


def sweeps(size: Size) -> Iterator[Step]:
    """Both presets on the same few real crops, with what an image costs; and scales of pairs."""
    for name in size.sweeps:
        mode, preset, images, scales = SWEEPS[name]
        words = ["synthesize", "sweep", "--prior", str(size.folder / "prior"), "--judge", str(size.folder / "judge")]
        words += ["--classifier", str(size.folder / "noisy-classifier"), "--mode", mode, "--preset", preset]
        words += ["--real", str(size.folder / "crops"), "--real-data.split", str(size.folder / "split.json")]
        words += ["--images", str(images), "--scales", *scales, "--flip-budget", "0.05", "--threads", "1"]
        folder = size.folder / f"sweep-{name}"
        yield Step("sweep", folder, (*words, "--output", str(folder)))


def syntheses(size: Size) -> Iterator[Step]:
    """The synthetic sets, the same number of images of every class in each."""
    for name, guide in {**ARMS, **{name: MORE[name] for name in size.more}}.items():
        folder = size.folder / "synthetic" / name
        words = ["synthesize", "--prior", str(size.folder / "prior"), "--judge", str(size.folder / "judge")]
        words += ["--classifier", str(size.folder / "noisy-classifier")] if name in GUIDED else []
        words += ["--real", str(size.folder / "crops"), "--real-data.split", str(size.folder / "split.json")]
        guide = tuple(word.format(scale=size.scale) for word in guide)
        words += ["--per-class", str(size.per_class), *guide, *size.levels, "--threads", "1", "--output", str(folder)]
        yield Step("synthesize", folder, tuple(words), may_fail=True)


def audits(size: Size) -> Iterator[Step]:
    """Every set against the crops that its prior learned from, beside the test crops."""
    places = {name: size.folder / "synthetic" / name for name in (*ARMS, *size.more)}
    places.update({name: screen.place(name) for name in ADDED if size.folder == screen.OWNER})
    for name, place in places.items():
        folder, crops = size.folder / "audit" / name, str(size.folder / "crops")
        words = ["audit", "--synthetic", str(place), "--training", crops]
        words += ["--held-out", crops, "--split", str(size.folder / "split.json"), "--threads", "1"]
        words += ["--output", str(folder)]
        yield Step("audit", folder, tuple(words), may_fail=True)


def source(size: Size) -> Path:
    """The folder that holds the synthetic sets: the study's own, or the lender's."""
    return size.lender or size.folder


def offered(size: Size, claim: bool) -> dict[str, Path]:
    """The synthetic sets that are there: those of the claim or all, and what screen.py chose."""
    names = (*(("unguided", "classifier", "cfg", "uncertainty") if claim else ARMS), *size.more)
    places = {name: source(size) / "synthetic" / name for name in names}
    found = {name: place for name, place in places.items() if (place / "command.json").exists()}
    added = {name: screen.place(name) for name in ADDED if size.folder == screen.FEW}
    return {**found, **{name: place for name, place in added.items() if place.exists()}}


def reachable(size: Size, ready: Mapping[str, Path]) -> float:
    """The ratio asked for, or the largest that every synthetic set has images for: a judge may have left fewer."""
    real = len(json.loads((size.folder / "split.json").read_text())["train"])
    kept = [len(list((place / "images").rglob("*.png"))) for place in ready.values()]
    return min([size.ratio, *(int(100 * count / real) / 100 for count in kept)])


def downstream(size: Size, minutes: float | None, shard: Sequence[int] | None, claim: bool) -> Step:
    """The classifiers; arms whose set is not there yet are left out, and join when it is."""
    folder, ready = size.folder / "downstream", offered(size, claim)
    words = ["evaluate", "downstream", "--real", str(size.folder / "crops")]
    words += ["--split", str(size.folder / "split.json"), "--rule", "log_odds_target"]
    words += ["--ratio", str(reachable(size, ready))]
    words += ["--synthetic", *(word for name, place in ready.items() for word in (name, str(place)))]
    words = words if ready else words[:-1]
    words += ["--networks", *size.networks, "--seeds", str(size.seeds), "--training.steps", str(size.steps)]
    words += ["--training.batch", str(size.batch)]
    if set(ARMS) <= set(ready) and size.sweep:
        words += ["--sweep.ratios", *map(str, size.sweep), "--sweep.networks", *size.networks[:2]]
        words += ["--sweep.arms", *ARMS]
    words += ["--controls"] if claim else []
    words += ["--against", ADDED[0]] if claim and ADDED[0] in ready else []
    words += ["--draw", "patients-by-class", "--resamples", str(size.resamples)]
    words += ["--minutes", str(minutes)] if minutes is not None else []
    words += ["--shard", *map(str, shard)] if shard is not None else []
    return Step("downstream", folder, (*words, "--threads", "1", "--output", str(folder)), done="")


def perform(step: Step) -> None:
    """Run a step unless its result is there; its time and exit code stand in command.json."""
    note = step.folder / "command.json"
    if step.done and (step.folder / step.done).exists():
        print(f"there already: {step.folder}", flush=True)
        return
    print(f"skiagraph {' '.join(step.words)}", flush=True)
    cpu, started = time.process_time(), time.perf_counter()
    code = program(step.words)
    if code not in ((0, 5) if step.may_fail else (0,)):
        sys.exit(f"stopped at {step.folder} (exit code {code}); the same call goes on from here")
    spent = {"seconds": round(time.perf_counter() - started, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    note.write_text(json.dumps({"words": list(step.words), "exit_code": code, **spent}, indent=1) + "\n")


def prepare(size: Size) -> None:
    """The crops, and one split for everything that is trained on them."""
    whole = Path("runs") / size.crops / "crops"
    if not (whole / "labels.csv").exists():
        words = ("samples", "organ-crops", *CUT[size.crops], "--output", str(whole), "--yes")
        if program(words) != 0:
            sys.exit("stopped: the crops could not be cut")
    if not (size.folder / "split.json").exists():
        thin(whole, size.folder / "crops", size.folder / "split.json", size.every)


def main() -> None:
    """Everything that is not there yet, and the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    drawable = (*ARMS, *ADDED, *MORE)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--set", choices=tuple(sizes()), default="organs-few")
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--arms", nargs="*", choices=drawable, default=list(drawable), help="to draw, audit")
    parser.add_argument("--sweeps", nargs="*", choices=tuple(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--shard", type=int, nargs=2)
    parser.add_argument("--folder", type=Path, help="of the runs; default runs/SET")
    parser.add_argument("--claim", action="store_true")
    parser.add_argument("--no-sweep", action="store_true", help="of ratios")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    size = quick() if chosen.quick else sizes()[chosen.set]
    if chosen.folder is not None:
        size = replace(size, folder=chosen.folder)
    if chosen.no_sweep:
        size = replace(size, sweep=())
    drawn = size if size.lender is None else sizes()[size.lender.name]
    if "data" in chosen.only:
        for each in {drawn.folder: drawn, size.folder: size}.values():
            prepare(each)
    wanted = {*chosen.arms, *(f"sweep-{name}" for name in chosen.sweeps)}
    for step in (*trainings(drawn), *sweeps(drawn), *syntheses(drawn), *audits(drawn)):
        if step.kind in chosen.only and (step.kind == "train" or step.folder.name in wanted):
            perform(step)
    if "downstream" in chosen.only:
        step = downstream(size, chosen.minutes, chosen.shard, chosen.claim)
        perform(step)
        for name in ("results.json", "tables.md"):
            shutil.copyfile(step.folder / name, step.folder / f"{'claim' if chosen.claim else 'all'}-{name}")
    if "collect" in chosen.only:
        name = "" if chosen.set == "organs-few" else f"-{chosen.set}"
        target, about = (size.folder, TRIAL) if chosen.quick else (HERE, __doc__ or "")
        collect(size.folder, source(size), target, name, about)


if __name__ == "__main__":
    main()
