"""Writes RESULTS.md, results.json and the pictures of the study from what its steps left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.pictures import open_pictures
from skiagraph.evaluation.intervals import mean_interval, paired_difference
from skiagraph.tasks.provenance import run_record

__all__ = ["collect"]

PRIORS = {
    "masked": "masked images (fixed masks)",
    "fresh": "masked images (fresh masks)",
    "noisy": "masked and noisy images",
    "oracle": "whole images (oracle)",
}
WAYS = {
    "default": "default",
    "default-4": "default, mean of 4 samples",
    "reference": "reference",
    "reference-long": "reference",
    "ddnm": "DDNM",
    "diffpir": "DiffPIR",
}
PROBLEMS = ("box", "random", "super-resolution")
AGAINST = "oracle-ddnm"


def read(path: Path) -> dict[str, Any]:
    """A JSON file's content; empty where it is not there yet."""
    return json.loads(path.read_text()) if path.exists() else {}


def time_of(folder: Path) -> tuple[str, str]:
    """Seconds by the clock and of the processor, as text."""
    note = read(folder / "command.json")
    return (f"{note['seconds']:.0f}", f"{note['cpu_seconds']:.0f}") if note else ("", "")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join(["---"] * len(heads)) + " |"]
    return [*lines, *["| " + " | ".join(row) + " |" for row in rows], ""]


def priors(root: Path) -> list[str]:
    """What was trained."""
    rows = []
    for name, title in PRIORS.items():
        run = read(root / name / "run.json")
        if run:
            seen, loss = f"{run['images_seen']}", f"{run['last_loss']:.4f}"
            rows.append((title, f"{run['training_items']}", seen, *time_of(root / name), loss, f"{run['seed']}"))
    heads = ("learned from", "images", "images seen", "seconds", "CPU seconds", "last loss", "seed")
    note = "The losses of different measurements cannot be compared."
    return ["## Priors", "", *table(heads, rows), note, ""]


def interval(values: NDArray[np.float64]) -> str:
    """A mean with its 95 % interval over images."""
    found = mean_interval(values)
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def restored(root: Path) -> tuple[list[str], dict[str, Any]]:
    """One table a problem: every prior and way on the same images."""
    lines, figures = ["## Restoration of a head that no prior saw", ""], {}
    for problem in PROBLEMS:
        runs = {f.name.removeprefix(f"{problem}-"): f for f in sorted((root / "restore").glob(f"{problem}-*"))}
        records = {name: read(folder / "run.json") for name, folder in runs.items()}
        records = {name: record for name, record in records.items() if record}
        if not records:
            continue
        psnr = {n: np.array([row["restored_psnr_db"] for row in r["figures"]]) for n, r in records.items()}
        first = next(iter(records.values()))
        given = np.array([row["input_psnr_db"] for row in first["figures"]])
        rows = [("", "degraded input", interval(given), f"{first['input_ssim']:.3f}", "", "0", "", "")]
        for name in sorted(records, key=order):
            prior, way = name.split("-", 1)
            gap = "" if name == AGAINST or AGAINST not in psnr else difference(psnr[name], psnr[AGAINST])
            record = records[name]
            residual = np.mean(record["residual_over_noise_variance"])
            numbers = (interval(psnr[name]), f"{record['restored_ssim']:.3f}", gap)
            calls = f"{record['network_evaluations_per_image']}"
            seconds = f"{record['seconds_per_image']:.1f}"
            rows.append((PRIORS[prior], WAYS[way], *numbers, calls, seconds, f"{residual:.2f}"))
        count = len(given)
        lines += [f"### {problem}, {count} images", "", *table(RESTORED_HEADS, rows)]
        figures[problem] = {name: values.round(3).tolist() for name, values in psnr.items()}
    return [*lines, RESTORED_NOTE, ""], figures


RESTORED_HEADS = (
    *("learned from", "sampler", "PSNR (dB)", "SSIM", "minus oracle with DDNM (dB)"),
    *("network calls", "s/image", "residual"),
)
RESTORED_NOTE = (
    "In brackets 95 % bootstrap intervals over images (of one head: they do not speak of others). Range of intensities "
    "2 (black -1, white 1); noise 0.01 was added to every input. Single samples unless said otherwise; calls and "
    "seconds are per image, all samples counted. Residual: mean square of H x - y over the noise's variance, 1 is "
    "ideal; the mean of samples and a walk that ends without noise may lie below."
)


def order(name: str) -> tuple[int, int]:
    """Rows by prior, then by way."""
    prior, way = name.split("-", 1)
    return list(PRIORS).index(prior), list(WAYS).index(way)


