"""Which use of uncertain crops is best? Tried on the validation crops alone; the test crops are not even copied there.

    OMP_NUM_THREADS=1 python experiments/synthesize-organs/screen.py

needs the networks and sets of `run.py`, and takes about forty minutes on one free core; what is there is skipped.

    --only score               some of the steps: crops, learner, draw, choose, score; `run.py` collects
    --ideas mined learner      some of the ideas
    --only score --ideas hard-real --ratio 0.9   small sets, beside few others at the same ratio
    --minutes 10               start no classifier's training after so long; what is there is scored

Every idea is a set of crops. Some are drawn by `skiagraph synthesize`; others are chosen from sets that were drawn. The
*owner's* guide and judge learned from 547 crops; the *learner* is a noisy classifier that saw only the 111 crops of
the classifiers that are judged: what it is unsure of need not be ambiguous, as the owner's judge can still be sure.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skiagraph.cli import main as program
from skiagraph.data.labelled import read_labelled

ROOT = Path(__file__).resolve().parents[2]
OWNER, FEW = Path("runs/organs"), Path("runs/organs-few")
HERE, LEARNER, CROPS = FEW / "screen", FEW / "learner", FEW / "screen" / "crops"
PRESETS = Path("src/skiagraph/presets/synthesize")
KINDS = ("crops", "learner", "draw", "choose", "score")
NETWORKS = ("lenet", "resnet-10", "densenet", "vit")
GIVEN = ("unguided", "classifier", "cfg", "uncertainty", "uncertainty-strong", "hardened")
PER_CLASS, SURE, RATIO = 25, 0.8, 2.0
TARGET = ("--guide.measure", "log_odds_target")
FRESH = ("--walk.eta", "1", "--precision", "bfloat16")


@dataclass(frozen=True)
class Drawn:
    """A set that the program draws: its options, who guides, where real images come from."""

    words: tuple[str, ...]
    guide: Path | None = OWNER / "noisy-classifier"
    per_class: int | None = PER_CLASS
    real: Path = OWNER


@dataclass(frozen=True)
class Chosen:
    """A set chosen from others: the same number of every class from each; by whom; with the judge how sure."""

    parts: tuple[str, ...]
    by: Path | None = None
    sure: float = 0.0
    per_class: int = PER_CLASS


IDEAS: dict[str, Drawn | Chosen] = {
    "pool": Drawn(("--guide.measure", "none", "--seed", "1"), None, 100),
    "pool-cfg": Drawn(("--guide.measure", "none", "--cfg", "1", "--seed", "2"), None, 60),
    "pool-uncertainty": Drawn((*TARGET, "--seed", "1", "--precision", "bfloat16"), per_class=41),
    "fresh-unguided": Drawn(("--guide.measure", "none", *FRESH), None, 11),
    "fresh-classifier": Drawn(("--guide.measure", "log_prob", "--guide.scale", "2", *FRESH), per_class=11),
    "fresh-cfg": Drawn(("--guide.measure", "none", "--cfg", "1", *FRESH), None, 11),
    "fresh-uncertainty": Drawn((*TARGET, *FRESH), per_class=11),
    "fresh-mined": Drawn((*TARGET, "--guide.scale", "0", "--candidates", "6", *FRESH), per_class=11),
    "mild": Drawn((*TARGET, "--guide.target", "2")),
    "mild-cfg": Drawn((*TARGET, "--guide.target", "2", "--cfg", "1")),
    "learner": Drawn(TARGET, LEARNER),
    "learner-cfg": Drawn((*TARGET, "--cfg", "1"), LEARNER),
    "edited": Drawn(
        ("--mode", "harden", "--walk.inversion", "noised", "--walk.depth", "0.5", "--guide.measure", "none"),
        *(None, PER_CLASS, FEW),
    ),
    "edited-hard": Drawn(
        ("--mode", "harden", "--walk.inversion", "noised", "--walk.depth", "0.5", *TARGET, "--guide.scale", "5"),
        *(OWNER / "noisy-classifier", PER_CLASS, FEW),
    ),
    "hard-real": Drawn(("--mode", "harden", *TARGET, "--guide.scale", "10"), *(OWNER / "noisy-classifier", None, FEW)),
    "half": Chosen(("unguided", "uncertainty")),
    "sure": Chosen(("uncertainty",), sure=SURE, per_class=22),
    "mined": Chosen(("pool",), LEARNER, SURE),
    "mined-owner": Chosen(("pool",), OWNER / "noisy-classifier", SURE),
    "half-mined": Chosen(("mined", "unguided")),
    "mined-cfg": Chosen(("pool-cfg",), LEARNER, SURE),
    "mined-cfg-owner": Chosen(("pool-cfg",), OWNER / "noisy-classifier", SURE),
    "cfg-again": Chosen(("pool-cfg",)),
}
POOLS = ("pool", "pool-cfg", "pool-uncertainty")
SAID = {
    "pool": "unguided, 100 of each class; to choose from",
    "pool-cfg": "classifier-free scale 1, 60 of each class; to choose from",
    "pool-uncertainty": "as `uncertainty`, 41 of each class, the prior in bfloat16 (about one grey level off)",
    "fresh-unguided": "as `unguided`, 11 of each class, with fresh noise at every step; see the walk below",
    "fresh-classifier": "as `classifier`, 11 of each class, with fresh noise at every step; see the walk below",
    "fresh-cfg": "as `cfg`, 11 of each class, with fresh noise at every step; see the walk below",
    "fresh-uncertainty": "as `uncertainty`, 11 of each class, with fresh noise at every step; see the walk below",
    "fresh-mined": "of six unguided draws that of which the guide is least sure, 11 of each class; see the walk below",
    "mild": "pushed to log-odds 2 (p = 0.88) in place of 0.5 (p = 0.62)",
    "mild-cfg": "pushed to log-odds 2 (p = 0.88) in place of 0.5 (p = 0.62), with classifier-free scale 1",
    "learner": "pushed by the learner's opinion in place of the owner's",
    "learner-cfg": "pushed by the learner's opinion, with classifier-free scale 1",
    "edited": "the 111 crops, noised to sigma^2 = 0.5 and drawn again, unpushed",
    "edited-hard": "the 111 crops, noised to sigma^2 = 0.5 and drawn again, pushed (scale 5)",
    "hard-real": "the 111 crops themselves, inverted and pushed at scale 10, once each",
    "half": "half unguided, half `uncertainty`",
    "sure": "of `uncertainty` those to which the judge gives their label with p > 0.8, 22 of each class",
    "mined": "of `pool` the 25 of each class that the learner is least sure of, the judge p > 0.8",
    "mined-owner": "of `pool` the 25 of each class that the owner's guide is least sure of, the judge p > 0.8",
    "half-mined": "half `mined`, half unguided",
    "mined-cfg": "as `mined`, of `pool-cfg`",
    "mined-cfg-owner": "as `mined-owner`, of `pool-cfg`",
    "cfg-again": "the first 25 of each class of `pool-cfg`: what another draw changes",
}


def place(name: str) -> Path:
    """Folder of a set: of `run.py`, or of an idea."""
    return OWNER / "synthetic" / name if name in GIVEN else HERE / "sets" / name


def run(words: Sequence[str], allowed: Sequence[int] = (0,)) -> None:
    """Call the program; stop where it fails."""
    print(f"skiagraph {' '.join(words)}", flush=True)
    code = program(tuple(words))
    if code not in allowed:
        sys.exit(f"stopped (exit code {code}); the same call goes on from here")


def copy_crops() -> None:
    """The 111 training crops, and the validation crops in the place of test crops."""
    if CROPS.exists():
        return
    with open(FEW / "crops" / "labels.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] != "test"]
    partial = CROPS.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for row in rows:
        (partial / row["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(FEW / "crops" / row["file"], partial / row["file"])
        row["split"] = "test" if row["split"] == "validation" else row["split"]
    shutil.copyfile(FEW / "crops" / "classes.txt", partial / "classes.txt")
    with open(partial / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.rename(CROPS)


def learn() -> None:
    """The noisy classifier that knows no more crops than the classifiers that are judged."""
    if (LEARNER / "classifier.json").exists():
        return
    words = ["train", "noisy-classifier", "--config", str(PRESETS / "organs-noisy-classifier.yaml")]
    words += ["--data", str(FEW / "crops"), "--split", str(FEW / "split.json"), "--images", "20000"]
    run([*words, "--name", "organ-crops-few-learner", "--output", str(LEARNER)])


def draw(name: str, idea: Drawn) -> None:
    """Let the program draw a set."""
    folder = place(name)
    if (folder / "run.json").exists():
        return
    words = ["synthesize", "--prior", str(OWNER / "prior"), "--judge", str(OWNER / "judge")]
    words += ["--classifier", str(idea.guide)] if idea.guide is not None else []
    words += ["--real", str(idea.real / "crops"), "--real-data.split", str(idea.real / "split.json")]
    words += ["--per-class", str(idea.per_class)] if idea.per_class is not None else []
    words += [*idea.words, "--threads", "1", "--output", str(folder)]
    run(words, (0, 5))


def kept(name: str) -> list[dict[str, str]]:
    """Rows of a set's images, whoever made it."""
    with open(place(name) / "manifest.csv", newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["kept"] == "yes"]


