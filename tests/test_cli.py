"""The command line: help without torch, one message without a traceback, documented exit codes, parseable JSON."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from skiagraph import cli
from skiagraph.cli import COMMANDS, main
from skiagraph.config import Settings
from skiagraph.errors import DataError, InputError, SampleUnavailable
from skiagraph.tasks.progress import silent


class ToySettings(Settings):
    """Settings of a command that exists for these tests only."""

    scan: Path
    steps: int = 5
    simulate: bool = False


@dataclass(frozen=True)
class ToyResult:
    """What the toy returns."""

    settings: ToySettings

    def record(self) -> dict[str, Any]:
        """Return the settings, and a number JSON cannot hold."""
        return {**self.settings.model_dump(), "peak": float("inf")}


def run_toy(settings: ToySettings, on_progress: Callable[[str, int, int], None]) -> ToyResult:
    """Tell one step of progress and return."""
    on_progress("toy", 1, 1)
    return ToyResult(settings)


def toy_cost(settings: ToySettings) -> dict[str, Any]:
    """Return a cost."""
    return {"evaluations": 3 * settings.steps}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException | None], None]:
    """Put one more command in the list; it raises what it is told to."""

    def install(error: BaseException | None = None) -> None:
        def run(settings: ToySettings, on_progress: Callable[[str, int, int], None] = silent) -> ToyResult:
            if error is not None:
                raise error
            return run_toy(settings, on_progress)

        names = {"toy:settings": ToySettings, "toy:run": run, "toy:cost": toy_cost}
        load = cli._load
        monkeypatch.setattr(cli, "_load", lambda name: names[name] if name in names else load(name))
        command = cli.Command("toy", "A toy.", "toy:settings", "toy:run", "toy:cost")
        monkeypatch.setattr(cli, "COMMANDS", (*COMMANDS, command))

    return install


def test_importing_the_command_line_and_its_help_needs_no_heavy_library() -> None:
    program = (
        "import sys\nfrom skiagraph.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'monai', 'sigpy', 'scipy', 'numpy', 'h5py', 'nibabel', 'matplotlib', 'ismrmrd', 'skimage'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"
    for command in COMMANDS:
        assert command.name in done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.title)
def test_every_command_has_what_it_names_and_describes_every_setting(command: cli.Command) -> None:
    model = cli._load(command.settings)
    assert callable(cli._load(command.function))
    assert command.expectation is None or callable(cli._load(command.expectation))
    assert model.__doc__
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_flags_override_the_file_and_the_file_overrides_defaults(
    toy: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy()
    file = tmp_path / "toy.yaml"
    file.write_text("scan: a.h5\nsteps: 7\nsimulate: true\n", encoding="utf-8")
    assert main(["toy", "--config", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"scan": "a.h5", "steps": 7, "simulate": True, "peak": None}
    assert main(["toy", f"--config={file}", "--steps", "9", "--no-simulate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"scan": "a.h5", "steps": 9, "simulate": False, "peak": None}


def test_result_without_own_table_is_shown_by_name(
    toy: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    toy()
    assert main(["toy", "--scan", "b.h5"]) == 0
    captured = capsys.readouterr()
    assert "b.h5" in captured.out
    assert "toy: 1 of 1" in captured.err


def test_only_the_first_of_several_processes_speaks(
    toy: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy()
    monkeypatch.setenv("RANK", "1")
    assert main(["toy", "--scan", "b.h5"]) == 0
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    assert main(["toy", "--scan", "b.h5"]) == 0
    assert "b.h5" in capsys.readouterr().out


def test_dry_run_prints_settings_and_cost_and_runs_nothing(
    toy: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    toy(RuntimeError("must not run"))
    assert main(["toy", "--scan", "a", "--dry-run"]) == 0
    assert "steps: 5\n" in (text := capsys.readouterr().out)
    assert "# evaluations: 15" in text
    assert main(["toy", "--scan", "a", "--dry-run", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"] == {"scan": "a", "steps": 5, "simulate": False}
    assert shown["expectation"] == {"evaluations": 15}


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("scan: found 1, allowed: 2"), 2, "scan: found 1, allowed: 2"),
        (DataError("a.h5 is empty"), 3, "a.h5 is empty"),
        (SampleUnavailable("cannot be had"), 4, "cannot be had"),
        (OSError(errno.ENOSPC, "No space left on device", "out.h5"), 3, "out.h5: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "out.h5"), 3, "out.h5: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_failures_end_in_one_message_and_a_documented_code(
    toy: Callable[..., None], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, words: str
) -> None:
    toy(error)
    assert main(["toy", "--scan", "a"]) == code
    captured = capsys.readouterr()
    assert captured.err.strip().splitlines()[-1].startswith("skiagraph: " + words)
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert main(["toy", "--scan", "a", "--json"]) == code
    shown = json.loads(capsys.readouterr().out)["error"]
    assert shown["exit_code"] == code
    assert words in shown["message"]


def test_a_bug_is_not_hidden(toy: Callable[..., None]) -> None:
    toy(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        main(["toy", "--scan", "a"])


def test_wrong_file_keys_and_wrong_flag_values_are_input_errors(
    toy: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy()
    file = tmp_path / "toy.yaml"
    file.write_text("scan: a.h5\nstep: 7\n", encoding="utf-8")
    assert main(["toy", "--config", str(file)]) == 2
    assert "did you mean 'steps'?" in capsys.readouterr().err
    assert main(["toy", "--scan", "a", "--stpes", "7"]) == 2
    assert "--stpes is no flag of `skiagraph toy`; did you mean '--steps'?" in capsys.readouterr().err
    assert main(["toy", "--scn", "a"]) == 2  # the missing --scan is not all that is said
    assert "did you mean '--scan'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["toy"])
    assert caught.value.code == 2
    assert "--scan" in capsys.readouterr().err


class OtherSettings(Settings):
    """The second variant of a toy."""

    rate: float = 0.5


@pytest.fixture
def variants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands of two variants: `toy`, and `judge`, whose first variant reads a file's name."""

    def run(settings: Settings, on_progress: Callable[[str, int, int], None] = silent) -> Any:
        return ToyResult(settings)  # type: ignore[arg-type]

    names = {"toy:settings": ToySettings, "toy:other": OtherSettings, "toy:run": run}
    load = cli._load
    monkeypatch.setattr(cli, "_load", lambda name: names[name] if name in names else load(name))
    files = "skiagraph.tasks.evaluate:EvaluateSettings"
    added = (
        cli.Command("toy", "A toy.", "toy:settings", "toy:run", variant="plain-scan"),
        cli.Command("toy", "Another.", "toy:other", "toy:run", variant="fancy-rate"),
        cli.Command("judge", "Files.", files, "toy:run", variant="files"),
        cli.Command("judge", "Rivals.", "toy:other", "toy:run", variant="rivals"),
    )
    monkeypatch.setattr(cli, "COMMANDS", (*COMMANDS, *added))


