"""The exact 2-D laboratory: every published figure of measurement guidance beside what this library gives.

    run.py                    4000 points, the published random stream; about a minute on one core
    run.py --count 400        fewer points
    run.py --output DIR       somewhere else

Writes RESULTS.md, results.json and the pictures. Nothing is trained: two classes in the plane, whose score and noisy
classifier are closed-form (`skiagraph.diffusion.laboratory`). Exits with 1 where a figure is beyond its tolerance.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

import torch
from pictures import draw_pictures
from tables import Row, Table, all_tables

from skiagraph.diffusion.laboratory import Laboratory

HERE = Path(__file__).parent
INTRODUCTION = """# The exact laboratory

Two classes in the plane, each a mixture of two Gaussians, so that denoiser and noisy classifier are exact and whatever
is found is a property of the method. {count} points, seed {seed}. *Hard*: the exact classifier is unsure (entropy above
0.3 nats). *Kept*: it still prefers the intended label. *-log p*: how far out the points lie under their own class. The
published figures are those of the method's specification, which states the random stream of table 9.1. Made by
`python experiments/laboratory/run.py`;
explained in [uncertainty guidance](../../docs/explanation/uncertainty-guidance.md).

Tolerances: shares 2 points in table 9.1, else 3; entropy 0.02 nats; -log p 0.1; distances 5 %; and half of the last
digit stated (the published figures are rounded, some to whole percent or one digit).

![Points before and after guidance](points.png)

![Shares over the scale](knee.png)

"""


def deviation(table: Table, row: Row, column: int) -> float | None:
    """Ours minus the published figure, relative where the column is judged so."""
    published = row.published[column]
    if published is None:
        return None
    difference = round(row.ours[column] - published, 9) + 0.0  # no negative zero
    return difference / published if table.tolerance[column] < 0 else difference


def within(table: Table, row: Row, column: int) -> bool:
    """Whether a figure agrees, to its tolerance and the rounding of the published one."""
    published = row.published[column]
    if published is None:
        return True
    tolerance = table.tolerance[column]
    allowed = tolerance if tolerance >= 0 else -tolerance * published
    return abs(row.ours[column] - published) <= allowed + 0.5 * last_digit(published) + 1e-9


def last_digit(value: float) -> float:
    """The unit of the last digit that is written: 0.1 of 28.3, 1 of 28, 1e-5 of 2e-05."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return 10.0 ** min(int(exponent), 0)


def largest(table: Table) -> list[str]:
    """The largest deviation of every column that has published figures, as text."""
    found = []
    for column, name in enumerate(table.columns):
        values = [(abs(off), row.name) for row in table.rows if (off := deviation(table, row, column)) is not None]
        if values:
            size, where = max(values)
            unit = f"{100 * size:.1f} %" if table.tolerance[column] < 0 else f"{size:.3g}"
            found.append(f"{name} {unit} ({where})")
    return found


def as_markdown(table: Table) -> str:
    """One table: published, ours and the difference for every column."""
    stated = any(value is not None for row in table.rows for value in row.published)
    heads = [
        part for name in table.columns for part in ((f"{name}: published", "ours", "difference") if stated else (name,))
    ]
    lines = [f"## {table.title}", "", "| setting | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for row in table.rows:
        cells = []
        for column, ours in enumerate(row.ours):
            published, off = row.published[column], deviation(table, row, column)
            if stated:
                shown = "" if off is None else f"{off:+.1%}" if table.tolerance[column] < 0 else f"{off:+.3g}"
                mark = "" if within(table, row, column) else " **(off)**"
                cells += ["" if published is None else f"{published:g}", f"{ours:.4g}", shown + mark]
            else:
                cells.append(f"{ours:.4g}")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    if stated:
        lines += ["", f"Largest deviation: {'; '.join(largest(table))}."]
    return "\n".join([*lines, *(["", table.note] if table.note else []), ""])


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4000, help="points of every kind")
    parser.add_argument("--seed", type=int, default=0, help="of the random stream")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for results and pictures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    laboratory = Laboratory(options.count, options.seed)
    tables = all_tables(laboratory)
    options.output.mkdir(parents=True, exist_ok=True)
    off = [
        f"{table.title}: {row.name}, {table.columns[column]}"
        for table in tables
        for row in table.rows
        for column in range(len(row.ours))
        if not within(table, row, column)
    ]
    verdict = f"Figures beyond their tolerance: {len(off)}." + "".join(f"\n- {name}" for name in off) + "\n\n"
    text = INTRODUCTION.format(count=options.count, seed=options.seed) + verdict + "\n".join(map(as_markdown, tables))
    (options.output / "RESULTS.md").write_text(text, encoding="utf-8")
    record = {"count": options.count, "seed": options.seed, "tables": [asdict(table) for table in tables]}
    (options.output / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw_pictures(laboratory, options.output)
    for table in tables:
        print(f"{table.title}: largest deviation {'; '.join(largest(table)) or 'nothing published'}")
    print(verdict.strip())
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
