"""A disk that fills up: one message that names the file, nothing half-written, and a run that can go on."""

from __future__ import annotations

import builtins
import errno
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

import skiagraph.training.checkpoint as checkpoints
from helpers.tiny_prior import filled, record
from helpers.tiny_training import lines, run
from skiagraph.errors import DataError
from skiagraph.training import Prior
from skiagraph.training.metrics import MetricsFile

Failure = OSError | SafetensorError
FULL = [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]


def fill_up(monkeypatch: pytest.MonkeyPatch, after: int, failure: Failure) -> None:
    """Let the writer of tensors fail after `after` whole files, in the middle of the next."""
    whole, written = checkpoints.save_file, [0]

    def save(tensors: Any, path: str, metadata: Any) -> None:
        if written[0] == after:
            Path(path).write_bytes(b"half")
            raise failure
        written[0] += 1
        whole(tensors, path, metadata=metadata)

    monkeypatch.setattr(checkpoints, "save_file", save)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("failure", FULL, ids=lambda failure: type(failure).__name__)
def test_training_stops_with_the_files_name_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Failure
) -> None:
    run(tmp_path / "whole", snapshot_every=None)
    with monkeypatch.context() as patch:
        fill_up(patch, after=2, failure=failure)
        with pytest.raises(DataError) as caught:
            run(tmp_path / "full", snapshot_every=None)
    message = str(caught.value)
    assert "checkpoint-000000000304.safetensors could not be written: the disk is full" in message
    assert message.endswith(
        "Training stopped at 304 images seen; make room and give the same command again: it continues at 200."
    )
    kept = [f"checkpoints/checkpoint-000000000{images}.safetensors" for images in (104, 200)]
    assert files(tmp_path / "full") == [*kept, "metrics.jsonl"]
    run(tmp_path / "full", snapshot_every=None)
    assert lines(tmp_path / "full") == lines(tmp_path / "whole")


def test_a_log_line_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.append({"images": 1})

    class Filled:
        def __enter__(self) -> Filled:
            return self

        def write(self, text: str) -> None:
            with (tmp_path / "metrics.jsonl").open("a") as file:
                file.write(text[:5])
            raise OSError(errno.ENOSPC, "No space left on device")

        def __exit__(self, *_: object) -> None:
            return None

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", lambda *_, **__: Filled())
        with pytest.raises(DataError, match=r"metrics\.jsonl could not be written: the disk is full"):
            metrics.append({"images": 2})
    assert metrics.path.read_text() == '{"images": 1}\n'


@pytest.mark.parametrize("name", ["README.md.partial", "prior.json.partial"])
def test_a_prior_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write = Path.write_text

    def fail(path: Path, text: str, **options: Any) -> int:
        if path.name == name:
            write(path, text[:3])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text, **options)

    Prior(filled(), record(name="older")).save(tmp_path / "there")
    before = {path: (tmp_path / "there" / path).read_bytes() for path in files(tmp_path / "there")}
    monkeypatch.setattr(Path, "write_text", fail)
    for folder in (tmp_path / "there", tmp_path / "new"):
        with pytest.raises(DataError, match=rf"{name.removesuffix('.partial')} could not be written: the disk is full"):
            Prior(filled(), record()).save(folder)
    assert {path: (tmp_path / "there" / path).read_bytes() for path in files(tmp_path / "there")} == before
    assert not (tmp_path / "new").exists()
