"""The log: means by noise level, and lines that are written once."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from skiagraph.errors import DataError
from skiagraph.training.metrics import MetricsFile, Tally, peak_memory_gib


def test_losses_go_to_the_bin_of_their_level() -> None:
    tally = Tally((-1.0, 1.0))
    tally.add_items({"loss": [1.0, 2.0, 3.0, 10.0, 5.0], "level": [-5.0, 0.0, 1.0, math.inf, math.nan]})
    means = tally.means()
    assert means["loss"] == pytest.approx(21 / 5)
    assert means["loss_by_log_snr"] == [
        {"log_snr": [None, -1.0], "loss": 1.0, "count": 1},
        {"log_snr": [-1.0, 1.0], "loss": 2.0, "count": 1},
        {"log_snr": [1.0, None], "loss": 6.5, "count": 2},
    ]


def test_values_that_do_not_apply_are_left_out() -> None:
    tally = Tally((0.0,))
    tally.add_items({"loss": [1.0, 1.0], "level": [0.5, 0.5], "special": [4.0, math.nan]})
    tally.add_step(2.0, True)
    tally.add_step(1.0, False)
    means = tally.means()
    assert (means["special"], means["gradient_norm"], means["gradient_norm_max"]) == (4.0, 1.5, 2.0)
    assert means["clipped"] == 0.5


def test_a_tally_goes_on_from_its_state() -> None:
    first, whole = Tally((0.0,)), Tally((0.0,))
    for tally in (first, whole):
        tally.add_items({"loss": [0.1, 0.2], "level": [-1.0, 1.0]})
    second = Tally((0.0,))
    second.restore(json.loads(json.dumps(first.state())))
    for tally in (second, whole):
        tally.add_items({"loss": [0.3], "level": [1.0]})
        tally.add_step(0.7, False)
    assert second.means() == whole.means()


def test_the_file_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.rewind(0)
    metrics.append({"images": 1})
    size = metrics.sync()
    metrics.append({"images": 2})
    metrics.rewind(size)
    metrics.append({"images": 3})
    assert [json.loads(line)["images"] for line in metrics.path.read_text().splitlines()] == [1, 3]
    with pytest.raises(DataError, match="put the file back"):
        metrics.rewind(10_000)


def test_memory_is_reported() -> None:
    assert 0.01 < peak_memory_gib(torch.device("cpu")) < 1000
