"""All trainings of a study, one file each, and the tables that come of those that are there."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import write_whole
from skiagraph.errors import DataError
from skiagraph.evaluation.downstream import ArmScores, Draws, draw_study, score_arm
from skiagraph.tasks.downstream.arms import Arm, Cell, cells, main_arms, number_of, sweep_arms, training_set
from skiagraph.tasks.downstream.sets import StudySets
from skiagraph.tasks.downstream.settings import DownstreamSettings
from skiagraph.tasks.downstream.train import predict, train_classifier
from skiagraph.tasks.downstream.uncertain import judge_identity, most_uncertain
from skiagraph.tasks.progress import OnProgress

__all__ = ["Scored", "Study"]

VERSION = 1  # of what a training does; a change makes old files void


@dataclass(frozen=True, eq=False)
class Scored:
    """Arms scored on the runs that all of them have.

    Args:
        arms: name and scores, in the order of the settings.
        runs: (network, seed) of every run.
        wanted: runs that the settings ask for.
        subgroups: value -> scores of each arm on the test images that carry it.
    """

    arms: dict[Arm, ArmScores]
    runs: tuple[tuple[str, int], ...]
    wanted: int
    subgroups: dict[str, dict[Arm, ArmScores]] = field(default_factory=dict)


class Study:
    """The trainings of a study in its folder.

    Args:
        folder: of the study; a training is trainings/ARM/NETWORK-SEED.npz.
        sets: all images.
        settings: of the study.
    """

    def __init__(self, folder: Path, sets: StudySets, settings: DownstreamSettings) -> None:
        self.folder, self.sets, self.settings = folder, sets, settings
        self.cells = tuple(cells(settings))
        self.data = {"real": sets.real.fingerprint(), "test": sets.test.fingerprint()}
        self.data.update({f"synthetic {name}": part.fingerprint() for name, part in sets.synthetic.items()})
        self.judge = judge_identity(settings.judge)
        self._uncertain: NDArray[np.intp] | None = None

    def path(self, cell: Cell) -> Path:
        """File of a training."""
        arm = f"{cell.arm.name} x {cell.arm.ratio:g}" if cell.arm.ratio else cell.arm.name
        return self.folder / "trainings" / arm / f"{cell.network}-{cell.seed}.npz"

    def identity(self, cell: Cell) -> str:
        """Hash of all that a training's result depends on."""
        settings, arm = self.settings, cell.arm
        facts: dict[str, Any] = {
            "version": VERSION,
            "real": self.data["real"],
            "test": self.data["test"],
            "cell": [arm.name, arm.ratio, cell.network, cell.seed, settings.seed],
            "training": settings.training.model_dump(mode="json"),
        }
        if arm.name in self.sets.synthetic:
            facts["added"] = self.data[f"synthetic {arm.name}"]
        if arm.name == "chosen":
            facts["added"] = [settings.rule, self.judge, settings.chosen_share, settings.figure_network]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """A training's result, or None where it is not there or was made from something else."""
        path = self.path(cell)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as content:
                found = {name: content[name] for name in content.files}
        except Exception as error:  # a damaged archive can fail in any way
            raise DataError(f"{path} is not the result of a training ({error}); remove it to train again") from error
        return found if str(found.get("identity")) == self.identity(cell) else None

    def missing(self) -> list[Cell]:
        """Trainings of this process that are not there, in order."""
        part, parts = self.settings.shard or (0, 1)
        mine = [cell for number, cell in enumerate(self.cells) if number % parts == part]
        return [cell for cell in mine if self.read(cell) is None]

    def train(self, on_progress: OnProgress) -> int:
        """Do the trainings that are not there, until time is up; return how many were done."""
        left, started = self.missing(), time.monotonic()
        before = len(self.cells) - len(left)
        for done, cell in enumerate(left):
            limit = self.settings.minutes
            if limit is not None and time.monotonic() - started > 60 * limit:
                return done
            on_progress("trainings", before + done, len(self.cells))
            self._train(cell, on_progress)
        on_progress("trainings", len(self.cells), len(self.cells))
        return len(left)

    def _train(self, cell: Cell, on_progress: OnProgress) -> None:
        settings, sets = self.settings, self.sets
        if cell.arm.name == "chosen" and self._uncertain is None:
            self._uncertain = most_uncertain(sets, settings, on_progress)
        given = training_set(cell.arm, cell.seed, sets, settings, self._uncertain)
        seed = number_of(settings.seed, cell.network, cell.seed)
        trained = train_classifier(cell.network, given, len(sets.classes), settings.training, seed)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            logits=predict(trained.network, sets.test.images),
            identity=np.array(self.identity(cell)),
            loss=np.array(trained.loss),
            seconds=np.array(trained.seconds),
            images=np.array(len(given.images)),
        )
        write_whole(self.path(cell), buffer.getvalue())

    def scored(self, arms: Sequence[Arm], networks: Sequence[str], seeds: int) -> Scored | None:
        """Scores of arms on the runs that all of them have; None where there are none.

        Args:
            arms: arms to compare.
            networks: names.
            seeds: seeds from 0 to below this.
        """
        found: dict[tuple[str, int], list[NDArray[np.float64]]] = {}
        for seed in range(seeds):
            for network in networks:
                results = [self.read(Cell(seed, network, arm)) for arm in arms]
                if all(result is not None for result in results):
                    found[network, seed] = [_probabilities(result["logits"]) for result in results if result]
        if not found:
            return None
        test, runs = self.sets.test, tuple(found)
        resamples, seed = self.settings.resamples, self.settings.seed
        draws = draw_study(test.labels, runs, groups=self._groups(), resamples=resamples, seed=seed)
        told = {arm: np.stack([rows[number] for rows in found.values()]) for number, arm in enumerate(arms)}
        every = np.ones(len(test), dtype=bool)
        apart = {value: self._scores(told, draws, inside) for value, inside in self.sets.subgroups.items()}
        return Scored(self._scores(told, draws, every), runs, len(networks) * seeds, apart)

    def _scores(
        self, told: dict[Arm, NDArray[np.float64]], draws: Draws, inside: NDArray[np.bool_]
    ) -> dict[Arm, ArmScores]:
        """Scores of every arm's probabilities (R, N, K) on some of the test images, on the same draws."""
        part, labels = draws.within(inside), self.sets.test.labels[inside]
        level = self.settings.specificity
        return {arm: score_arm(rows[:, inside], labels, part, specificity=level) for arm, rows in told.items()}

    def _groups(self) -> list[tuple[str, int]] | tuple[str, ...] | None:
        """Test images that are drawn together."""
        test = self.sets.test
        if test.patients is None or self.settings.draw == "images":
            return None
        if self.settings.draw == "patients":
            return test.patients
        return list(zip(test.patients, test.labels.tolist(), strict=True))

    def main(self) -> Scored | None:
        """The arms at the main ratio, on all networks and seeds."""
        return self.scored(main_arms(self.settings), self.settings.networks, self.settings.seeds)

    def sweep(self) -> Scored | None:
        """All ratios, on the networks and seeds of the sweep."""
        arms = sweep_arms(self.settings)
        return self.scored(arms, self.settings.sweep.networks, self.settings.sweep.seeds) if arms else None

    def times(self) -> dict[str, float]:
        """Mean processor seconds of the trainings that are there, by network."""
        spent: dict[str, list[float]] = {}
        for cell in self.cells:
            result = self.read(cell)
            if result is not None:
                spent.setdefault(cell.network, []).append(float(result["seconds"]))
        return {name: float(np.mean(values)) for name, values in spent.items()}


def _probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax (N, K) in double precision."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    found: NDArray[np.float64] = shifted / shifted.sum(1, keepdims=True)
    return found
