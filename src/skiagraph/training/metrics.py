"""What a run reports: means of the per-item losses between two log lines, by noise level, one JSON line at a time."""

from __future__ import annotations

import bisect
import json
import math
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from skiagraph.data.files import write_refusal
from skiagraph.errors import DataError

__all__ = ["MetricsFile", "Tally", "peak_memory_gib"]


def peak_memory_gib(device: torch.device) -> float:
    """Return the peak memory in GiB: allocated on a CUDA device, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


class Tally:
    """Sums of what happened since the last log line; its state is plain JSON, so a resumed run goes on exactly.

    Args:
        edges: increasing log-SNR edges; n edges make n + 1 bins, the outermost open.
    """

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = list(edges)
        self.sums: dict[str, list[float]] = {}
        self.bins: list[list[float]] = [[0.0, 0] for _ in range(len(self.edges) + 1)]
        self.largest_norm = 0.0

    def add_items(self, values: Mapping[str, Sequence[float]]) -> None:
        """Add per-item values by name; "loss" and "level" (log-SNR) are binned, NaN means "does not apply"."""
        for name, items in values.items():
            if name != "level":
                for item in items:
                    self._add(name, item)
        for loss, level in zip(values["loss"], values["level"], strict=True):
            if not math.isnan(level):
                chosen = self.bins[bisect.bisect_right(self.edges, level)]
                chosen[0] += loss
                chosen[1] += 1

    def add_step(self, gradient_norm: float, clipped: bool) -> None:
        """Add one step's gradient norm before clipping and whether it was clipped."""
        self._add("gradient_norm", gradient_norm)
        self._add("clipped", float(clipped))
        self.largest_norm = max(self.largest_norm, gradient_norm)

    def _add(self, name: str, value: float) -> None:
        if not math.isnan(value):
            entry = self.sums.setdefault(name, [0.0, 0])
            entry[0] += value
            entry[1] += 1

    def means(self) -> dict[str, Any]:
        """Return the means since the last line; a bin reads {"log_snr": [low, high], "loss": ..., "count": ...}."""
        line: dict[str, Any] = {name: total / count for name, (total, count) in self.sums.items()}
        line["gradient_norm_max"] = self.largest_norm
        lows, highs = [None, *self.edges], [*self.edges, None]
        line["loss_by_log_snr"] = [
            {"log_snr": [low, high], "loss": total / count, "count": int(count)}
            for low, high, (total, count) in zip(lows, highs, self.bins, strict=True)
            if count
        ]
        return line

    def state(self) -> dict[str, Any]:
        """Return the sums as JSON values."""
        return {"sums": self.sums, "bins": self.bins, "largest_norm": self.largest_norm}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the sums that `state()` returned."""
        self.sums = {name: list(entry) for name, entry in state["sums"].items()}
        self.bins = [list(entry) for entry in state["bins"]]
        self.largest_norm = state["largest_norm"]


class MetricsFile:
    """metrics.jsonl: one JSON object a line, cut back to the checkpoint when a run continues.

    Args:
        path: the file; it and its lines survive a kill at any moment up to the last checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, size: int) -> None:
        """Cut the file to the `size` bytes it had at the checkpoint, so that later lines are written once only."""
        found = self.path.stat().st_size if self.path.exists() else 0
        if found < size:
            raise DataError(
                f"{self.path}: found {found} bytes, the checkpoint expects {size}; "
                "put the file back, or delete the checkpoints to start again."
            )
        with open(self.path, "ab") as file:
            file.truncate(size)

    def append(self, line: Mapping[str, Any]) -> None:
        """Append one line, whole or not at all."""
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            if self.path.exists():
                os.truncate(self.path, size)
            raise DataError(write_refusal(self.path, error)) from error

    def sync(self) -> int:
        """Force the lines to disk and return the size of the file in bytes."""
        try:
            with open(self.path, "ab") as file:
                os.fsync(file.fileno())
                return file.tell()
        except OSError as error:
            raise DataError(write_refusal(self.path, error)) from error
