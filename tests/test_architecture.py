"""The shape of the house: which part may know which, read from the imports themselves."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import skiagraph

ROOT = Path(skiagraph.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

FOUNDATIONS = {"diffusion", "physics", "similarity", "networks", "data"}
MIDDLE = {"training", "inverse", "evaluation", "report"}
PARTS = FOUNDATIONS | MIDDLE | {"tasks", "cli", "commands", "refusals", "terminal", "config", "errors"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "commands": set(),
    "config": {"errors"},
    **{part: {"errors"} for part in FOUNDATIONS},
    **{part: FOUNDATIONS | {"errors", "config"} for part in MIDDLE},
    "tasks": FOUNDATIONS | MIDDLE | {"errors", "config"},
    "cli": FOUNDATIONS | MIDDLE | {"tasks", "commands", "refusals", "terminal", "errors", "config"},
    "refusals": {"errors"},
    "terminal": {"tasks", "errors", "config"},  # how the command line shows what tasks report
}
TORCH_ONLY = {"diffusion", "physics", "similarity", "networks"}
ALSO = {
    "networks": {"safetensors"},  # the importer reads weights that others wrote
    "similarity": {"numba", "llvmlite", "numpy"},  # local information voxel by voxel, in machine code
}
FORBIDDEN_NAMES = {"utils", "util", "core", "base", "common", "helpers", "misc"}


def part_of(path: Path) -> str:
    """The part a file belongs to: its folder or, at the top, its own name."""
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports anywhere, also inside functions, as an absolute dotted name with its line."""
    package = ("skiagraph", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                yield f"{module}.{alias.name}", node.lineno


def own_part(module: str) -> str | None:
    """The part of skiagraph that a dotted name belongs to, or None for other packages and for the top itself."""
    names = module.split(".")
    if names[0] != "skiagraph" or len(names) < 2 or names[1].startswith("__"):
        return None
    return names[1]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_read() -> None:
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_arrows_point_down(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    assert part in PARTS, f"{shown(path)} lies in no known part; known are {', '.join(sorted(PARTS))}."
    for module, line in imported(path):
        target = own_part(module)
        allowed = ALLOWED[part] | {part}
        assert target is None or target in allowed, (
            f"{shown(path)}:{line} imports {module}; {part} may import {', '.join(sorted(allowed))} only."
        )


@pytest.mark.parametrize("path", [path for path in FILES if part_of(path) in TORCH_ONLY], ids=shown)
def test_the_calculus_knows_torch_and_the_standard_library_only(path: Path) -> None:
    for module, line in imported(path):
        top = module.split(".")[0]
        allowed = {"torch", "skiagraph"} | ALSO.get(part_of(path), set())
        known = top in sys.stdlib_module_names or top in allowed
        assert known, f"{shown(path)}:{line} imports {module}; {part_of(path)} may import {', '.join(allowed)} only."


def test_the_package_itself_imports_nothing_heavy() -> None:
    for module, line in imported(ROOT / "__init__.py"):
        assert module.split(".")[0] in sys.stdlib_module_names, f"__init__.py:{line} imports {module}."


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_names_say_what_a_module_is_for(path: Path) -> None:
    names = {part.removesuffix(".py").strip("_") for part in path.relative_to(ROOT).parts}
    assert not names & FORBIDDEN_NAMES, f"{shown(path)}: a module is named after what it does."


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_modules_say_what_they_offer(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), f"{shown(path)}: no docstring."
    if all(isinstance(node, ast.Expr) for node in tree.body) or path.name == "__main__.py":
        return
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    assert any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets), (
        f"{shown(path)}: no __all__."
    )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import skiagraph.inverse.dps", {"inverse"}),
        ("def f():\n    from skiagraph.inverse import dps", {"inverse"}),
        ("from skiagraph import inverse", {"inverse"}),
        ("from .. import inverse", {"inverse"}),
        ("from ..inverse.dps import DPS", {"inverse"}),
        ("from . import grid", {"diffusion"}),
        ("from skiagraph import __version__", set()),
        ("import torch", set()),
    ],
)
def test_the_reader_sees_every_form_of_import(source: str, found: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: source)
    parts = {own_part(module) for module, _ in imported(ROOT / "diffusion" / "toy.py")}
    assert parts - {None} == found