@pytest.mark.usefixtures("variants")
def test_variant_is_the_next_word_else_the_files_task_else_the_first(tmp_path: Path) -> None:
    plain, fancy, files, rivals = cli.COMMANDS[-4:]
    assert cli._parse(["toy", "--scan", "a"])[0] is plain
    assert cli._parse(["toy", "plain-scan", "--scan", "a"])[0] is plain
    assert cli._parse(["toy", "fancy-rate", "--rate", "0.25"])[0] is fancy
    file = tmp_path / "toy.yaml"
    file.write_text("task: fancy-rate\nrate: 0.75\n", encoding="utf-8")
    for words in (["toy", "--config", str(file)], ["toy", "fancy-rate", f"--config={file}"]):
        command, call = cli._parse(words)
        assert command is fancy
        assert call.settings == OtherSettings(rate=0.75)
    assert cli._parse(["judge", "a.nii", "b.nii"])[0] is files
    assert cli._parse(["judge", "rivals"])[0] is rivals


@pytest.mark.usefixtures("variants")
def test_unknown_variants_are_named_with_what_was_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text("task: fancy-rat\n", encoding="utf-8")
    for words in (["toy", "fancy-rat"], ["toy", "--config", str(file)]):
        assert main(words) == 2
        assert "did you mean 'fancy-rate'?" in capsys.readouterr().err
    assert main(["toy", "something"]) == 2
    assert "Known: plain-scan, fancy-rate" in capsys.readouterr().err
    assert main(["judge", "rivls", "b.nii"]) == 2
    assert "did you mean 'rivals'?" in capsys.readouterr().err
    file.write_text("task: fancy-rate\n", encoding="utf-8")
    assert main(["toy", "plain-scan", "--config", str(file)]) == 2
    assert "make them agree" in capsys.readouterr().err


@pytest.mark.usefixtures("variants")
def test_help_lists_variants_and_dry_run_keeps_the_choice(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in ((["--help"], "Variants: plain-scan, fancy-rate."), (["toy", "--help"], "toy fancy-rate")):
        with pytest.raises(SystemExit):
            main(words)
        assert expected in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert main(["toy", "fancy-rate", "--dry-run"]) == 0
    assert capsys.readouterr().out == "task: fancy-rate\nrate: 0.5\n"


def test_commands_of_several_variants_name_each() -> None:
    names = [command.name for command in COMMANDS]
    assert len({command.title for command in COMMANDS}) == len(COMMANDS)
    assert all(command.variant for command in COMMANDS if names.count(command.name) > 1)


def test_unknown_command_is_an_input_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sampels"]) == 2
    assert "there is no command 'sampels'; did you mean 'samples'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["toy", "--scan", "a", "--stpes=7"], "did you mean '--steps'?"),
        (["toy"], "--scan"),
        (["toy", "--scan", "a", "--steps", "few"], "invalid literal for int() with base 10: 'few'"),
        (["ty", "--scan", "a"], "did you mean 'toy'?"),
    ],
)
def test_every_refusal_with_json_is_one_object(
    toy: Callable[..., None], capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    toy()
    assert main([*words, "--json"]) == 2
    shown = json.loads(capsys.readouterr().out)["error"]
    assert shown["exit_code"] == 2
    assert shown["kind"] == "InputError"
    assert told in shown["message"]
    assert "│" not in shown["message"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--solver.strength", "2"], "solver.strength: found 2.0, allowed: less than or equal to 1 (Begin at"),
        (["--source.largest-tilt-degrees", "-1"], "source.largest_tilt_degrees: found -1.0, allowed: greater than"),
    ],
)
def test_a_wrong_value_in_a_section_is_told_like_any_other(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", "scan.nii.gz", "--prior", "prior", *words]) == 2
    assert capsys.readouterr().err.startswith(f"skiagraph: {told}")


def test_keys_of_a_section_that_contradict_each_other_are_told_with_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["segment", "a.png", "--prior", "p", "--output", "o", "--map.engine", "jvp", "--map.tau", "0.5"]) == 2
    assert capsys.readouterr().err.startswith("skiagraph: map: tau has no effect on the exact derivative")
