"""Tables and picture of what the steps have left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import FIXED, TUNED
from settings import ACQUIRED, MASKS_AT, Setting, Size, held_out_slices

from skiagraph.evaluation.fidelity import fit_scale
from skiagraph.evaluation.intervals import mean_interval, paired_difference
from skiagraph.tasks.reconstruct.baselines import BASELINES, PLAIN_WAVELET
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.posterior import SamplerSettings, conditional_mean, posterior_samples, slice_seeds
from skiagraph.tasks.reconstruct.results import Reconstruction

__all__ = ["collect", "draw"]

NAMES = {PLAIN_WAVELET: "sigpy wavelet"}


def _load(size: Size, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((size.folder / f"{name}.json").read_text())
    return found


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows), ""]


def _gap(ours: list[float], theirs: list[float], slabs: list[str]) -> str:
    found = paired_difference(ours, theirs, groups=slabs)
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _setting(setting: Setting) -> str:
    return f"R = {setting.rate:g}, noise {setting.noise:g}"


def _best(size: Size, setting: Setting) -> str:
    """The baseline that is best on the training heads."""
    tuned = _load(size, f"tuned-{setting.name}")
    return max(TUNED, key=lambda name: max(tuned[name]["tried"].values()))


def _psnr(size: Size, priors: Mapping[str, Path]) -> list[str]:
    rows = []
    for setting in size.settings():
        methods = _load(size, f"baselines-{setting.name}")["methods"]
        found = [float(np.mean(methods[name]["psnr_db"])) for name in (*FIXED, *TUNED)]
        found += [float(np.mean(_load(size, f"{name}-{setting.name}")["psnr_db"])) for name in priors]
        best = max(found)
        rows.append([_setting(setting), *(f"**{v:.2f}**" if v == best else f"{v:.2f}" for v in found)])
    return _table(["PSNR (dB)", *(NAMES.get(name, name) for name in (*FIXED, *TUNED)), *priors], rows)


def _gaps(size: Size, priors: Mapping[str, Path]) -> list[str]:
    rows, names = [], list(priors)
    for setting in size.settings():
        baseline, best = _load(size, f"baselines-{setting.name}"), _best(size, setting)
        slabs, theirs = baseline["slabs"], baseline["methods"][best]["psnr_db"]
        ours = {name: _load(size, f"{name}-{setting.name}") for name in names}
        cells = [f"{_gap(ours[name]['psnr_db'], theirs, slabs)}" for name in names]
        cells += [_gap(ours[name]["psnr_db"], ours[names[0]]["psnr_db"], slabs) for name in names[1:]]
        rows.append([_setting(setting), NAMES.get(best, best), *cells])
    head = ["gap in PSNR (dB)", "best baseline", *(f"{name} minus it" for name in names)]
    return _table(head + [f"{name} minus {names[0]}" for name in names[1:]], rows)


def _bars(size: Size, priors: Mapping[str, Path]) -> list[str]:
    rows = []
    for setting in size.settings():
        cells = []
        for name in priors:
            found = _load(size, f"{name}-{setting.name}")
            held = mean_interval(found["coverage_of_90_percent_interval"], groups=found["slabs"])
            cells += [
                f"{np.mean(found['ssim']):.3f}",
                f"{100 * held.mean:.0f} [{100 * held.low:.0f}, {100 * held.high:.0f}]",
            ]
        methods = _load(size, f"baselines-{setting.name}")["methods"]
        rows.append([_setting(setting), f"{np.mean(methods[_best(size, setting)]['ssim']):.3f}", *cells])
    head = [part for name in priors for part in (f"SSIM {name}", f"coverage (%) {name}")]
    return _table(["", "SSIM best baseline", *head], rows)


def _choice(size: Size, priors: Mapping[str, Path]) -> list[str]:
    rows = []
    for rate in size.rates:
        for noise in sorted({*size.noises, ACQUIRED}):
            setting = Setting(rate, noise)
            values = [float(np.mean(_load(size, f"choice-{name}-{setting.name}")["psnr_db"])) for name in priors]
            cells = [f"{value:.2f}" for value in values] + [f"{value - values[0]:+.2f}" for value in values[1:]]
            rows.append([_setting(setting), *cells])
    names = list(priors)
    return _table(["training heads, PSNR (dB)", *names, *(f"{name} minus {names[0]}" for name in names[1:])], rows)


def _masks(size: Size) -> list[str]:
    rows = []
    fixed = _load(size, f"fixed-{MASKS_AT.name}")
    for name in ("fixed", "fresh"):
        found = _load(size, f"{name}-{MASKS_AT.name}")
        gap = "" if name == "fixed" else _gap(found["psnr_db"], fixed["psnr_db"], found["slabs"])
        covered = 100 * float(np.mean(found["coverage_of_90_percent_interval"]))
        rows.append(
            [
                f"{name} masks",
                f"{np.mean(found['psnr_db']):.2f}",
                f"{np.mean(found['ssim']):.3f}",
                gap,
                f"{covered:.0f}",
            ]
        )
    return _table([_setting(MASKS_AT), "PSNR (dB)", "SSIM", "minus fixed (dB)", "coverage (%)"], rows)


def _cost(size: Size, priors: Mapping[str, Path]) -> str:
    settings = size.settings()
    found = [_load(size, f"{name}-{setting.name}") for name in priors for setting in settings]
    seconds = [one["seconds"] for one in found]
    memory = max(one["peak_memory_gib"] for one in found)
    methods = [_load(size, f"baselines-{setting.name}")["methods"] for setting in settings]
    theirs = ", ".join(
        f"{NAMES.get(name, name)} {np.mean([one[name]['seconds'] for one in methods]):.1f} s" for name in TUNED
    )
    return (
        f"Cost: {found[0]['evaluations_per_slice']} network evaluations a slice (four samples and the mean), "
        f"{np.median(seconds):.1f} s on one core shared with other work, {memory:.1f} GiB at most; {theirs} a slice."
    )


def collect(size: Size, priors: Mapping[str, Path], words: str, target: Path) -> None:
    """Write RESULTS.md."""
    lines = [
        "# One prior for every noise, and fixed masks against fresh ones",
        "",
        words,
        "",
        "## Held-out head",
        "",
        *_psnr(size, priors),
        *_gaps(size, priors),
        *_bars(size, priors),
        _cost(size, priors),
        "",
        "## What the choice was made by",
        "",
        *_choice(size, priors),
        "## Fixed masks against fresh masks",
        "",
        *_masks(size),
    ]
    target.write_text("\n".join(lines).rstrip() + "\n")


def draw(size: Size, priors: Mapping[str, Path], target: Path) -> None:
    """One slice of the held-out head at the first rate: a row for each noise, with the error below each image."""
    from matplotlib.figure import Figure

    columns = ["truth", "zero-filled", "total-variation", "l1-wavelet", *priors, "standard deviation"]
    figure = Figure(figsize=(2 * len(columns), 4 * len(size.noises)), layout="constrained", facecolor="white")
    grid = figure.subplots(2 * len(size.noises), len(columns), squeeze=False)
    for line, noise in enumerate(size.noises):
        setting = Setting(size.rates[0], noise)
        slices, _ = held_out_slices(setting, 1)
        images, deviation = _images(size, priors, setting)
        truth, inside = slices.truth[0].numpy(), slices.head[0].numpy()
        top, worst = 0.8 * float(truth.max()), (0.2 if noise > 0.05 else 0.08) * float(truth.max())
        grid[2 * line, 0].imshow(truth, cmap="gray", vmin=0, vmax=top)
        for column, image in enumerate(images, start=1):
            fitted = image * fit_scale(image, truth, inside)
            grid[2 * line, column].imshow(fitted, cmap="gray", vmin=0, vmax=top)
            grid[2 * line + 1, column].imshow(np.abs(fitted - truth), cmap="magma", vmin=0, vmax=worst)
        grid[2 * line, -1].imshow(deviation, cmap="magma", vmin=0, vmax=worst)
        label = f"noise {noise:g}\nerrors: 0 to {100 * worst / float(truth.max()):.0f} %\nof the peak"
        grid[2 * line + 1, 0].text(0.5, 0.5, label, ha="center", va="center", transform=grid[2 * line + 1, 0].transAxes)
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize=11)
    for axes in grid.flat:
        axes.axis("off")
    figure.suptitle(f"Simulated k-space of Colin27, R = {size.rates[0]:g}; below each image its error", fontsize=11)
    figure.savefig(target, dpi=60)


def _images(size: Size, priors: Mapping[str, Path], setting: Setting) -> tuple[list[Any], Any]:
    """Magnitudes in the order of the picture's columns, and the last prior's standard deviation."""
    slices, _ = held_out_slices(setting, 1)
    tuned = _load(size, f"tuned-{setting.name}")
    images = [
        BASELINES[name](tuned[name]["strength"] if name in tuned else 0.0)(slices.scan)[0].abs().numpy()
        for name in ("zero-filled", "total-variation", "l1-wavelet")
    ]
    deviation = None
    for folder in priors.values():
        network, record = load_prior(folder)
        seeds = slice_seeds(0, slices.names, size.samples)
        samples = posterior_samples(network, slices.scan, SamplerSettings(samples=size.samples), seeds)
        result = Reconstruction(samples, conditional_mean(network, slices.scan), float(str(record.extra["spread"])))
        images.append(torch.abs(result.mean)[0].numpy())
        deviation = result.deviation[0].numpy()
    return images, deviation
