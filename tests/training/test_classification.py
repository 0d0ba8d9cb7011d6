"""What a classifier is worth: scores, temperature and levels against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from skiagraph.diffusion import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.training.classification import (
    CleanClassification,
    NoisyClassification,
    clean_logits,
    fit_temperature,
    noised_logits,
    scores,
)


def test_scores_of_known_predictions() -> None:
    probability = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0])
    found = scores(probability.log(), labels)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((1.0 + 0.5) / 2)
    assert found["cross_entropy"] == pytest.approx(-(math.log(0.9) + math.log(0.1) + math.log(0.8) + math.log(0.6)) / 4)
    # bins: {0.9, 0.9}: right once, gap 0.5 - 0.9; {0.8}: gap 0.2; {0.6}: gap 0.4
    assert found["ece"] == pytest.approx((2 * 0.4 + 0.2 + 0.4) / 4)


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_the_fitted_temperature_is_the_one_that_was_put_in(truth: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(truth * logits, labels) == pytest.approx(truth, rel=0.05)
    assert scores(truth * logits, labels, truth)["ece"] < 0.015


def test_images_that_are_all_classified_rightly_fit_no_temperature() -> None:
    """Cross-entropy then falls without end as the temperature falls; a judge must not become certain of everything."""
    logits = torch.eye(3).repeat(4, 1) * 0.5
    assert fit_temperature(logits, torch.arange(3).repeat(4)) == 1.0
    assert fit_temperature(logits, torch.tensor([0, 1, 2] * 3 + [0, 1, 1])) != 1.0


class Linear(nn.Module):
    """Logits that give away state and time."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).mean(1), x.flatten(1).std(1), time], 1)


def test_each_bin_holds_its_levels_and_each_image_its_noise() -> None:
    schedule = linear_table().respaced("ddim50")
    images = torch.linspace(-1, 1, 6)[:, None, None, None].expand(6, 1, 32, 32).contiguous()
    edges = [0, 10, 30, 50]
    seeds = list(range(6))
    whole = noised_logits(Linear(), images, schedule, "original", edges, seeds)
    assert whole.shape == (3, 6, 3)
    for number, (low, high) in enumerate([(0, 180), (200, 580), (600, 980)]):
        assert ((whole[number, :, 2] >= low) & (whole[number, :, 2] <= high)).all()
    part = noised_logits(Linear(), images[2:3], schedule, "original", edges, seeds[2:3])
    torch.testing.assert_close(part[:, 0], whole[:, 2])
    indices = noised_logits(Linear(), images, schedule, "spaced_index", edges, seeds)
    torch.testing.assert_close(20 * indices[..., 2], whole[..., 2])
    _, sigma = schedule(indices[..., 2].double().flatten())
    sigma = sigma.reshape(3, 6)
    assert ((whole[..., 1] - sigma).abs() < 0.1 * sigma + 1e-6).all()  # the spread is that of the noise
    torch.testing.assert_close(clean_logits(Linear(), images, True)[:, 0], images[:, 0, 0, 0])


def test_losses_are_per_image_and_do_not_know_their_neighbours() -> None:
    schedule = linear_table()
    batch = {"image": torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), "label": torch.arange(4) % 3}
    for objective in (NoisyClassification(schedule), CleanClassification(takes_time=True)):
        whole = objective(Linear(), batch, Streams(range(4)))
        alone = objective(Linear(), {name: value[1:2] for name, value in batch.items()}, Streams([1]))
        assert whole.loss.shape == (4,)
        torch.testing.assert_close(whole.loss[1:2], alone.loss)
