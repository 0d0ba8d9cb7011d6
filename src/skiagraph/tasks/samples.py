"""The command `samples`: what sample heads there are, under which licence, and how to get them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field

from skiagraph.config import Settings
from skiagraph.errors import InputError
from skiagraph.tasks.progress import OnProgress, silent

if TYPE_CHECKING:
    from rich.table import Table

    from skiagraph.data.samples import Sample

__all__ = ["SamplesResult", "SamplesSettings", "accept", "expectation", "in_cache", "samples"]


class SamplesSettings(Settings):
    """List the sample heads with their licences, show all that is known of some, or fetch some into the cache."""

    action: Annotated[Literal["list", "show", "fetch"], tyro.conf.Positional] = Field(
        "list", description="list all, show some in full, or fetch some."
    )
    names: Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = Field(
        [], description="Samples to show or fetch, by name."
    )
    cache: Path | None = Field(None, description="Cache folder; default $SKIAGRAPH_CACHE, else ~/.cache/skiagraph.")
    yes: bool = Field(False, description="With fetch: accept the stated licences without being asked.")


@dataclass(frozen=True)
class SamplesResult:
    """Samples, and where their files lie once fetched (sample name -> role -> path)."""

    action: str
    samples: tuple[Sample, ...]
    files: dict[str, dict[str, Path]]

    def record(self) -> dict[str, Any]:
        """Return everything as names and values."""
        entries = [{**entry.record(), "paths": self.files.get(entry.name, {})} for entry in self.samples]
        return {"action": self.action, "samples": entries}

    def __rich__(self) -> Table:
        """Return a table: one line a sample for `list`, all fields for the others."""
        from rich.table import Table

        if self.action == "list":
            table = Table(
                "name", "what it is", "use", "licence stated", "MB", title="Sample heads", title_justify="left"
            )
            for entry in self.samples:
                size = f"{entry.size / 1e6:.0f}" if entry.sources else "not fetched"
                table.add_row(entry.name, entry.title, entry.use, entry.licence, size)
            table.caption = "`skiagraph samples show NAME` tells the caveats; `samples fetch NAME` downloads."
            return table
        table = Table(show_header=False, show_lines=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for entry in self.samples:
            for name, value in _facts(entry):
                table.add_row(name, value)
            for role, path in self.files.get(entry.name, {}).items():
                table.add_row(f"file ({role})", str(path))
        return table


def _facts(entry: Sample) -> list[tuple[str, str]]:
    """Return what must be shown before a sample is used."""
    publish = "allows" if entry.publishable else "does not clearly allow"
    sources = "\n".join(f"{source} ({source.size / 1e6:.0f} MB, sha256 {source.sha256})" for source in entry.sources)
    return [
        ("name", entry.name),
        ("title", entry.title),
        ("provenance", entry.provenance),
        ("licence stated", entry.licence),
        ("remark", entry.remark),
        ("use here", f"{entry.use}; the licence {publish} publishing a prior trained on it"),
        ("published in", sources or "listed, but not fetched"),
    ]


def _chosen(settings: SamplesSettings) -> list[Sample]:
    from skiagraph.data.samples import registry, sample

    if settings.action == "list":
        if settings.names:
            raise InputError(f"names: found {settings.names} with list, which takes none; use `samples show` for some")
        return list(registry().values())
    if not settings.names:
        raise InputError(f"names: none given; `samples {settings.action}` needs one or more of {', '.join(registry())}")
    return [sample(name) for name in settings.names]


def expectation(settings: SamplesSettings) -> dict[str, Any]:
    """Return the bytes that `samples` would download for what is not in the cache yet."""
    if settings.action != "fetch":
        _chosen(settings)
        return {"download_bytes": 0}
    wanted = [entry for entry in _chosen(settings) if not in_cache(entry, settings.cache)]
    return {"download_bytes": sum(entry.size for entry in wanted), "downloads": [entry.name for entry in wanted]}


def in_cache(entry: Sample, cache: Path | None) -> bool:
    """Whether all files of a sample lie in the cache."""
    from skiagraph.data.samples import fetch
    from skiagraph.errors import SampleUnavailable

    try:
        fetch(entry.name, cache=cache, download_allowed=False)
    except SampleUnavailable:
        return False
    return True


def accept(entries: list[Sample]) -> None:
    """Show the licences on stderr and ask; InputError where nobody can answer or the answer is no."""
    import sys

    for entry in entries:
        print("\n".join(f"{name}: {value}" for name, value in _facts(entry)), file=sys.stderr, end="\n\n")
    if not sys.stdin.isatty():
        raise InputError("the licences above were not accepted; read them, then pass --yes")
    print("Fetch under these terms? [y/N] ", file=sys.stderr, end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("the licences were not accepted; nothing was fetched")


def samples(settings: SamplesSettings, on_progress: OnProgress = silent) -> SamplesResult:
    """List, show or fetch samples; a fetch shows each licence first and needs a yes.

    Args:
        settings: what to do with which.
        on_progress: told about every sample fetched.
    """
    from skiagraph.data.samples import fetch

    chosen = _chosen(settings)
    files: dict[str, dict[str, Path]] = {}
    if settings.action == "fetch":
        new = [entry for entry in chosen if not in_cache(entry, settings.cache)]
        if new and not settings.yes:
            accept(new)
        for done, entry in enumerate(chosen):
            on_progress("fetching samples", done, len(chosen))
            files[entry.name] = fetch(entry.name, cache=settings.cache).files
        on_progress("fetching samples", len(chosen), len(chosen))
    return SamplesResult(settings.action, tuple(chosen), files)
