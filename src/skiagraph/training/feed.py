"""Batches read ahead: while the network works on one, a thread fetches the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

__all__ = ["Feed", "to_device"]


def to_device(batch: Any, device: torch.device) -> Any:
    """Move a tensor, or the tensors in a mapping or sequence, to a device; anything else is left as it is."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


class Feed:
    """Fetches batches, one of them ahead of time.

    Args:
        fetch: returns the batch of a range of images-seen positions; a pure function of them.
        ahead: whether to fetch ahead in a thread.
    """

    def __init__(self, fetch: Callable[[range], Any], *, ahead: bool) -> None:
        self.fetch = fetch
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="skiagraph-feed") if ahead else None
        self.next: tuple[range, Future[Any]] | None = None

    def take(self, positions: range, following: range) -> Any:
        """Return the batch of `positions` and begin to fetch the one of `following`."""
        waiting, self.next = self.next, None
        ready = waiting is not None and waiting[0] == positions
        batch = waiting[1].result() if ready and waiting is not None else self.fetch(positions)
        if self.pool is not None:
            self.next = (following, self.pool.submit(self.fetch, following))
        return batch

    def close(self) -> None:
        """End the thread; a batch that was fetched ahead in vain is dropped."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
