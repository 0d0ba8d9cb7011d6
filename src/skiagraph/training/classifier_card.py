"""The card of a classifier: README.md, written from the record alone."""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import JsonValue

from skiagraph.training.classifier_record import ClassifierRecord

__all__ = ["render_classifier_card"]


def render_classifier_card(record: ClassifierRecord, *, parameters: int) -> str:
    """Return the card in Markdown.

    Args:
        record: the classifier's record.
        parameters: number of stored weights.
    """
    size = " x ".join(map(str, record.size))
    knows = [
        f"Classes, in the order of the logits: {', '.join(record.classes)}",
        f"Images of {size} pixels, {record.channels} channels; {record.normalisation.method}",
        _times(record),
        f"Temperature of the logits: {record.temperature:g} (they come undivided)",
    ]
    run = record.training
    trained = [
        f"{record.architecture.kind}, {parameters / 1e6:.2f} million weights",
        f"Objective: {run.objective}; images seen: {run.images_seen}",
        "Seeds: " + (", ".join(f"{name} {seed}" for name, seed in run.seeds.items()) or "none stated"),
        f"skiagraph {run.package_version}" + (f", commit {run.commit}" if run.commit else ""),
        *([f"Command: `{run.command}`"] if run.command else []),
    ]
    data = [
        f"Provenance: {record.data.provenance}",
        *(f"{source.name}: licence {source.licence}" for source in record.data.sources),
        *(f"{name}: {_plain(value)}" for name, value in record.data.fingerprint.items()),
    ]
    sections = [
        f"# {record.name}\n\n{record.summary}",
        f"*Research use only: not a medical device.* Licence of the weights: {record.licence}.",
        _section("What it knows", knows),
        _section("Training", trained),
        _section("Training data", data),
        _section("Measured figures", [f"{name}: {_plain(value)}" for name, value in record.figures.items()]),
        _section("Limits", record.limits),
        "Generated from `classifier.json`. Load with `skiagraph.training.classifier.Classifier.load(folder)`.",
    ]
    return "\n\n".join(sections) + "\n"


def _times(record: ClassifierRecord) -> str:
    if record.kind == "clean":
        return "Clean images: it knows no noise"
    return f"Noised images at the levels {record.trained_times}; the network is told the time as {record.times}"


def _section(title: str, lines: Iterable[str]) -> str:
    listed = "\n".join(f"- {line}" for line in lines)
    return f"## {title}\n\n{listed or 'None stated.'}"


def _plain(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
