"""One random stream per sample: the same seed gives the same image alone, in a batch, or on another worker.

Draws of sample b depend only on its seed and on the order of calls, never on the batch around it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Streams"]

_LARGEST = 2**63 - 1
_WORDS, _OFFSET = 624, 24  # words of the Mersenne Twister, and where they start in the state of torch's CPU generator


class Streams:
    """Independent random streams, one for each sample of a batch.

    Args:
        seeds: one whole number in [0, 2^63) per sample; equal seeds make equal samples.
        device: where draws are made and returned.
        portable: draw on the CPU and move, so that a seed gives the same numbers on every kind of device.
    """

    def __init__(self, seeds: Iterable[int], device: str | torch.device = "cpu", portable: bool = False) -> None:
        self.seeds = tuple(_checked(seed) for seed in seeds)
        if not self.seeds:
            raise ValueError("seeds: found none; allowed at least one whole number, one per sample.")
        self.device = torch.device(device)
        self.portable = portable
        source = torch.device("cpu") if portable else self.device
        self._generators = [_generator(seed, source) for seed in self.seeds]

    def __len__(self) -> int:
        """Number of samples B."""
        return len(self.seeds)

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.seeds[:4])) + (f", ... {len(self)} in all" if len(self) > 4 else "")
        return f"Streams(seeds=({shown}), device={str(self.device)!r}, portable={self.portable})"

    def _stack(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(generator) for generator in self._generators]).to(self.device)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, *shape) standard normal numbers; complex dtypes have unit variance per real and per imaginary part."""
        if dtype.is_complex:
            return torch.view_as_complex(self.normal(*shape, 2, dtype=dtype.to_real()))
        if not dtype.is_floating_point:
            raise TypeError(f"dtype: found {dtype}; allowed floating point or complex.")
        drawn = dtype if dtype in (torch.float32, torch.float64) else torch.float32
        return self._stack(lambda g: torch.randn(shape, generator=g, dtype=drawn, device=g.device)).to(dtype)

    def normal_like(self, x: Tensor) -> Tensor:
        """Standard normal numbers of x's shape, dtype and device; complex x: unit variance per part."""
        if x.dim() < 1 or x.shape[0] != len(self):
            raise ValueError(f"x: found shape {tuple(x.shape)} for {len(self)} streams; allowed ({len(self)}, ...).")
        return self.normal(*x.shape[1:], dtype=x.dtype).to(x.device)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, *shape) uniform numbers in [0, 1)."""
        if dtype not in (torch.float32, torch.float64):
            raise TypeError(f"dtype: found {dtype}; allowed torch.float32 or torch.float64.")
        return self._stack(lambda g: torch.rand(shape, generator=g, dtype=dtype, device=g.device))

    def integers(self, low: int, high: int) -> Tensor:
        """(B,) whole numbers, int64, in [low, high)."""
        if not low < high:
            raise ValueError(f"low, high: found {low}, {high}; allowed low < high (high is excluded).")
        return self._stack(lambda g: torch.randint(low, high, (), generator=g, device=g.device))

    def permutation(self, n: int) -> Tensor:
        """(B, n) int64, each row a random order of 0 ... n - 1."""
        if n < 0:
            raise ValueError(f"n: found {n}; allowed at least 0.")
        return self._stack(lambda g: torch.randperm(n, generator=g, device=g.device))

    def fork(self, name: str) -> Streams:
        """Fresh streams for another purpose, seeded by SHA-256 of (seed, name), whatever was drawn from these."""
        return Streams((_derived(seed, name) for seed in self.seeds), self.device, self.portable)

    def select(self, indices: Sequence[int] | Tensor) -> Streams:
        """Streams of some of the samples, continuing where these stand; drawing from them leaves these untouched."""
        chosen = [int(index) for index in indices]
        part = Streams((self.seeds[index] for index in chosen), self.device, self.portable)
        part.restore(self.state()[chosen])
        return part

    def padded(self, entries: Sequence[int] | Tensor, width: int) -> Streams:
        """These very streams, for samples that were padded to `width` entries along axis 1 (coils, say).

        `normal_like` of complex (B, width, ...) draws what each sample would draw without its padding, and gives zeros
        in the padding; all other draws are as they were. Both share their generators.

        Args:
            entries: (B,) entries of each sample that are not padding.
            width: size of axis 1 with the padding.
        """
        counts = tuple(int(count) for count in entries)
        if len(counts) != len(self) or not all(0 <= count <= width for count in counts):
            raise ValueError(f"entries: found {counts}; allowed {len(self)} numbers from 0 to the width, {width}.")
        return self if all(count == width for count in counts) else _PaddedStreams(self, counts, width)

    def linked(self, coefficient: float) -> Streams:
        """These very streams for samples in a row, such as slices: n_b = c n_{b-1} + sqrt(1 - c^2) w_b.

        w_b is what sample b would draw alone, so each n_b stays standard normal, and all are equal for c = 1. Only
        normal draws are linked. Both share their generators.

        Args:
            coefficient: c in [0, 1]; 0 returns the streams themselves.
        """
        if not 0 <= coefficient <= 1:
            raise ValueError(f"coefficient: found {coefficient}; allowed 0 (independent) to 1 (shared).")
        return self if coefficient == 0 else _LinkedStreams(self, coefficient)

    def state(self) -> Tensor:
        """(B, n) uint8: where every stream stands; with the seeds, all that is needed to continue."""
        return torch.stack([generator.get_state() for generator in self._generators])

    def restore(self, state: Tensor) -> None:
        """Continue from a `state` taken earlier from streams of as many samples and the same kind of device."""
        expected = tuple(self.state().shape)
        if tuple(state.shape) != expected or state.dtype != torch.uint8:
            raise ValueError(f"state: found {tuple(state.shape)} {state.dtype}; allowed {expected} torch.uint8.")
        for generator, row in zip(self._generators, state.cpu(), strict=True):
            generator.set_state(row.clone())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.seeds, str(self.device), self.portable, self.state())


class _PaddedStreams(Streams):
    """Streams that draw nothing for the padding of samples."""

    def __init__(self, streams: Streams, entries: tuple[int, ...], width: int) -> None:
        self.seeds, self.device, self.portable = streams.seeds, streams.device, streams.portable
        self._generators, self._entries, self._width = streams._generators, entries, width

    def normal_like(self, x: Tensor) -> Tensor:
        if not x.is_complex() or x.dim() < 2 or x.shape[1] != self._width:
            return super().normal_like(x)
        real = x.dtype.to_real()
        drawn = torch.zeros(len(self), *x.shape[1:], 2, dtype=real, device=self.device)
        for sample, generator, count in zip(drawn, self._generators, self._entries, strict=True):
            shape = (count, *x.shape[2:], 2)
            sample[:count] = torch.randn(shape, generator=generator, dtype=real, device=generator.device)
        return torch.view_as_complex(drawn).to(x.device)


class _LinkedStreams(Streams):
    """Streams whose normal draws depend on those of the samples before."""

    def __init__(self, streams: Streams, coefficient: float) -> None:
        self.seeds, self.device, self.portable = streams.seeds, streams.device, streams.portable
        self._generators, self._coefficient = streams._generators, coefficient

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        fresh = super().normal(*shape, dtype=dtype)
        if dtype.is_complex:  # made of real draws, which are linked already
            return fresh
        rest = (1 - self._coefficient**2) ** 0.5
        rows = [fresh[0]]
        for own in fresh[1:]:
            rows.append(self._coefficient * rows[-1] + rest * own)
        return torch.stack(rows)


def _rebuild(seeds: tuple[int, ...], device: str, portable: bool, state: Tensor) -> Streams:
    streams = Streams(seeds, device, portable)
    streams.restore(state)
    return streams


def _checked(seed: int) -> int:
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"seeds: found {seed!r}; allowed whole numbers.")
    if not 0 <= int(seed) <= _LARGEST:
        raise ValueError(f"seeds: found {seed}; allowed 0 to 2^63 - 1.")
    return int(seed)


def _derived(seed: int, name: str) -> int:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") & _LARGEST


def _generator(seed: int, device: torch.device) -> torch.Generator:
    """A generator in which every bit of the seed counts.

    Torch's CPU generator uses the lowest 32 bits of a seed only, so two large seeds can coincide. Seeds below 2^32
    start it as usual; larger ones fill the whole state of the Mersenne Twister from SHAKE-256 of the seed.
    """
    generator = torch.Generator(device=device).manual_seed(seed)
    if device.type != "cpu" or seed < 2**32:
        return generator
    state = generator.get_state()
    found = struct.unpack_from("<Q", state.numpy().tobytes(), _OFFSET)[0]
    if found != seed % 2**32 or state.numel() < _OFFSET + 8 * _WORDS:
        raise RuntimeError(
            f"torch {torch.__version__} keeps its CPU random state in an unknown form; use seeds < 2^32."
        )
    words = struct.unpack(f"<{_WORDS}I", hashlib.shake_256(seed.to_bytes(8, "big")).digest(4 * _WORDS))
    filled = torch.frombuffer(bytearray(struct.pack(f"<{_WORDS}Q", *words)), dtype=torch.uint8)
    state[_OFFSET : _OFFSET + 8 * _WORDS] = filled
    generator.set_state(state)
    return generator
