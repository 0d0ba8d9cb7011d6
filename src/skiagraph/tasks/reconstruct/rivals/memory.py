"""How much memory a stretch of work takes: of the accelerator where there is one, else of the process."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from pathlib import Path
from types import TracebackType

import torch

__all__ = ["MemoryPeak"]

_PAGES = Path("/proc/self/statm")
_GIB = 2**30


class MemoryPeak:
    """Context in which memory is watched; `gib` is the peak beyond what was held when it was entered.

    On a CPU the resident memory is looked at every 5 ms, so that short peaks may be missed, and programs that are
    called are not counted; NaN where the system does not tell (no /proc).

    Args:
        device: whose memory.
        interval: seconds between two looks.
    """

    def __init__(self, device: torch.device | str = "cpu", interval: float = 0.005) -> None:
        self.device = torch.device(device)
        self.interval = interval
        self.gib = float("nan")
        self._stop = threading.Event()
        self._start = self._highest = 0

    def __enter__(self) -> MemoryPeak:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            self._start = torch.cuda.memory_allocated(self.device)
            return self
        _give_back()
        self._start = self._highest = _resident()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="skiagraph-memory")
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.device.type == "cuda":
            self.gib = (torch.cuda.max_memory_allocated(self.device) - self._start) / _GIB
            return
        self._stop.set()
        self._watcher.join()
        self._highest = max(self._highest, _resident())
        if _PAGES.exists():
            self.gib = max(0, self._highest - self._start) / _GIB

    def _watch(self) -> None:
        while not self._stop.wait(self.interval):
            self._highest = max(self._highest, _resident())


def _resident() -> int:
    """Resident memory of this process in bytes; 0 where it is not known."""
    try:
        return int(_PAGES.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _give_back() -> None:
    """Return freed memory to the system, where the C library can, so that it is not counted as held."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return