def difference(values: NDArray[np.float64], others: NDArray[np.float64]) -> str:
    """A paired difference with its interval."""
    found = paired_difference(values, others)
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def generated(root: Path) -> tuple[list[str], dict[str, Any]]:
    """One table for each kind of features, and one of distances to training images."""
    runs = {f.name: read(f / "figures.json") for f in sorted((root / "evaluate").glob("*"))}
    runs = {name: run for name, run in runs.items() if run}
    if not runs:
        return [], {}
    names = sorted((name for name in runs if name != "another-head"), key=order)
    names += [name for name in runs if name == "another-head"]
    lines = ["## Generation", ""]
    for features in dict.fromkeys(row["features"] for row in runs[names[0]]["sets"]):
        rows = [score_cells(root, name, pick(runs[name], features, "generated"), features) for name in names]
        real = pick(runs[names[0]], features, "held-out")
        rows.append(score_cells(root, "new poses of the training heads", real, features))
        heads = (*GENERATED_HEADS, f"KD-{features}", f"FD-{features}", *SCORE_HEADS)
        lines += [f"### On {features}, {real['training_images']} training images", "", *table(heads, rows)]
    copies = [copy_cells(name, runs[name]["copies"][0]) for name in names]
    lines += ["### Nearest training images, in pixels", "", *table(COPY_HEADS, copies), GENERATED_NOTE, ""]
    return lines, {name: {"sets": run["sets"], "copies": run["copies"]} for name, run in runs.items()}


GENERATED_HEADS = ("drawn from the prior of", "sampler", "calls", "s/image", "images")
SCORE_HEADS = ("precision", "recall", "density", "coverage")
COPY_HEADS = ("set", "smallest", "median", "nearer than new poses", "near-copies", "95 % interval", "expected")
GENERATED_NOTE = (
    "KD: unbiased squared kernel distance, ± the standard deviation over subsets; FD: squared Frechet distance, to be "
    "compared at equal numbers of images only. Neither is an FID. Precision, recall, density, coverage: 5 neighbours. "
    "Distances in pixels are root mean square differences, black to white being 1; near-copies lie nearer to a "
    "training image than 1 % of new poses of the same heads do; nearer than new poses: probability, 0.5 where neither "
    "is."
)


def pick(run: dict[str, Any], features: str, of: str) -> dict[str, Any]:
    """The figures of one set on some features."""
    found: dict[str, Any] = next(row for row in run["sets"] if row["features"] == features and row["set"] == of)
    return found


def score_cells(root: Path, name: str, row: dict[str, Any], features: str) -> tuple[str, ...]:
    """A line of the table of distances."""
    title, way, calls, seconds = name.replace("another-head", "another head (Colin27)"), "", "", ""
    if name.split("-", 1)[0] in PRIORS:
        prior, kind = name.split("-", 1)
        run = read(root / "generate" / name / "run.json")
        title, way = PRIORS[prior], WAYS[kind]
        calls, seconds = f"{run['network_evaluations_per_image']}", f"{run['seconds'] / run['images']:.2f}"
    spread = row[f"KD-{features}_subsets"]["standard_deviation"]
    distances = (f"{row[f'KD-{features}']:.3f} ± {spread:.3f}", f"{row[f'FD-{features}']:.2f}")
    scores = (f"{row[score]:.3f}" for score in SCORE_HEADS)
    return title, way, calls, seconds, f"{row['images']}", *distances, *scores


