"""The U-Nets on the slices of the validation head: Dice over all pixels of a kind at 0.5, and share marked on normals.

python experiments/segment-lesions/networks.py
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from skiagraph.tasks.segment.segmenter import Segmenter

KINDS = ("normal", "hyper", "hypo", "iso")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/segment"))
    parser.add_argument("--models", type=Path, default=Path("runs/segment"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    with (args.data / "slices" / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "validation"]
    for name in ("ceiling", "segmenter"):
        network = Segmenter.load(args.models / name)
        for kind in KINDS:
            files = [Path(row["file"]) for row in rows if row["label"] == kind]
            pixels = np.stack([np.asarray(Image.open(args.data / "slices" / file), np.float32) for file in files])
            truths = [np.asarray(Image.open(args.data / "truth" / "masks" / file.name)) > 127 for file in files]
            marked, truth = network(torch.from_numpy(pixels / 127.5 - 1)[:, None]).numpy() > 0.5, np.stack(truths)
            if truth.any():
                print(f"{name} {kind}: Dice {2 * (marked & truth).sum() / (marked.sum() + truth.sum()):.2f}")
            else:
                print(f"{name} {kind}: {100 * marked.mean():.2f} % of the pixels marked")


if __name__ == "__main__":
    main()
