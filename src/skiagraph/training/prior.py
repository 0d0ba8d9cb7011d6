"""The prior folder: weights, record and model card, written so that a reader never sees half of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from skiagraph.diffusion import NetworkDenoiser, Schedule
from skiagraph.errors import DataError, InputError
from skiagraph.training.architectures import build_network
from skiagraph.training.calculus import build_denoiser
from skiagraph.training.card import render_card
from skiagraph.training.checkpoint import load_tensors, restore_network, tensor_writer, write_together
from skiagraph.training.ema import named_state
from skiagraph.training.record import PriorRecord

__all__ = ["Prior"]

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_RECORD, _WEIGHTS, _CARD = "prior.json", "model.safetensors", "README.md"


@dataclass(frozen=True, eq=False)
class Prior:
    """A trained network with all that is needed to use it.

    Args:
        network: the network, in evaluation mode after `load`.
        record: what it is, how it was trained, on what.
    """

    network: nn.Module
    record: PriorRecord

    def denoiser(self, schedule: Schedule | None = None) -> NetworkDenoiser:
        """Return E[x_0 | x_t] of this prior, on its own schedule or on the one given (a respaced table)."""
        return build_denoiser(self.record, self.network, schedule)

    def save(
        self,
        folder: Path,
        *,
        state: Mapping[str, Tensor] | None = None,
        weights: Literal["float32", "float16", "bfloat16"] = "float32",
    ) -> PriorRecord:
        """Write `model.safetensors`, `README.md` and `prior.json` into `folder`; return the record as written.

        Args:
            folder: made where it does not exist; an older prior in it is replaced, once all of the new one is on disk.
            state: weights to store in place of the network's own, such as an average from `TrainingResult`.
            weights: number format on disk; half formats halve the size and are loaded as float32.
        """
        values = named_state(self.network) if state is None else dict(state)
        stored = _converted(values, weights)
        record = self.record.model_copy(update={"weights": weights})
        write_weights = tensor_writer(stored, {"prior": record.name})

        def fill_weights(path: Path) -> None:
            nonlocal record
            write_weights(path)
            path.chmod(0o644)
            record = record.model_copy(update={"weights_sha256": _sha256(path)})

        def fill_card(path: Path) -> None:
            card = render_card(record, parameters=sum(value.numel() for value in stored.values()))
            path.write_text(card, encoding="utf-8")

        def fill_record(path: Path) -> None:
            path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")

        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_together({folder / _WEIGHTS: fill_weights, folder / _CARD: fill_card, folder / _RECORD: fill_record})
        except DataError:
            if made:
                folder.rmdir()
            raise
        return record

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> Prior:
        """Read a prior folder: network in float32 and evaluation mode, without gradients for its weights.

        Args:
            folder: what `save` wrote.
            device: where the network goes.
        """
        record = _read_record(folder / _RECORD)
        path = folder / _WEIGHTS
        if not path.exists():
            raise DataError(f"{path}: there is no such file; a prior folder holds {_RECORD} and {_WEIGHTS}.")
        if _sha256(path) != record.weights_sha256:
            raise DataError(f"{path}: its SHA-256 is not the one in {_RECORD}; fetch or save the prior again.")
        network = build_network(record.architecture.kind, record.architecture.settings)
        tensors, _ = load_tensors(path)
        try:
            restore_network(named_state(network), tensors, "")
        except DataError as error:
            raise DataError(f"{path}: does not fit the architecture in {_RECORD}: {error}") from error
        return cls(network.to(device).eval().requires_grad_(False), record)

    def require(
        self,
        *,
        channels: int | Sequence[str] | None = None,
        spacing_mm: Sequence[float] | None = None,
        size: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        tolerance: float = 0.05,
    ) -> None:
        """Raise unless the prior fits what it is to be used for; what is None is not checked.

        Args:
            channels: number of channels, or their names in order.
            spacing_mm: pixel spacing in mm, one number an axis.
            size: image size in pixels, one number an axis.
            classes: class names, all of which the prior must know.
            tolerance: largest relative difference of spacings (>= 0).
        """
        record, names = self.record, [channel.name for channel in self.record.channels]
        if isinstance(channels, int):
            self._refuse(channels != len(names), "channels", channels, len(names))
        elif channels is not None:
            self._refuse(list(channels) != names, "channels", list(channels), names)
        if spacing_mm is not None:
            pairs = list(zip(spacing_mm, record.spacing_mm, strict=False))
            differ = any(not abs(asked - known) <= tolerance * known for asked, known in pairs)
            self._refuse(
                differ or len(spacing_mm) != len(record.spacing_mm), "spacing_mm", list(spacing_mm), record.spacing_mm
            )
        if size is not None:
            self._refuse(list(size) != record.size, "size", list(size), record.size)
        if classes is not None:
            self._refuse(not set(classes) <= set(record.classes), "classes", list(classes), record.classes)

    def _refuse(self, wrong: bool, name: str, asked: object, known: object) -> None:
        if wrong:
            raise InputError(
                f"{name}: found {asked!r}, but prior {self.record.name!r} was trained on {known!r}; "
                "resample or convert the input, or use a prior made for it."
            )


def _converted(values: Mapping[str, Tensor], weights: str) -> dict[str, Tensor]:
    if weights not in _DTYPES:
        raise InputError(f"weights: found {weights!r}, allowed: {', '.join(_DTYPES)}.")
    stored: dict[str, Tensor] = {}
    for name, value in values.items():
        stored[name] = value.to(_DTYPES[weights]) if value.is_floating_point() else value
        if value.is_floating_point() and not bool(torch.isfinite(stored[name]).all()):
            raise InputError(f"weights: {name} is not finite in {weights}; save as float32, or look at the training.")
    return stored


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_record(path: Path) -> PriorRecord:
    try:
        return PriorRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; give the folder of a prior.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}).") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
        raise DataError(f"{path}: not the record of a prior ({faults}).") from error
