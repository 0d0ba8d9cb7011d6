"""What a measurement is: linear operators with adjoints, and the masks that decide what is sampled."""

from __future__ import annotations

__all__: list[str] = []
