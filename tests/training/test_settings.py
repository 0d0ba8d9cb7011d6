"""Settings: refusals that name the setting, and the learning rate."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skiagraph.errors import InputError
from skiagraph.training import TrainingSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", 0),
        ("batch_size", 0),
        ("microbatch", 0),
        ("seed", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("warmup", -1),
        ("decay", "linear"),
        ("betas", (0.9, 1.0)),
        ("clip", 0.0),
        ("precision", "float16"),
        ("threads", 0),
        ("ema_lengths", (0.3,)),
        ("ema_lengths", (0.1, 0.1)),
        ("log_every", 0),
        ("snapshot_every", 0),
        ("level_edges", (1.0, 0.0)),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"TrainingSettings\.{name}: found"):
        TrainingSettings(**{"images": 10, name: value})


def test_learning_rate_over_images() -> None:
    flat = TrainingSettings(1000, learning_rate=2.0, warmup=100)
    assert [flat.learning_rate_at(images) for images in (25, 100, 1000)] == [0.5, 2.0, 2.0]
    cosine = TrainingSettings(1000, learning_rate=2.0, warmup=0, decay="cosine")
    assert cosine.learning_rate_at(500) == pytest.approx(1.0)
    assert cosine.learning_rate_at(1000) == pytest.approx(0.0, abs=1e-12)
    root = TrainingSettings(1000, learning_rate=2.0, warmup=0, decay="inverse_sqrt", decay_reference=100)
    assert [root.learning_rate_at(images) for images in (50, 100, 400)] == pytest.approx([2.0, 2.0, 1.0])


def test_what_a_continued_run_may_change() -> None:
    settings = TrainingSettings(1000)
    assert {"images", "batch_size", "log_every"}.isdisjoint(settings.trajectory())
    assert TrainingSettings(1000, decay="cosine").trajectory()["images"] == 1000
    assert json.loads(json.dumps(settings.trajectory())) == settings.trajectory()
    assert json.loads(json.dumps(settings.as_dict()))["batch_size"] == 16
