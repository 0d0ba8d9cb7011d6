"""The presets in the package: the shipped prior's is what its card says, and what `train` does by default."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from skiagraph.config import load_settings
from skiagraph.tasks.reconstruct.settings import NetworkSettings, ObjectiveSettings, TrainSettings
from skiagraph.tasks.reconstruct.train import expectation

PRESETS = Path(str(files("skiagraph"))) / "presets"


def _recorded() -> TrainSettings:
    """The run on the card of the shipped prior; keys that came later have their defaults, which change nothing."""
    content = json.loads((PRESETS / "priors" / "brain-t1-128" / "prior.json").read_text())
    recorded = content["training"]["settings"]
    recorded.pop("final_data_iterations", None)  # a key of that version; its value was that of network.data_iterations
    return TrainSettings(**recorded, output=Path("runs/brain-t1-128"))


def _preset(name: str) -> TrainSettings:
    return load_settings(TrainSettings, PRESETS / f"{name}.yaml")


def test_the_preset_of_the_shipped_prior_is_the_run_on_its_card() -> None:
    assert _preset("brain-prior") == _recorded()


def test_a_plain_run_takes_the_recipe_of_the_shipped_prior() -> None:
    recorded = _recorded()
    assert NetworkSettings() == recorded.network
    assert ObjectiveSettings() == recorded.objective
    plain = TrainSettings(data=[Path("scan.h5")], output=Path("prior"))
    for name in ("images", "batch_size", "learning_rate", "warmup", "ema_half_life"):
        assert getattr(plain, name) == getattr(recorded, name), name


def test_the_expected_time_follows_size_and_network(scan_file: Path) -> None:
    shipped = _preset("brain-prior")
    expected = expectation(shipped)
    assert expected["slices"] == 1100
    assert 2400 < expected["seconds_on_one_core"] < 3600  # the card's run took 3017 s
    wide = shipped.model_copy(update={"network": NetworkSettings(channels=48)})
    assert expectation(wide)["seconds_on_one_core"] > 1.9 * expected["seconds_on_one_core"]
    from_file = TrainSettings(data=[scan_file, Path("missing.h5")], output=Path("prior"))
    assert expectation(from_file)["slices"] == 3
    assert expectation(from_file)["seconds_on_one_core"] < expected["seconds_on_one_core"] / 7  # 32 x 32 of 64 x 128
    completed = shipped.model_copy(update={"complete": Path("prior")})
    assert expectation(completed)["seconds_on_one_core"] > expected["seconds_on_one_core"] + 500
