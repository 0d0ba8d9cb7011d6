"""Train the networks of the study that learn from labelled pairs.

OMP_NUM_THREADS=1 python experiments/translate-brain/train.py runs/translate
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from heads import read_head

from data import TRAINING
from networks import train_networks
from skiagraph.tasks.translate.small_network import SmallTraining

DIRECTIONS = (("T2", "T1"), ("PD", "T1"), ("FLAIR", "T1"), ("T1", "T2"))

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    read = [read_head(folder / "data" / name) for name in TRAINING]
    train_networks(read, DIRECTIONS, folder / "networks", SmallTraining(steps=steps, batch=8))
