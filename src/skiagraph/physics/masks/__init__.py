"""Families of sampling masks, sets of them that cover everything, and statistics of what they sample."""

from __future__ import annotations

from skiagraph.physics.masks.cells import Cells, Pixels, hole_mask
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
from skiagraph.physics.masks.planes import PoissonDisc2D, RadialOnGrid
from skiagraph.physics.masks.profile import MaskDistance, MaskProfile, mask_distance, mask_profile
from skiagraph.physics.masks.reference import CellMemory, ReferenceCellSchedule, ReferenceColumnSchedule
from skiagraph.physics.masks.statistics import Coverage, coverage, effective_acceleration, uncovered

__all__ = [
    "CellMemory",
    "Cells",
    "Coverage",
    "CoveringFamily",
    "Draws",
    "EquispacedColumns",
    "ExactColumns",
    "MaskDistance",
    "MaskFamily",
    "MaskProfile",
    "Pixels",
    "PoissonDisc2D",
    "RadialOnGrid",
    "RandomColumns",
    "ReferenceCellSchedule",
    "ReferenceColumnSchedule",
    "VariableDensityColumns",
    "centre_columns",
    "coverage",
    "effective_acceleration",
    "exact_lines",
    "hole_mask",
    "mask_distance",
    "mask_profile",
    "nominal_lines",
    "uncovered",
]
