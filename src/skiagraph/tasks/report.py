"""The command `report`: the page of a run, written again from what the run kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field

from skiagraph.config import Settings
from skiagraph.errors import DataError
from skiagraph.tasks.progress import OnProgress, silent

__all__ = ["ReportResult", "ReportSettings", "report"]


class ReportSettings(Settings):
    """Write the page of a run again, with this version's looks; nothing is computed anew."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = Field(
        description="Run folder, which holds report.npz."
    )
    output: Path | None = Field(None, description="HTML file to write; default report.html in the run folder.")


@dataclass(frozen=True)
class ReportResult:
    """Where the page lies."""

    page: Path

    def record(self) -> dict[str, Any]:
        """Return the path."""
        return {"page": self.page}


def report(settings: ReportSettings, on_progress: OnProgress = silent) -> ReportResult:
    """Write the page.

    Args:
        settings: which run.
        on_progress: told when the page is read and when it is written.
    """
    from skiagraph.data.files import write_whole
    from skiagraph.report import render_page
    from skiagraph.report.kept import kept_page

    content = settings.run / "report.npz"
    if settings.run.is_dir() and not content.exists():
        raise DataError(f"{settings.run} holds no report.npz; give the folder of a run that ended with a page")
    on_progress("page", 0, 2)
    page = kept_page(content)
    on_progress("page", 1, 2)
    path = write_whole(settings.output or settings.run / "report.html", render_page(page).encode("utf-8"))
    on_progress("page", 2, 2)
    return ReportResult(path)
