"""`train class-prior`: the loss of the formulas, labels dropped in training only, whole runs and their continuation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from skiagraph.config import load_settings
from skiagraph.data.labelled import read_labelled
from skiagraph.diffusion import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.synthesize.learn import class_prior
from skiagraph.tasks.synthesize.learn.class_prior import (
    ClassPriorObjective,
    expectation,
    objective_of,
    train_class_prior,
)
from skiagraph.tasks.synthesize.learn.settings import ClassPriorSettings
from skiagraph.training import Prior

from .test_data import spots_folder

ROOT = Path(__file__).parents[4]
PRESETS = ROOT / "src" / "skiagraph" / "presets" / "synthesize"
TINY = {"channels": 8, "multipliers": [1.0], "residual_blocks": 1, "head_channels": 8, "groups": 4, "dropout": 0.2}


def settings(root: Path, **changes: Any) -> ClassPriorSettings:
    values = {
        "data": root / "data",
        "output": root / "run",
        "images": 16,
        "batch_size": 4,
        "warmup": 0,
        "network": TINY,
        "validation": 0.2,
        "precision": "float32",
        **changes,
    }
    return ClassPriorSettings.model_validate(values)


class Given(nn.Module):
    """Predicts given noise and a given variance, and remembers the labels."""

    def __init__(self, eps: Tensor, v: Tensor) -> None:
        super().__init__()
        self.eps, self.v = eps.requires_grad_(), v.requires_grad_()
        self.labels: Tensor | None = None

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        self.labels = label
        return torch.cat([self.eps, self.v], 1)


class Draws(Streams):
    """Streams whose times are given."""

    def __init__(self, count: int, share: float) -> None:
        super().__init__(range(count))
        self.share = share

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return (
            torch.full((len(self), *shape), self.share, dtype=dtype)
            if dtype == torch.float64
            else super().uniform(*shape)
        )


@pytest.mark.parametrize(("t", "weight"), [(0, 0.010), (100, 0.324), (500, 0.960)])
def test_the_released_weight_and_the_loss_in_two_parts(tmp_path: Path, t: int, weight: float) -> None:
    found = objective_of(settings(tmp_path, weight="p2", variational=1.0))
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(4, 1, 6, 6, generator=generator, dtype=torch.float64) * 2 - 1
    eps, v = (torch.randn(4, 1, 6, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    network, batch = Given(eps, v), {"image": x0, "label": torch.zeros(4, dtype=torch.long)}
    both = found(network, batch, Draws(4, (t + 0.5) / 1000)).loss
    streams = Draws(4, (t + 0.5) / 1000)
    streams.uniform()  # the dropout's draw comes before the noise
    error = (streams.normal_like(x0) - eps).square().flatten(1).mean(1)
    table = linear_table()
    sigma = float(table(torch.tensor(float(t)))[1])
    assert sigma == pytest.approx(weight, abs=6e-4)
    one = ClassPriorObjective(table, found.weight, 1e-12, found.label_dropout)
    mse = one(network, batch, Draws(4, (t + 0.5) / 1000)).loss
    torch.testing.assert_close(mse, sigma * error, rtol=1e-6, atol=1e-9)
    variational = both - mse
    assert (variational > 0).all()
    gradient_eps, gradient_v = torch.autograd.grad(variational.sum(), (network.eps, network.v))
    torch.testing.assert_close(gradient_eps, torch.zeros_like(eps), atol=1e-9, rtol=0)
    assert gradient_v.abs().min() > 0


def test_presets_mean_what_they_say(tmp_path: Path) -> None:
    place = {"data": tmp_path, "output": tmp_path / "o"}
    released = objective_of(load_settings(ClassPriorSettings, PRESETS / "reference-prior.yaml", **place))
    assert len(released.schedule) == 250
    assert (released.coefficient, released.label_dropout) == (1.0, 0.0)
    default = objective_of(load_settings(ClassPriorSettings, PRESETS / "organs-prior.yaml", **place))
    assert (len(default.schedule), default.coefficient, default.label_dropout) == (1000, 1.0, 0.1)
    assert objective_of(settings(tmp_path, levels="ddim250")).coefficient == 0.25


def test_the_levels_of_training_are_drawn_as_asked(tmp_path: Path) -> None:
    count, table = 4000, linear_table()
    network = Given(torch.zeros(count, 1, 1, 1), torch.zeros(count, 1, 1, 1))
    batch = {"image": torch.zeros(count, 1, 1, 1), "label": torch.ones(count, dtype=torch.long)}
    even = objective_of(settings(tmp_path, variational=1.0))(network, batch, Streams(range(count))).level
    drawn = objective_of(settings(tmp_path, variational=1.0, log_rho=(-1.0, 1.3)))
    level = drawn(network, batch, Streams(range(count))).level
    log_rho = -level / 2  # within 3 standard errors; the finest level of the table cuts 1 % off
    assert float(log_rho.mean()) == pytest.approx(-1.0, abs=0.08)
    assert float(log_rho.std()) == pytest.approx(1.3, abs=0.06)
    assert float((-even / 2).mean()) > 0.8
    indices = table.time_of(level)
    torch.testing.assert_close(indices, indices.round(), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="positive deviation"):
        settings(tmp_path, log_rho=(0.0, 0.0))


def test_labels_are_dropped_one_by_one_and_in_training_only() -> None:
    count = 4000
    network = Given(torch.zeros(count, 1, 1, 1), torch.zeros(count, 1, 1, 1))
    objective = ClassPriorObjective(linear_table(), label_dropout=0.1)
    batch = {"image": torch.zeros(count, 1, 1, 1), "label": torch.ones(count, dtype=torch.long)}
    result = objective(network, batch, Streams(range(count)))
    assert network.labels is not None
    dropped = network.labels == -1
    assert abs(float(dropped.double().mean()) - 0.1) < 3 * math.sqrt(0.09 / count)
    assert torch.equal(result.extra["unlabelled"], dropped.double())
    objective.denoiser(network)(batch["image"], torch.tensor(5.0), {"label": batch["label"]})
    assert bool((network.labels == 1).all())


def test_a_run_leaves_a_prior_that_knows_its_classes(tmp_path: Path) -> None:
    spots_folder(tmp_path / "data")
    run = settings(tmp_path, augment={"shift": 0.1}, sampling="sqrt")
    cost = expectation(run)
    assert cost["validation_images"] == 6
    assert not (tmp_path / "run").exists()
    made = train_class_prior(run)
    assert made.images == 16
    assert set(made.errors) == {"noise_error_training", "noise_error_held_out"}
    assert all(0.5 < error < 1.5 for error in made.errors.values())  # hardly trained: about the noise itself
    prior = Prior.load(tmp_path / "run")
    record = prior.record
    assert record.classes == ["above", "left", "right"]
    assert record.extra["trained_times"] == "1000"
    assert record.data.fingerprint["sha256"] == read_labelled(tmp_path / "data").fingerprint()
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"split.json", "config.yaml", "run.json", "report.html", "samples.png", "README.md"} <= names
    x = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    denoiser, t = prior.denoiser(), torch.tensor(300.0)
    labelled = denoiser(x, t, {"label": torch.tensor([0, 2])})
    assert labelled.log_var is not None
    torch.testing.assert_close(denoiser(x, t).x0, denoiser(x, t, {"label": torch.tensor([-1, -1])}).x0)


def test_a_refused_split_leaves_no_folder(tmp_path: Path) -> None:
    spots_folder(tmp_path / "data")
    (tmp_path / "split.json").write_text("{}")
    tiny = settings(tmp_path, split=tmp_path / "split.json")
    with pytest.raises(DataError, match=r"split.json has the keys"):
        train_class_prior(tiny)
    assert not tiny.output.exists()


def test_patients_are_counted_in_the_card_and_not_named(tmp_path: Path) -> None:
    files = sorted(spots_folder(tmp_path / "data").glob("*/*.png"))
    rows = [f"{path.parent.name}/{path.name},{path.parent.name},MRN-{k // 2:04d}" for k, path in enumerate(files)]
    (tmp_path / "data" / "labels.csv").write_text("\n".join(["file,label,patient", *rows]) + "\n")
    train_class_prior(settings(tmp_path))
    for name in ("README.md", "prior.json", "report.html", "run.json"):
        assert "MRN-" not in (tmp_path / "run" / name).read_text(), name
    assert " patients" in (tmp_path / "run" / "README.md").read_text()
    assert "MRN-0000" in (tmp_path / "run" / "split.json").read_text()  # which stays at home


def test_without_dropout_there_is_no_branch_without_label(tmp_path: Path) -> None:
    spots_folder(tmp_path / "data", 4)
    train_class_prior(settings(tmp_path, label_dropout=0.0, variational=0.0, images=8, levels="ddim50"))
    prior = Prior.load(tmp_path / "run")
    assert not prior.record.learned_variance
    with pytest.raises(ValueError, match="give label"):
        prior.denoiser()(torch.zeros(1, 1, 12, 12), torch.tensor(0.0))


def test_a_continued_run_equals_one_that_was_not_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_prior, "preview", lambda *_: ())
    spots_folder(tmp_path / "data", 5)
    whole = train_class_prior(settings(tmp_path, output=tmp_path / "whole"))
    train_class_prior(settings(tmp_path, output=tmp_path / "parts", images=8))
    parts = train_class_prior(settings(tmp_path, output=tmp_path / "parts"))
    assert whole.errors == parts.errors
    values = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert values[0] == values[1]
    with pytest.raises(InputError, match=r"label_dropout: found 0\.5, the run has 0\.1"):
        train_class_prior(settings(tmp_path, output=tmp_path / "parts", label_dropout=0.5))
