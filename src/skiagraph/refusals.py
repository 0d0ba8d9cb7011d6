"""What is said of words on the command line that no flag or command takes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ValidationError

from skiagraph.errors import InputError

__all__ = ["flags_of", "one_sentence", "refused_section", "unknown_command", "unknown_flags"]

EVERYWHERE = ("--config", "--dry-run", "--json", "--help")


def flags_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The flags of a settings class, those of its sections by their dotted names."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from flags_of(kind, f"{prefix}{name}.")
        elif "Suppress" not in str(field.metadata):
            yield f"--{prefix}{name}".replace("_", "-")


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else "."


def _asked(flag: str) -> str:
    """The flag that a denial denies: --no-x is about --x, --section.no-x about --section.x."""
    section, dot, name = flag.removeprefix("--").rpartition(".")
    return f"--{section}{dot}{name.removeprefix('no-')}"


def unknown_flags(words: Sequence[str], title: str, model: type[BaseModel]) -> InputError | None:
    """The refusal of flags that a command doesn't know; None where it knows all.

    Args:
        words: those after the program's name.
        title: command and variant.
        model: its settings.
    """
    known = [*flags_of(model), *EVERYWHERE]
    given = [word.partition("=")[0].replace("_", "-") for word in words if re.match(r"--[A-Za-z]", word)]
    wrong = [flag for flag in given if flag not in known and _asked(flag) not in known]
    if not wrong:
        return None
    told = " ".join(f"{flag} is no flag of `skiagraph {title}`{_meant(flag, known)}" for flag in dict.fromkeys(wrong))
    return InputError(f"{told} `skiagraph {title} --help` lists all.")


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections of a settings class, and theirs, by their dotted names."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield prefix + name, field.annotation
            yield from _sections(field.annotation, f"{prefix}{name}.")


def refused_section(end: SystemExit, model: type[BaseModel]) -> tuple[str, type[BaseModel], ValidationError] | None:
    """Name and class of the section of the settings whose value ended the parser, and why; None for other reasons.

    Args:
        end: raised by the parser, with what it caught before.
        model: the command's settings.
    """
    reason: BaseException | None = end
    while reason is not None and not isinstance(reason, ValidationError):
        reason = reason.__cause__ or reason.__context__
    if reason is None:
        return None
    for name, section in _sections(model):
        if section.__name__ == reason.title:
            return name, section, reason
    return None


def unknown_command(word: str, names: Iterable[str]) -> InputError:
    """The refusal of a command that doesn't exist."""
    known = list(names)
    return InputError(f"there is no command {word!r}{_meant(word, known)} Commands: {', '.join(known)}.")


def one_sentence(box: str) -> str:
    """The text of a box drawn on a terminal, without its frame."""
    lines = [line.strip("│╭╮╰╯─ ") + (":" if line.startswith("╭") else "") for line in box.splitlines()]
    return " ".join(" ".join(line for line in lines if line).split())
