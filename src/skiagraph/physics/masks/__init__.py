"""Families of sampling masks, sets of them that cover everything, and statistics of what they sample."""

from __future__ import annotations

from skiagraph.physics.masks.columns import (
    EquispacedColumns,
    ExactColumns,
    RandomColumns,
    VariableDensityColumns,
    centre_columns,
    exact_lines,
    nominal_lines,
)
from skiagraph.physics.masks.draws import CoveringFamily, Draws, MaskFamily

__all__ = [
    "CoveringFamily",
    "Draws",
    "EquispacedColumns",
    "ExactColumns",
    "MaskFamily",
    "RandomColumns",
    "VariableDensityColumns",
    "centre_columns",
    "exact_lines",
    "nominal_lines",
]
