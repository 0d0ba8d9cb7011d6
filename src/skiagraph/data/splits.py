"""Splits by head: slices of one head never stand on two sides."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from skiagraph.data.files import atomic_path, existing_file
from skiagraph.errors import DataError, InputError

__all__ = ["Split", "read_split", "split_by_head", "write_split"]

SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Which case belongs to which side, and which head each case shows.

    Attributes:
        heads: case name -> head (the identity that must not be shared between sides).
        train, validation, test: case names; together all of `heads`, each once.
        kind: what the identity is called: "head", "patient", ...
    """

    heads: Mapping[str, str]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    kind: str = "head"

    def __post_init__(self) -> None:
        placed = [case for side in SIDES for case in getattr(self, side)]
        twice = sorted({case for case in placed if placed.count(case) > 1}) if len(set(placed)) < len(placed) else []
        if twice:
            raise InputError(f"cases stand in a split more than once: {twice[:5]}")
        if set(placed) != set(self.heads):
            lost = sorted(set(self.heads).symmetric_difference(placed))
            raise InputError(
                f"cases without a {self.kind} or without a side: {lost[:5]}; each needs exactly one of both"
            )
        for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
            shared = self.heads_of(first) & self.heads_of(second)
            if shared:
                raise InputError(
                    f"{first} and {second} share the {self.kind}s {sorted(shared)[:5]}; a {self.kind} may stand on "
                    "one side only"
                )

    def heads_of(self, side: str) -> set[str]:
        """Return the heads of one side: "train", "validation" or "test"."""
        if side not in SIDES:
            raise InputError(f"side is {side!r}; {', '.join(SIDES)} are allowed")
        return {self.heads[case] for case in getattr(self, side)}


def split_by_head(heads: Mapping[str, str], *, test: Iterable[str], validation: Iterable[str] = ()) -> Split:
    """Put every case of the named heads into test and validation, all others into train.

    Args:
        heads: case name -> head.
        test, validation: heads; unknown ones and ones named twice are refused.
    """
    asked_test, asked_validation = set(test), set(validation)
    known = set(heads.values())
    for name, asked in (("test", asked_test), ("validation", asked_validation)):
        if asked - known:
            raise InputError(f"{name} names unknown heads {sorted(asked - known)}; known heads: {sorted(known)}")
    if asked_test & asked_validation:
        raise InputError(f"test and validation share the heads {sorted(asked_test & asked_validation)}")
    sides: dict[str, list[str]] = {side: [] for side in SIDES}
    for case, head in heads.items():
        side = "test" if head in asked_test else "validation" if head in asked_validation else "train"
        sides[side].append(case)
    return Split(dict(heads), tuple(sides["train"]), tuple(sides["validation"]), tuple(sides["test"]))


def write_split(path: str | os.PathLike[str], split: Split) -> Path:
    """Write a split as JSON, whole or not at all."""
    content = {"heads": dict(split.heads), **{side: list(getattr(split, side)) for side in SIDES}}
    with atomic_path(path, suffix=".json") as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Path(path)


def read_split(path: str | os.PathLike[str]) -> Split:
    """Read and check a split written by `write_split`; overlap and unknown keys are refused."""
    file = existing_file(path, "a split (JSON)")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if set(content) != {"heads", *SIDES}:
            raise DataError(f"{file} has the keys {sorted(content)}; exactly heads, {', '.join(SIDES)} are needed")
        train, validation, test = (tuple(content[side]) for side in SIDES)
        return Split(dict(content["heads"]), train, validation, test)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise DataError(f"{file} is not a split in JSON: {error}") from error
    except InputError as error:
        raise DataError(f"{file}: {error}") from error
