"""Noise that neighbouring slices share (table 12.G of the method page)."""

from __future__ import annotations

import math

import pytest
import torch

from skiagraph.diffusion import DDPM, Streams, linear_table
from skiagraph.diffusion.grid import Levels
from skiagraph.diffusion.oracle import GaussianDenoiser
from skiagraph.diffusion.sampling import final, trajectory


def test_links_follow_the_recursion_and_are_exact_at_the_ends() -> None:
    plain, c = Streams(range(4)).normal(3), 0.6
    linked = Streams(range(4)).linked(c).normal(3)
    torch.testing.assert_close(linked[0], plain[0])
    for n in range(1, 4):
        torch.testing.assert_close(linked[n], c * linked[n - 1] + 0.8 * plain[n])
    assert torch.equal(Streams(range(4)).linked(0).normal(3), plain)
    shared = Streams(range(4)).linked(1).normal(3)
    assert torch.equal(shared, plain[:1].expand(4, 3))
    with pytest.raises(ValueError, match=r"coefficient: found 1\.5"):
        Streams([0]).linked(1.5)


def test_a_longer_stack_and_complex_draws_are_linked_alike() -> None:
    short, long = Streams(range(3)).linked(0.5).normal(2), Streams(range(5)).linked(0.5).normal(2)
    assert torch.equal(long[:3], short)
    real = Streams(range(3)).linked(0.5).normal(2, 2)
    drawn = Streams(range(3)).linked(0.5).normal(2, dtype=torch.complex64)
    assert torch.equal(torch.view_as_real(drawn), real)


@pytest.mark.parametrize("c", [0.0, 0.5, 0.9, 1.0])
def test_slices_of_one_source_come_out_with_that_correlation(c: float) -> None:
    """s_out, the marginal, is unchanged; mean |x[z + 1] - x[z]| = (2 s_out / sqrt(pi)) sqrt(1 - c)."""
    table = linear_table(1000).respaced("50")
    prior = GaussianDenoiser(table, torch.full((1,), 0.3), torch.full((1,), 0.0625))
    streams = Streams([11, 12, 13]).linked(c)
    x = final(trajectory(prior, streams.normal(20000), Levels()(table), DDPM(), streams=streams))
    deviation = float(x[2].std())
    assert deviation == pytest.approx(float(x[0].std()), rel=0.03)
    step = float((x[1] - x[0]).abs().mean())
    assert step == pytest.approx(2 * deviation / math.sqrt(math.pi) * math.sqrt(1 - c), abs=0.01)
    assert c < 1 or step == 0.0
