"""Fix the number of threads before any numerical library is loaded, then run."""

from __future__ import annotations

import os
import sys

_THREADS = "1"

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = _THREADS  # read once, when the libraries start
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded from a model hub

from benchmarks.run import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(threads=int(_THREADS)))