def copy_cells(name: str, copy: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table of nearest training images."""
    title = "another head (Colin27)"
    if name != "another-head":
        prior, way = name.split("-", 1)
        title = f"{PRIORS[prior]}, {WAYS[way]}{' with more steps' if way.endswith('long') else ''}"
    smallest, _, median, _ = copy["distance_min_1_percent_median_max"]["generated"]
    low, high = copy["near_copy_rate_95_percent"]
    shares = (f"{copy['near_copy_rate']:.3f}", f"{low:.3f} to {high:.3f}", f"{copy['expected_rate']:g}")
    return title, f"{smallest:.4f}", f"{median:.4f}", f"{copy['probability_closer_than_baseline']:.3f}", *shares


def show(images: Sequence[Sequence[NDArray[Any]]], titles: Sequence[Sequence[str]], path: Path, heading: str) -> None:
    """A grid of grey pictures from 0 to 1."""
    from matplotlib.figure import Figure

    columns = max(len(row) for row in images)
    figure = Figure(figsize=(1.5 * columns, 1.75 * len(images)), layout="constrained", facecolor="white")
    grid = figure.subplots(len(images), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, row in enumerate(images):
        for place, image in enumerate(row):
            grid[line, place].imshow(image, cmap="gray", vmin=0, vmax=1)
            grid[line, place].set_title(titles[line][place], fontsize=7)
    figure.suptitle(heading, fontsize=8)
    figure.savefig(path, dpi=80)


def picture(array: NDArray[Any]) -> NDArray[Any]:
    """(C, H, W) from -1 to 1 as (H, W) from 0 to 1."""
    shown: NDArray[Any] = np.clip((array[0] + 1) / 2, 0, 1)
    return shown


def draw_restored(root: Path, target: Path) -> None:
    """One image of each problem with everything that was made of it."""
    images, titles = [], []
    for problem in PROBLEMS:
        folders = sorted((root / "restore").glob(f"{problem}-*"), key=lambda f: order(f.name[len(problem) + 1 :]))
        folders = [folder for folder in folders if (folder / "restored.npz").exists()]
        if not folders:
            continue
        names = read(folders[0] / "run.json")["items"]
        place = len(names) // 2
        truth = open_pictures([root / "data" / "held-out.npy"]).image(int(names[place].rsplit("/", 1)[1]))
        found = [np.load(folder / "restored.npz", allow_pickle=False) for folder in folders]
        images.append(
            [picture(truth), picture(found[0]["degraded"][place]), *(picture(f["mean"][place]) for f in found)]
        )
        short = [folder.name[len(problem) + 1 :].replace("-", "\n", 1) for folder in folders]
        titles.append(["truth", problem, *short])
    if images:
        show(images, titles, target / "restored.png", "Simulated degradation of Colin27; each column: prior, sampler")


def draw_generated(root: Path, target: Path) -> None:
    """The first images of every prior and sampler; of the first set those most like a training image, beside it."""
    folders = [
        f for f in sorted((root / "generate").glob("*"), key=lambda f: order(f.name)) if (f / "images.npz").exists()
    ]
    if not folders:
        return
    rows = [[picture(image) for image in np.load(f / "images.npz", allow_pickle=False)["images"][:10]] for f in folders]
    titles = [[f.name, *[""] * 9] for f in folders]
    show(rows, titles, target / "generated.png", "Synthetic: the first ten images of each set, nothing chosen")
    nearest = read(root / "evaluate" / folders[0].name / "figures.json").get("images")
    if not nearest:
        return
    chosen = np.argsort([image["nearest"]["pixels"]["distance"] for image in nearest])[:10]
    training, drawn = open_pictures([root / "data" / "training.npy"]), np.load(folders[0] / "images.npz")["images"]
    near = [nearest[index]["nearest"]["pixels"] for index in chosen]
    below = [picture(training.image(int(found["training"].rsplit("/", 1)[1]))) for found in near]
    distances = [f"{found['distance']:.3f}" for found in near]
    heading = f"{folders[0].name}: the ten most like a training image (above, synthetic), and that image (below)"
    upper = [picture(drawn[index]) for index in chosen]
    show([upper, below], [distances, [""] * len(below)], target / "nearest.png", heading)


def collect(root: Path, target: Path, about: str) -> None:
    """Write everything from the steps that are done.

    Args:
        root: folder of the runs.
        target: where RESULTS.md and the pictures go.
        about: what the study is, for the top of the page.
    """
    sets, record = read(root / "data" / "sets.json"), run_record()
    restoring, restored_figures = restored(root)
    drawing, drawn_figures = generated(root)
    said = about.replace("\n", " ")
    licences = "; ".join(f"{name}: {source['licence']}" for name, source in sets["sources"].items())
    made = f"torch {record['torch']}, {record['device']}, one thread, seeds as given; data: {licences}."
    heads = ["# Masked images: restoration and generation", "", said, "", made, ""]
    shown = "![restored](restored.png)\n\n![generated](generated.png)\n\n![nearest](nearest.png)\n"
    notes = [json.loads(path.read_text()) for path in root.rglob("command.json")]
    minutes = [sum(note[name] for note in notes) / 60 for name in ("seconds", "cpu_seconds")]
    took = f"All steps together: {minutes[0]:.0f} minutes by the clock, {minutes[1]:.0f} of the processor.\n"
    draw_restored(root, target)
    draw_generated(root, target)
    results = {"restored_psnr_db": restored_figures, "generated": drawn_figures, "run": record, "sets": sets["sets"]}
    (target / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    words = (Path(__file__).parent / "words.md").read_text().strip()
    reading = ["## What to read out of it", "", words, ""]
    (target / "RESULTS.md").write_text("\n".join([*heads, *reading, *priors(root), *restoring, *drawing, shown, took]))
