"""The model card of a prior: README.md, written from the record alone."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import JsonValue

from skiagraph.training.record import PriorRecord

__all__ = ["render_card"]

_LONG = 12  # entries of a list that is still written out

_PREDICTS = {
    "eps": "the noise",
    "x0": "the clean image",
    "v": "the velocity",
    "edm": "the preconditioned clean image (EDM)",
    "own": "in the way of its kind",
}

_IMPORTED = {"Weights in the file": "weights_in_file", "Steps of training, by the file's name": "training_steps"}


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
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _settings(settings: dict[str, JsonValue], prefix: str = "") -> list[str]:
    """Settings as "name = value", those of a group as "group.name = value"; empty ones left out, long lists counted."""
    shown: list[str] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            shown += _settings(value, f"{prefix}{name}.")
        elif isinstance(value, list) and len(value) > _LONG:
            shown.append(f"{prefix}{name} = {len(value)} values")
        elif value not in (None, [], ""):
            shown.append(f"{prefix}{name} = {_plain(value)}")
    return shown


def _bracketed(settings: dict[str, JsonValue]) -> str:
    """Settings in brackets behind a word, or nothing where there are none."""
    shown = ", ".join(_settings(settings))
    return f" ({shown})" if shown else ""


def _names(names: list[str]) -> str:
    """Names in a row; of many the ends and their number."""
    if len(names) <= _LONG:
        return ", ".join(names)
    return f"{len(names)}: {', '.join(names[:3])}, ... {names[-1]}"


def _image(record: PriorRecord) -> list[str]:
    size = " x ".join(map(str, record.size))
    spacing = " x ".join(f"{value:g}" for value in record.spacing_mm)
    scale = record.normalisation
    lines = [f"Images of {size} pixels, {spacing} mm"]
    for number, channel in enumerate(record.channels):
        own_name = "" if channel.name == f"channel {number}" else f", {channel.name}"
        lines.append(f"Channel {number}{own_name}: {channel.meaning}")
    lines.append(f"Intensities: {scale.method}; range {scale.low:g} to {scale.high:g}{_bracketed(scale.settings)}")
    lines.append("Classes: " + (_names(record.classes) or "none (unconditional)"))
    return [*lines, _seen(record)]


def _seen(record: PriorRecord) -> str:
    """What the network saw in training."""
    if record.measurement is not None:
        seen = record.measurement
        return f"Trained on measurements only: {seen.family}{_bracketed(seen.settings)}, noise {seen.noise_level:g}"
    return "Imported: what it was trained on is not recorded" if record.training.imported else "Trained on full images"


def _network(record: PriorRecord, parameters: int) -> list[str]:
    lines = [
        f"{record.architecture.kind}, {parameters / 1e6:.2f} million weights stored in {record.weights}",
        f"Settings: {', '.join(_settings(record.architecture.settings)) or 'defaults'}",
        f"Predicts {_PREDICTS[record.parametrisation]}; learned variance: {'yes' if record.learned_variance else 'no'}",
    ]
    if record.schedule is not None:
        lines.append(f"Schedule: {record.schedule.kind}{_bracketed(record.schedule.settings)}")
    if record.time is not None:
        factor = "" if record.time.scale == 1 else f", times {record.time.scale:g}"
        lines.append(f"Time told to the network: {record.time.kind}{factor}")
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
        lines.append(f"Fingerprint: {', '.join(_settings(data.fingerprint))}")
    return lines


def _training(record: PriorRecord) -> list[str]:
    run = record.training
    if run.imported:
        facts = {name: record.extra.get(key) for name, key in _IMPORTED.items()}
        stated = [f"{name}: {_plain(value)}" for name, value in facts.items() if value is not None]
        return [
            "The run that made the weights is not recorded here",
            *stated,
            f"Imported by skiagraph {run.package_version}",
        ]
    average = run.ema.kind + (f" {run.ema.length:g}" if run.ema.length is not None else "")
    lines = [
        f"Objective: {run.objective}",
        f"Images seen: {run.images_seen}",
        "Seeds: " + (", ".join(f"{name} {seed}" for name, seed in run.seeds.items()) or "none stated"),
        f"Average of the weights: {average}",
        f"skiagraph {run.package_version}" + (f", commit {run.commit}" if run.commit else ""),
        f"Settings: {', '.join(_settings(run.settings)) or 'defaults'}",
    ]
    return lines + ([f"Command: `{run.command}`"] if run.command else [])
