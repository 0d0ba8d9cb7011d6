"""Do more synthetic crops help more? Four times as many as there are real ones, and ten times as many unguided ones.

    OMP_NUM_THREADS=1 python experiments/synthesize-organs/many.py

needs the networks of `run.py`, draws 41 pushed crops of each class beside the unguided pool of `screen.py` (100 of each
class, 9.9 times the 111 real ones), and takes about a quarter of an hour on one free core; what is there is skipped.
`run.py --only collect` puts the table into the results.

    --only score --minutes 10    start no classifier's training after so long; what is there is scored
"""

from __future__ import annotations

import argparse
import os

import screen

HERE = screen.FEW / "many"
SETS = {"unguided": "pool", "uncertainty": "pool-uncertainty"}
NETWORKS = ("lenet", "alexnet")
SEEDS, RATIOS, SWEPT = 5, ("4", "9.9"), "unguided"


def draw() -> None:
    """Unguided and pushed crops."""
    for name in SETS.values():
        idea = screen.IDEAS[name]
        if isinstance(idea, screen.Drawn):
            screen.draw(name, idea)


def score(minutes: float | None) -> None:
    """The same classifiers at both ratios, on the test crops; a set that is not there yet joins later."""
    ready = {arm: screen.place(name) for arm, name in SETS.items() if (screen.place(name) / "run.json").exists()}
    words = ["evaluate", "downstream", "--real", str(screen.FEW / "crops"), "--split", str(screen.FEW / "split.json")]
    words += ["--synthetic", *(word for arm, place in ready.items() for word in (arm, str(place)))]
    words += ["--controls"]
    words += ["--ratio", RATIOS[0], "--networks", *NETWORKS, "--seeds", str(SEEDS)]
    words += ["--sweep.ratios", *RATIOS[1:], "--sweep.networks", *NETWORKS, "--sweep.seeds", str(SEEDS)]
    words += ["--sweep.arms", SWEPT]
    words += ["--training.steps", "300", "--training.batch", "32", "--draw", "patients-by-class"]
    words += ["--resamples", "2000", "--minutes", str(minutes)] if minutes is not None else ["--resamples", "2000"]
    screen.run([*words, "--threads", "1", "--output", str(HERE / "downstream")])


def main() -> None:
    """Draw and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=("draw", "score"), default=["draw", "score"])
    parser.add_argument("--minutes", type=float)
    asked = parser.parse_args()
    os.chdir(screen.ROOT)
    if "draw" in asked.only:
        draw()
    if "score" in asked.only:
        score(asked.minutes)


if __name__ == "__main__":
    main()
