"""Write RESULTS.md and figures.json here from the run that `evaluate rivals` left in runs/rivals/compare.

    make rivals em oracle
    make compare

The second is `skiagraph evaluate --config src/skiagraph/presets/rivals/compare.yaml`, then this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skiagraph.evaluation.intervals import paired_difference

HERE = Path(__file__).parent
OURS, EM, ORACLE = "skiagraph", "skiagraph after an EM round", "image prior (DDNM)"
Rows = Mapping[str, Mapping[str, Any]]


def gap(rows: Rows, first: str, other: str, figure: str) -> str:
    """First minus other with its interval over four slabs of neighbouring slices."""
    one, two = (rows[name]["slices"][figure] for name in (first, other))
    size = len(one) / min(4, len(one))
    groups = [int(index / size) for index in range(len(one))]
    found = paired_difference(np.array(one), np.array(two), groups=groups)
    return f"{found.mean:+.2f} dB [{found.low:+.2f}, {found.high:+.2f}]"


def best(rows: Rows, names: Sequence[str], figure: str = "psnr_db") -> str:
    """Name of the highest mean."""
    return max((n for n in names if rows[n].get(figure) is not None), key=lambda n: rows[n][figure][0])


def answers(title: str, rows: Rows) -> list[str]:
    """The targets of one table in words."""
    clean = [n for n, row in rows.items() if row["trained_on"] == "fully sampled scans"]
    blind = [n for n, row in rows.items() if n not in (OURS, EM) and row["trained_on"] != "fully sampled scans"]
    lines = [f"**{title}**", ""]
    if ORACLE in rows:
        lines.append(
            f"- Ours minus the clean-data oracle with DDNM: {gap(rows, OURS, ORACLE, 'psnr_db')} (means of samples); "
            f"single samples {gap(rows, OURS, ORACLE, 'sample_psnr_db')}. Target: within 1.0 dB."
        )
        if EM in rows:
            lines.append(
                f"- After one EM round: {gap(rows, EM, ORACLE, 'psnr_db')}; single samples "
                f"{gap(rows, EM, ORACLE, 'sample_psnr_db')}. Target: within 0.5 dB."
            )
    if clean:
        strongest, sampler = best(rows, clean), best(rows, clean, "sample_psnr_db")
        lines.append(
            f"- Ours minus the best method with clean data ({strongest}): {gap(rows, OURS, strongest, 'psnr_db')}; "
            f"single samples (the best is {sampler}): {gap(rows, OURS, sampler, 'sample_psnr_db')}."
        )
    rival = best(rows, blind)
    lines.append(
        f"- Ours minus the best method without clean data ({rival}): {gap(rows, OURS, rival, 'psnr_db')}. "
        "Target: ahead of all."
    )
    return [*lines, ""]


def priors(run: Mapping[str, Any]) -> list[str]:
    """What every prior saw."""
    lines = ["| prior | images seen | methods |", "| --- | --- | --- |"]
    for name, known in run["priors"].items():
        lines.append(f"| {name} | {known['images_seen']:,} | {', '.join(known['methods'])} |")
    return [*lines, ""]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/rivals/compare"))
    folder = parser.parse_args().run
    figures = json.loads((folder / "figures.json").read_text())
    run = json.loads((folder / "run.json").read_text())
    lines = ["# Every way to reconstruct, on the same slices", "", *(f"    {c}" for c in _commands()), ""]
    lines += [(HERE / "words.md").read_text().strip(), "", "## The targets", ""]
    for title, rows in figures.items():
        lines += answers(title, {row["method"]: row for row in rows})
    lines += ["## What the priors saw", "", *priors(run), (folder / "table.md").read_text()]
    (HERE / "RESULTS.md").write_text("\n".join(lines))
    (HERE / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


def _commands() -> list[str]:
    return [line.strip() for line in (__doc__ or "").splitlines() if line.startswith("    ")]


if __name__ == "__main__":
    main()
