"""A result at the scale of the prior: one factor for image, candidates and deviation."""

from __future__ import annotations

import torch

from skiagraph.diffusion import Streams
from skiagraph.tasks.translate.method import SourceStack, Translation
from skiagraph.tasks.translate.rescaled import Rescaled


class Dim:
    """A result at half brightness."""

    def __init__(self, brightest: float) -> None:
        self.brightest = brightest

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        unit = torch.linspace(0, self.brightest, 200).reshape(2, 1, 10, 10)
        every = torch.stack([2 * unit - 1, 2 * unit - 1])
        return Translation(2 * unit - 1, 4.0, every, torch.full((2, 1, 10, 10), 0.1))


def test_the_percentile_becomes_one_and_the_deviation_grows_with_it() -> None:
    mask = torch.ones(2, 1, 10, 10, dtype=torch.bool)
    mask[0, 0, 0, 0] = False
    source = SourceStack(torch.zeros(2, 1, 10, 10), mask)
    plain, found = (method(source, Streams([0, 1])) for method in (Dim(0.5), Rescaled(Dim(0.5), 100.0)))
    torch.testing.assert_close((found.images[mask] + 1) / 2, (plain.images[mask] + 1))
    assert float(found.images[mask].max()) == 1
    assert float(found.images[0, 0, 0, 0]) == -1
    assert found.candidates is not None
    torch.testing.assert_close(found.candidates[1], found.images)
    assert found.deviation is not None
    torch.testing.assert_close(found.deviation, torch.full((2, 1, 10, 10), 0.2))
    assert "2.00" in found.notes[-1]


def test_a_black_result_stays_black() -> None:
    source = SourceStack(torch.zeros(2, 1, 10, 10), torch.ones(2, 1, 10, 10, dtype=torch.bool))
    assert float(Rescaled(Dim(0.0))(source, Streams([0, 1])).images.max()) == -1
