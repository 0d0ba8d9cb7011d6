"""The command `import-checkpoint classifier`: a folder whose classifier is asked as the foreign one was taught."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from skiagraph.cli import main
from skiagraph.networks.classifier import ClassifierConfig, EncoderClassifier
from skiagraph.training.classifier import Classifier

WORDS = ["--size", "16", "16", "--groups", "4", "--heads", "2", "--classes", "b", "a"]


def checkpoint(folder: Path) -> tuple[Path, EncoderClassifier]:
    config = ClassifierConfig(
        channels=8, multipliers=(1, 2), residual_blocks=1, heads=2, groups=4, out_channels=2, image_size=(16, 16)
    )
    network = EncoderClassifier(config).eval()
    generator = torch.Generator().manual_seed(0)
    state = {name: 0.2 * torch.randn(value.shape, generator=generator) for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    torch.save(state, folder / "model000100.pt")
    return folder / "model000100.pt", network


@pytest.mark.parametrize(("times", "told"), [("original", 8.0), ("spaced_index", 2.0)])
def test_it_is_asked_as_it_was_taught(
    tmp_path: Path, times: str, told: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path, network = checkpoint(tmp_path)
    words = ["--output", str(tmp_path / "c"), "--times", times, "--levels", "ddim250", "--licence", "MIT", "--json"]
    assert main(["import-checkpoint", "classifier", str(path), *WORDS, *words]) == 0
    assert json.loads(capsys.readouterr().out)["times"] == times
    found = Classifier.load(tmp_path / "c")
    assert found.classes == ("b", "a")
    assert found.record.training.imported
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(found(x, 8.0), network(x, torch.full((2,), told)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--times", "original", "--classes", "a", "b", "c"], "3 names"),
        (["--times", "original", "--levels", "ddim60"], "ddim60"),
        (["--times", "original", "--size", "32", "32"], "positional_embedding"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    path, _ = checkpoint(tmp_path)
    given = [*WORDS, "--output", str(tmp_path / "c"), *words]
    assert main(["import-checkpoint", "classifier", str(path), *given]) in (2, 3)
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "c").exists()
