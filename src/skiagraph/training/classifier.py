"""The classifier folder: weights, record and card, and the one way in which a classifier is asked.

Classifier.load(folder, device="cpu") -> Classifier;  classifier(x, t=None) -> logits (B, K), undivided
classifier.classes, .kind, .temperature, .schedule, .times, .size, .channels;  .require(...);  .save(folder)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from skiagraph.diffusion import DiscreteTable, Schedule
from skiagraph.errors import DataError, InputError
from skiagraph.training.calculus import build_schedule
from skiagraph.training.checkpoint import load_tensors, restore_network, tensor_writer, write_together
from skiagraph.training.classifier_card import render_classifier_card
from skiagraph.training.classifier_networks import build_classifier
from skiagraph.training.classifier_record import ClassifierRecord, TimeConvention
from skiagraph.training.ema import named_state

__all__ = ["Classifier"]

_RECORD, _WEIGHTS, _CARD = "classifier.json", "model.safetensors", "README.md"


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier p(y | x_t, t), or p(y | x) of clean images.

    Args:
        network: called as network(x, time) when noisy, network(x) when clean (an encoder gets time 0).
        record: what it is and how it was trained.
        queried_as: time convention used in place of the record's own; see `asked_by`.
    """

    network: nn.Module
    record: ClassifierRecord
    queried_as: TimeConvention | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the logits."""
        return tuple(self.record.classes)

    @property
    def kind(self) -> Literal["noisy", "clean"]:
        """ "noisy" or "clean"."""
        return self.record.kind

    @property
    def temperature(self) -> float:
        """What the logits are to be divided by; `__call__` does not do it."""
        return self.record.temperature

    @property
    def times(self) -> TimeConvention | None:
        """What the network is told as time: "original" or "spaced_index"; None when clean."""
        return self.queried_as or self.record.times

    @property
    def schedule(self) -> Schedule | None:
        """The noise schedule on the table of training; None when clean."""
        return None if self.record.schedule is None else build_schedule(self.record.schedule)

    @property
    def trained_times(self) -> tuple[int, ...]:
        """The original times that it was trained on; empty when clean."""
        return () if self.record.kind == "clean" else _spaced(self.record).indices

    @property
    def size(self) -> tuple[int, ...]:
        """Image size in pixels."""
        return tuple(self.record.size)

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.record.channels

    def __call__(self, x: Tensor, t: Tensor | float | None = None) -> Tensor:
        """Return the logits (B, K), not divided by the temperature; differentiable in x.

        Args:
            x: (B, C, H, W): x_t when noisy, in [-1, 1] when clean.
            t: original times 0 ... T - 1, () or (B,), whatever the network itself is told; None when clean.
        """
        if tuple(x.shape[1:]) != (self.channels, *self.size):
            raise ValueError(f"x: found {tuple(x.shape)}; this classifier takes (B, {self.channels}, *{self.size})")
        if self.kind == "clean":
            if t is not None:
                raise ValueError("t: given to a classifier of clean images, which knows no time; pass the x0 estimate")
            encoder = self.record.architecture.kind == "encoder_classifier"
            return cast(Tensor, self.network(x, x.new_zeros(len(x))) if encoder else self.network(x))
        if t is None:
            raise ValueError("t: missing; a noisy classifier needs the original time of x, () or (B,)")
        time = self._told(torch.as_tensor(t, dtype=torch.float64)).to(device=x.device, dtype=torch.float32)
        return cast(Tensor, self.network(x, time.expand(len(x))))

    def _told(self, t: Tensor) -> Tensor:
        """From original times to what the network knows."""
        if self.times == "original":
            return t
        table = torch.tensor(self.trained_times, dtype=torch.float64, device=t.device)
        place = torch.searchsorted(table, t.contiguous()).clamp(max=len(table) - 1)
        if bool((table[place] != t).any()):
            raise ValueError(
                f"t: found {t.reshape(-1)[:4].tolist()}; this classifier counts the {len(table)} levels of "
                f"{self.record.trained_times} and knows no time between them. Sample on these levels"
            )
        return place.to(torch.float64)

    def asked_by(self, times: TimeConvention) -> Classifier:
        """Return the same network asked by another convention, as the released sampler does by mistake."""
        if self.kind == "clean" or times not in ("original", "spaced_index"):
            raise InputError(f"times: found {times!r} for a {self.kind} classifier; noisy ones: original, spaced_index")
        return replace(self, queried_as=times)

    def require(
        self,
        *,
        kind: Literal["noisy", "clean"] | None = None,
        classes: Sequence[str] | None = None,
        channels: int | None = None,
        size: Sequence[int] | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Raise InputError unless the classifier fits what it is to be used for; what is None is not checked.

        Args:
            kind: "noisy" or "clean".
            classes: names in the order of the labels; all of them and no other.
            channels: of the images.
            size: in pixels.
            schedule: of the prior, whole or respaced; its levels must be the classifier's.
        """
        pairs: tuple[tuple[str, object, object], ...] = (
            ("kind", kind, self.kind),
            ("classes", None if classes is None else list(classes), list(self.classes)),
            ("channels", channels, self.channels),
            ("size", None if size is None else list(size), list(self.size)),
        )
        for name, asked, own in pairs:
            if asked is not None and asked != own:
                raise InputError(
                    f"{name}: found {asked!r}, but classifier {self.record.name!r} has {own!r}; use one trained for it"
                )
        if schedule is not None and self.kind == "noisy":
            self._require_levels(schedule)

    def _require_levels(self, schedule: Schedule) -> None:
        own = self.schedule
        if not (isinstance(own, DiscreteTable) and isinstance(schedule, DiscreteTable)):
            if own != schedule:
                raise InputError(
                    f"schedule: found {schedule!r}, but the classifier knows {own!r}; use one trained for it"
                )
            return
        alike = schedule.original_steps == own.original_steps and all(
            abs(schedule.alpha_bar[place] - own.alpha_bar[time]) < 1e-9 for place, time in enumerate(schedule.indices)
        )
        unknown = sorted(set(schedule.indices) - set(self.trained_times))
        if not alike or unknown:
            found = f"the times {unknown[:4]}, ..." if alike else f"{schedule!r}"
            raise InputError(
                f"schedule: found {found}, but classifier {self.record.name!r} was trained on the levels "
                f"{self.record.trained_times} of {own!r}; sample on these, or use a classifier trained for yours"
            )

    def save(self, folder: Path, *, state: Mapping[str, Tensor] | None = None) -> ClassifierRecord:
        """Write `model.safetensors`, `README.md` and `classifier.json`, all or none; return the record as written.

        Args:
            folder: made where it does not exist; an older classifier in it is replaced.
            state: weights to store in place of the network's own.
        """
        values = named_state(self.network) if state is None else dict(state)
        record, write_weights = self.record, tensor_writer(values, {"classifier": self.record.name})

        def fill_weights(path: Path) -> None:
            nonlocal record
            write_weights(path)
            path.chmod(0o644)
            record = record.model_copy(update={"weights_sha256": _sha256(path)})

        def fill_card(path: Path) -> None:
            numbers = sum(value.numel() for value in values.values())
            path.write_text(render_classifier_card(record, parameters=numbers), encoding="utf-8")

        def fill_record(path: Path) -> None:
            path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")

        folder.mkdir(parents=True, exist_ok=True)
        write_together({folder / _WEIGHTS: fill_weights, folder / _CARD: fill_card, folder / _RECORD: fill_record})
        return record

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> Classifier:
        """Read a classifier folder: float32, evaluation mode, no gradients for its weights.

        Args:
            folder: what `save` wrote. A missing or foreign file is an error, never a network with random weights.
            device: where the network goes.
        """
        record = _read_record(folder / _RECORD)
        path = folder / _WEIGHTS
        if not path.exists():
            raise DataError(f"{path}: there is no such file; a classifier folder holds {_RECORD} and {_WEIGHTS}.")
        if _sha256(path) != record.weights_sha256:
            raise DataError(f"{path}: its SHA-256 is not the one in {_RECORD}; fetch or save the classifier again.")
        network = build_classifier(record.architecture.kind, record.architecture.settings)
        tensors, _ = load_tensors(path)
        try:
            restore_network(named_state(network), tensors, "")
        except DataError as error:
            raise DataError(f"{path}: does not fit the architecture in {_RECORD}: {error}") from error
        return cls(network.to(device).eval().requires_grad_(False), record)


def _spaced(record: ClassifierRecord) -> DiscreteTable:
    """The table of the levels that a noisy classifier was trained on."""
    table = build_schedule(record.schedule) if record.schedule is not None else None
    if not isinstance(table, DiscreteTable) or record.trained_times is None:
        raise DataError(f"classifier {record.name!r}: trained times need a table of levels, and its record has none")
    return table if record.trained_times == str(len(table)) else table.respaced(record.trained_times)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_record(path: Path) -> ClassifierRecord:
    try:
        return ClassifierRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; give the folder of a trained classifier.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}).") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
        raise DataError(f"{path}: not the record of a classifier ({faults}).") from error
