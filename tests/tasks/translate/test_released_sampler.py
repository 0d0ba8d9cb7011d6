"""The released sampler: one step by hand, a short walk by a plain loop, and what it says of itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny_heads import target_prior
from skiagraph.errors import InputError
from skiagraph.similarity import LocalInformation
from skiagraph.tasks.translate.method import SourceStack, stack_streams
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.released import ReleasedTables, ReleasedTranslation
from skiagraph.training.prior import Prior

TABLES = ReleasedTables.linear()
RELEASED: dict[str, Any] = {
    "condition": {"kind": "lmi-reference", "flag": False, "dropout": 0, "pseudo_source": "same", "search": "next"}
}


def released_prior(heads: Path) -> TargetPrior:
    prior = target_prior(heads, **RELEASED).prior
    return TargetPrior.of(Prior(prior.network, prior.record.model_copy(update={"parametrisation": "eps"})))


def stack() -> SourceStack:
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return SourceStack(2 * images - 1, torch.ones(2, 1, 16, 16, dtype=torch.bool))


@pytest.mark.parametrize("index", [0, 1, 500, 999])
def test_a_step_is_the_formula(index: int) -> None:
    betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
    product = math.prod(1 - beta for beta in betas[: index + 1])
    variance = betas[index] if index else betas[1] * (1 - (1 - betas[0])) / (1 - (1 - betas[0]) * (1 - betas[1]))
    draw = torch.Generator().manual_seed(index)
    x, eps, noise = (torch.randn(50, generator=draw) for _ in range(3))
    scale = betas[index] / math.sqrt(1 - product)
    wanted = (x - scale * eps) / math.sqrt(1 - betas[index]) + math.sqrt(variance) * noise
    torch.testing.assert_close(TABLES.step(x, eps, index, noise), wanted, rtol=0, atol=2e-5)


def test_the_traps_of_the_release_are_kept() -> None:
    assert float(TABLES.log_variance[0].exp()) == pytest.approx(5.453e-5, rel=1e-3)
    assert float((0.5 * TABLES.log_variance[0]).exp()) == pytest.approx(0.007385, rel=1e-3)
    assert float(TABLES.beta[0] / torch.sqrt(1 - TABLES.alpha_bar[0])) == pytest.approx(0.00999917, abs=2e-8)
    assert float(TABLES.beta[1] / torch.sqrt(1 - TABLES.alpha_bar[1])) == pytest.approx(0.00808608, abs=2e-8)


def test_a_short_walk_is_a_plain_loop(heads: Path) -> None:
    prior, source = released_prior(heads), stack()
    found = ReleasedTranslation(prior, 3)(source, stack_streams(1, 2))
    streams, measure, y = stack_streams(1, 2), LocalInformation.reference(), source.unit
    x = streams.normal_like(y)
    for index in (2, 1, 0):
        maps = torch.cat([measure(y, x), measure(y, y)], 1)
        eps = prior.prior.network(torch.cat([x, maps], 1), torch.full((2,), float(index)))
        x = TABLES.step(x, eps, index, streams.normal_like(x))
    torch.testing.assert_close(found.images, 2 * x.clamp(0, 1) - 1, rtol=0, atol=5e-4)
    assert found.calls == 3
    assert "begins at pure noise" in found.notes[0]


def test_bits_in_sampling_are_another_scale_and_told(heads: Path) -> None:
    prior = released_prior(heads)
    plain = ReleasedTranslation(prior, 2)(stack(), stack_streams(1, 2))
    bits = ReleasedTranslation(prior, 2, normalise=False)(stack(), stack_streams(1, 2))
    assert not torch.equal(plain.images, bits.images)
    assert any("normalise False in sampling, True in training" in note for note in bits.notes)


def test_other_priors_and_lengths_are_refused(heads: Path) -> None:
    with pytest.raises(InputError, match="needs a network of the released form"):
        ReleasedTranslation(target_prior(heads))
    with pytest.raises(InputError, match="steps: found 1001"):
        ReleasedTranslation(released_prior(heads), 1001)
