"""The command line: reads flags and files into settings, calls one function, shows what it returns.

No logic lives here. Task modules are imported when their command runs, so that `skiagraph --help` needs no torch.
"""

from __future__ import annotations

import errno
import importlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, Union

import tyro
from pydantic import BaseModel, ValidationError

from skiagraph.commands import COMMANDS, Command
from skiagraph.config import check_values, describe_errors, did_you_mean, dump_yaml, read_yaml, resolved
from skiagraph.errors import InputError, SkiagraphError
from skiagraph.refusals import one_sentence, refused_section, unknown_command, unknown_flags
from skiagraph.terminal import CommandResult, print_json, progress, show

__all__ = ["COMMANDS", "Command", "Invocation", "main"]

EXIT_CODES = """Exit codes: 0 done; 1 unexpected failure; 2 wrong argument, flag or configuration; 3 a file is missing,
unreadable, unusable or cannot be written; 4 sample archives cannot be had; 5 an audit or a
budget that was set failed, with everything written; 130 interrupted."""

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True)
class Invocation(Generic[Settings]):
    """One call of a command: its settings and the flags that every command has."""

    settings: Annotated[Settings, tyro.conf.arg(name="")]
    config: Path | None = None
    """YAML file with any of the settings below; flags override it."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Check the settings, print them with what the run would cost, and stop."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result (or the error) as one JSON object on stdout."""


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _flag(arguments: Sequence[str], flag: str) -> str | None:
    """Return the value of a flag given as `--flag value` or `--flag=value`, before tyro sees it."""
    for position, word in enumerate(arguments):
        if word == flag:
            return arguments[position + 1] if position + 1 < len(arguments) else None
        if word.startswith(flag + "="):
            return word.removeprefix(flag + "=")
    return None


def _prefilled(model: type[BaseModel], path: str | None) -> BaseModel:
    """Return settings with a file's values; required ones that it leaves out are marked for tyro to ask for."""
    given = read_yaml(path) if path is not None else {}
    if "task" not in model.model_fields:
        given.pop("task", None)  # it chose the variant
    values = check_values(model, given, path or "")
    missing = {name: tyro.MISSING for name, field in model.model_fields.items() if field.is_required()}
    return model.model_construct(**{**missing, **values})


def _takes_words(command: Command) -> bool:
    """Whether the command reads words that are no flags (names of files, say)."""
    fields = _load(command.settings).model_fields.values()
    return any("Positional" in str(item) for field in fields for item in field.metadata)


def _unknown_variant(found: str, name: str, variants: Sequence[str], where: str = "") -> InputError:
    hint = did_you_mean(found, {variant.replace("-", "_") for variant in variants}).replace("_", "-")
    return InputError(f"{where}{name}: no variant {found!r}{hint}. Known: {', '.join(variants)}")


def _choose(arguments: Sequence[str]) -> tuple[Command | None, list[str]]:
    """Return the entry of `COMMANDS` that is called for (None: left to tyro), and the words without its variant."""
    words = list(arguments)
    at = next((place for place, word in enumerate(words) if not word.startswith("-")), len(words))
    entries = {command.variant or "": command for command in COMMANDS if command.name == "".join(words[at : at + 1])}
    if not entries:
        if at < len(words) and not {"-h", "--help"} & set(words):
            raise unknown_command(words[at], dict.fromkeys(command.name for command in COMMANDS))
        return None, words
    first = next(iter(entries.values()))
    named = "".join(words[at + 1 : at + 2])
    path = _flag(words, "--config")
    task = read_yaml(path).get("task") if path is not None and len(entries) > 1 else None
    if named and named in entries:
        if task not in (None, named):
            raise InputError(f"{path}: task is {task!r}, but the command says {named!r}; make them agree")
        return entries[named], words[: at + 1] + words[at + 2 :]
    near = "did you mean" in str(refusal := _unknown_variant(named, first.name, list(entries)))
    wrong = near and not Path(named).exists() if _takes_words(first) else True
    if len(entries) > 1 and named and not named.startswith("-") and wrong:
        raise refusal
    if task is not None and task not in entries:
        raise _unknown_variant(str(task), first.name, list(entries), f"{path}: task: ")
    return (first if task is None else entries[task]), words


def _about(command: Command) -> str:
    """What a command's own help says: its settings' description, its variants, the exit codes."""
    parts = [inspect.getdoc(_load(command.settings)) or command.summary]
    siblings = [other for other in COMMANDS if other.name == command.name]
    if len(siblings) > 1:
        lines = [f"- skiagraph {other.title}: {other.summary}" for other in siblings]  # with a dash lines stay lines
        parts.append("\n".join([f"This is `skiagraph {command.title}`. Variants, the first is the default:", *lines]))
    return "\n\n".join([*parts, EXIT_CODES])


