"""Write docs/reference/commands.md from the commands themselves: `python docs/make_commands.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tyro
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from skiagraph import cli

__all__ = ["main", "render"]

TARGET = Path(__file__).parent / "reference" / "commands.md"

HEAD = """# Commands

*Written by `python docs/make_commands.py` from the commands themselves; do not edit.*

Every command also takes

| option | meaning |
| --- | --- |
| `--config FILE` | YAML file with any of the settings; flags override it |
| `--dry-run` | check the settings, print them with what the run would cost, and stop |
| `--json` | print the result, or the error, as one JSON object on stdout |

Some commands have variants, named by the next word (`skiagraph train measurement-score`) or by the key `task` in the
file given with `--config`; without either, the first variant runs.

Progress and messages go to stderr, results to stdout.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | unexpected failure (a bug: please report it) |
| 2 | wrong argument, flag or configuration |
| 3 | a file is missing, unreadable, unusable or cannot be written |
| 4 | sample archives cannot be had |
| 5 | an audit, or a budget that was set, failed; everything is written |
| 130 | interrupted |
"""


def _kind(annotation: Any) -> str:
    """Return a type as a person would write it."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = re.sub(r"(typing|pathlib|collections\.abc)\.", "", text).replace(" | None", "")
    return re.sub(r"Literal\[(.*?)\]", lambda match: match[1].replace("'", "").replace(", ", " / "), text)


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "**required**"
    if value is None or value in ("", [], {}):
        return "-"
    return f"`{value if isinstance(value, (str, Path)) else json.dumps(value)}`"


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if "Suppress" in str(field.metadata):
            continue
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _rows(annotation, f"{prefix}{name}.")
            continue
        positional = any(item is tyro.conf.Positional or "Positional" in str(item) for item in field.metadata)
        flag = name.upper() if positional else f"--{prefix}{name}".replace("_", "-")
        yield f"| `{flag}` | {_kind(annotation)} | {_default(field)} | {field.description} |".replace(" / ", " \\| ")


def render() -> str:
    """Return the page."""
    parts = [HEAD]
    for command in cli.COMMANDS:
        model = cli._load(command.settings)
        about = re.sub(r"\s*\n\s+", " ", (model.__doc__ or "").strip())
        first = next(other for other in cli.COMMANDS if other.name == command.name)
        if command.variant and command is first:
            about += f" Also what `skiagraph {command.name}` does by itself."
        parts.append(f"\n## `skiagraph {command.title}`\n\n{about}\n")
        parts.append("| option | type | default | meaning |\n| --- | --- | --- | --- |")
        parts.extend(_rows(model))
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page."""
    TARGET.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
