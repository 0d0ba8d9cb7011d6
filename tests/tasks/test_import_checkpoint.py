"""The command `import-checkpoint`: a prior folder whose denoiser is that of the foreign network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from skiagraph.cli import main
from skiagraph.diffusion import linear_table
from skiagraph.networks import UNet, UNetConfig
from skiagraph.training.prior import Prior

ARGUMENTS = ["--size", "16", "16", "--spacing-mm", "1", "1.5", "--groups", "4", "--heads", "2"]


def checkpoint(folder: Path, outputs: int = 2, classes: int = 0) -> tuple[Path, UNet]:
    """Write a small network with weights that are not zero anywhere."""
    config = UNetConfig(
        in_channels=2,
        out_channels=outputs,
        channels=8,
        multipliers=(1, 2),
        residual_blocks=1,
        heads=2,
        groups=4,
        classes=classes,
        downsample_depth=False,
    )
    network = UNet(config).eval()
    generator = torch.Generator().manual_seed(0)
    state = {name: 0.2 * torch.randn(value.shape, generator=generator) for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    path = folder / "ema_0.9999_050000.pt"
    torch.save(state, path)
    return path, network


def test_the_prior_denoises_as_the_network_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, network = checkpoint(tmp_path)
    folder = tmp_path / "prior"
    words = ["--output", str(folder), "--channels", "re", "im", "--time", "rescaled", "--steps", "500"]
    assert main(["import-checkpoint", str(path), *ARGUMENTS, *words, "--licence", "MIT", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["architecture"]["settings"]["channels"] == 8
    assert not shown["learned_variance"]
    prior = Prior.load(folder)
    assert [channel.name for channel in prior.record.channels] == ["re", "im"]
    assert prior.record.spacing_mm == [1.0, 1.5]
    assert prior.record.licence == "MIT"
    assert prior.record.extra["training_steps"] == 50000
    x = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    alpha, sigma = linear_table(500)(torch.tensor(200.0, dtype=torch.float64))
    with torch.no_grad():
        noise = network(x, torch.full((2,), 400.0))
        found = prior.denoiser()(x, torch.tensor(200.0)).x0
    torch.testing.assert_close(found, (x - float(sigma) * noise) / float(alpha), rtol=1e-4, atol=1e-4)


def test_classes_and_learned_variance_are_recorded(tmp_path: Path) -> None:
    path, _ = checkpoint(tmp_path, outputs=4, classes=3)
    folder = tmp_path / "prior"
    assert main(["import-checkpoint", str(path), *ARGUMENTS, "--output", str(folder), "--classes", "a", "b", "c"]) == 0
    record = Prior.load(folder).record
    assert record.learned_variance
    assert record.classes == ["a", "b", "c"]
    assert record.conditions == ["label"]


def test_the_card_of_imported_weights_claims_nothing_and_counts_many_classes(tmp_path: Path) -> None:
    path, _ = checkpoint(tmp_path, classes=1000)
    folder = tmp_path / "prior"
    assert main(["import-checkpoint", str(path), *ARGUMENTS, "--output", str(folder)]) == 0
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "- Classes: 1000: 0, 1, 2, ... 999\n" in card
    assert "- Imported: what it was trained on is not recorded\n" in card
    assert "- Steps of training, by the file's name: 50000\n" in card
    assert "exponential average, decay 0.9999 a step" in card
    assert "second half is probably a learned variance" not in card
    for claim in ("full images", "(generated)", "Images seen", "null", "(defaults)"):
        assert claim not in card


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "16"], "size: found [16]"),
        (["--channels", "re"], "2 input channels"),
        (["--concatenated", "map"], "3 outputs for 1 image channels"),
        (["--classes", "a"], "class table"),
        (["--low", "2"], "low must be below high"),
        (["--groups", "5"], "groups is 5"),
        (["--heads", "2", "--head-channels", "4"], "one of the two"),
    ],
)
def test_what_does_not_fit_the_weights_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    path, _ = checkpoint(tmp_path, outputs=2 if "--concatenated" not in words else 3)
    code = main(["import-checkpoint", str(path), *ARGUMENTS, "--output", str(tmp_path / "prior"), *words])
    error = capsys.readouterr().err
    assert code == 2, error
    assert message in error
    assert not (tmp_path / "prior").exists()


def test_files_that_are_no_weights_are_data_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text.pt"
    path.write_text("no weights", encoding="utf-8")
    assert main(["import-checkpoint", str(path), *ARGUMENTS, "--output", str(tmp_path / "prior")]) == 3
    assert "not a file of plain weights" in capsys.readouterr().err
    assert main(["import-checkpoint", str(tmp_path / "gone.pt"), *ARGUMENTS, "--output", str(tmp_path / "p")]) == 3
    assert "cannot be read" in capsys.readouterr().err


def test_levels_and_the_branch_without_label_are_as_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = checkpoint(tmp_path, classes=3)
    words = ["import-checkpoint", str(path), *ARGUMENTS, "--output", str(tmp_path / "prior")]
    assert main([*words, "--levels", "ddim250", "--unlabelled"]) == 0
    prior = Prior.load(tmp_path / "prior")
    assert prior.record.extra["trained_times"] == "ddim250"
    x = torch.zeros(1, 2, 16, 16)
    unlabelled = prior.denoiser()(x, torch.tensor(4.0)).x0
    assert torch.equal(unlabelled, prior.denoiser()(x, torch.tensor(4.0), {"label": torch.tensor([-1])}).x0)
    assert main([*words, "--levels", "ddim60"]) == 2
    assert "ddim60" in capsys.readouterr().err
    bare = checkpoint(tmp_path)[0]
    assert main(["import-checkpoint", str(bare), *ARGUMENTS, "--output", str(tmp_path / "p"), "--unlabelled"]) == 2
    assert "no classes" in capsys.readouterr().err
