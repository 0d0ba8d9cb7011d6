"""Learn from masked images: inpainting, super-resolution and generation, against fresh masks and the clean oracle.

    OMP_NUM_THREADS=1 python experiments/masked-images/run.py

does everything, on one free core in about 70 minutes; a step whose result is there is skipped, a training that was
stopped goes on.

    --quick           the same steps at the smallest size, in about three minutes, into runs/masked-images-quick
    --longer 10       ten times as many training images, for a machine with an accelerator
    --only train      some of the steps: data, train, restore, generate, evaluate, collect

Slices of 64 x 64 pixels (4 mm) of T1 heads: 1500 random poses of four heads to learn from, 200 new poses of the same
heads as the baseline of generation, 200 poses of a fifth head (Colin27) to restore. One small U-Net for all priors. In
every table n = 1 head is restored and 4 heads are learned from; intervals are over images and describe these heads.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collect import collect
from slices import write_sets

from skiagraph.cli import main as program

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("experiments/masked-images")
PRIORS = ("masked", "fresh", "noisy", "oracle")
MASKED = PRIORS[:3]
PROBLEMS: dict[str, list[str]] = {
    "box": ["--problem", "box", "--degradation.hole", "20", "20", "--degradation.corner", "18", "22"],
    "random": ["--problem", "random", "--degradation.keep", "0.3"],
    "super-resolution": ["--problem", "super-resolution", "--degradation.factor", "4"],
}
ITEMS = "0:200:13"  # 16 images


@dataclass(frozen=True)
class Size:
    """What differs between the study and its trial: levels of short and of released walks, images, words."""

    folder: Path
    short: str = "ddim50"
    released: str = "ddim200"
    items: str = ITEMS
    number: int = 200
    part: float = 1.0
    train: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One command and the folder it leaves."""

    kind: str
    folder: Path
    words: tuple[str, ...]


def quick() -> Size:
    """The smallest size that passes through every line."""
    few = ("--images", "64", "--warmup", "0")
    return Size(Path("runs/masked-images-quick"), "ddim4", "ddim5", "0:2", 24, 0.02, few)


def training(size: Size, longer: int) -> Iterator[Step]:
    """The four priors."""
    for prior in PRIORS:
        config = HERE / f"train-{prior}.yaml"
        words = ["train", "measurement-score", "--config", str(config)]
        words += ["--data", str(size.folder / "data" / "training.npy"), "--output", str(size.folder / prior)]
        if longer > 1:
            count = next(line.split()[1] for line in config.read_text().splitlines() if line.startswith("images:"))
            words += ["--images", str(longer * int(count))]
        yield Step("train", size.folder / prior, (*words, *size.train))


def restorations(size: Size) -> Iterator[Step]:
    """Every problem with every prior and sampler; four default samples cost as much as one released walk."""
    ways = [
        *[(p, "default", ["--steps", size.short]) for p in MASKED],
        *[(p, "default-4", ["--steps", size.short, "--samples", "4"]) for p in MASKED],
        *[(p, "reference", ["--steps", size.released, "--sampler", "reference"]) for p in MASKED],
        *[("oracle", method, ["--steps", size.short, "--method", method]) for method in ("ddnm", "diffpir")],
    ]
    for problem, degradation in PROBLEMS.items():
        for prior, name, words in ways:
            folder = size.folder / "restore" / f"{problem}-{prior}-{name}"
            data = ["--input", str(size.folder / "data" / "held-out.npy"), "--simulate", "--items", size.items]
            given = ["restore", "--prior", str(size.folder / prior), *data, *degradation, *words]
            yield Step("restore", folder, (*given, "--threads", "1", "--output", str(folder)))


def generations(size: Size) -> Iterator[Step]:
    """Images of every prior, and with the released sampler where its steps can be afforded."""
    ways = [
        *[(prior, "default", ["--steps", size.short]) for prior in PRIORS],
        *[(p, "reference", ["--steps", size.short, "--sampler", "reference"]) for p in ("masked", "fresh")],
        ("masked", "reference-long", ["--steps", size.released, "--sampler", "reference"]),
    ]
    for prior, name, words in ways:
        folder = size.folder / "generate" / f"{prior}-{name}"
        given = ["generate", "--prior", str(size.folder / prior), "--number", str(size.number), *words]
        yield Step("generate", folder, (*given, "--threads", "1", "--output", str(folder)))


def evaluations(size: Size) -> Iterator[Step]:
    """Generated images against the training images, beside new poses of the same heads; another head in their place."""
    data = size.folder / "data"
    sets = {step.folder.name: step.folder for step in generations(size)} | {"another-head": data / "held-out.npy"}
    for name, place in sets.items():
        folder = size.folder / "evaluate" / name
        words = ["evaluate", "distribution", "--generated", str(place), "--training", str(data / "training.npy")]
        words += ["--held-out", str(data / "new-poses.npy"), "--threads", "1", "--output", str(folder)]
        yield Step("evaluate", folder, tuple(words))


def made_from(step: Step) -> str:
    """What a step's result depends on beside its words: the weights of its prior, or the weights behind its images."""
    named = dict(zip(step.words, step.words[1:], strict=False))
    if "--prior" in named:
        return str(json.loads((Path(named["--prior"]) / "prior.json").read_text())["weights_sha256"])
    drawn = Path(named.get("--generated", "")) / "command.json"
    return str(json.loads(drawn.read_text())["made_from"]) if drawn.exists() else ""


def perform(step: Step) -> None:
    """Run a step unless the same command has left its result from the same prior; its time stands in command.json."""
    note, identity = step.folder / "command.json", {"words": list(step.words), "made_from": made_from(step)}
    if note.exists() and {name: json.loads(note.read_text()).get(name) for name in identity} == identity:
        print(f"there already: {step.folder}", flush=True)
        return
    print(f"skiagraph {' '.join(step.words)}", flush=True)
    cpu, started = time.process_time(), time.perf_counter()
    if program(step.words) != 0:
        sys.exit(f"stopped at {step.folder}; the same call goes on from here")
    seconds = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }
    note.write_text(json.dumps({**identity, **seconds}, indent=1) + "\n")


def main() -> None:
    """Everything that is not there yet, and the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--longer", type=int, default=1, help="factor of the training images")
    kinds = ("data", "train", "restore", "generate", "evaluate", "collect")
    parser.add_argument("--only", nargs="*", choices=kinds, default=list(kinds))
    chosen = parser.parse_args()
    os.chdir(ROOT)
    size = quick() if chosen.quick else Size(Path("runs/masked-images"))
    if "data" in chosen.only and not (size.folder / "data" / "sets.json").exists():
        write_sets(size.folder / "data", size.part)
    for step in (*training(size, chosen.longer), *restorations(size), *generations(size), *evaluations(size)):
        if step.kind in chosen.only:
            perform(step)
    if "collect" in chosen.only:
        collect(size.folder, size.folder if chosen.quick else HERE, (__doc__ or "").strip().split("\n\n")[-1])


if __name__ == "__main__":
    main()
