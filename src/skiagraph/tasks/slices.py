"""Which slices of a scan a command works on, from one word."""

from __future__ import annotations

import re

from skiagraph.errors import InputError

__all__ = ["chosen_slices"]

_PART = re.compile(r"(?P<index>-?\d+)|(?P<start>\d*):(?P<stop>\d*)(?::(?P<step>[1-9]\d*))?")


def chosen_slices(text: str, count: int) -> list[int]:
    """Return slice indices in the order asked for, each once.

    Args:
        text: "all", an index (negative ones count from the end), START:STOP or START:STOP:STEP as in Python, or several
            of these separated by commas.
        count: slices there are (>= 1); indices run from 0 to count - 1.
    """
    if text.strip().lower() == "all":
        return list(range(count))
    chosen: dict[int, None] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise InputError(
                f"slices: found {part.strip()!r} in {text!r}; allowed: all, an index, START:STOP or START:STOP:STEP, "
                "separated by commas"
            )
        if match["index"] is not None:
            index = int(match["index"])
            if not -count <= index < count:
                raise InputError(f"slices: found {index}, but the scan has {count} slices (0 to {count - 1})")
            chosen[index % count] = None
            continue
        stop = int(match["stop"]) if match["stop"] else count
        if stop > count:
            raise InputError(f"slices: found {part.strip()!r}, but the scan has {count} slices (0 to {count - 1})")
        chosen.update(dict.fromkeys(range(int(match["start"] or 0), stop, int(match["step"] or 1))))
    if not chosen:
        raise InputError(f"slices: {text!r} chooses none of the {count} slices")
    return list(chosen)
