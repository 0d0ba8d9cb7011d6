"""Checkpoints: tensors in safetensors, the rest as JSON in its header, written so that a kill cannot tear them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from skiagraph.data.files import write_refusal
from skiagraph.errors import DataError

__all__ = [
    "Checkpoint",
    "latest_checkpoint",
    "load_tensors",
    "optimiser_tensors",
    "restore_network",
    "restore_optimiser",
    "save_checkpoint",
    "save_tensors",
    "tensor_writer",
    "write_atomically",
    "write_together",
]

_PATTERN = "checkpoint-*.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A state of training at one moment.

    Args:
        images: images seen.
        tensors: every tensor by name ("network/...", "optimiser/...", "average/...").
        state: everything else, as JSON values.
    """

    images: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, force it to disk and rename it; `path` is never half a file."""
    write_together({path: write})


def write_together(files: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write files of one folder, all of them or none: the first is renamed to its place when the last is on the disk.

    Args:
        files: final path to the function that fills a temporary file, in the order of writing and renaming.
    """
    partials = {path: path.with_name(path.name + ".partial") for path in files}
    current = next(iter(files))
    try:
        for current, write in files.items():
            write(partials[current])
            _sync(partials[current])
        for current, partial in partials.items():
            os.replace(partial, current)
        _sync(current.parent)
    except (OSError, SafetensorError) as error:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise DataError(write_refusal(current, error)) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tensor_writer(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Callable[[Path], None]:
    """Return what writes tensors and a JSON-valued state into one safetensors file."""
    plain = {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}
    header = {"state": json.dumps(state, allow_nan=False)}
    return lambda path: save_file(plain, str(path), metadata=header)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-valued state into one safetensors file, atomically."""
    write_atomically(path, tensor_writer(tensors, state))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: tensors on the CPU, and the state."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a readable safetensors file ({error}); delete it to do without it.") from error
    return tensors, json.loads(header.get("state", "{}"))


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write a checkpoint into `folder` and delete all but the newest `keep` (>= 1)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"checkpoint-{checkpoint.images:012d}.safetensors"
    state = {"format": FORMAT, "images": checkpoint.images, **checkpoint.state}
    save_tensors(path, checkpoint.tensors, state)
    for old in sorted(folder.glob(_PATTERN))[:-keep]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint in `folder`, or None where there is none."""
    paths = sorted(folder.glob(_PATTERN))
    if not paths:
        return None
    tensors, state = load_tensors(paths[-1])
    if state.get("format") != FORMAT:
        raise DataError(f"{paths[-1]}: found checkpoint format {state.get('format')!r}, this version reads {FORMAT}.")
    return Checkpoint(images=int(state["images"]), tensors=tensors, state=state)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def restore_network(values: Mapping[str, Tensor], saved: Mapping[str, Tensor], prefix: str) -> None:
    """Copy the saved tensors called `prefix` + name into the tensors `values`; names and shapes must agree."""
    part = _part(saved, prefix)
    if values.keys() != part.keys():
        missing, unknown = sorted(values.keys() - part.keys())[:3], sorted(part.keys() - values.keys())[:3]
        raise DataError(f"{prefix}: tensors missing {missing}, tensors unknown {unknown}; is it another network?")
    with torch.no_grad():
        for name, value in values.items():
            if value.shape != part[name].shape:
                found, wanted = tuple(part[name].shape), tuple(value.shape)
                raise DataError(f"{prefix}{name}: found shape {found}, the network has {wanted}.")
            value.copy_(part[name])


def optimiser_tensors(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's tensors by "parameter name/entry"."""
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        for entry, value in optimiser.state.get(parameter, {}).items():
            found[f"{name}/{entry}"] = value
    return found


def restore_optimiser(
    network: nn.Module, optimiser: torch.optim.Optimizer, saved: Mapping[str, Tensor], prefix: str
) -> None:
    """Put the saved tensors called `prefix` + "parameter name/entry" back into the optimiser, in the same layout."""
    parameters = dict(network.named_parameters())
    for key, value in _part(saved, prefix).items():
        name, _, entry = key.rpartition("/")
        parameter = parameters[name]
        if value.shape == parameter.shape and entry != "step":
            kept = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
        else:
            fused = optimiser.defaults.get("fused") or optimiser.defaults.get("capturable")
            kept = value.to(parameter.device) if fused else value.clone()
        optimiser.state[parameter][entry] = kept
