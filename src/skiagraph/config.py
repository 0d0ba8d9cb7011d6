"""Validated settings: every key is known, every value is checked, and every refusal says what to do instead.

Settings are pydantic models that refuse unknown keys. They are filled from a YAML file (safe loader: data only) and
from command-line flags, and written back beside the results, so that the written file repeats the run.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from skiagraph.errors import InputError

__all__ = [
    "Settings",
    "check_values",
    "describe_errors",
    "did_you_mean",
    "dump_yaml",
    "load_settings",
    "read_yaml",
    "resolved",
]


class Settings(BaseModel):
    """Base of all settings: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Settings)


class _DataOnlyLoader(yaml.SafeLoader):
    """The safe YAML loader, which in addition refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                line = key_node.start_mark.line + 1
                raise InputError(f"the key {key!r} is given twice (again in line {line}); keep one of the two")
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top level maps names to values; tags that name code are refused.

    Args:
        path: the file.

    Raises InputError for a missing or unreadable file, text that is not YAML, tags, keys given twice, and other top
    levels than a mapping.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{file}: the configuration cannot be read ({reason}); a YAML file is needed") from error
    try:
        content = yaml.load(text, Loader=_DataOnlyLoader)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except yaml.constructor.ConstructorError as error:
        raise InputError(f"{file}: {_words(error)}. Only plain data is read; no tag may name code") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not valid YAML ({_words(error)})") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(
            f"{file}: the top level is a {type(content).__name__}; lines of the form 'name: value' are needed"
        )
    return content


def _words(error: Exception) -> str:
    """Return a YAML error in one line, with its place."""
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    mark = getattr(error, "problem_mark", None)
    return f"{problem}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(problem)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of the `known` words, or an empty string when none is near."""
    near = difflib.get_close_matches(word.replace("-", "_"), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _field_model(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the settings class that holds the last key of an error's location, as far as annotations tell."""
    current: type[BaseModel] | None = model
    for part in location[:-1]:
        field = current.model_fields.get(str(part)) if current is not None else None
        if field is None:
            return current
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return current


def _describe(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Return one sentence for one pydantic error: the key, what was found, what is allowed, what to do."""
    key = ".".join(str(part) for part in error["loc"]) or model.__name__
    owner = _field_model(model, error["loc"])
    name = str(error["loc"][-1]) if error["loc"] else ""
    field = owner.model_fields.get(name) if owner is not None else None
    meaning = f" ({field.description.rstrip('.')})" if field is not None and field.description else ""
    if error["type"] == "missing":
        return f"{key} is missing{meaning}; give it on the command line or in the configuration file"
    if error["type"] == "extra_forbidden" and owner is not None:
        known = list(owner.model_fields)
        return f"{key} is not a known key{did_you_mean(name, known) or '.'} Known keys: {', '.join(known)}"
    if error["type"] == "value_error" and not error["loc"]:
        return error["msg"].removeprefix("Value error, ")
    found = json.dumps(error["input"], default=str)
    allowed = error["msg"][:1].lower() + error["msg"][1:].removeprefix("Input should be ")
    allowed = allowed.removeprefix("input should be ").removeprefix("value error, ")
    expected = error.get("ctx", {}).get("expected", "")
    hint = did_you_mean(str(error["input"]), str(expected).replace("'", "").replace(" or ", ", ").split(", "))
    return f"{key}: found {found}, allowed: {allowed}{hint}{meaning}"


def describe_errors(
    error: ValidationError, model: type[BaseModel], source: str = "", *, section: str = ""
) -> InputError:
    """Turn a pydantic error into the message a person gets: one line per wrong key.

    Args:
        error: what pydantic raised.
        model: the settings class that was filled.
        source: where the values came from (a file name), put first.
        section: its name in the command's settings, such as "solver", where the class is only a part of them.
    """
    lines = []
    for detail in error.errors(include_url=False):
        joint = "." if detail["loc"] else ": "
        lines.append((section + joint if section else "") + _describe(detail, model))
    head = f"{source}: " if source else ""
    return InputError(head + lines[0] if len(lines) == 1 else head + "several keys are wrong:\n  " + "\n  ".join(lines))


def check_values(model: type[BaseModel], values: Mapping[str, Any], source: str = "") -> dict[str, Any]:
    """Return `values` converted to the types of the fields they name; missing fields are not yet an error.

    Args:
        model: the settings class.
        values: some of its fields by name.
        source: where the values came from, named in errors.

    Raises InputError that names every unknown key and every value that is not allowed.
    """
    problems: list[str] = []
    checked: dict[str, Any] = {}
    for name, value in values.items():
        field = model.model_fields.get(name)
        if field is None:
            error = {"type": "extra_forbidden", "loc": (name,), "msg": "", "input": value}
            problems.append(_describe(error, model))  # type: ignore[arg-type]
            continue
        kind: Any = Annotated[field.annotation, field]
        try:
            checked[name] = TypeAdapter(kind).validate_python(value)
        except ValidationError as refusal:
            for detail in refusal.errors(include_url=False):
                located = {**detail, "loc": (name, *detail["loc"])}
                problems.append(_describe(located, model))  # type: ignore[arg-type]
    if problems:
        head = f"{source}: " if source else ""
        many = "several keys are wrong:\n  " if len(problems) > 1 else ""
        raise InputError(head + many + "\n  ".join(problems))
    return checked


def load_settings(model: type[Model], path: str | Path | None = None, **values: Any) -> Model:
    """Return settings from a YAML file, overridden by keyword.

    Args:
        model: the settings class.
        path: a YAML file, or None.
        values: fields that override the file's.
    """
    merged = {**(read_yaml(path) if path is not None else {}), **values}
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise describe_errors(error, model, str(path) if path is not None else "") from None


def resolved(settings: BaseModel) -> dict[str, Any]:
    """Return all settings, defaults included, as JSON types."""
    return settings.model_dump(mode="json")


def dump_yaml(settings: BaseModel) -> str:
    """Return all settings as YAML text, in the order of their declaration; `load_settings` reads it back."""
    return yaml.safe_dump(resolved(settings), sort_keys=False, allow_unicode=True)
