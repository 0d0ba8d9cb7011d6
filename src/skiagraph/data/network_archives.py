"""Published weights of others' networks: where they lie, and how to get the file without running what is inside."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from skiagraph.data.archives import Archive, Member, cache_folder, download, extract, file_sha256
from skiagraph.errors import SampleUnavailable

__all__ = ["SYNTHSTRIP", "fetch_weights"]

SYNTHSTRIP = Archive(
    "pypi-source",
    "deepsurfer",
    "0.1.1a5",
    49561980,
    "a45b0f72b240f8078fc90d4b6f9db53e98a77f4f81cf2846b79a1001619e5943",
    {
        "weights": Member(
            "deepsurfer-0.1.1a5/deepsurfer/resource/models/synthstrip-1.pt",
            "ae8034c791de0931e120bdb7fe1dba5c5222d0573ba059f836aca8e63541e3b9",
        ),
    },
)
"""SynthStrip's weights (MIT), 10 MB in an archive of 50 MB."""


def fetch_weights(
    archive: Archive, *, cache: str | os.PathLike[str] | None = None, download_allowed: bool = True
) -> Path:
    """The file with the weights, from the cache or from the registry, its sha256 checked either way.

    Args:
        archive: with one member, "weights".
        cache: folder; default $SKIAGRAPH_CACHE, else ~/.cache/skiagraph.
        download_allowed: False looks in the cache only.
    """
    member = archive.members["weights"]
    target = cache_folder(cache) / "networks" / archive.sha256[:16] / Path(member.path).name
    if target.is_file() and file_sha256(target) == member.sha256:
        return target
    if not download_allowed:
        raise SampleUnavailable(f"{archive}: not in {target.parent}, and downloading was not allowed")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=target.parent) as work:
        found = extract(download(archive, Path(work) / "download"), archive, Path(work) / "members")
        os.replace(found["weights"], target)
    return target
