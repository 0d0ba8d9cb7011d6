"""A class-conditional prior as `segment` uses it: two of its classes, as vectors, and what images it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Denoiser, NetworkDenoiser
from skiagraph.diffusion.difference import ConditionPair
from skiagraph.errors import DataError, InputError
from skiagraph.networks.unet import UNet
from skiagraph.training.prior import Prior

__all__ = ["LabelledPrior"]


@dataclass(frozen=True, eq=False)
class LabelledPrior:
    """A prior with a class for "present" and one for "absent".

    Args:
        denoiser: its cond is {pair.name: (B, E)}, or {"label": (B,)}, with -1 for no label where `unlabelled`.
        pair: f(present), f(absent).
        present, absent: names of the classes.
        labels: their positions.
        shape: of one image, (C, H, W).
        spacing_mm: of its pixels, (row, column).
        low, high: range of intensities it was trained on.
        unlabelled: whether it was trained with label dropout.
        name: of the prior.
        sha256: of its weights.
        window: intensities that became low and high in training; None for the range of the bit depth.
    """

    denoiser: Denoiser
    pair: ConditionPair
    present: str
    absent: str
    labels: tuple[int, int]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, float] = (1.0, 1.0)
    low: float = -1.0
    high: float = 1.0
    unlabelled: bool = False
    name: str = "prior"
    sha256: str = ""
    window: tuple[float, float] | None = None

    @classmethod
    def load(
        cls, folder: Path, present: str | None = None, absent: str | None = None, device: torch.device | str = "cpu"
    ) -> LabelledPrior:
        """Read a prior folder and choose two of its classes.

        Args:
            folder: of a class-conditional prior (`skiagraph train class-prior`).
            present, absent: names; with two classes, the first is absent and the second present by default.
            device: where the network goes.
        """
        try:
            found = Prior.load(folder, device=device)
        except DataError as error:
            if not str(error).startswith("architecture"):
                raise
            raise InputError(
                f"prior: {folder} was not trained by `skiagraph train class-prior` and knows no labels; give another "
                f"({error})"
            ) from error
        return cls.of(found, present, absent)

    @classmethod
    def of(cls, prior: Prior, present: str | None = None, absent: str | None = None) -> LabelledPrior:
        """As `load`, of a prior that is loaded."""
        record, network = prior.record, prior.network
        if not record.classes or not isinstance(network, UNet):
            raise InputError(
                f"prior {record.name!r} knows no labels; train one on labelled images (`skiagraph train class-prior`)"
            )
        if record.concatenated:
            raise InputError(f"prior {record.name!r} needs {record.concatenated} beside the image; use one without")
        names = _chosen(record.classes, present, absent, record.name)
        labels = tuple(record.classes.index(name) for name in names)
        _require_trained(record.data.fingerprint, names, record.name)
        weight = next(network.parameters())
        if weight.dtype not in (torch.float32, torch.float64):
            raise DataError(
                f"prior {record.name!r}: its weights are {weight.dtype}; maps need float32. Load it as such"
            )
        with torch.no_grad():
            rows = network.class_embedding(torch.tensor(labels, device=weight.device))
        own = prior.denoiser()
        base = NetworkDenoiser(
            network,
            own.schedule,
            own.parametrisation,
            own.time,
            own.learned_variance,
            own.sigma_data,
            own.accepts | {"label", "embedding"},
        )
        spacing = (*record.spacing_mm, record.spacing_mm[-1])[:2]
        rule = record.normalisation
        window = rule.settings.get("window")
        return cls(
            *(base, ConditionPair(rows[0], rows[1]), names[0], names[1], (labels[0], labels[1])),
            shape=(len(record.channels), *record.size),
            spacing_mm=(spacing[0], spacing[1]),
            low=rule.low,
            high=rule.high,
            unlabelled=network.config.unlabelled,
            name=record.name,
            sha256=record.weights_sha256 or "",
            window=(float(window[0]), float(window[1])) if isinstance(window, list) else None,  # type: ignore[arg-type]
        )

    @property
    def device(self) -> torch.device:
        """Where the conditions, and with them the network, are."""
        return self.pair.present.device

    def label(self, name: str, batch: int) -> Tensor:
        """(B,) labels of "present", "absent" or "null", which only a prior with label dropout knows."""
        if name == "null" and not self.unlabelled:
            raise InputError(f"prior {self.name!r} was trained without label dropout and knows no missing label")
        value = {"present": self.labels[0], "absent": self.labels[1], "null": -1}[name]
        return torch.full((batch,), value, dtype=torch.int64, device=self.device)


def _chosen(classes: list[str], present: str | None, absent: str | None, name: str) -> tuple[str, str]:
    if present is None and absent is None and len(classes) == 2:
        return classes[1], classes[0]
    for key, value in (("present", present), ("absent", absent)):
        if value is None:
            raise InputError(f"{key} is missing: prior {name!r} has the classes {', '.join(classes)}; name one of them")
        if value not in classes:
            raise InputError(f"{key}: found {value!r}; prior {name!r} has the classes {', '.join(classes)}")
    if present == absent:
        raise InputError(f"present, absent: found {present!r} for both; name two classes")
    return str(present), str(absent)


def _require_trained(fingerprint: Mapping[str, Any], names: tuple[str, str], prior: str) -> None:
    """Refuse a class without training images, whose embedding is random."""
    counts = fingerprint.get("counts")
    seen = counts.get("train") if isinstance(counts, dict) else None
    if not isinstance(seen, dict):
        return
    for name in names:
        if int(seen.get(name, 1)) == 0:
            raise InputError(f"class {name!r} of prior {prior!r} had no training images; its embedding is random")
