"""Whole files or none: reading with clear refusals, writing under a temporary name and then renaming."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skiagraph.errors import DataError

__all__ = ["atomic_path", "existing_file", "write_refusal", "write_whole"]


def existing_file(path: str | os.PathLike[str], wanted: str) -> Path:
    """Return the path of an existing, non-empty plain file; DataError says what was `wanted` and what is there."""
    file = Path(path)
    if file.is_dir():
        raise DataError(f"{file} is a folder; {wanted} is needed")
    if not file.exists():
        raise DataError(f"{file} does not exist; {wanted} is needed (looked from {Path.cwd()})")
    if file.stat().st_size == 0:
        raise DataError(f"{file} is empty (0 bytes); {wanted} is needed")
    return file


@contextmanager
def atomic_path(target: str | os.PathLike[str], *, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary name beside `target` to write to; rename it on success, remove it on any failure.

    Args:
        target: the final path; its folder is created.
        suffix: ending of the temporary name, for writers that look at it.

    Raises DataError that names the path and the free space when the disk is full or the folder cannot be written.
    """
    final = Path(target)
    partial: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{final.name}.", suffix=f".partial{suffix}", dir=final.parent)
        os.close(handle)
        partial = Path(name)
        yield partial
        partial.chmod(0o666 & ~_umask())
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, final)
    except OSError as error:
        raise DataError(write_refusal(final, error)) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def write_whole(target: str | os.PathLike[str], content: bytes | bytearray | memoryview) -> Path:
    """Write bytes to `target`, all of them or none.

    HDF5 files are built in memory and written here, because the HDF5 library ends the process when the disk fills up.
    """
    final = Path(target)
    with atomic_path(final) as partial:
        partial.write_bytes(content)
    return final


def _umask() -> int:
    """Return the process's file mode mask (reading it means setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_refusal(final: Path, error: Exception) -> str:
    """Say in words why `final` could not be written, and that nothing half-written is there."""
    folder = final.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**20
    code, words = (error.errno, error.strerror) if isinstance(error, OSError) else (None, None)
    full = code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    reason = "the disk is full" if full else words or str(error)
    return f"{final} could not be written: {reason} ({free:.0f} MiB free in {folder}); nothing was left behind"
