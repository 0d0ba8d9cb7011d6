"""RESULTS.md and pictures from whatever results are there; what is missing is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from distances import FEATURES, distances_path
from methods import ABLATION, ENTRIES, OURS
from numpy.typing import NDArray
from score import SLAB

from skiagraph.data.files import write_whole
from skiagraph.evaluation.intervals import mean_interval, paired_difference

__all__ = ["collect"]

TARGET = ("copy", "histogram-matching", "sdedit", "ilvr", "ilvr-edges", "fgdm")
SHOWN = ("copy", "histogram-matching", "matching-either", "sdedit", "ilvr", "fgdm", "ours", "ours-matched-start")
SHOWN = (*SHOWN, "intensity-lookup", "supervised")
COLUMNS = (
    ("psnr", "PSNR dB", 2),
    ("psnr_line", "PSNR after a line", 2),
    ("ssim", "SSIM", 3),
    ("ms_ssim", "MS-SSIM", 3),
    ("gmsd", "GMSD", 3),
    ("nmi", "NMI", 3),
    ("dice", "tissue Dice", 3),
    ("hd95_mm", "HD95 mm", 2),
    ("volume_error", "volume error", 2),
    ("slice_change", "slice change", 4),
)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _values(record: dict[str, Any], name: str) -> tuple[list[float], list[int]]:
    """Values and the slab of each."""
    if name in record["slices"]:
        values = record["slices"][name]
        return values, [number // SLAB for number in range(len(values))]
    values = record["slabs"][name]
    return values, list(range(len(values)))


def _cell(record: dict[str, Any], name: str, digits: int) -> str:
    values, slabs = _values(record, name)
    if len(set(slabs)) < 2:
        return f"{np.mean(values):.{digits}f}"
    found = mean_interval(values, groups=slabs, resamples=2000)
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _direction(folder: Path) -> list[str]:
    """The table of one direction, and ours minus every rival."""
    records = {name: _read(folder / f"{name}.json") for name in ENTRIES if (folder / f"{name}.json").exists()}
    if not records:
        return []
    source, target = folder.name.split("-")
    lines = [f"## Simulated {source} to simulated {target}", ""]
    rows = []
    for name, record in records.items():
        label = f"**{name}**" if name == OURS else name
        figures = [_cell(record, column, digits) for column, _, digits in COLUMNS]
        rows.append([label, *figures, f"{record['calls']:g}", record["gets"]])
    lines += _table(["method", *(label for _, label, _ in COLUMNS), "calls a slice", "is given"], rows)
    lines += _distances(distances_path(folder))
    missing = [name for name in ENTRIES if name not in records]
    if missing:
        lines += [f"Not computed: {', '.join(missing)} (no prior of the kind it needs, or not enough time).", ""]
    if OURS in records:
        rows = []
        for name in [name for name in records if name not in (OURS, "target")]:
            cells = []
            for column, digits in (("psnr", 2), ("psnr_line", 2), ("dice", 3)):
                one, slabs = _values(records[OURS], column)
                found = paired_difference(one, _values(records[name], column)[0], groups=slabs, resamples=2000)
                verdict = "ahead" if found.low > 0 else "behind" if found.high < 0 else "open"
                cells.append(f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}] {verdict}")
            rows.append([name, *cells, "target" if name in TARGET else ""])
        lines += ["Ours minus the rival on the same slices:", ""]
        lines += _table(["rival", "PSNR dB", "PSNR after a line", "tissue Dice", ""], rows)
    return lines


def _distances(path: Path) -> list[str]:
    """Kernel distances on named features."""
    if not path.exists():
        return []
    rows = [
        [name, *(f"{value:.3g} ({spread:.2g})" for value, spread in (kinds[kind] for kind in FEATURES))]
        for name, kinds in _read(path).items()
    ]
    return [
        "Squared kernel distance to the true slices (spread over halves of the slices): 0 is alike.",
        "",
        *_table(["method", *(f"KD-{kind}" for kind in FEATURES)], rows),
    ]


def _shown(images: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    return np.concatenate([((np.clip(image, -1, 1) + 1) / 2)[::-1] for image in images], 1)


def _picture(folder: Path, target: Path) -> None:
    """Three slices; columns: source, methods, target."""
    names = [name for name in SHOWN if (folder / f"{name}.npy").exists()] + ["target"]
    if not (folder / "target.npy").exists():
        return
    stacks = [np.load(folder / f"{name}.npy").astype(np.float64) for name in names]
    places = [len(stacks[0]) * part // 4 for part in (1, 2, 3)]
    rows = [_shown([stack[place] for stack in stacks]) for place in places]
    _write_picture(target, rows, names)


def _write_picture(path: Path, rows: Sequence[NDArray[Any]], names: Sequence[str]) -> None:
    import io

    from matplotlib.figure import Figure

    whole = np.concatenate(rows)
    figure = Figure(figsize=(1.35 * len(names), 1.6 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots()
    axes.imshow(whole, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    width = whole.shape[1] / len(names)
    axes.set_xticks([width * (number + 0.5) for number in range(len(names))], names, fontsize=7, rotation=12)
    axes.xaxis.tick_top()
    axes.set_yticks([])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_whole(path, buffer.getvalue())


def _simple(folder: Path, title: str, names: Sequence[str], first: str, note: str) -> list[str]:
    """A table of single means from a folder of records."""
    rows = []
    for name in names:
        path = folder / f"{name.replace(' | ', '--').replace(' ', '_')}.json"
        if path.exists():
            record = _read(path)
            figures = [_cell(record, column, digits) for column, _, digits in COLUMNS if column != "volume_error"]
            rows.append([*name.split(" | "), *figures, f"{record['calls']:g}"])
    if not rows:
        return []
    heads = [label for column, label, _ in COLUMNS if column != "volume_error"]
    return [f"## {title}", "", note, "", *_table([*first.split(" | "), *heads, "calls"], rows)]


def _lesions(results: Path) -> list[str]:
    rows = []
    folders = sorted(results.glob("lesions-*"))
    for name in ENTRIES:
        cells = []
        for folder in folders:
            path = folder / f"{name}.json"
            kept = _read(path)["kept"] if path.exists() else []
            cells.append(f"{np.mean(kept):.2f} ({min(kept):.2f} to {max(kept):.2f})" if kept else "")
        if any(cells):
            rows.append([name, *cells])
    if not rows:
        return []
    note = (
        "Four balls of MS-like tissue, radius 5 mm, in white matter of ten slices; (lesion - rim) in the result over "
        "the same in the truth: 1 is kept, 0 is gone, negative is inverted. Provenance: inserted lesion. No training "
        "scan has one."
    )
    return ["## Inserted lesions", "", note, "", *_table(["method", *(folder.name[8:] for folder in folders)], rows)]


def _checks(results: Path) -> list[str]:
    folder, lines = results / "real", []
    titles = {
        "brainweb": "BrainWeb slice pair, PD to T1 (simulated contrast by others, one slice, no interval)",
        "series": "Measured PD series (one subject, 5 mm slices, no truth), PD to T1",
        "translatability": "Do the maps carry over? Self maps of Colin27 against those of T1 training heads",
    }
    for name, title in titles.items():
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        record = _read(path)
        columns = list(next(iter(record.values())))
        rows = [[label, *(_plain(values[column]) for column in columns)] for label, values in record.items()]
        lines += [f"## {title}", "", *_table(["", *columns], rows)]
        lines += [f"![{name}]({name}.png)", ""] if (folder / f"{name}.npz").exists() else []
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " to ".join(f"{part:.4f}" for part in value)
    return f"{value:.3f}"


def _real_pictures(folder: Path, output: Path) -> None:
    for name in ("brainweb", "series"):
        path = folder / f"{name}.npz"
        if path.exists():
            images = np.load(path)
            places = [0] if name == "brainweb" else [len(images["source"]) * part // 5 for part in (2, 3)]
            rows = [_shown([images[label][place] for label in images.files]) for place in places]
            _write_picture(output / f"{name}.png", rows, images.files)


def collect(folder: Path, output: Path, about: str) -> None:
    """Write RESULTS.md and pictures.

    Args:
        folder: of the study's runs.
        output: where results are kept.
        about: what the study is, from its program.
    """
    results = folder / "results"
    lines = [
        "# Translation of brain contrasts",
        "",
        "Written by `run.py`; figures of `results/` in the run's folder.",
        "",
    ]
    lines += [
        "Provenance of every figure, unless its table says otherwise: **simulated contrast**, n = 1 head (Colin27, "
        "held out), 2 mm; intervals (95 %) by bootstrap over slabs of 10 slices describe this head only.",
        "",
    ]
    lines += [
        "Range 1 is the 0 to 99.5 percentile of the target scan inside the brain; truth is the target without noise "
        'and shading. Slice change of the truth stands in row "target".',
        "",
    ]
    reading = Path(__file__).with_name("reading.md")
    if output == reading.parent and reading.exists():
        lines += [*reading.read_text().rstrip().splitlines(), ""]
    for path in sorted(results.glob("*-T[12]")):
        if not path.name.startswith("lesions"):
            lines += _direction(path)
            _picture(path, output / f"{path.name}.png")
            lines += [f"![{path.name}]({path.name}.png)", ""]
    note = "Colin27, T2 to T1, 20 slices, one walk of equal length; map | use | start."
    lines += _simple(results / "ablation", "Ablation", list(ABLATION), "map | use | start", note)
    names = sorted(path.stem for path in (results / "steps").glob("*.json"))
    note = "T2 to T1, four slices 6 mm apart, one walk; DPM-Solver++ but the longest, which is ancestral (DDPM)."
    lines += _simple(results / "steps", "Network calls", names, "steps", note)
    lines += _lesions(results) + _checks(results)
    _real_pictures(results / "real", output)
    tuned = sorted((results / "tune").glob("*.json"))
    if tuned:
        rows = [
            [path.stem, str(_read(path)["best"]), ", ".join(f"{v:.2f}" for v in _read(path)["psnr"])] for path in tuned
        ]
        lines += [
            "## Options chosen on the validation head",
            "",
            *_table(["method", "chosen", "PSNR of all tried"], rows),
        ]
    write_whole(output / "RESULTS.md", ("\n".join(lines).rstrip() + "\n").encode())
    print(f"wrote {output / 'RESULTS.md'}")
