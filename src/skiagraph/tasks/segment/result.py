"""What the command `segment` leaves, for a person and for a program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["SegmentResult"]


@dataclass(frozen=True)
class SegmentResult:
    """What the command left.

    Args:
        folder: the run folder.
        page: the page to look at.
        rows: one line a case: name, positive, volume_ml, score, needed, threshold, intensity_ml.
        facts: engine, levels, seeds, tau, sign, threshold rule, gate, evaluations.
        seconds: in all.
    """

    folder: Path
    page: Path
    rows: list[dict[str, Any]]
    facts: dict[str, Any]
    seconds: float

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {
            **self.facts,
            "positive": sum(bool(row["positive"]) for row in self.rows),
            "cases": self.rows,
            "seconds": round(self.seconds, 1),
            "folder": self.folder,
            "page": self.page,
        }

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("case", "lesion", "ml", "score", "needed", "intensity alone, ml", box=None)
        for row in self.rows:
            shown = (f"{row['volume_ml']:.2f}", f"{row['score']:.3g}", f"{row['needed']:.3g}")
            table.add_row(row["name"], "yes" if row["positive"] else "no", *shown, f"{row['intensity_ml']:.2f}")
        facts = self.facts
        told = f"{facts['network_evaluations_per_window']} network evaluations a window, {self.seconds:.0f} s"
        lines = [told, *([str(facts["message"])] if facts.get("message") else []), f"Page: {self.page}"]
        return Group(table, *(Text(line) for line in lines))
