"""How maps become masks: rules compared on heads that are not the test head, by image labels and two kinds of volumes.

    python experiments/segment-lesions/choose.py

Maps of the default on the validation head (normal volumes and lesions) and on normal slices of the training heads.
Every rule is calibrated twice: on the validation head's own normals, and on the training heads' normals, which are
other heads: what comes of a rule when the head changes. Writes choice.json.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from methods import METHODS, Models
from numpy.typing import NDArray
from PIL import Image
from run import KINDS, mapped
from volumes import StudyVolume, study_volumes

from skiagraph.data.files import atomic_path
from skiagraph.evaluation.masks import dice
from skiagraph.tasks.segment.cases import _foreground
from skiagraph.tasks.segment.command_settings import MaskSettings
from skiagraph.tasks.segment.decide import CaseMap, calibrate, decide

RULES = {
    "area": (0.0005, 0.001, 0.002, 0.005),
    "found_area": (None, 0.002, 0.005),
    "scale": ("none", "own"),
}


def training_volumes(data: Path, most: int, stride: int) -> list[StudyVolume]:
    """Normal slices of the training heads as volumes of every so manieth slice, `most` a head."""
    cases: dict[str, list[tuple[int, str]]] = {}
    with (data / "slices" / "labels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train" and row["label"] == "normal":
                cases.setdefault(row["case"], []).append((int(row["slice"]), row["file"]))
    taken: dict[str, int] = {}
    found = []
    for name, members in sorted(cases.items()):
        head = name.split("-")[2]
        if len(members) < 10 or taken.get(head, 0) >= most:
            continue
        taken[head] = taken.get(head, 0) + 1
        files = [file for _, file in sorted(members)][stride // 2 :: stride]
        pixels = np.stack([np.asarray(Image.open(data / "slices" / file), np.float32) for file in files])
        slices = (pixels / 127.5 - 1)[:, None]
        inside = _foreground(slices[:, 0])
        if inside is None:
            continue
        nothing = np.zeros(inside.shape, dtype=bool)
        found.append(StudyVolume(name, slices, inside, nothing, (4.0 * stride, 3.0, 3.0), slices, slice(None)))
    return found


def maps_of(path: Path, kind: str, models: Path, volumes: list[StudyVolume]) -> dict[str, NDArray[np.float32]]:
    """Maps of the default, kept in the file of the study, which asks for some of them again."""
    kept: dict[str, NDArray[np.float32]] = {}
    if path.is_file():
        with np.load(path) as content:
            kept = {key: content[key] for key in content.files}
    method = METHODS["default"].build(Models(models), kind)
    for one in volumes:
        if one.name not in kept:
            kept[one.name], _ = mapped(method, one)
            with atomic_path(path, suffix=".npz") as partial:
                np.savez(partial, **kept)
    return kept


def judged(groups: dict[str, list[StudyVolume]], maps: dict[str, NDArray[np.float32]], rules: MaskSettings) -> dict:
    """Dice of the lesions and ml marked on normals, calibrated on the same head and on others."""

    def case(one: StudyVolume) -> CaseMap:
        return CaseMap(one.name, maps[one.name], one.foreground, one.spacing_mm)

    normals, lesions, others = ([case(one) for one in groups[key]] for key in ("normal", "lesion", "others"))
    voxel = float(np.prod(groups["normal"][0].spacing_mm)) / 1000
    row: dict[str, float] = {}
    for name, known in (("same", calibrate(normals, rules)), ("other", calibrate(others, rules))):
        found = [
            dice(decide(one, rules, known).mask, volume.truth)
            for one, volume in zip(lesions, groups["lesion"], strict=True)
        ]
        row[f"{name}_dice"] = float(np.mean(found))
        row[f"{name}_ml"] = float(np.mean([decide(one, rules, known).mask.sum() * voxel for one in normals]))
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/segment"))
    parser.add_argument("--models", type=Path, default=Path("runs/segment"))
    parser.add_argument("--output", type=Path, default=Path("runs/segment/study"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent)
    parser.add_argument("--lesions", type=int, default=5)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="of the study; names its folder of maps")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.output / f"maps-{args.stride}-{args.steps}"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind in KINDS:
        groups = {
            "normal": study_volumes(args.data, "validation", "normal", 12, args.stride),
            "lesion": study_volumes(args.data, "validation", kind, args.lesions, args.stride),
            "others": training_volumes(args.data, 3, args.stride),
        }
        maps = maps_of(
            folder / f"{kind}-default.npz", kind, args.models, [one for group in groups.values() for one in group]
        )
        for values in itertools.product(*RULES.values()):
            chosen = dict(zip(RULES, values, strict=True))
            rows.append({"kind": kind, **chosen, **judged(groups, maps, MaskSettings(**chosen))})
    with atomic_path(args.results / "choice.json", suffix=".json") as partial:
        partial.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    names = ("same_dice", "same_ml", "other_dice", "other_ml")
    for values in itertools.product(*RULES.values()):
        chosen = dict(zip(RULES, values, strict=True))
        mine = [row for row in rows if all(row[key] == value for key, value in chosen.items())]
        print(*values, *(f"{name} " + "/".join(f"{row[name]:.2f}" for row in mine) for name in names), sep="  ")


if __name__ == "__main__":
    main()
