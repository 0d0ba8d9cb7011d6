"""What was tried on the validation head, and how bright tissues are in each head; figures of `reading.md`.

    OMP_NUM_THREADS=1 python experiments/translate-brain/ideas.py

needs the heads and priors of `run.py`, and takes half a minute on one free core. Prints PSNR in dB on five slices,
6 mm apart, of the validation head, and the mean error within two pixels of the rim as a share of the range: the prior
before powers were among the stand-in sources, before rims were mended, and as it is; the latter's result brought to
the histogram of the training slices, and to the scale of scans. Then the mean of every tissue in the true T1 of each
head, and the PSNR of the best constant on the scored slices of the held-out one.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from heads import read_head, training_slices
from run import ROOT, VALIDATION, Size, middle, part_of
from scipy.ndimage import distance_transform_edt

from data import HELD_OUT, TRAINING
from skiagraph.evaluation.fidelity import psnr
from skiagraph.tasks.translate.method import SourceStack, Tools, stack_streams, translation_method
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.rescaled import Rescaled
from skiagraph.tasks.translate.segmenter import TISSUE_NAMES


def main() -> None:
    """Print both tables."""
    os.chdir(ROOT)
    torch.set_num_threads(1)
    size = Size()
    heads = {name: read_head(size.data / name) for name in (*TRAINING, HELD_OUT)}
    head = heads[VALIDATION]
    whole = middle(head, 1)
    part = slice(whole.start - 2, whole.stop + 2, 3)
    truth = head.truth["T1"][part]
    slices = training_slices([heads[name] for name in TRAINING if name != VALIDATION], "T1")
    for source in ("T2", "PD", "FLAIR"):
        stack = part_of(head.sources[source], part)
        depth = np.stack([distance_transform_edt(inside) for inside in stack.mask[:, 0].numpy()])[:, None]
        rim = stack.mask & torch.from_numpy(depth < 2.1)
        streams = stack_streams(0, len(stack))
        for name in ("t1-start", "t1-middle", "t1"):
            tools = Tools({"target": TargetPrior.load(size.folder / name)}, size.calls, slices)
            method = translation_method("skiagraph", tools, candidates=12)
            result = method(stack, streams).images
            shown = {name: result}
            if name == "t1":
                found = SourceStack(result.clamp(-1, 1), stack.mask, stack.spacing_mm)
                shown["t1, matched"] = translation_method("histogram-matching", tools)(found, streams).images
                shown["t1, rescaled"] = Rescaled(method)(stack, streams).images
            for label, images in shown.items():
                value = psnr(images.numpy() / 2, truth.numpy() / 2, 1.0, stack.mask.numpy())
                error = float(((images - truth) / 2)[rim].mean())
                print(f"{source} to T1, {label}: {value:.2f} dB, rim {error:+.2f}", flush=True)
    for name, one in heads.items():
        unit = (one.truth["T1"] + 1) / 2
        means = (f"{tissue} {unit[one.tissues == n].mean():.2f}" for n, tissue in enumerate(TISSUE_NAMES, 1))
        print(f"{name}: {', '.join(means)}")
    scored = middle(heads[HELD_OUT], size.slabs)
    inside = heads[HELD_OUT].sources["T1"].mask[scored]
    spread = ((heads[HELD_OUT].truth["T1"][scored] + 1) / 2)[inside].std()
    print(f"best constant on {HELD_OUT}: {-20 * spread.log10():.2f} dB")


if __name__ == "__main__":
    main()
