"""From settings to rivals: baselines by name, and every prior folder with the methods that its kind allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from skiagraph.errors import InputError
from skiagraph.inverse.ambient import AmbientNetwork
from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.inverse.unrolled import UnrolledNetwork
from skiagraph.tasks.reconstruct.bart import bart_available
from skiagraph.tasks.reconstruct.baselines import BASELINES, BartPics, tuned_baseline
from skiagraph.tasks.reconstruct.network import KIND
from skiagraph.tasks.reconstruct.posterior import SamplerSettings
from skiagraph.tasks.reconstruct.rivals import networks
from skiagraph.tasks.reconstruct.rivals.classical import Classical
from skiagraph.tasks.reconstruct.rivals.interface import Rival, TrainedOn
from skiagraph.tasks.reconstruct.rivals.measured_prior import MeasuredPrior
from skiagraph.tasks.reconstruct.rivals.one_shot import OneShot, ambient_once, unrolled_once
from skiagraph.tasks.reconstruct.rivals.plug_in import (
    PlugIn,
    PriorMaker,
    ambient_prior,
    mirrored_prior,
    noiseless_prior,
)
from skiagraph.tasks.reconstruct.rivals.settings import RivalsSettings
from skiagraph.training import Prior, PriorRecord
from skiagraph.training.precision import NetworkPrecision, resolve_precision

__all__ = ["classical_rivals", "load_rivals", "rivals_of"]

_KINDS = (networks.UNROLLED, networks.AMBIENT, networks.IMAGE, KIND)


def load_rivals(settings: RivalsSettings, device: str | torch.device = "cpu") -> tuple[list[Rival], dict[str, Any]]:
    """All methods of the table in its order, and what run.json says of the priors.

    Args:
        settings: the comparison.
        device: where networks go.
    """
    found: list[Rival] = [*classical_rivals(settings.baselines)]
    records: dict[str, Any] = {}
    for name, folder in settings.priors.items():
        prior = Prior.load(folder, device=device)
        joined = rivals_of(name, folder, prior, settings)
        records[name] = {
            "folder": str(folder),
            "name": prior.record.name,
            "weights_sha256": prior.record.weights_sha256,
            "images_seen": prior.record.training.images_seen,
            "methods": [rival.name for rival in joined],
        }
        found += joined
    _check(found, settings)
    return found, records


def _check(found: Sequence[Rival], settings: RivalsSettings) -> None:
    names = [rival.name for rival in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"priors, baselines: found {', '.join(twice)} twice; give every prior a name of its own.")
    if not names:
        raise InputError("priors, baselines: found none; give at least one method.")
    if settings.against is not None and settings.against not in names:
        raise InputError(f"against: found {settings.against!r}; allowed are {', '.join(names)}.")


def classical_rivals(names: Sequence[str]) -> list[Classical]:
    """Baselines by name; BART's is left out where the program is not installed."""
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise InputError(f"baselines: found {', '.join(unknown)}; allowed are {', '.join(BASELINES)}.")
    here = [name for name in names if name != BartPics.name or bart_available()]
    return [Classical(tuned_baseline(name)) for name in here]


def rivals_of(name: str, folder: Path, prior: Prior, settings: RivalsSettings) -> list[Rival]:
    """The methods that a prior allows, named after it.

    Args:
        name: its name in the table.
        folder: where it lies, for refusals.
        prior: the prior.
        settings: the numbers of the methods.
    """
    network, record = prior.network, prior.record
    device = next(network.parameters()).device
    dtype = resolve_precision(settings.precision, device)
    common: dict[str, Any] = {"mirrors": settings.mirrors, "rows": settings.batch, "precision": dtype}
    once: dict[str, Any] = {"shifts": settings.shifts}
    if isinstance(network, UnrolledNetwork):
        return [OneShot(name, unrolled_once(network), network.cascades, **once, **common)]
    if isinstance(network, AmbientNetwork):
        direct = OneShot(f"{name} (one step)", ambient_once(network), **once, **common)
        acceleration, centre = _trained_masks(record)
        network.backbone = NetworkPrecision(network.backbone, dtype)
        maker = ambient_prior(network, acceleration, centre)
        walk = PlugIn(f"{name} (A-DPS)", "dps", maker, settings.adps, "undersampled scans")
        return [direct, _numbered(walk, record, settings)]
    if isinstance(network, ConsistentNetwork):
        sampler = SamplerSettings(
            samples=settings.samples,
            rows=settings.batch,
            shifts=settings.shifts,
            precision="bfloat16" if dtype == torch.bfloat16 else "float32",
        )
        spread = float(str(record.extra.get("spread", 1.0)))
        return [MeasuredPrior(name, network, sampler, spread, _learned_from(record), settings.seed)]
    if record.parametrisation != "own":
        return [*_plug_ins(name, folder, prior, settings, dtype)]
    raise InputError(
        f"priors: {name!r} in {folder} is of kind {record.architecture.kind!r}; allowed are {', '.join(_KINDS)}."
    )


def _plug_ins(name: str, folder: Path, prior: Prior, settings: RivalsSettings, dtype: torch.dtype) -> list[PlugIn]:
    """An image prior with every way to use it."""
    record = prior.record
    timeless = record.time is not None and record.time.kind in ("log_rho", "log_snr")
    if record.parametrisation != "edm" or not timeless or len(record.channels) != 2:
        raise InputError(
            f"priors: {name!r} in {folder} predicts {record.parametrisation!r} of {len(record.channels)} channels; "
            "the comparison takes image priors of 2 channels (re, im) in EDM's parametrisation, as `skiagraph train "
            "image-prior` makes them."
        )
    wrapped = replace(prior, network=NetworkPrecision(prior.network, dtype))
    plain: PriorMaker = lambda schedule, scan, streams: wrapped.denoiser(schedule)  # noqa: E731
    clean = noiseless_prior(plain, settings.image_noise) if settings.image_noise else plain
    maker = mirrored_prior(clean) if settings.mirrors else clean
    numbers = {"ddnm": settings.ddnm, "dps": settings.dps, "diffpir": settings.diffpir, "pigdm": settings.pigdm}
    return [
        _numbered(PlugIn(f"{name} ({_TITLES[method]})", method, maker, numbers[method]), record, settings)
        for method in settings.plug_ins
    ]


_TITLES = {"ddnm": "DDNM", "dps": "DPS", "diffpir": "DiffPIR", "pigdm": "PiGDM"}


def _numbered(rival: PlugIn, record: PriorRecord, settings: RivalsSettings) -> PlugIn:
    return replace(
        rival,
        trained_on=_learned_from(record),
        sigma_data=record.sigma_data,
        samples=rival.settings.samples or settings.samples,
        seed=settings.seed,
        rows=settings.batch,
    )


def _learned_from(record: PriorRecord) -> TrainedOn:
    """What kind of scans a prior learned from, by its own word."""
    known = record.measurement
    return "fully sampled scans" if known is None or known.family.startswith("full") else "undersampled scans"


def _trained_masks(record: PriorRecord) -> tuple[float, int]:
    """Acceleration and calibration lines of a prior's training masks."""
    numbers = record.measurement.settings if record.measurement else {}
    return float(str(numbers.get("acceleration", 4.0))), int(str(numbers.get("centre", 24)))
