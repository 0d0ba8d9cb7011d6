"""The documentation is true: links lead somewhere, commands parse, examples import, the reference is current."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

from skiagraph import cli
from skiagraph.config import load_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Every fenced block of a language: page and text."""
    found = []
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if match[1] == language:
                found.append((str(page.relative_to(ROOT)), match[2]))
    return found


def command_lines() -> list[tuple[str, str]]:
    """Every line of the pages that calls the program."""
    lines = [(page, line) for page, text in blocks("") for line in text.splitlines()]
    return [(page, line) for page, line in lines if re.match(r"(\.venv/bin/|torchrun .*-m )?skiagraph ", line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+?)\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_command_reference_is_the_programs_own() -> None:
    specification = importlib.util.spec_from_file_location("make_commands", ROOT / "docs" / "make_commands.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.render(), "run: python docs/make_commands.py"


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_every_command_line_parses(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")  # presets are named by their place in a checkout
    for _, text in blocks("yaml"):
        (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text, encoding="utf-8")
    words = shlex.split(line.split("skiagraph ", 1)[1].split(" #")[0])
    command, call = cli._parse(words)
    assert command.name == words[0], page
    assert call.settings is not None


@pytest.mark.parametrize(("page", "text"), blocks("yaml"))
def test_every_configuration_is_valid(page: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(text, encoding="utf-8")
    models = [cli._load(command.settings) for command in cli.COMMANDS]
    values = yaml.safe_load(text)
    model = next(model for model in models if set(values) - {"task"} <= set(model.model_fields))
    if "task" not in model.model_fields:
        values.pop("task", None)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert load_settings(model, path) is not None, page


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_every_example_imports_what_there_is(page: str, text: str) -> None:
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    compile(text, page, "exec")
    exec("\n".join(imports), {})


def test_make_targets_named_in_the_pages_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z]+)\b", page.read_text(encoding="utf-8"))}
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert {"demo", "prior", "test"} <= named
    assert {
        name for name in named if name in ("demo", "prior", "test", "setup", "lint", "experiment", "benchmark")
    } <= targets
