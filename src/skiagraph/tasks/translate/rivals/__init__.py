"""Other ways to translate, with the same prior and the same budget of network calls."""

from __future__ import annotations

__all__: list[str] = []
