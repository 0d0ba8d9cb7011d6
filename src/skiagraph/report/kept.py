"""Pages on disk, with their content beside them, so that they can be written again without the run's work."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import existing_file, write_whole
from skiagraph.errors import DataError
from skiagraph.report.curves import Curve, Line
from skiagraph.report.page import Highlight, Page, Table, render_page
from skiagraph.report.pictures import Picture, PictureRow

__all__ = ["keep_page", "kept_page", "write_page"]

_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in (Page, Table, Highlight, PictureRow, Picture, Curve, Line)}
_CONTENT, _TAG = "content", "#"


def write_page(page: Page, path: str | Path) -> Path:
    """Write the page as one self-contained HTML file, and its content beside it for `skiagraph report`.

    Args:
        page: what to show.
        path: HTML file to write, usually report.html; the content goes to the same name with .npz. Folders are made.
    """
    keep_page(page, Path(path).with_suffix(".npz"))
    return write_whole(path, render_page(page).encode("utf-8"))


def keep_page(page: Page, path: str | Path) -> Path:
    """Write what a page shows (words, numbers and pictures as arrays) as a compressed .npz, whole or not at all.

    Args:
        page: the page.
        path: file to write, usually report.npz beside report.html.
    """
    arrays: dict[str, NDArray[Any]] = {}
    text = json.dumps(_encoded(page, arrays), ensure_ascii=False)
    buffer = BytesIO()
    content = np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
    np.savez_compressed(buffer, allow_pickle=False, **{_CONTENT: content}, **arrays)
    return write_whole(path, buffer.getbuffer())


def kept_page(path: str | Path) -> Page:
    """Read what `keep_page` wrote; DataError for any other file."""
    file = existing_file(path, "the kept content of a page")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            page = _decoded(json.loads(arrays[_CONTENT].tobytes().decode("utf-8")), arrays)
    except DataError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        raise DataError(f"{file} is not the kept content of a page ({type(error).__name__}: {error})") from error
    if not isinstance(page, Page):
        raise DataError(f"{file} holds a {type(page).__name__}, not a page")
    return page


def _encoded(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return a value as JSON types; arrays go to `arrays`."""
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Picture):
            fields["array"] = np.asarray(value.array, dtype=np.float32)
        return {_TAG: type(value).__name__, **{name: _encoded(item, arrays) for name, item in fields.items()}}
    if isinstance(value, np.ndarray) and value.ndim > 1:
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {_TAG: "array", "name": name}
    if hasattr(value, "tolist"):
        return _encoded(value.tolist(), arrays)
    if isinstance(value, (list, tuple)):
        return [_encoded(item, arrays) for item in value]
    return value


def _decoded(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return what `_encoded` was given, with lists as tuples."""
    if isinstance(value, list):
        return tuple(_decoded(item, arrays) for item in value)
    if not isinstance(value, dict):
        return value
    if value[_TAG] == "array":
        return arrays[value["name"]]
    fields = {name: _decoded(item, arrays) for name, item in value.items() if name != _TAG}
    return _KINDS[value[_TAG]](**fields)
