"""Does anything but the lesion tell the class? Lesion and 10 mm around it blanked, the same blanks in normal slices.

    python experiments/segment-lesions/shortcut.py

A classifier of quantiles and of a coarse image learns on the training heads' slices and is asked on Colin27's; it
should be at chance on blanked slices. Prints accuracies with intervals over cases.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from skiagraph.evaluation.intervals import mean_interval

PIXEL_MM, MARGIN_MM = 3.0, 10.0


def described(pixels: NDArray[np.uint8], blank: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    values = pixels / 255.0 if blank is None else np.where(blank, 0.0, pixels / 255.0)
    coarse = values.reshape(16, 4, 16, 4).mean((1, 3)).ravel()
    return np.concatenate([coarse, 10 * np.quantile(values, (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("runs/segment"))
    parser.add_argument("--most", type=int, default=1200, help="training slices of each class")
    args = parser.parse_args()
    from sklearn.linear_model import LogisticRegression

    with open(args.data / "slices" / "labels.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    generator = np.random.default_rng(0)
    truths = {row["file"]: args.data / "truth" / "masks" / Path(row["file"]).name for row in rows}
    for kind in ("hyper", "hypo", "iso"):
        sides = {}
        for side in ("train", "test"):
            lesion = [row for row in rows if row["label"] == kind and row["split"] == side]
            heights = {(row["patient"], row["slice"]) for row in lesion}
            normal = [row for row in rows if row["label"] == "normal" and row["split"] == side]
            normal = [row for row in normal if (row["patient"], row["slice"]) in heights]
            most = min(args.most, len(lesion), len(normal))
            sides[side] = [
                group[place] for group in (lesion, normal) for place in generator.permutation(len(group))[:most]
            ]
        for blanked in (False, True):
            features, labels, cases = {}, {}, []
            for side, chosen in sides.items():
                masks = [np.asarray(Image.open(truths[row["file"]])) > 0 for row in chosen if row["label"] == kind]
                made = []
                for number, row in enumerate(chosen):
                    mask = masks[number % len(masks)]  # normal slices get the blanks of the lesion slices
                    blank = ndimage.distance_transform_edt(~mask, sampling=PIXEL_MM) <= MARGIN_MM
                    pixels = np.asarray(Image.open(args.data / "slices" / row["file"]))
                    made.append(described(pixels, blank if blanked else None))
                features[side] = np.array(made)
                labels[side] = np.array([row["label"] == kind for row in chosen])
                cases = [row["case"] for row in chosen]
            model = LogisticRegression(max_iter=300, C=0.1).fit(features["train"], labels["train"])
            right = (model.predict(features["test"]) == labels["test"]).astype(float)
            found = mean_interval(right, groups=cases)
            print(f"{kind} {'blanked' if blanked else 'whole  '}: accuracy {found} on {len(right)} slices", flush=True)


if __name__ == "__main__":
    main()