def log_odds(rows: Sequence[dict[str, str]], name: str, classifier: Path) -> NDArray[np.float64]:
    """A classifier's log-odds of the label of every image, at its cleanest level, divided by its temperature."""
    import torch

    from skiagraph.training.classifier import Classifier

    known = Classifier.load(classifier)
    images = read_labelled(place(name), classes=known.classes, least=0, duplicates="allow")
    at = {f"images/{file}": number for number, file in enumerate(images.names)}
    with torch.no_grad():
        logits = known(torch.from_numpy(images.images), 0.0 if known.kind == "noisy" else None).double()
    labels = torch.from_numpy(images.labels)[:, None]
    log_p = torch.log_softmax(logits / known.temperature, 1)
    rest = torch.logsumexp(log_p.scatter(1, labels, -torch.inf), 1)
    odds = (log_p.gather(1, labels)[:, 0] - rest).numpy()
    found: NDArray[np.float64] = odds[[at[row["file"]] for row in rows]]
    return found


def choose(name: str, idea: Chosen) -> None:
    """Write a chosen set: of each class the images nearest to the border by `by`, or the first; never one twice."""
    folder = place(name)
    if folder.exists():
        return
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    chosen: list[dict[str, str]] = []
    for part in idea.parts:
        rows = [row for row in kept(part) if float(row[f"judge_p_{row['label']}"]) >= idea.sure]
        odds = log_odds(rows, part, idea.by) if idea.by is not None else np.arange(len(rows), dtype=np.float64)
        for label in dict.fromkeys(row["label"] for row in rows):
            own = [k for k in np.argsort(odds, kind="stable").tolist() if rows[k]["label"] == label]
            count = -(-idea.per_class // len(idea.parts))
            chosen += [{**rows[k], "from": part, "log_odds": f"{odds[k]:.4g}"} for k in own[:count]]
    for row in chosen:
        target = partial / "images" / row["label"] / f"{row['from']}-{Path(row['file']).name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place(row["from"]) / row["file"], target)
        row["file"] = target.relative_to(partial).as_posix()
    shutil.copyfile(place("unguided") / "images" / "classes.txt", partial / "images" / "classes.txt")
    with open(partial / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        common = [key for key in chosen[0] if all(key in row for row in chosen)]
        writer = csv.DictWriter(file, common, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(chosen)
    partial.rename(folder)


def ready(names: Sequence[str], ratio: float) -> Iterator[str]:
    """Sets that are there and large enough for the ratio, in order."""
    for name in names:
        if name not in POOLS and (place(name) / "manifest.csv").exists() and len(kept(name)) >= round(ratio * 111):
            yield name


def score(names: Sequence[str], ratio: float, minutes: float | None) -> None:
    """Train and score classifiers with every set, on the validation crops; a smaller ratio has a folder of its own."""
    given = GIVEN if ratio == RATIO else ("unguided", "cfg", "uncertainty")
    words = ["evaluate", "downstream", "--real", str(CROPS), "--ratio", f"{ratio:g}", "--synthetic"]
    words += [word for name in ready((*given, *names), ratio) for word in (name, str(place(name)))]
    words += ["--against", "unguided", "--controls", "--networks", *NETWORKS, "--seeds", "2"]
    words += ["--training.steps", "300", "--training.batch", "32", "--draw", "patients-by-class"]
    words += ["--minutes", str(minutes)] if minutes is not None else []
    folder = HERE / ("downstream" if ratio == RATIO else f"downstream-{ratio:g}")
    run([*words, "--threads", "1", "--output", str(folder)])


def described() -> list[str]:
    """A line for each idea that was tried, for the results."""
    done = {name: "run.json" if isinstance(idea, Drawn) else "manifest.csv" for name, idea in IDEAS.items()}
    return [f"- `{name}`: {SAID[name]}" for name, file in done.items() if (place(name) / file).exists()]


def main() -> None:
    """Every step that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--ideas", nargs="*", choices=tuple(IDEAS), default=list(IDEAS))
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--ratio", type=float, default=RATIO)
    asked = parser.parse_args()
    os.chdir(ROOT)
    if "crops" in asked.only:
        copy_crops()
    if "learner" in asked.only:
        learn()
    for name in asked.ideas:
        idea = IDEAS[name]
        if isinstance(idea, Drawn) and "draw" in asked.only:
            draw(name, idea)
        elif isinstance(idea, Chosen) and "choose" in asked.only:
            choose(name, idea)
    if "score" in asked.only:
        score(asked.ideas, asked.ratio, asked.minutes)


if __name__ == "__main__":
    main()
