"""Is the walk at fault? The arms of the claim once more, drawn with fresh noise at every step (`walk.eta` 1).

    OMP_NUM_THREADS=1 python experiments/synthesize-organs/walk.py

needs the networks and crops of `run.py`; draws 11 crops of each class for each of four arms and scores them at one
synthetic crop for each real one, as the second set of `run.py` does, on the test crops, ten networks and five seeds:
an hour and a half on one free core; what is there is skipped.
`run.py --only collect` puts the table into the results.

    --minutes 10    start no classifier's training after so long; what is there is scored
    --long          trainings of 1200 steps in place of 300, strong classical augmentation beside them, four networks
                    and three seeds: was 300 too short for what is harder to learn? Half an hour
"""

from __future__ import annotations

import argparse
import os

import screen
from sizes import NETWORKS

HERE, LONG = screen.FEW / "walk", screen.FEW / "long"
SETS = ("fresh-unguided", "fresh-classifier", "fresh-cfg", "fresh-mined", "fresh-uncertainty")


def audit(name: str) -> None:
    """Hold a set against the crops that its prior learned from; one that fails is named, and scored all the same."""
    folder, crops = screen.OWNER / "audit" / name, str(screen.OWNER / "crops")
    if not (folder / "audit.json").exists():
        words = ["audit", "--synthetic", str(screen.place(name)), "--training", crops, "--held-out", crops]
        words += ["--split", str(screen.OWNER / "split.json"), "--threads", "1", "--output", str(folder)]
        screen.run(words, (0, 5))


def main() -> None:
    """Draw, audit and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--long", action="store_true")
    asked = parser.parse_args()
    os.chdir(screen.ROOT)
    for name in SETS:
        idea = screen.IDEAS[name]
        if isinstance(idea, screen.Drawn):
            screen.draw(name, idea)
        audit(name)
    words = ["evaluate", "downstream", "--real", str(screen.FEW / "crops"), "--split", str(screen.FEW / "split.json")]
    words += ["--synthetic", *(word for name in SETS for word in (name, str(screen.place(name))))]
    words += ["--against", SETS[-1], "--ratio", "1", "--draw", "patients-by-class", "--resamples", "2000"]
    if asked.long:
        words += ["--controls", "augmented", "--networks", *screen.NETWORKS, "--seeds", "3"]
    else:
        words += ["--controls", "--networks", *NETWORKS, "--seeds", "5"]
    words += ["--training.steps", "1200" if asked.long else "300", "--training.batch", "32"]
    words += ["--minutes", str(asked.minutes)] if asked.minutes is not None else []
    screen.run([*words, "--threads", "1", "--output", str((LONG if asked.long else HERE) / "downstream")])


if __name__ == "__main__":
    main()
