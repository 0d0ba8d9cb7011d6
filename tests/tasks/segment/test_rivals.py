"""Rivals: what follows from their definitions, on priors and classifiers that are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from skiagraph.diffusion import Streams, linear_table
from skiagraph.diffusion.denoiser import EMPTY, Prediction
from skiagraph.diffusion.difference import ConditionPair
from skiagraph.diffusion.schedule import expand_like
from skiagraph.errors import InputError
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.rivals.activation import ActivationMap
from skiagraph.tasks.segment.rivals.counterfactual import (
    AnoFPDM,
    ClassifierFreeCounterfactual,
    GuidedCounterfactual,
    ddim_move,
    spread_times,
)
from skiagraph.tasks.segment.rivals.healthy import HealthyReconstruction
from skiagraph.tasks.segment.rivals.intensity import MaskedIntensity
from skiagraph.tasks.segment.rivals.simplex import simplex_noise

SIZE = 8
LESION = torch.zeros(1, SIZE, SIZE)
LESION[:, 2:4, 5:7] = 0.6


@dataclass(frozen=True)
class Gaussian:
    """E[x_0 | x_t] of independent pixels N(m_label, variance): present has LESION on top, null half of it."""

    schedule: Any = field(default_factory=linear_table)
    variance: float = 0.01

    def __call__(self, x: Tensor, t: Tensor, cond: Any = EMPTY) -> Prediction:
        share = torch.where(cond["label"] == 1, 1.0, torch.where(cond["label"] == 0, 0.0, 0.5))
        mean = share[:, None, None, None] * LESION - 0.2
        alpha, sigma = (expand_like(part, x) for part in self.schedule(t))
        gain = alpha * self.variance / (alpha**2 * self.variance + sigma**2)
        return Prediction(mean + gain * (x - alpha * mean))


def prior(unlabelled: bool = True) -> LabelledPrior:
    pair = ConditionPair(torch.ones(2), torch.zeros(2))
    return LabelledPrior(Gaussian(), pair, "lesion", "normal", (1, 0), (1, SIZE, SIZE), unlabelled=unlabelled)


def images() -> Tensor:
    healthy = -0.2 + 0.02 * Streams([1, 2]).normal(1, SIZE, SIZE)
    return healthy + torch.stack([LESION, 0 * LESION])


def concentrated(maps: Tensor) -> float:
    """Mean of the map on the lesion over its mean elsewhere."""
    inside = LESION[0] > 0
    return float(maps[inside].mean() / maps[~inside].mean())


def test_a_step_up_and_down_again_is_nothing_when_the_estimate_holds() -> None:
    schedule, x, x0 = linear_table(), images(), 0.5 * images()
    low, high = torch.tensor(100.0), torch.tensor(400.0)
    there = ddim_move(schedule, x, x0, low, high)
    assert torch.allclose(ddim_move(schedule, there, x0, high, low), x, atol=1e-5)


def test_times_rise_from_zero_to_the_top() -> None:
    assert spread_times(500, 5).tolist() == [0, 100, 200, 300, 400, 500]
    with pytest.raises(ValueError, match="steps"):
        spread_times(5, 6)


@pytest.mark.parametrize(
    ("method", "calls"),
    [
        (ClassifierFreeCounterfactual(prior(), steps=10), 32),
        (AnoFPDM(prior(), steps=10, median=1), 22),
        (HealthyReconstruction(prior(), steps=5, noise="gaussian"), 6),
        (HealthyReconstruction(prior(), steps=5, noise="gaussian", patches=2), 24),
        (HealthyReconstruction(prior(), steps=5, top=500), 6),
    ],
)
def test_what_is_not_healthy_does_not_come_back(method: Any, calls: float) -> None:
    found = method(images(), Streams([3, 4]))
    assert found.evaluations == calls
    assert found.maps.shape == (2, SIZE, SIZE)
    assert concentrated(found.maps[0]) > 3
    assert found.maps[1].max() < found.maps[0].max()
    alone = method(images()[:1], Streams([3]))
    assert torch.allclose(alone.maps[0], found.maps[0], atol=1e-5)


def test_the_classifier_pulls_the_lesion_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def logits(x: Tensor, t: Tensor) -> Tensor:
        score = 20 * (x * LESION).sum((1, 2, 3))
        return torch.stack([-score, score], 1)

    place = "skiagraph.tasks.segment.rivals.counterfactual.guide_logits"
    monkeypatch.setattr(place, lambda *given: (logits, (1, 0)))
    method = GuidedCounterfactual(prior(), SimpleNamespace(), steps=10, scale=2.0)  # type: ignore[arg-type]
    found = method(images(), Streams([3, 4]))
    assert concentrated(found.maps[0]) > 3
    assert found.evaluations == 54


def test_a_prior_without_null_label_is_refused() -> None:
    with pytest.raises(InputError, match="label dropout"):
        AnoFPDM(prior(unlabelled=False))(images(), Streams([1, 2]))


def test_masked_intensity_by_hand() -> None:
    x = torch.full((1, 1, 4, 4), -1.0)
    x[0, 0, 1:3, 1:3] = torch.tensor([[0.0, 0.1], [0.2, 0.6]])
    bright = MaskedIntensity("bright")(x, Streams([0])).maps[0]
    assert bright.argmax() == 10
    assert bright[0, 0] == bright.min() == pytest.approx(-0.1)
    assert MaskedIntensity("dark")(x, Streams([0])).maps[0].argmax() == 5
    assert MaskedIntensity("either")(x, Streams([0])).maps[0][1].tolist() == pytest.approx([0, 0.1, 0, 0], abs=1e-6)
    with pytest.raises(ValueError, match="-1 to 1"):
        MaskedIntensity()(2 * x, Streams([0]))


class Small(nn.Module):
    """One convolution that passes the image on in its first channel, whose mean is the logit of class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer3 = nn.Conv2d(1, 2, 1, bias=False)
        self.layer3.weight.data = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer3(x + 1).mean((2, 3))
        return 50 * torch.stack([0 * found[:, 0], found[:, 0]], 1)


