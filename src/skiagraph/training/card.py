"""The model card of a prior: README.md, written from the record alone."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import JsonValue

from skiagraph.training.record import PriorRecord

__all__ = ["render_card"]

_PREDICTS = {
    "eps": "the noise",
    "x0": "the clean image",
    "v": "the velocity",
    "edm": "the preconditioned clean image (EDM)",
    "own": "in the way of its kind",
}


def render_card(record: PriorRecord, *, parameters: int) -> str:
    """Return the model card in Markdown.

    Args:
        record: the prior's record.
        parameters: number of stored weights.
    """
    sections = [
        f"# {record.name}\n\n{record.summary}",
        "*Research use only: not a medical device.*" + (f" Licence of the weights: {record.licence}."),
        _section("What it knows", _image(record)),
        _section("Network", _network(record, parameters)),
        _section("Training data", _data(record)),
        _section("Training", _training(record)),
        _section("Measured figures", [f"{name}: {_plain(value)}" for name, value in record.figures.items()]),
        _section("Limits", record.limits),
        _section("Memorisation audit", [record.audit] if record.audit else []),
        "Generated from `prior.json`, which says more. Load with `skiagraph.training.Prior.load(folder)`.",
    ]
    return "\n\n".join(sections) + "\n"


def _section(title: str, lines: Iterable[str]) -> str:
    listed = "\n".join(f"- {line}" for line in lines)
    return f"## {title}\n\n{listed or 'None stated.'}"


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _settings(settings: dict[str, JsonValue]) -> str:
    """Write settings in one line; long lists by their length."""
    shown = []
    for name, value in settings.items():
        long = isinstance(value, list) and len(value) > 12
        shown.append(f"{name} = {f'{len(value)} values' if long and isinstance(value, list) else _plain(value)}")
    return ", ".join(shown) or "defaults"


def _image(record: PriorRecord) -> list[str]:
    size = " x ".join(map(str, record.size))
    spacing = " x ".join(f"{value:g}" for value in record.spacing_mm)
    scale = record.normalisation
    lines = [f"Images of {size} pixels, {spacing} mm"]
    lines += [f"Channel {number}, {channel.name}: {channel.meaning}" for number, channel in enumerate(record.channels)]
    lines.append(f"Intensities: {scale.method}; range {scale.low:g} to {scale.high:g} ({_settings(scale.settings)})")
    lines.append("Classes: " + (", ".join(record.classes) or "none (unconditional)"))
    if record.measurement is None:
        lines.append("Trained on full images")
    else:
        seen = record.measurement
        lines.append(
            f"Trained on measurements only: {seen.family} ({_settings(seen.settings)}), noise {seen.noise_level:g}"
        )
    return lines


def _network(record: PriorRecord, parameters: int) -> list[str]:
    lines = [
        f"{record.architecture.kind}, {parameters / 1e6:.2f} million weights stored in {record.weights}",
        f"Settings: {_settings(record.architecture.settings)}",
        f"Predicts {_PREDICTS[record.parametrisation]}; learned variance: {'yes' if record.learned_variance else 'no'}",
    ]
    if record.schedule is not None:
        lines.append(f"Schedule: {record.schedule.kind} ({_settings(record.schedule.settings)})")
    if record.time is not None:
        lines.append(f"Time told to the network: {record.time.kind}, times {record.time.scale:g}")
    return lines


def _data(record: PriorRecord) -> list[str]:
    data = record.data
    lines = [f"Provenance: {data.provenance}"]
    for source in data.sources:
        where = " ".join(part for part in (source.registry, source.package, source.version) if part)
        remark = f". {source.remark}" if source.remark else ""
        digest = f", SHA-256 `{source.sha256}`" if source.sha256 else ""
        lines.append(f"{source.name} ({where or 'generated'}): licence {source.licence}{digest}{remark}")
    lines += [f"Split {name}: {', '.join(cases) or 'empty'}" for name, cases in data.splits.items()]
    if data.fingerprint:
        lines.append(f"Fingerprint: {_settings(data.fingerprint)}")
    return lines


def _training(record: PriorRecord) -> list[str]:
    run = record.training
    average = run.ema.kind + (f" {run.ema.length:g}" if run.ema.length is not None else "")
    lines = [
        f"Objective: {run.objective}",
        f"Images seen: {run.images_seen}",
        "Seeds: " + (", ".join(f"{name} {seed}" for name, seed in run.seeds.items()) or "none stated"),
        f"Average of the weights: {average}",
        f"skiagraph {run.package_version}" + (f", commit {run.commit}" if run.commit else ""),
        f"Settings: {_settings(run.settings)}",
    ]
    return lines + ([f"Command: `{run.command}`"] if run.command else [])
