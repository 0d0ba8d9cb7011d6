"""What is done is found again, by everything that it depends on."""

from __future__ import annotations

from pathlib import Path

import torch

from skiagraph.tasks.reconstruct.rivals.interface import Estimates, Measured
from skiagraph.tasks.reconstruct.rivals.parts import Parts

IMAGES = torch.randn(2, 4, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def test_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    parts, calls = Parts(tmp_path / "parts"), []

    def make(samples: torch.Tensor | None) -> Measured:
        calls.append(samples)
        return Measured(Estimates(IMAGES, samples, 1.5), 0.25, float("nan"))

    for samples in (None, IMAGES[:, None]):
        key = {"method": "one", "samples": samples is not None}
        first = parts.measured(key, lambda samples=samples: make(samples))  # type: ignore[misc]
        again = parts.measured(dict(reversed(key.items())), lambda: make(None))
        assert torch.equal(first.estimates.images, again.estimates.images)
        assert (again.seconds, again.estimates.spread, again.memory_gib != again.memory_gib) == (0.25, 1.5, True)
        assert (again.estimates.samples is None) == (samples is None)
    assert len(calls) == 2
    parts.measured({"method": "two"}, lambda: make(None))
    assert len(calls) == 3


def test_numbers_come_back_and_depend_on_their_key(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    assert parts.numbers({"seed": 1}, lambda: {"value": 0.1}) == {"value": 0.1}
    assert parts.numbers({"seed": 1}, lambda: {"value": 0.2}) == {"value": 0.1}
    assert parts.numbers({"seed": 2}, lambda: {"value": 0.2}) == {"value": 0.2}
