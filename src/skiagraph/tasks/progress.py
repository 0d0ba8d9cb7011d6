"""How a task tells whoever started it how far it is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["OnProgress", "silent"]

OnProgress = Callable[[str, int, int], None]
"""Called as (stage, done, total): the stage in words, and the parts of it done and in all (total 0: not known)."""


def silent(stage: str, done: int, total: int) -> None:
    """Say nothing."""
