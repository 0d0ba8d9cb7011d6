"""What a command that leaves a run folder returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LeftRun"]


@dataclass(frozen=True, eq=False)
class LeftRun:
    """A run folder with its page.

    Args:
        folder: the run folder.
        page: the page to look at.
        warnings: what a reader must know.
    """

    folder: Path
    page: Path
    warnings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {"warnings": list(self.warnings), "folder": self.folder, "page": self.page}

    def shown(self, *parts: Any) -> Any:
        """What a terminal shows: the parts, each warning, and where the page is."""
        from rich.console import Group
        from rich.text import Text

        told = [Text(f"Warning: {warning}") for warning in self.warnings]
        return Group(*parts, *told, Text(f"Page: {self.page}"))
