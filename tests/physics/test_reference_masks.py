"""The released mask schedules (measurement-score, section 13, items 9 and 11)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.physics.masks import ReferenceCellSchedule, ReferenceColumnSchedule, uncovered


def cycles(acceleration: float, count: int = 500, calls: int = 16) -> tuple[Tensor, list[float]]:
    """Masks until the first full cover, (count,), and the sampled fraction of the first four calls."""
    schedule, draws = ReferenceColumnSchedule(256, acceleration, 20), Streams(range(count))
    memory, covered, lengths, fractions = None, torch.zeros(count, 256, dtype=torch.bool), torch.zeros(count), []
    for call in range(calls):
        mask, memory = schedule.draw(draws, memory)
        fractions.append(float(mask.mean()))
        before = covered.all(1)
        covered |= mask[:, 0, 0] > 0
        done = covered.all(1) & ~before
        lengths[done] = call + 1
        assert not memory[done].any(), "memory is cleared as soon as all columns are covered"
        assert (memory.sum(1)[~covered.all(1)] > 0).all()
    assert covered.all()
    return lengths, fractions[:4]


@pytest.mark.parametrize(
    ("acceleration", "length", "fractions"),
    [
        (4, 3.0, [0.54, 0.42, 0.48]),
        (6, 5.4, [0.39, 0.33, 0.30, 0.28]),
        (8, 7.9, [0.31, 0.28, 0.26, 0.24]),
    ],
)
def test_cycle_of_columns(acceleration: float, length: float, fractions: list[float]) -> None:
    lengths, found = cycles(acceleration)
    assert float(lengths.mean()) == pytest.approx(length, abs=0.3 if acceleration == 6 else 0.2)
    assert found[0] == pytest.approx((20 + 472 / acceleration) / 256, abs=0.005)
    assert found[: len(fractions)] == pytest.approx(fractions, abs=0.015)


def test_columns_without_acceleration_are_all_on() -> None:
    mask, memory = ReferenceColumnSchedule(16, 1, 4).draw(Streams([0, 1]))
    assert mask.all()
    assert not memory.any()


def test_samples_of_a_batch_are_covered_on_their_own() -> None:
    schedule = ReferenceColumnSchedule(64, 4, 4)
    both, alone = Streams([3, 9]), Streams([9])
    memory, single = None, None
    for _ in range(12):
        masks, memory = schedule.draw(both, memory)
        mask, single = schedule.draw(alone, single)
        assert torch.equal(masks[1:], mask)
        assert torch.equal(memory[1:], single)
    with pytest.raises(ValueError, match="memory: found"):
        schedule.draw(both, single)


def test_alternating_cells() -> None:
    schedule, draws = ReferenceCellSchedule(16), Streams(range(6000))
    odd, memory = schedule.draw(draws)
    assert (odd.mean((1, 2, 3)) == 0.625).all()
    assert memory is not None
    assert memory.offsets.max() == 2
    even, cleared = schedule.draw(draws, memory)
    assert cleared is None
    assert float(even.mean()) == pytest.approx(0.25, abs=0.005)
    missed = uncovered(torch.stack([odd, even], 1)) / 256
    assert float(missed.mean()) == pytest.approx(0.164, abs=0.005)
    assert float((missed == 0).double().mean()) == pytest.approx(0.0105, abs=0.004)


def test_settings_that_silence_nothing_give_the_complement() -> None:
    schedule, draws = ReferenceCellSchedule(8, silenced=0, forgotten=16), Streams(range(5))
    odd, memory = schedule.draw(draws)
    even, _ = schedule.draw(draws, memory)
    assert torch.equal(odd + even, torch.ones_like(odd))
    with pytest.raises(ValueError, match="silenced: found 17"):
        ReferenceCellSchedule(8, silenced=17)
