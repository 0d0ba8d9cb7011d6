"""Lesion masks from yes/no labels: every method on hyper-, hypo- and iso-intense inserted lesions of a head never seen.

    skiagraph simulate lesions --output runs/segment
    skiagraph train class-prior --config src/skiagraph/presets/segment/lesions-prior.yaml        (and the others there)
    python experiments/segment-lesions/run.py                    all methods, then figures and RESULTS.md
    python experiments/segment-lesions/run.py --kinds iso        one shard; shards share the folder of maps
    python experiments/segment-lesions/run.py --score            figures from the maps there are

Maps are kept, one file a kind and method (one for all kinds where the kind plays no part), so that a run that was
stopped goes on where it was. Methods whose networks are not there are left out and named. `--quick` takes two volumes
of each and coarse walks: a test of the machinery.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from methods import METHODS, MapMethod, Method, Models, map_name
from numpy.typing import NDArray
from tables import write_results
from volumes import StudyVolume, study_volumes

from skiagraph.data.files import atomic_path
from skiagraph.diffusion import Streams
from skiagraph.errors import DataError, SkiagraphError
from skiagraph.evaluation.masks import score_volume
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.segment.decide import CaseMap, calibrate, decide
from skiagraph.training.order import derive_seed

KINDS = ("hyper", "hypo", "iso")
BATCH = 16


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/segment"), help="what `simulate lesions` wrote")
    parser.add_argument("--models", type=Path, default=Path("runs/segment"), help="folder of prior, classifier, ...")
    parser.add_argument("--output", type=Path, default=Path("runs/segment/study"), help="folder of maps and figures")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent, help="folder of RESULTS.md and pictures")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--lesions", type=int, default=8, help="test volumes of each kind")
    parser.add_argument("--normals", type=int, default=8, help="test volumes without lesion")
    parser.add_argument("--calibration", type=int, default=12, help="validation volumes without lesion, at least 9")
    parser.add_argument("--stride", type=int, default=1, help="every so manieth slice")
    parser.add_argument("--steps", type=int, default=10, help="steps of the rivals' walks")
    parser.add_argument("--earlier", nargs="+", default=[], help="kind/method whose maps stem from an earlier prior")
    parser.add_argument("--score", action="store_true", help="make no maps")
    parser.add_argument("--maps-only", action="store_true", help="make no figures (for shards)")
    parser.add_argument("--quick", action="store_true", help="two volumes, every fourth slice, four steps")
    found = parser.parse_args()
    if found.quick:
        found.lesions, found.normals, found.stride, found.steps = 2, 2, 6, 4
    return found


def volumes_of(args: argparse.Namespace, kind: str) -> dict[str, list[StudyVolume]]:
    """Volumes to calibrate on, with lesion, and without."""
    return {
        "calibration": study_volumes(args.data, "validation", "normal", args.calibration, args.stride),
        "lesion": study_volumes(args.data, "test", kind, args.lesions, args.stride),
        "normal": study_volumes(args.data, "test", "normal", args.normals, args.stride),
    }


def map_file(args: argparse.Namespace, kind: str, name: str) -> Path:
    return args.output / f"maps-{args.stride}-{args.steps}" / map_name(kind, name)


def make_maps(args: argparse.Namespace, kind: str, name: str, volumes: dict[str, list[StudyVolume]]) -> None:
    """Map every volume that is not in the file yet; the file is written whole after each."""
    path, calibrated = map_file(args, kind, name), METHODS[name].rule.threshold == "calibrated"
    wanted = [one for group in volumes for one in volumes[group] if calibrated or group != "calibration"]
    kept: dict[str, NDArray[np.float32]] = {}
    if path.is_file():
        with np.load(path) as content:
            kept = {key: content[key] for key in content.files}
    missing = [one for one in wanted if one.name not in kept]
    if not missing:
        return
    method = METHODS[name].build(Models(args.models, args.steps), kind)
    for one in missing:
        started, seen = time.perf_counter(), one.foreground.any(axis=(1, 2))
        maps, calls = mapped(method, one)
        maps[~seen] = maps.min()
        kept[one.name] = maps
        kept[f"{one.name}/cost"] = np.array([time.perf_counter() - started, len(one.slices), calls], np.float32)
        with atomic_path(path, suffix=".npz") as partial:
            np.savez(partial, **kept)
    print(f"{kind} {name}: {len(missing)} volumes", flush=True)


def mapped(method: MapMethod, one: StudyVolume) -> tuple[NDArray[np.float32], float]:
    """Maps of the slices that are kept, and evaluations a slice."""
    whole = bool(getattr(method, "whole", False))
    slices, batch = (one.whole, len(one.whole)) if whole else (one.slices, BATCH)
    parts, calls = [], 0.0
    for start in range(0, len(slices), batch):
        images = torch.from_numpy(slices[start : start + batch])
        # slices of one volume share their noise, so that the map is smooth from slice to slice
        streams = Streams([derive_seed("segment-lesions", 0, one.name)] * len(images))
        found = method(images, streams)
        parts.append(found.maps.detach().numpy())
        calls = found.evaluations
    maps = np.concatenate(parts).astype(np.float32)
    return (maps[one.kept] if whole else maps), calls


def score(args: argparse.Namespace, kind: str, name: str, volumes: dict[str, list[StudyVolume]]) -> list[dict]:
    """Masks of one method on one set and what they scored, a row a volume."""
    path = map_file(args, kind, name)
    if not path.is_file():
        raise DataError("not mapped")
    with np.load(path) as content:
        maps = {key: content[key] for key in content.files}
    method: Method = METHODS[name]
    groups = volumes if method.rule.threshold == "calibrated" else {key: volumes[key] for key in ("lesion", "normal")}
    needed = [one.name for group in groups.values() for one in group]
    lacking = [key for key in needed if key not in maps]
    if lacking:
        raise DataError(f"{len(needed) - len(lacking)} of {len(needed)} volumes are mapped")

    def case(one: StudyVolume) -> CaseMap:
        return CaseMap(one.name, maps[one.name], one.foreground, one.spacing_mm)

    calibration = None
    if method.rule.threshold == "calibrated":
        calibration = calibrate([case(one) for one in volumes["calibration"]], method.rule)
    rows, masks = [], {}
    for group in ("lesion", "normal"):
        for one in volumes[group]:
            mask = decide(case(one), method.rule, calibration).mask
            masks[one.name] = np.packbits(mask)
            found = score_volume(
                mask, one.truth, one.spacing_mm, maps=maps[one.name], inside=one.foreground, policy="penalty"
            )
            seconds, slices, calls = (float(value) for value in maps[f"{one.name}/cost"])
            rows.append(
                {
                    "kind": kind,
                    "method": name,
                    "case": one.name,
                    "lesion": group == "lesion",
                    **{key: getattr(found, key) for key in (*found.__dataclass_fields__, "recall")},
                    "seconds_per_slice": seconds / slices,
                    "evaluations": calls,
                    "chance_ap": float(one.truth[one.foreground].mean()),
                }
            )
    with atomic_path(args.output / "masks" / f"{kind}-{name}.npz", suffix=".npz") as partial:
        np.savez_compressed(partial, **masks)
    return rows


def main() -> None:
    args, missing = parsed(), {}
    torch.set_num_threads(1)
    rows: list[dict] = []
    for kind in args.kinds:
        volumes = volumes_of(args, kind)
        for name in args.methods:
            try:
                if not args.score:
                    make_maps(args, kind, name, volumes)
                if not args.maps_only:
                    rows += score(args, kind, name, volumes)
            except (SkiagraphError, FileNotFoundError) as error:
                missing[f"{name}, {kind}"] = str(error)
                print(f"{kind} {name}: left out ({error})", flush=True)
    if args.maps_only:
        return
    chosen = {key: value for key, value in vars(args).items() if not isinstance(value, Path)}
    record = {"settings": chosen, "left_out": missing, **run_record(), "rows": rows}
    results = args.output if args.quick else args.results
    with atomic_path(results / "results.json", suffix=".json") as partial:
        partial.write_text(json.dumps(record, indent=0, default=str) + "\n", encoding="utf-8")
    volumes = {kind: volumes_of(args, kind) for kind in args.kinds}
    write_results(results, record, volumes, args.output / "masks")


if __name__ == "__main__":
    main()
