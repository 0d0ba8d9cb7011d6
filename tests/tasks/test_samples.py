"""The command `samples`: licences before use, nothing fetched without a yes."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from skiagraph.cli import main
from skiagraph.data import samples as data_samples
from skiagraph.data.archives import Archive, Member
from skiagraph.data.samples import Sample, registry
from skiagraph.errors import InputError
from skiagraph.tasks.samples import SamplesSettings, expectation, samples

CONTENT = b"a head"


@pytest.fixture
def toy_head(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Make a registry of one toy head whose archive is made here; returns the list of downloads that happened."""
    member = Member("toy/head.nii", hashlib.sha256(CONTENT).hexdigest())
    archive = Archive("pypi", "toy", "1", 1000, "0" * 64, {"image": member})
    entry = Sample("toy-head", "A toy", "toy", "measured", "MIT", "Not real.", True, "train", "nifti", (archive,))
    downloads: list[str] = []

    def download(wanted: Archive, folder: Path) -> Path:
        downloads.append(str(wanted))
        return folder

    def extract(path: Path, wanted: Archive, folder: Path) -> dict[str, Path]:
        folder.mkdir(parents=True)
        (folder / "head.nii").write_bytes(CONTENT)
        return {"image": folder / "head.nii"}

    monkeypatch.setattr("skiagraph.data.sample_registry.SAMPLES", (entry,))
    monkeypatch.setattr(data_samples, "download", download)
    monkeypatch.setattr(data_samples, "extract", extract)
    return downloads


def test_list_names_every_sample_with_its_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["samples"]
    assert [entry["name"] for entry in shown] == list(registry())
    assert all(entry["licence"] for entry in shown)
    assert main(["samples"]) == 0
    assert "colin27" in capsys.readouterr().out


def test_show_tells_licence_remark_and_checksum(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "show", "colin27"]) == 0
    text = capsys.readouterr().out
    for word in ("licence stated", "Very low noise", "sha256", "neurora"):
        assert word in text


def test_fetch_wants_a_yes_and_then_uses_the_cache(toy_head: list[str], tmp_path: Path) -> None:
    settings = SamplesSettings(action="fetch", names=["toy-head"], cache=tmp_path / "cache")
    assert expectation(settings) == {"download_bytes": 1000, "downloads": ["toy-head"]}
    with pytest.raises(InputError, match="--yes"):
        samples(settings)
    assert toy_head == []
    told: list[Any] = []
    accepted = settings.model_copy(update={"yes": True})
    result = samples(accepted, lambda *news: told.append(news))
    assert result.files["toy-head"]["image"].read_bytes() == CONTENT
    assert told == [("fetching samples", 0, 1), ("fetching samples", 1, 1)]
    assert samples(settings).files == result.files
    assert len(toy_head) == 1
    assert expectation(settings) == {"download_bytes": 0, "downloads": []}


@pytest.mark.parametrize("answer", ["n\n", "\n", "y\n"])
def test_a_person_is_asked(
    toy_head: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
) -> None:
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    settings = SamplesSettings(action="fetch", names=["toy-head"], cache=tmp_path / "cache")
    if answer == "y\n":
        assert "toy-head" in samples(settings).files
    else:
        with pytest.raises(InputError, match="nothing was fetched"):
            samples(settings)
    assert "licence stated: MIT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fetch"], "needs one or more of"),
        (["list", "colin27"], "takes none"),
        (["show", "nobody"], "known samples: robex-atlas"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", *words]) == 2
    assert message in capsys.readouterr().err
    assert main(["samples", *words, "--dry-run"]) == 2
