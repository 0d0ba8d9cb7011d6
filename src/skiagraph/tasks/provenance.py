"""Which source tree and which machine made a result."""

from __future__ import annotations

import platform
import sys
from typing import Any

import skiagraph

__all__ = ["run_record"]


def run_record() -> dict[str, Any]:
    """Versions, commit and machine, for run.json."""
    import numpy
    import torch

    from skiagraph.training import source_commit

    return {
        "skiagraph": skiagraph.__version__,
        "commit": source_commit(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