class Known:
    """A classifier of clean images around a module."""

    kind, classes, network = "clean", ("normal", "lesion"), Small()

    def __call__(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


@pytest.mark.parametrize("kind", ["grad-cam", "grad-cam++", "layer-cam", "score-cam"])
def test_activation_maps_of_a_known_network_are_the_image(kind: Any) -> None:
    method = ActivationMap(Known(), "lesion", kind)  # type: ignore[arg-type]
    found = method(images(), Streams([0, 1])).maps
    expected = images()[:, 0] + 1
    assert found.shape == expected.shape
    pair = torch.stack([found[0].flatten().double(), expected[0].flatten().double()])
    correlation = torch.corrcoef(pair)[0, 1]
    assert correlation > 0.99


def test_misfits_of_activation_maps_are_named() -> None:
    with pytest.raises(InputError, match="normal, lesion"):
        ActivationMap(Known(), "tumour")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="layer9"):
        ActivationMap(Known(), "lesion", layer="layer9")  # type: ignore[arg-type]


def test_simplex_noise_is_smooth_standard_and_each_stream_its_own() -> None:
    found = simplex_noise(Streams([5, 6]), (32, 32))
    assert torch.equal(simplex_noise(Streams([6]), (32, 32))[0], found[1])
    assert found.mean((1, 2)).abs().max() < 1e-5
    assert torch.allclose(found.std((1, 2)), torch.ones(2), atol=1e-3)
    coarse = simplex_noise(Streams([5]), (32, 32), octaves=1, wavelength=32.0)[0]
    step = (coarse[1:] - coarse[:-1]).square().mean()
    assert step < 0.15  # white noise has 2
    assert (found[0] - found[1]).abs().max() > 0.5
