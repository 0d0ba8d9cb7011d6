"""Similarity as a condition and as an energy, on exact denoisers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from helpers.local_information_by_hand import phantom
from skiagraph.diffusion.denoiser import EMPTY, Condition, Prediction
from skiagraph.diffusion.grid import Uniform
from skiagraph.diffusion.guidance import Energy, StateCondition
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.rules import DDIM
from skiagraph.diffusion.sampling import final, trajectory
from skiagraph.diffusion.schedule import Schedule, linear_table
from skiagraph.similarity import MIND, LocalCorrelation, LocalInformation, SimilarityMap, similarity_score
from skiagraph.tasks.translate.guidance import (
    SimilarityCondition,
    SimilarityEnergy,
    condition_maps,
    training_maps,
)

TABLE = linear_table()
SOURCE = phantom("PD", "A", 16)[None, None].expand(2, 1, 16, 16)
TARGET = phantom("T1", "A", 16)[None, None]


@dataclass(frozen=True, eq=False)
class Listening:
    """A denoiser that keeps the maps it was given and returns a fixed image."""

    answer: Tensor
    heard: list[Tensor]
    schedule: Schedule = TABLE

    def __call__(self, x: Tensor, t: Tensor, cond: Condition = EMPTY) -> Prediction:
        self.heard.append(cond["maps"])
        return Prediction(self.answer.expand_as(x))


def noise(seed: int = 0) -> Tensor:
    return torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_the_condition_is_the_cross_map_of_the_state_and_the_self_map() -> None:
    measure, x = LocalInformation.reference(), noise()
    heard: list[Tensor] = []
    StateCondition(Listening(x, heard), "maps", SimilarityCondition(SOURCE, measure))(x, torch.tensor(500))
    (maps,) = heard
    torch.testing.assert_close(maps[:, :1], measure(SOURCE, (x + 1) / 2))
    torch.testing.assert_close(maps[:, 1:], measure(SOURCE, SOURCE))


def test_with_two_passes_the_estimate_is_searched() -> None:
    measure, x, answer = LocalInformation(), noise(), 2 * TARGET - 1
    heard: list[Tensor] = []
    condition = SimilarityCondition(SOURCE, measure)
    StateCondition(Listening(answer, heard), "maps", condition, passes=2)(x, torch.tensor(500))
    assert len(heard) == 2
    wanted = condition_maps(measure, SOURCE, TARGET.expand(2, 1, 16, 16))
    torch.testing.assert_close(heard[1], wanted, rtol=0, atol=1e-5)


def test_the_cross_map_is_kept_between_refreshes() -> None:
    condition = SimilarityCondition(SOURCE, LocalInformation(), refresh=2)
    found = [condition(noise(seed), torch.tensor(1), EMPTY) for seed in range(3)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])
    condition.restart()
    assert not torch.equal(condition(noise(5), torch.tensor(1), EMPTY), found[2])
    with pytest.raises(ValueError, match="refresh: found 0"):
        SimilarityCondition(SOURCE, LocalInformation(), refresh=0)
    with pytest.raises(ValueError, match="state: found"):
        condition(noise()[:1], torch.tensor(1), EMPTY)


@pytest.mark.parametrize(("level", "searched"), [("same", 998), ("next", 999)])
def test_training_maps_at_this_and_at_the_next_level(level: str, searched: int) -> None:
    measure, x0, epsilon = LocalInformation.reference(), 2 * SOURCE - 1, noise()
    found = training_maps(measure, TABLE, x0, epsilon, torch.tensor([998, 998]), level=level)
    alpha, sigma = (float(value) for value in TABLE(torch.tensor(searched)))
    wanted = condition_maps(measure, SOURCE, (alpha * x0 + sigma * epsilon + 1) / 2)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_the_last_levels_are_one_to_the_released_trainer_and_odd_words_are_refused() -> None:
    measure, x0, epsilon = LocalInformation.reference(), 2 * SOURCE - 1, noise()
    ends = [training_maps(measure, TABLE, x0, epsilon, torch.tensor([t, t]), level="next") for t in (998, 999)]
    torch.testing.assert_close(*ends)
    with pytest.raises(ValueError, match="level: found 'before'"):
        training_maps(measure, TABLE, x0, epsilon, torch.tensor([1, 1]), level="before")


PRIOR = GaussianDenoiser(TABLE, torch.zeros(1, 16, 16), torch.full((1, 16, 16), 0.04))


@pytest.mark.parametrize("through", ["x0", "network"])
@pytest.mark.parametrize(
    "measure",
    [LocalInformation(patch=3, reduce="soft", clamp=False), LocalCorrelation(5), MIND()],
    ids=lambda measure: type(measure).__name__,
)
def test_a_small_push_climbs_and_the_wrong_sign_falls(measure: SimilarityMap, through: str) -> None:
    term, x, t = SimilarityEnergy(SOURCE, measure), noise(), torch.tensor(300)
    plain = PRIOR(x, t).x0
    assert torch.equal(Energy(PRIOR, term, 0.0, through)(x, t).x0, plain)
    before = similarity_score(measure, SOURCE, (plain + 1) / 2)
    for scale in (-300.0, 300.0):
        pushed = Energy(PRIOR, term, scale, through, trust=0.002)(x, t).x0
        gain = similarity_score(measure, SOURCE, (pushed + 1) / 2) - before
        assert bool((scale * gain > 0).all())


@pytest.mark.parametrize("measure", [LocalCorrelation(5), MIND()], ids=lambda measure: type(measure).__name__)
def test_guided_trajectories_end_more_alike(measure: SimilarityMap) -> None:
    times, x = Uniform(12)(TABLE), noise()
    guided = Energy(PRIOR, SimilarityEnergy(SOURCE, measure), 300.0, "x0", trust=0.3)
    ends = [final(trajectory(denoiser, x, times, DDIM())) for denoiser in (PRIOR, guided)]
    scores = [similarity_score(measure, SOURCE, (end + 1) / 2) for end in ends]
    assert bool((scores[1] > scores[0]).all())


def test_the_released_layer_is_no_energy() -> None:
    with pytest.raises(ValueError, match=r"default form, LocalInformation.default"):
        SimilarityEnergy(SOURCE, LocalInformation.reference())