def _summary(command: Command) -> str:
    """What the list of commands says of one."""
    variants = [other.variant for other in COMMANDS if other.name == command.name and other.variant]
    return f"{command.summary} Variants: {', '.join(variants)}." if len(variants) > 1 else command.summary


def _parse(arguments: Sequence[str]) -> tuple[Command, Invocation[BaseModel]]:
    """Turn words into one command's settings: defaults, overridden by the file, overridden by flags."""
    chosen, words = _choose(arguments)
    path = _flag(words, "--config")
    offered = {command.name: command for command in reversed(COMMANDS)}  # of several variants the first
    names = dict.fromkeys(command.name for command in COMMANDS)
    kinds = []
    for name in names:
        command = chosen if chosen is not None and chosen.name == name else offered[name]
        model = _load(command.settings)
        start = Invocation(_prefilled(model, path if command is chosen else None))
        about = _about(command) if command is chosen else _summary(command)
        option = tyro.conf.subcommand(name, default=start, description=about)
        kinds.append(Annotated[Invocation[model], option])  # type: ignore[valid-type]
    try:
        call = _asked(Union[tuple(kinds)], words, chosen)  # noqa: UP007
    except ValidationError as error:
        if chosen is None:
            raise
        raise describe_errors(error, _load(chosen.settings)) from None
    if chosen is None:
        raise InputError("no command was given; see `skiagraph --help`")
    return chosen, call


def _asked(whole: Any, words: Sequence[str], chosen: Command | None) -> Invocation[BaseModel]:
    """Let tyro read the words; unknown flags, and with --json every refusal, become errors like all others."""

    def read() -> Invocation[BaseModel]:
        about = f"Diffusion priors for medical imaging, steered by whatever can be measured.\n\n{EXIT_CODES}"
        return tyro.cli(
            whole, prog="skiagraph", description=about, args=words, config=(tyro.conf.OmitSubcommandPrefixes,)
        )

    refusal = io.StringIO()
    try:
        with redirect_stderr(refusal):
            return read()
    except SystemExit as end:
        if end.code in (None, 0):
            raise
        part = None if chosen is None else refused_section(end, _load(chosen.settings))
        if part is not None:
            name, model, reason = part
            raise describe_errors(reason, model, section=name) from None
    wrong = None if chosen is None else unknown_flags(words, chosen.title, _load(chosen.settings))
    if wrong is not None:
        raise wrong
    if "--json" in words:
        raise InputError(one_sentence(refusal.getvalue()))
    return read()  # again, for tyro to say it as wide and coloured as this terminal is


def _run(command: Command, call: Invocation[BaseModel]) -> int:
    """Run a command and show its result; its exit code is the result's own where it has one."""
    if call.dry_run:
        cost = _load(command.expectation)(call.settings) if command.expectation else {}
        if call.json:
            print_json({"command": command.title, "settings": resolved(call.settings), "expectation": cost})
            return 0
        named = command.variant is not None and "task" not in type(call.settings).model_fields
        print((f"task: {command.variant}\n" if named else "") + dump_yaml(call.settings), end="")
        for name, value in cost.items():
            print(f"# {name}: {value}")
        return 0
    function: Callable[..., CommandResult] = _load(command.function)
    if int(os.environ.get("RANK", "0")) > 0:  # torchrun: the first process speaks for all
        function(call.settings)
        return 0
    with progress() as on_progress:
        result = function(call.settings, on_progress=on_progress)
    show(result, as_json=call.json)
    return int(getattr(result, "exit_code", 0))


def _fail(kind: str, message: str, code: int, as_json: bool) -> int:
    if as_json:
        print_json({"error": {"kind": kind, "message": message, "exit_code": code}})
    print(f"skiagraph: {message}", file=sys.stderr)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after the program's name; default those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        return _run(*_parse(words))
    except SkiagraphError as error:
        return _fail(type(error).__name__, str(error), error.exit_code, as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full; free some space or choose another folder" if full else error.strerror or str(error)
        place = f"{error.filename}: " if error.filename else ""
        return _fail(type(error).__name__, f"{place}{reason}", 3, as_json)
    except KeyboardInterrupt:
        return _fail("Interrupted", "interrupted", 130, as_json)


if __name__ == "__main__":
    sys.exit(main())
