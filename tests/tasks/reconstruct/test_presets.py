"""The presets in the package: the shipped prior's is what its card says, and what `train` does by default."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from skiagraph.config import load_settings
from skiagraph.tasks.reconstruct.settings import NetworkSettings, ObjectiveSettings, TrainSettings

PRESETS = Path(str(files("skiagraph"))) / "presets"


def _recorded() -> dict[str, Any]:
    content = json.loads((PRESETS / "priors" / "brain-t1-128" / "prior.json").read_text())
    return dict(content["training"]["settings"])


def _preset(name: str) -> TrainSettings:
    return load_settings(TrainSettings, PRESETS / f"{name}.yaml")


def test_the_preset_of_the_shipped_prior_is_the_run_on_its_card() -> None:
    recorded = _recorded()
    recorded.pop("final_data_iterations")  # a key of that version; its value was that of network.data_iterations
    assert _preset("brain-prior").model_dump(mode="json", exclude={"output"}) == recorded


def test_a_plain_run_takes_the_recipe_of_the_shipped_prior() -> None:
    recorded = _recorded()
    assert NetworkSettings().model_dump(mode="json") == recorded["network"]
    assert ObjectiveSettings().model_dump(mode="json") == recorded["objective"]
    plain = TrainSettings(data=[Path("scan.h5")], output=Path("prior"))
    for name in ("images", "batch_size", "learning_rate", "warmup", "ema_half_life"):
        assert getattr(plain, name) == recorded[name], name
