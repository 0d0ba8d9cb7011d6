"""What images are made with: prior, guiding classifiers and judge, loaded; what does not fit together is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion import DiscreteTable, NetworkDenoiser
from skiagraph.diffusion.denoiser import Denoiser
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.synthesize.settings import SynthesizeSettings
from skiagraph.training.classifier import Classifier
from skiagraph.training.precision import NetworkPrecision, resolve_precision
from skiagraph.training.prior import Prior

__all__ = ["Guide", "Kit", "ensemble", "load_kit"]

Logits = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, ...), original times (B,)) -> logits (B, K)."""


@dataclass(frozen=True, eq=False)
class Guide:
    """One classifier as guidance, measurement and judgement see it.

    Args:
        name: of its folder.
        logits: called with states and original times; a classifier of clean images ignores the times.
        noisy: whether it knows noise.
        temperature: what its logits are divided by.
        sha256: of its weights.
        times: original times it was trained at; None for all.
    """

    name: str
    logits: Logits
    noisy: bool
    temperature: float = 1.0
    sha256: str = ""
    times: frozenset[int] | None = None

    def calibrated(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits divided by the temperature."""
        return self.logits(x, t) / self.temperature


@dataclass(frozen=True, eq=False)
class Kit:
    """Everything that is loaded.

    Args:
        base: the class-conditional denoiser on the whole table of training; its times are original times.
        shape: of one image, (C, H, W).
        classes: names in the order of the labels.
        guides: the classifiers that guide; several are an ensemble.
        judge: the independent classifier, or None.
        unlabelled: whether the prior was trained with label dropout, so that it knows what no label means.
        trained_times: original times that prior and guides were trained at; None for all.
        device: where the networks are.
        name: of the prior.
        sha256: of its weights.
        window: intensities that became -1 and 1 in training; None for the range of the bit depth.
    """

    base: Denoiser
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    guides: tuple[Guide, ...] = ()
    judge: Guide | None = None
    unlabelled: bool = False
    trained_times: frozenset[int] | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    name: str = "prior"
    sha256: str = ""
    window: tuple[float, float] | None = None

    @property
    def table(self) -> DiscreteTable:
        """The table of levels."""
        schedule = self.base.schedule
        if not isinstance(schedule, DiscreteTable):
            raise InputError(f"prior: {self.name!r} has a {type(schedule).__name__}; a table of levels is needed here")
        return schedule


def load_kit(settings: SynthesizeSettings, device: torch.device | None = None) -> Kit:
    """Load and check prior, classifiers and judge; weights that are missing are an error, never random.

    Args:
        settings: filled settings.
        device: default the first GPU, or the CPU.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        prior = Prior.load(settings.prior, device=device)
    except DataError as error:
        raise DataError(f"prior: {settings.prior}: {error}") from None
    _check_prior(prior, settings)
    record = prior.record
    network = NetworkPrecision(prior.network, resolve_precision(settings.precision, device))
    base = Prior(network, record).denoiser()
    shape = (len(record.channels), *record.size)
    guides = tuple(_guide(path, prior, base, settings, "classifier", device) for path in settings.classifier)
    judge = None if settings.judge is None else _guide(settings.judge, prior, base, settings, "judge", device)
    for guide in guides:
        if judge is not None and judge.sha256 == guide.sha256:
            raise InputError(
                f"judge: {settings.judge} holds the very weights of {guide.name!r}, which guides; a judge that guides "
                "approves of its own mistakes. Give a classifier trained apart"
            )
    if len({guide.sha256 for guide in guides}) < len(guides):
        raise InputError("classifier: two folders hold the same weights; an ensemble needs members trained apart")
    known = [trained_times(record.extra, base), *(guide.times for guide in guides if settings.guide.through == "state")]
    limited = [times for times in known if times is not None]
    times = frozenset.intersection(*limited) if limited else None
    return Kit(
        *(base, shape, tuple(record.classes), guides, judge, knows_no_label(prior.network)),
        *(times, device, record.name, record.weights_sha256 or _sha256(settings.prior)),
        window=_window(record.normalisation.settings),
    )


def _window(rules: Mapping[str, Any]) -> tuple[float, float] | None:
    found = rules.get("window")
    return (float(found[0]), float(found[1])) if isinstance(found, list) and len(found) == 2 else None


def knows_no_label(network: Any) -> bool:
    """Whether a network may be called without a label."""
    return bool(getattr(getattr(network, "config", None), "unlabelled", False))


def trained_times(extra: Mapping[str, Any], base: NetworkDenoiser) -> frozenset[int] | None:
    """The original times a prior's record says it was trained at, "ddim250" or a list; None for all."""
    found, table = extra.get("trained_times"), base.schedule
    if isinstance(found, list) and found:
        return frozenset(int(time) for time in found)
    if not isinstance(found, str) or not isinstance(table, DiscreteTable) or found == str(len(table)):
        return None
    return frozenset(table.respaced(found).indices)


def _check_prior(prior: Prior, settings: SynthesizeSettings) -> None:
    record = prior.record
    if len(record.classes) < 2:
        raise InputError(
            f"prior: {settings.prior} knows {len(record.classes)} classes; a class-conditional prior is needed here "
            "(`skiagraph train class-prior`). For others there is `skiagraph generate`"
        )
    if len(record.size) != 2 or len(record.channels) not in (1, 3):
        raise InputError(
            f"prior: {settings.prior} makes images of {len(record.channels)} channels and {len(record.size)} axes; "
            "this command writes pictures of 1 or 3 channels and 2 axes. In Python the same guidance takes volumes"
        )
    if settings.cfg != 0 and not knows_no_label(prior.network):
        raise InputError(
            f"cfg: found {settings.cfg}, but {record.name!r} was trained without label dropout, so it does not know "
            "what an image without a label is. Set cfg to 0, or train with label dropout above 0"
        )


def _guide(
    path: Path, prior: Prior, base: NetworkDenoiser, settings: SynthesizeSettings, role: str, device: torch.device
) -> Guide:
    """Load one classifier and refuse what does not fit."""
    try:
        loaded = Classifier.load(path, device=device)
        noisy = loaded.kind == "noisy"
        if noisy and settings.preset == "reference" and role == "classifier":
            loaded = loaded.asked_by("original")
        levels = loaded.record.trained_times
        table = base.schedule
        loaded.require(
            classes=prior.record.classes,
            channels=len(prior.record.channels),
            size=prior.record.size,
            schedule=table.respaced(levels) if noisy and isinstance(table, DiscreteTable) and levels else None,
        )
    except InputError as error:
        raise InputError(f"{role}: {path}: {error}") from None
    if role == "classifier" and settings.guide.through == "state" and not noisy:
        raise InputError(
            f"classifier: {path} knows clean images only, but guide.through 'state' asks it about noisy ones. Take a "
            "noisy classifier (`skiagraph train noisy-classifier`), or set guide.through to x0 or network"
        )
    given = settings.guide.temperature if role == "classifier" else None
    temperature = given or (1.0 if settings.preset == "reference" and role == "classifier" else loaded.temperature)
    every = not noisy or len(loaded.trained_times) == len(getattr(table, "alpha_bar", ()))
    times = None if every else frozenset(loaded.trained_times)
    return Guide(str(path), _logits(loaded, noisy), noisy, temperature, _sha256(path), times)


def _logits(classifier: Classifier, noisy: bool) -> Logits:
    if noisy:
        return lambda x, t: classifier(x, t)
    return lambda x, t: classifier(x)


def _sha256(folder: Path) -> str:
    path = folder / "model.safetensors"
    if not path.exists():
        raise DataError(f"{path}: there is no such file; the folder of a trained network holds it")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def ensemble(guides: Sequence[Guide]) -> Logits:
    """Logits of one classifier (B, K), or of all members (B, members, K), each divided by its own temperature."""
    if len(guides) == 1:
        return guides[0].calibrated
    return lambda x, t: torch.stack([guide.calibrated(x, t) for guide in guides], dim=1)
