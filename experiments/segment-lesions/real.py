"""Outside check: two measured post-contrast heads with expert masks (pyradiomics 3.0.1), patient by patient, no mean.

    python experiments/segment-lesions/real.py             after run.py, whose calibration volumes it uses

The prior learned averaged and single T1 heads with inserted lesions at 3 mm; these are thick slices (6.5 mm) of other
scanners after contrast agent, with the label "hyper". Needs SimpleITK. Writes real.json and real.png beside RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from methods import METHODS, Models, map_name
from numpy.typing import NDArray
from tables import headed, tile
from volumes import study_volumes

from skiagraph.data.archives import Archive, Member, cache_folder, download, extract
from skiagraph.data.files import write_whole
from skiagraph.data.intensity import foreground_scaling
from skiagraph.data.png import contact_sheet, write_png
from skiagraph.data.regrid import resample
from skiagraph.data.volume import Volume
from skiagraph.diffusion import Streams
from skiagraph.evaluation.masks import score_volume
from skiagraph.tasks.brain_mask import brain_mask
from skiagraph.tasks.segment.cases import axial_slices
from skiagraph.tasks.segment.decide import CaseMap, calibrate, decide
from skiagraph.training.order import derive_seed

NAMES = ("brain1", "brain2")
SIDE, PIXEL_MM, STRIDE = 64, 3.0, 2
_SHA = {
    "brain1_image": "fffdb111ee8b428ede7256707393c927a7d5be912f0604cf3c6f1bd5fc9644cf",
    "brain1_label": "ae6d8e6b84f7e99d68c210ee2fa6aaaefa0b2df0a84f55efca4feebe2b216059",
    "brain2_image": "d35a1c6a3e1eb72bae97c5515472fbe057fb38ee8e1e199215d1c3c6f292332e",
    "brain2_label": "15189c024936ecc337649b9a10c475117c7c40df0d53c22163f9a2023ed741a5",
}
ARCHIVE = Archive(
    "pypi-source",
    "pyradiomics",
    "3.0.1",
    34473030,
    "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
    {name: Member(f"pyradiomics-3.0.1/data/{name}.nrrd", sha) for name, sha in _SHA.items()},
)


def fetched(archive: Path | None) -> dict[str, Path]:
    """The four files, from an archive that was downloaded by hand or from the registry."""
    folder = cache_folder() / "pyradiomics"
    found = {name: folder / member.path for name, member in ARCHIVE.members.items()}
    if all(path.is_file() for path in found.values()):
        return found
    with tempfile.TemporaryDirectory() as work:
        return extract(archive or download(ARCHIVE, Path(work)), ARCHIVE, folder)


def volume_of(path: Path) -> Volume:
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    turned = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return Volume(SimpleITK.GetArrayFromImage(image).T.astype(np.float32), turned, path.stem)


def fitted(volume: Volume, centre: NDArray[np.float64], height: NDArray[np.float64], order: int) -> Volume:
    """64 x 64 pixels of 3 mm about the brain's centre, slices as they are (axes right, anterior, superior)."""
    from skiagraph.data.regrid import Grid

    affine = np.diag([PIXEL_MM, PIXEL_MM, height[1], 1.0])
    affine[:3, 3] = [centre[0] - PIXEL_MM * (SIDE - 1) / 2, centre[1] - PIXEL_MM * (SIDE - 1) / 2, height[0]]
    return resample(volume, Grid((SIDE, SIDE, round(height[2])), affine), order=order, outside=0.0)


def prepared(files: dict[str, Path], name: str) -> tuple[NDArray, NDArray, NDArray, tuple[float, float, float]]:
    """Slices (D, 1, H, W) in [-1, 1] without the skull, brain, truth, spacing."""
    head, label = volume_of(files[f"{name}_image"]), volume_of(files[f"{name}_label"])
    mask = brain_mask(head).mask
    inside = np.argwhere(mask) @ head.affine[:3, :3].T + head.affine[:3, 3]
    centre = (inside.min(0) + inside.max(0)) / 2
    first = head.affine @ np.array([0, 0, 0, 1.0])
    height = np.array([first[2], head.spacing_mm[2], head.array.shape[2]])
    parts = [Volume(head.array * mask, head.affine), Volume(mask.astype(np.float32), head.affine), label]
    image, brain, truth = (fitted(part, centre, height, 1) for part in parts)
    scaled = 2 * foreground_scaling(image.array).apply(image.array) - 1
    slices, spacing = axial_slices(Volume(scaled, image.affine))
    return slices[:, None], axial_slices(brain)[0] > 0.5, axial_slices(truth)[0] > 0.5, spacing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/segment"))
    parser.add_argument("--models", type=Path, default=Path("runs/segment"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent)
    parser.add_argument("--archive", type=Path, help="pyradiomics-3.0.1.tar.gz, where it was fetched by hand")
    parser.add_argument("--maps", type=Path, default=Path("runs/segment/study/maps-2-6"), help="maps of run.py")
    parser.add_argument("--calibration", type=int, default=12)
    shown = ["default", "reference", "intensity", "layer-cam", "classifier-free", "taught"]
    parser.add_argument("--methods", nargs="+", default=shown)
    args = parser.parse_args()
    files, rows, tiles = fetched(args.archive), [], []
    normals = study_volumes(args.data, "validation", "normal", args.calibration, STRIDE)
    for name in NAMES:
        slices, brain, truth, spacing = prepared(files, name)
        places = np.argsort(-truth.sum((1, 2)))[:2]
        marks = {}
        for key in args.methods:
            method, path = METHODS[key], args.maps / map_name("hyper", key)
            if not path.is_file():
                print(f"{key}: no calibration maps at {path}; left out", flush=True)
                continue
            ask = method.build(Models(args.models), "hyper")
            streams = [derive_seed("segment-lesions", 0, name)]
            parts = [
                ask(torch.from_numpy(slices[start : start + 8]), Streams(streams * len(slices[start : start + 8]))).maps
                for start in range(0, len(slices), 8)
            ]
            maps = torch.cat(parts).detach().numpy()
            calibration = None
            if method.rule.threshold == "calibrated":
                with np.load(path) as content:
                    known = [CaseMap(one.name, content[one.name], one.foreground, one.spacing_mm) for one in normals]
                calibration = calibrate(known, method.rule)
            mask = decide(CaseMap(name, maps, brain, spacing), method.rule, calibration).mask
            found = score_volume(mask, truth, spacing, maps=maps, inside=brain)
            rows.append({"case": name, "method": key, **{k: getattr(found, k) for k in found.__dataclass_fields__}})
            print(name, key, f"Dice {found.dice:.2f} AP {found.ap:.2f} marked {found.marked_ml:.1f} ml", flush=True)
            marks[key] = mask
        for place in places:
            grey = np.round(255 * (slices[place, 0] + 1) / 2).astype(np.uint8)
            tiles += [tile(grey, None, 0), tile(grey, truth[place], 1)]
            tiles += [tile(grey, mask[place], 0) for mask in marks.values()]
    write_whole(args.results / "real.json", (json.dumps(rows, indent=0) + "\n").encode())
    write_png(
        args.results / "real.png",
        headed(contact_sheet(tiles, 2 + len(marks)), ["image", "truth", *marks]),
        {"Source": "measured"},
    )


if __name__ == "__main__":
    main()
