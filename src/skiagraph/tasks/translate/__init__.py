"""Translate: show a scan in the modality that a prior knows, guided by what the source's structure tells."""

from __future__ import annotations

__all__: list[str] = []
