"""One or many processes: what torchrun started, which share of a batch is ours, and how per-item values meet again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from skiagraph.errors import InputError

__all__ = ["barrier", "gather_items", "process_count", "process_group", "process_rank", "share_of", "spread"]


@contextmanager
def process_group(device: torch.device | None = None) -> Iterator[torch.device]:
    """Join the processes that torchrun started, and yield the device of this one.

    Without torchrun (no WORLD_SIZE in the environment) nothing is joined. NCCL on CUDA, gloo on the CPU.

    Args:
        device: compute device; None takes CUDA device number LOCAL_RANK where there is one, else the CPU.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device is None:
        device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def process_count() -> int:
    """Return the number of processes that train together (1 without torchrun)."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Return the number of this process, 0 ... process_count() - 1; process 0 writes the files."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def barrier() -> None:
    """Wait until every process is here."""
    if process_count() > 1:
        dist.barrier()


def share_of(positions: range) -> range:
    """Return this process's part of a batch's images-seen positions; parts differ by at most one item."""
    count, rank, size = process_count(), process_rank(), len(positions)
    if size < count:
        raise InputError(f"batch_size: found {size}, allowed: at least the number of processes ({count}).")
    return positions[rank * size // count : (rank + 1) * size // count]


def spread(network: nn.Module) -> nn.Module:
    """Wrap the network so that gradients are averaged over the processes; a single process keeps the bare network."""
    if process_count() == 1:
        return network
    from torch.nn.parallel import DistributedDataParallel

    device = next(network.parameters()).device
    devices = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=devices)


def gather_items(values: Tensor, total: int) -> Tensor:
    """Collect per-item values (rows, own items) of every process into (rows, total), in the order of the batch."""
    count = process_count()
    if count == 1:
        return values
    width = -(-total // count)
    padded = values.new_zeros(values.shape[0], width)
    padded[:, : values.shape[1]] = values
    parts = [torch.empty_like(padded) for _ in range(count)]
    dist.all_gather(parts, padded)
    sizes = [(rank + 1) * total // count - rank * total // count for rank in range(count)]
    return torch.cat([part[:, :size] for part, size in zip(parts, sizes, strict=True)], dim=1)
