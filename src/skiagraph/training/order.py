"""Which image comes when, and which random stream it gets: pure functions of the seed and the images seen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from skiagraph.errors import InputError

__all__ = ["DataOrder", "derive_seed", "item_seeds", "seed_global"]


def derive_seed(*parts: object) -> int:
    """Derive a 63-bit seed from the words and numbers given, the same on every machine (SHA-256 of their text)."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def item_seeds(seed: int, positions: Sequence[int]) -> list[int]:
    """Give one stream seed per item, a pure function of (run seed, images-seen position of that item).

    Args:
        seed: seed of the run.
        positions: how many images were seen before each item, >= 0.
    """
    return [derive_seed("skiagraph-training-item", seed, position) for position in positions]


def seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generator of the CPU and of the device, from which layers such as dropout draw.

    Cheaper than `torch.manual_seed`, which visits every kind of device at each call.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


class DataOrder:
    """The endless order of the data: one permutation per epoch, drawn from (seed, epoch) alone.

    Image number k of a run (k images seen before it) is item ``permutation(k // length)[k % length]``, so any batch
    size, any number of processes and any restart walk through the same sequence.

    Args:
        seed: seed of the run.
        length: number of items in the data, >= 1.
    """

    def __init__(self, seed: int, length: int) -> None:
        if length < 1:
            raise InputError(f"data: found {length} items, at least 1 is needed to train; check the split.")
        self.seed = seed
        self.length = length
        self._epochs: dict[int, Tensor] = {}

    def permutation(self, epoch: int) -> Tensor:
        """Return the order (length,) int64 of the data in epoch 0, 1, 2, ..."""
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(derive_seed("skiagraph-training-epoch", self.seed, epoch))
            self._epochs = {key: value for key, value in self._epochs.items() if key >= epoch - 1}
            self._epochs[epoch] = torch.randperm(self.length, generator=generator)
        return self._epochs[epoch]

    def indices(self, positions: Sequence[int]) -> Tensor:
        """Return the data indices (B,) int64 of the items at the images-seen positions given."""
        found = [self.permutation(position // self.length)[position % self.length] for position in positions]
        return torch.stack(found)
