"""The command line: reads flags and files into settings, calls one function, shows what it returns.

No logic lives here. Task modules are imported when their command runs, so that `skiagraph --help` needs no torch.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, Union

import tyro
from pydantic import BaseModel, ValidationError

from skiagraph.config import check_values, describe_errors, dump_yaml, read_yaml, resolved
from skiagraph.errors import SkiagraphError
from skiagraph.terminal import CommandResult, print_json, progress, show

__all__ = ["COMMANDS", "Command", "Invocation", "main"]

EXIT_CODES = """Exit codes: 0 done; 1 unexpected failure; 2 wrong argument, flag or configuration; 3 a file is missing,
unreadable, unusable or cannot be written; 4 sample archives cannot be had; 130 interrupted."""

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True)
class Command:
    """One command, by the names of what it needs, imported on use.

    Args:
        name: what is typed.
        summary: one sentence for the list of commands.
        settings: "module:class" of its settings.
        function: "module:function" that takes settings and `on_progress` and returns a `CommandResult`.
        expectation: "module:function" from settings to what the run will cost, for `--dry-run`; or None.
    """

    name: str
    summary: str
    settings: str
    function: str
    expectation: str | None = None


_TASKS = "skiagraph.tasks"
_RECONSTRUCT = f"{_TASKS}.reconstruct"
COMMANDS = (
    Command(
        "demo",
        "Reconstruct slices of a head that the shipped prior never saw, and leave a page.",
        f"{_RECONSTRUCT}.settings:DemoSettings",
        f"{_RECONSTRUCT}.demo:demo",
        f"{_RECONSTRUCT}.demo:expectation",
    ),
    Command(
        "reconstruct",
        "Reconstruct a scan with a prior: mean, error bars, baselines, figures, page.",
        f"{_RECONSTRUCT}.settings:ReconstructSettings",
        f"{_RECONSTRUCT}.run:reconstruct",
        f"{_RECONSTRUCT}.run:expectation",
    ),
    Command(
        "train",
        "Train a prior from undersampled scans alone.",
        f"{_RECONSTRUCT}.settings:TrainSettings",
        f"{_RECONSTRUCT}.train:train_prior",
        f"{_RECONSTRUCT}.train:expectation",
    ),
    Command(
        "evaluate",
        "Score a reconstruction file against a truth file.",
        f"{_TASKS}.evaluate:EvaluateSettings",
        f"{_TASKS}.evaluate:evaluate",
    ),
    Command(
        "report",
        "Write the page of a run again.",
        f"{_TASKS}.report:ReportSettings",
        f"{_TASKS}.report:report",
    ),
    Command(
        "maps",
        "Estimate coil sensitivity maps (ESPIRiT) and write them beside a scan.",
        f"{_TASKS}.maps:MapsSettings",
        f"{_TASKS}.maps:write_maps",
        f"{_TASKS}.maps:expectation",
    ),
    Command(
        "samples",
        "List the sample heads with their licences, show one, or fetch some into the cache.",
        f"{_TASKS}.samples:SamplesSettings",
        f"{_TASKS}.samples:samples",
        f"{_TASKS}.samples:expectation",
    ),
    Command(
        "import-checkpoint",
        "Turn a guided-diffusion or improved-diffusion checkpoint into a prior folder.",
        f"{_TASKS}.import_checkpoint:ImportSettings",
        f"{_TASKS}.import_checkpoint:import_checkpoint",
    ),
    Command(
        "doctor",
        "Say what is installed, what this machine can do, and what is missing.",
        f"{_TASKS}.doctor:DoctorSettings",
        f"{_TASKS}.doctor:doctor",
    ),
)


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
    values = check_values(model, read_yaml(path), path) if path is not None else {}
    missing = {name: tyro.MISSING for name, field in model.model_fields.items() if field.is_required()}
    return model.model_construct(**{**missing, **values})


def _parse(arguments: Sequence[str]) -> tuple[Command, Invocation[BaseModel]]:
    """Turn words into one command's settings: defaults, overridden by the file, overridden by flags."""
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    path = _flag(arguments, "--config")
    models = {command.name: _load(command.settings) for command in COMMANDS}
    kinds = []
    for command in COMMANDS:
        model = models[command.name]
        start = Invocation(_prefilled(model, path if command.name == chosen else None))
        about = f"{(model.__doc__ or command.summary).strip()}\n\n{EXIT_CODES}"
        option = tyro.conf.subcommand(command.name, default=start, description=about if chosen else command.summary)
        kinds.append(Annotated[Invocation[model], option])  # type: ignore[valid-type]
    whole: Any = Union[tuple(kinds)]  # noqa: UP007
    about = f"Diffusion priors for medical imaging, steered by whatever can be measured.\n\n{EXIT_CODES}"
    try:
        call: Invocation[BaseModel] = tyro.cli(
            whole,
            prog="skiagraph",
            description=about,
            args=list(arguments),
            config=(tyro.conf.OmitSubcommandPrefixes,),
        )
    except ValidationError as error:
        raise describe_errors(error, models[chosen]) from None
    return next(command for command in COMMANDS if command.name == chosen), call


def _run(command: Command, call: Invocation[BaseModel]) -> None:
    if call.dry_run:
        cost = _load(command.expectation)(call.settings) if command.expectation else {}
        if call.json:
            print_json({"command": command.name, "settings": resolved(call.settings), "expectation": cost})
            return
        print(dump_yaml(call.settings), end="")
        for name, value in cost.items():
            print(f"# {name}: {value}")
        return
    function: Callable[..., CommandResult] = _load(command.function)
    if int(os.environ.get("RANK", "0")) > 0:  # torchrun: the first process speaks for all
        function(call.settings)
        return
    with progress() as on_progress:
        result = function(call.settings, on_progress=on_progress)
    show(result, as_json=call.json)


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
        _run(*_parse(words))
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
