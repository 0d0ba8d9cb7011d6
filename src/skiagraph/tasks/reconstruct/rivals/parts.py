"""Parts of a comparison that are done, kept on disk, so that one that was stopped goes on where it stood."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skiagraph.data.files import write_whole
from skiagraph.tasks.reconstruct.rivals.interface import Estimates, Measured

__all__ = ["Parts"]


@dataclass(frozen=True)
class Parts:
    """A folder of parts, each found again by everything that it depends on.

    Args:
        folder: made when the first part is kept.
    """

    folder: Path

    def measured(self, key: Mapping[str, Any], make: Callable[[], Measured]) -> Measured:
        """What a method made: read where it is kept, else made and kept.

        Args:
            key: everything that the outcome depends on, as JSON types.
            make: runs the method.
        """
        path = self._path(key, "npz")
        if path.exists():
            return _read(path)
        result = make()
        buffer, estimates = io.BytesIO(), result.estimates
        arrays = {"images": estimates.images.cpu().numpy()}
        if estimates.samples is not None:
            arrays["samples"] = estimates.samples.cpu().numpy()
        facts = np.array([result.seconds, result.memory_gib, estimates.spread])
        np.savez_compressed(buffer, allow_pickle=False, facts=facts, **arrays)
        write_whole(path, buffer.getvalue())
        return result

    def numbers(self, key: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """JSON values: read where they are kept, else made and kept."""
        path = self._path(key, "json")
        if path.exists():
            known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return known
        made = make()
        write_whole(path, json.dumps(made).encode("utf-8"))
        return made

    def _path(self, key: Mapping[str, Any], kind: str) -> Path:
        text = json.dumps(key, sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.{kind}"


def _read(path: Path) -> Measured:
    with np.load(path, allow_pickle=False) as content:
        seconds, memory, spread = (float(value) for value in content["facts"])
        samples = torch.from_numpy(content["samples"]) if "samples" in content else None
        return Measured(Estimates(torch.from_numpy(content["images"]), samples, spread), seconds, memory)
