"""Two processes train as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import tiny_training
from helpers.tiny_training import lines, run
from skiagraph.errors import InputError
from skiagraph.training import processes
from skiagraph.training.processes import gather_items, process_count, process_group, process_rank, share_of, spread


def test_two_processes_train_as_one_and_one_continues(tmp_path: Path) -> None:
    """Half the run on two gloo processes and the rest on one, against one process: same losses, same weights."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [tiny_training.__file__, str(tmp_path / "two"), "240", "--dropout=0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, check=False, timeout=120, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    two = run(tmp_path / "two", dropout=0.0)
    one = run(tmp_path / "one", dropout=0.0)
    for mine, theirs in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert mine["images"] == theirs["images"]
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert mine["noise_power"] == theirs["noise_power"]
        assert [part["count"] for part in mine["loss_by_log_snr"]] == [p["count"] for p in theirs["loss_by_log_snr"]]
    for name, value in one.averages["power-0.1"].items():
        if name != "calls":
            torch.testing.assert_close(two.averages["power-0.1"][name], value, rtol=1e-3, atol=1e-5)


def test_a_single_process_is_left_as_it_is() -> None:
    network = torch.nn.Linear(1, 1)
    with process_group(torch.device("cpu")) as device:
        assert (process_count(), process_rank(), device.type) == (1, 0, "cpu")
        assert spread(network) is network
        assert share_of(range(3, 9)) == range(3, 9)
        values = torch.arange(6.0).view(2, 3)
        assert gather_items(values, 3) is values


def test_shares_cover_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "process_count", lambda: 3)
    found: list[int] = []
    for rank in range(3):
        monkeypatch.setattr(processes, "process_rank", lambda rank=rank: rank)
        found += share_of(range(10, 18))
    assert found == list(range(10, 18))
    with pytest.raises(InputError, match="batch_size: found 2"):
        share_of(range(2))
