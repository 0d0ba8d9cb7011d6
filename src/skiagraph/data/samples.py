"""Sample heads from published package archives: what there is, under which licence, and how to get it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from skiagraph.data.archives import Archive, cache_folder, download, extract, file_sha256, safe_member_name
from skiagraph.errors import InputError, SampleUnavailable

__all__ = ["FetchedSample", "Sample", "fetch", "registry", "sample"]


@dataclass(frozen=True)
class Sample:
    """One sample in the registry: what it shows, where it is published, and what it may be used for.

    Attributes:
        name: key of the registry, lower case with hyphens.
        title: one line for a list.
        group: head identity for splits; samples of one group never stand on two sides of a split.
        provenance: "measured", "template" (average of many people) or "simulated contrast".
        licence: as stated by the package that carries the file, which may not cover the data apart.
        remark: caveats, shown before use.
        publishable: True when the stated licence clearly permits a prior trained on it to be published.
        use: "train", "test", "check" (look only) or "none" (listed, no recommended use).
        reader: how the files are stored: "nifti", "dicom", "minc-raw" or "png".
        sources: archives holding the same content, tried in order; empty when it is listed but not fetched.
    """

    name: str
    title: str
    group: str
    provenance: Literal["measured", "template", "simulated contrast"]
    licence: str
    remark: str
    publishable: bool
    use: Literal["train", "test", "check", "none"]
    reader: Literal["nifti", "dicom", "minc-raw", "png"]
    sources: tuple[Archive, ...]

    @property
    def size(self) -> int:
        """Bytes to download from the first source (0 when there is none)."""
        return self.sources[0].size if self.sources else 0

    def record(self) -> dict[str, Any]:
        """Return what a list, a run record or a model card shows, as JSON types."""
        return {
            "name": self.name,
            "title": self.title,
            "group": self.group,
            "provenance": self.provenance,
            "licence": self.licence,
            "remark": self.remark,
            "publishable": self.publishable,
            "use": self.use,
            "sources": [
                {"archive": str(source), "bytes": source.size, "sha256": source.sha256} for source in self.sources
            ],
        }


@dataclass(frozen=True)
class FetchedSample:
    """A sample on this disk: role -> file, and the archive the files came from."""

    sample: Sample
    archive: Archive
    files: dict[str, Path]

    def record(self) -> dict[str, Any]:
        """Return the provenance to store with every result made from it, as JSON types."""
        checksums = {role: member.sha256 for role, member in self.archive.members.items()}
        return {**self.sample.record(), "archive": str(self.archive), "sha256": self.archive.sha256, "files": checksums}


def registry() -> dict[str, Sample]:
    """Return every known sample by name, recommended ones first."""
    from skiagraph.data.sample_registry import SAMPLES

    return {entry.name: entry for entry in SAMPLES}


def sample(name: str) -> Sample:
    """Return one sample of the registry; InputError names the samples there are."""
    known = registry()
    if name not in known:
        raise InputError(f"sample {name!r} is not in the registry; known samples: {', '.join(known)}")
    return known[name]


def _cached(archive: Archive, folder: Path) -> dict[str, Path] | None:
    """Return role -> file when every member lies in the cache with the right sha256."""
    files = {role: folder / safe_member_name(member.path) for role, member in archive.members.items()}
    for role, path in files.items():
        if not path.is_file() or file_sha256(path) != archive.members[role].sha256:
            return None
    return files


def _install(entry: Sample, archive: Archive, folder: Path) -> dict[str, Path]:
    """Download, check and extract one archive, then move its members into the cache."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder.parent) as work:
        path = download(archive, Path(work) / "download")
        fresh = extract(path, archive, Path(work) / "members")
        files = {}
        for role, source in fresh.items():
            target = folder / safe_member_name(archive.members[role].path)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            files[role] = target
        provenance = Path(work) / "provenance.json"
        provenance.write_text(json.dumps(FetchedSample(entry, archive, files).record(), indent=1), encoding="utf-8")
        os.replace(provenance, folder / f"{entry.name}.json")
    return files


def fetch(name: str, *, cache: str | os.PathLike[str] | None = None, download_allowed: bool = True) -> FetchedSample:
    """Return a sample's files, from the cache or from the first of its archives that can be had.

    Args:
        name: a name of `registry()`.
        cache: folder for extracted files; default $SKIAGRAPH_CACHE, else ~/.cache/skiagraph.
        download_allowed: False looks in the cache only.

    Raises SampleUnavailable with the reason of every source that failed.
    """
    entry = sample(name)
    if not entry.sources:
        raise SampleUnavailable(f"sample {name!r} is listed but not fetched: {entry.remark}")
    folder = cache_folder(cache) / "samples"
    for archive in entry.sources:
        files = _cached(archive, folder / archive.sha256[:16])
        if files is not None:
            return FetchedSample(entry, archive, files)
    reasons = []
    for archive in entry.sources:
        if not download_allowed:
            reasons.append(f"{archive}: not in {folder}, and downloading was not allowed")
            continue
        try:
            return FetchedSample(entry, archive, _install(entry, archive, folder / archive.sha256[:16]))
        except SampleUnavailable as error:
            reasons.append(str(error))
        except OSError as error:
            free = shutil.disk_usage(folder.parent if folder.parent.exists() else Path.cwd()).free
            reasons.append(f"{archive}: {error.strerror} at {error.filename} ({free // 2**20} MiB free)")
    raise SampleUnavailable(f"sample {name!r} cannot be had:\n  " + "\n  ".join(reasons))
