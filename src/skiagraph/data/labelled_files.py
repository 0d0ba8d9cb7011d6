"""Folders per class: which files there are, what they show, and in which order the classes stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skiagraph.data.image_readers import format_of, readable_suffixes
from skiagraph.errors import DataError, InputError

__all__ = ["CLASSES_NAME", "LabelledFile", "class_folders", "natural_order"]

CLASSES_NAME = "classes.txt"
IGNORED = ("thumbs.db", "readme.md", "readme.txt", "licence.txt", "license.txt")


@dataclass(frozen=True)
class LabelledFile:
    """One file and what is known of it.

    Args:
        name: path relative to the root, with "/" between its parts.
        label: name of its class.
        patient: whom it shows, None where nothing says so.
        side: "train", "validation" or "test", None where nothing says so.
    """

    name: str
    label: str
    patient: str | None = None
    side: str | None = None


def class_folders(root: Path) -> list[LabelledFile]:
    """Find the images of folders named after classes, subfolders too, by class and then by name.

    An .npy file beside an image file of the same name holds the same image in full precision and takes its place.
    Hidden files and a few well-known companions are passed over; any other file is an error.
    """
    folders = sorted(item for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
    if not folders:
        raise DataError(f"{root} holds no folder; one folder a class is needed, or a table of files and labels")
    files: list[LabelledFile] = []
    for folder in folders:
        inside = sorted(item for item in folder.rglob("*") if item.is_file() and not item.name.startswith("."))
        wanted = [item for item in inside if item.name.lower() not in IGNORED]
        foreign = [item for item in wanted if format_of(item) is None]
        if foreign:
            allowed = ", ".join(readable_suffixes())
            raise DataError(f"{foreign[0]} is not an image that can be read ({allowed}); move it away or convert it")
        if not wanted:
            raise DataError(f"{folder} holds no image; fill it, or remove it to leave the class out")
        precise = {item.with_suffix("") for item in wanted if item.suffix == ".npy"}
        for item in wanted:
            if item.suffix == ".npy" or item.with_suffix("") not in precise:
                files.append(LabelledFile(item.relative_to(root).as_posix(), folder.name))
    return files


def natural_order(root: Path, found: Sequence[str], declared: Sequence[str] | None) -> tuple[str, ...]:
    """Return the classes in order: as declared, else as `classes.txt` says, else by name with numbers by value.

    Args:
        root: folder that may hold `classes.txt`.
        found: labels of the files; every one must be declared.
        declared: names in their order.
    """
    source, listed = "classes", None if declared is None else list(declared)
    file = root / CLASSES_NAME
    if listed is None and file.exists():
        source = str(file)
        listed = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if listed is None:
        numbers = all(label.isdecimal() for label in found)
        return tuple(sorted(set(found), key=int) if numbers else sorted(set(found)))
    if len(set(listed)) < len(listed):
        raise InputError(f"{source}: found {listed}; every class stands there once")
    unknown = sorted(set(found) - set(listed))
    if unknown:
        raise InputError(f"{source}: {listed} lacks the classes {unknown} of the data in {root}; name all in order")
    return tuple(listed)
