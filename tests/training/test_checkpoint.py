"""Checkpoints: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from skiagraph.errors import DataError
from skiagraph.training.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    load_tensors,
    optimiser_tensors,
    restore_network,
    restore_optimiser,
    save_checkpoint,
    save_tensors,
    write_atomically,
)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    for images in (5, 100, 1000):
        save_checkpoint(tmp_path, Checkpoint(images, {"a": torch.tensor([images])}, {"note": images}))
    assert len(list(tmp_path.iterdir())) == 2
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert (found.images, found.tensors["a"].item(), found.state["note"]) == (1000, 1000, 1000)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(partial: Path) -> None:
        partial.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"file could not be written: the disk is full"):
        write_atomically(path, fail)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-000000000001.safetensors"
    path.write_bytes(b"not tensors")
    with pytest.raises(DataError, match=path.name):
        latest_checkpoint(tmp_path)
    save_tensors(path, {"a": torch.zeros(1)}, {"format": 99, "images": 1})
    with pytest.raises(DataError, match="found checkpoint format 99"):
        latest_checkpoint(tmp_path)


def test_another_network_is_refused() -> None:
    values = {"a": torch.zeros(2)}
    with pytest.raises(DataError, match="another network"):
        restore_network(values, {"network/b": torch.zeros(2)}, "network/")
    with pytest.raises(DataError, match=r"found shape \(3,\), the network has \(2,\)"):
        restore_network(values, {"network/a": torch.zeros(3)}, "network/")


@pytest.mark.parametrize("fused", [False, True])
def test_optimiser_goes_on_bit_for_bit(tmp_path: Path, fused: bool) -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        network = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        nn.init.constant_(network.weight, 0.1)
        nn.init.zeros_(network.bias)
        return network, torch.optim.AdamW(network.parameters(), lr=0.01, fused=fused)

    def step(network: nn.Module, optimiser: torch.optim.Optimizer, number: int) -> None:
        optimiser.zero_grad()
        x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(number))
        network(x).square().sum().backward()
        optimiser.step()

    network, optimiser = fresh()
    for number in range(3):
        step(network, optimiser, number)
    path = tmp_path / "file.safetensors"
    tensors = {f"optimiser/{name}": value for name, value in optimiser_tensors(network, optimiser).items()}
    save_tensors(path, {**tensors, **{f"network/{name}": v for name, v in network.state_dict().items()}}, {})
    second, continued = fresh()
    loaded, _ = load_tensors(path)
    restore_network({name: value.detach() for name, value in second.named_parameters()}, loaded, "network/")
    restore_optimiser(second, continued, loaded, "optimiser/")
    for number in range(3, 6):
        step(network, optimiser, number)
        step(second, continued, number)
    for one, other in zip(network.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        assert continued.state[other]["exp_avg"].stride() == other.stride()
