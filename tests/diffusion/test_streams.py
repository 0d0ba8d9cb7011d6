"""Random streams: a sample's numbers depend on its seed and the order of calls, and on nothing else."""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams

DRAWS: dict[str, Callable[[Streams], Tensor]] = {
    "normal": lambda s: s.normal(3, 5),
    "double": lambda s: s.normal(4, dtype=torch.float64),
    "bfloat16": lambda s: s.normal(4, dtype=torch.bfloat16),
    "complex": lambda s: s.normal(2, 2, dtype=torch.complex64),
    "scalar": lambda s: s.normal(),
    "uniform": lambda s: s.uniform(7),
    "integers": lambda s: s.integers(-3, 100),
    "permutation": lambda s: s.permutation(9),
}
LARGE = [5, 2**32 + 5, 2**62 + 5, 0]


@pytest.mark.parametrize("name", DRAWS)
def test_a_batch_equals_its_samples(name: str) -> None:
    draw = DRAWS[name]
    batch = Streams(LARGE)
    alone = [Streams([seed]) for seed in LARGE]
    for _ in range(3):
        together = draw(batch)
        assert together.shape[0] == len(LARGE)
        assert torch.equal(together, torch.cat([draw(stream) for stream in alone]))


@pytest.mark.parametrize("name", [name for name in DRAWS if name != "integers"])
def test_different_seeds_differ_also_in_their_high_bits(name: str) -> None:
    values = DRAWS[name](Streams([0, 1, 5, 2**32 + 5, 2**62 + 5]))
    assert (
        len(
            {
                tuple(torch.view_as_real(v).flatten().tolist() if v.is_complex() else v.flatten().tolist())
                for v in values
            }
        )
        == 5
    )


def test_small_seeds_are_torchs_own() -> None:
    expected = torch.randn(6, generator=torch.Generator().manual_seed(42))
    assert torch.equal(Streams([42]).normal(6)[0], expected)


@pytest.mark.parametrize("seed", [7, 2**40])
def test_moments(seed: int) -> None:
    streams = Streams(range(seed, seed + 4))
    z = streams.normal(50_000, dtype=torch.float64)
    assert torch.allclose(z.mean(1), torch.zeros(4).double(), atol=0.02)
    assert torch.allclose(z.var(1), torch.ones(4).double(), atol=0.03)
    c = streams.normal(50_000, dtype=torch.complex128)
    for part in (c.real, c.imag):
        assert torch.allclose(part.var(1), torch.ones(4).double(), atol=0.03)
    assert abs(float((c.real * c.imag).mean())) < 0.01
    u = streams.uniform(50_000)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert float(u.mean()) == pytest.approx(0.5, abs=0.01)


def test_normal_like_follows_shape_and_dtype() -> None:
    x = torch.zeros(2, 3, 4, dtype=torch.complex64)
    noise = Streams([0, 1]).normal_like(x)
    assert noise.shape == x.shape
    assert noise.dtype == x.dtype
    assert bool((noise.real != noise.imag).all())
    with pytest.raises(ValueError, match="2 streams"):
        Streams([0, 1]).normal_like(torch.zeros(3, 4))


def test_integers_and_permutations() -> None:
    values = torch.stack([Streams(range(20)).integers(3, 6) for _ in range(1)])
    assert set(values.flatten().tolist()) <= {3, 4, 5}
    assert values.dtype == torch.int64
    order = Streams([0, 1]).permutation(8)
    assert torch.equal(order.sort(1).values, torch.arange(8).expand(2, 8))
    with pytest.raises(ValueError, match="low < high"):
        Streams([0]).integers(3, 3)


def test_forks_depend_on_seed_and_name_only() -> None:
    streams = Streams([0, 1])
    first = streams.fork("masks").normal(4)
    streams.normal(100)
    assert torch.equal(streams.fork("masks").normal(4), first)
    assert not torch.equal(streams.fork("noise").normal(4), first)
    assert not torch.equal(first[0], first[1])
    derived = int.from_bytes(hashlib.sha256(b"1/masks").digest()[:8], "big") % 2**63
    assert streams.fork("masks").seeds[1] == derived


def test_select_continues_without_disturbing() -> None:
    streams, twin = Streams([3, 4, 5]), Streams([3, 4, 5])
    streams.normal(2)
    twin.normal(2)
    part = streams.select([2, 0])
    assert part.seeds == (5, 3)
    drawn = part.normal(3)
    expected = twin.normal(3)
    assert torch.equal(drawn, expected[[2, 0]])
    assert torch.equal(streams.normal(3), expected)


@pytest.mark.parametrize("seeds", [[1, 2], [2**50, 3]])
def test_state_round_trip(seeds: list[int]) -> None:
    streams = Streams(seeds)
    streams.normal(5)
    state = streams.state()
    copies = [pickle.loads(pickle.dumps(streams)), copy.deepcopy(streams)]
    expected = streams.normal(5)
    streams.restore(state)
    assert torch.equal(streams.normal(5), expected)
    for other in copies:
        assert torch.equal(other.normal(5), expected)
    with pytest.raises(ValueError, match="state"):
        Streams([1, 2, 3]).restore(state)


def test_portable_equals_the_cpu() -> None:
    assert torch.equal(Streams([9], portable=True).normal(5), Streams([9]).normal(5))


def test_global_state_is_untouched() -> None:
    before = torch.get_rng_state()
    Streams([0, 2**40]).normal(10)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("seeds", "error"),
    [([], ValueError), ([-1], ValueError), ([2**63], ValueError), ([1.5], TypeError), ([True], TypeError)],
)
def test_seeds_are_checked(seeds: list[int], error: type[Exception]) -> None:
    with pytest.raises(error, match="seeds: found"):
        Streams(seeds)


def test_repr_is_short() -> None:
    assert repr(Streams(range(1000))) == "Streams(seeds=(0, 1, 2, 3, ... 1000 in all), device='cpu', portable=False)"


def test_padding_draws_nothing_and_changes_nothing() -> None:
    both = Streams([1, 2]).padded([2, 3], 3)
    x = torch.zeros(2, 3, 4, 5, dtype=torch.complex64)
    first, second, image = both.normal_like(x), both.normal_like(x), both.normal_like(x[:, 0].real)
    for sample, (seed, entries) in enumerate(((1, 2), (2, 3))):
        alone = Streams([seed])
        part = x[:1, :entries]
        for drawn in (first, second):
            assert torch.equal(drawn[sample : sample + 1, :entries], alone.normal_like(part))
            assert not drawn[sample, entries:].any()
        assert torch.equal(image[sample : sample + 1], alone.normal_like(part[:, 0].real))
    whole = Streams([1, 2])
    assert whole.padded([3, 3], 3) is whole
    with pytest.raises(ValueError, match=r"entries: found \(4, 3\); allowed 2 numbers from 0 to the width, 3"):
        whole.padded([4, 3], 3)
