"""A run that is killed and started again equals one that was not."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import tiny_training
from helpers.tiny_training import lines, run
from skiagraph.errors import InputError
from skiagraph.training import Progress
from skiagraph.training.checkpoint import latest_checkpoint


def assert_same_run(one: Path, other: Path) -> None:
    """Every tensor of the last checkpoint and of the snapshots bit for bit, and the same lines in the log."""
    first, second = latest_checkpoint(one / "checkpoints"), latest_checkpoint(other / "checkpoints")
    assert first is not None
    assert second is not None
    assert first.tensors.keys() == second.tensors.keys()
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert lines(one) == lines(other)
    names = sorted(path.name for path in (one / "snapshots").iterdir())
    assert names == sorted(path.name for path in (other / "snapshots").iterdir())
    assert all((one / "snapshots" / name).read_bytes() == (other / "snapshots" / name).read_bytes() for name in names)


def program(folder: Path, *options: str) -> int:
    command = [sys.executable, "-W", "error", tiny_training.__file__, str(folder), "480", *options]
    return subprocess.run(command, check=False, timeout=120).returncode


def test_killed_runs_equal_the_uninterrupted_one(tmp_path: Path) -> None:
    """SIGKILL at a random step, then in the middle of writing a checkpoint, then to the end."""
    run(tmp_path / "whole")
    first = random.Random(20).randrange(120, 300)
    assert program(tmp_path / "killed", "--kill-at", str(first)) == -signal.SIGKILL
    assert program(tmp_path / "killed", "--kill-in-save", "400") == -signal.SIGKILL
    assert list((tmp_path / "killed" / "checkpoints").glob("*.partial"))
    run(tmp_path / "killed")
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


class Stop(Exception):
    """Ends a run from outside."""


@pytest.mark.parametrize("images", [8, 96, 200, 208, 472])
def test_stopped_runs_equal_the_uninterrupted_one(tmp_path: Path, images: int) -> None:
    def stop(progress: Progress) -> None:
        if progress.images >= images:
            raise Stop

    run(tmp_path / "whole")
    with pytest.raises(Stop):
        run(tmp_path / "stopped", on_progress=stop)
    run(tmp_path / "stopped")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_finished_run_is_returned_as_it_is(tmp_path: Path) -> None:
    whole = run(tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = run(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert again.last == whole.last
    for name, average in whole.averages.items():
        assert all(torch.equal(value, again.averages[name][key]) for key, value in average.items())


def test_a_run_can_be_made_longer_but_not_another(tmp_path: Path) -> None:
    run(tmp_path / "long", dropout=0.0)
    run(tmp_path / "short", dropout=0.0, images=240)
    longer = run(tmp_path / "short", dropout=0.0)
    assert longer.images == 480
    one, other = (latest_checkpoint(tmp_path / name / "checkpoints") for name in ("long", "short"))
    assert one is not None
    assert other is not None
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    with pytest.raises(InputError, match=r"holds another run \(learning_rate: found 0\.5, the run has 0\.003"):
        run(tmp_path / "long", learning_rate=0.5)
