"""Simulated acquisitions of sample heads: undersampled training scans, each with its one fixed mask, and test scans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from skiagraph.data.maps import espirit
from skiagraph.data.noise import noise_from_scan
from skiagraph.data.sample_volumes import sample_volume
from skiagraph.data.samples import fetch, sample
from skiagraph.data.simulation import Acquisition, ScanSettings, case_generator, simulate
from skiagraph.data.slicing import Head, SlicePose, locate_head, random_pose, slice_positions
from skiagraph.diffusion.streams import Streams
from skiagraph.physics.coils import compress, root_sum_of_squares
from skiagraph.physics.masks import EquispacedColumns, RandomColumns, VariableDensityColumns
from skiagraph.tasks.reconstruct.scan import PreparedScan, prepare_slices

__all__ = [
    "MaskFamily",
    "SimulatedSlices",
    "draw_mask",
    "mask_family",
    "prepare_acquisitions",
    "sample_head",
    "simulate_slices",
    "simulate_test_slices",
    "simulate_training_scans",
]

MaskFamily = Literal["random", "equispaced", "variable-density", "full"]


@dataclass(frozen=True, eq=False)
class SimulatedSlices:
    """Slices of simulated scans with what is known about them.

    Args:
        scan: what a method is given.
        truth: (S, H, W) float32, noise-free root-sum-of-squares, in the normalised unit of `scan`.
        head: (S, H, W) bool, inside of the head.
        names: case of every slice.
        affines: (4, 4) of every slice.
    """

    scan: PreparedScan
    truth: Tensor
    head: Tensor
    names: tuple[str, ...]
    affines: tuple[Any, ...] = ()


def sample_head(name: str) -> tuple[Head, dict[str, Any]]:
    """Fetch a sample head and return it with its record (licence, archive hash) for provenance."""
    fetched = fetch(name)
    return locate_head(sample_volume(fetched)), {**sample(name).record(), **fetched.record()}


def mask_family(kind: MaskFamily, width: int, acceleration: float, centre: int) -> Any:
    """The column family of a name."""
    if kind == "full":
        return RandomColumns(width, 1.0, centre)
    families = {"random": RandomColumns, "equispaced": EquispacedColumns, "variable-density": VariableDensityColumns}
    return families[kind](width, acceleration, centre)


def draw_mask(kind: MaskFamily, width: int, acceleration: float, centre: int, seed: int, case: str) -> Tensor:
    """The one mask (W,) of a case: a function of the seed and the case's name."""
    number = int(case_generator(seed, case, "mask").integers(0, 2**31))
    mask: Tensor = mask_family(kind, width, acceleration, centre).draw(Streams([number]))
    return mask.flatten()


def prepare_acquisitions(
    acquisitions: Sequence[Acquisition], masks: Sequence[Tensor], centre: int, *, prewhiten: bool = False
) -> SimulatedSlices:
    """Undersample, estimate the coil maps from the calibration lines, normalise.

    Args:
        acquisitions: fully sampled slices.
        masks: (W,) one for each.
        centre: calibration lines.
        prewhiten: where there is noise, whiten the coils with the slice's noise scan first, and take the level from it.
            The truth then has the intensity of the whitened coils, as the images of methods do (see `prepare_scan`).
    """
    scans, truths = [], []
    for acquired, mask in zip(acquisitions, masks, strict=True):
        kspace = torch.from_numpy(acquired.kspace)[None] * mask
        level, truth, back = acquired.noise_std, torch.from_numpy(acquired.truth), None
        if prewhiten and level > 0:
            model = noise_from_scan(acquired.noise_scan, f"noise scan of {acquired.case}")
            matrix = torch.from_numpy(model.whitener())[None]
            level, back = model.level, torch.linalg.inv(matrix).to(torch.complex64)
            kspace = compress(kspace, matrix.to(torch.complex64))
        maps = torch.from_numpy(espirit(kspace[0].numpy(), centre))[None]
        if back is not None:
            truth = truth / root_sum_of_squares(compress(maps, back))[0]
        scans.append(prepare_slices(kspace, mask, maps, torch.tensor([level], dtype=torch.float32)))
        truths.append(truth / scans[-1].scale)
    return SimulatedSlices(
        scan=PreparedScan.join(scans),
        truth=torch.stack(truths),
        head=torch.from_numpy(np.stack([acquired.mask for acquired in acquisitions])),
        names=tuple(acquired.case for acquired in acquisitions),
        affines=tuple(acquired.affine for acquired in acquisitions),
    )


def simulate_training_scans(
    shares: dict[str, int],
    *,
    kind: MaskFamily = "random",
    acceleration: float = 4.0,
    centre: int = 24,
    head_scale: tuple[float, float] = (0.92, 1.08),
    seed: int = 0,
    settings: ScanSettings | None = None,
    prewhiten: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[SimulatedSlices, list[dict[str, Any]]]:
    """Scan sample heads in random positions, one fixed mask, noise draw and set of coils per scan.

    Args:
        shares: number of scans of every sample head, by sample name.
        kind: mask family; "full" leaves the scans fully sampled (for the clean-data oracle).
        acceleration: nominal R.
        centre: calibration lines.
        head_scale: range of the size of a head relative to its file.
        seed: seed of positions, phases, coils, noise and masks.
        settings: matrix, coils and noise.
        prewhiten: see `prepare_acquisitions`.
        on_progress: called with (scans done, scans in all).

    Returns:
        The scans, and the records of the samples.
    """
    settings = settings or ScanSettings()
    parts: list[SimulatedSlices] = []
    records: list[dict[str, Any]] = []
    done, total = 0, sum(shares.values())
    for name, count in shares.items():
        head, record = sample_head(name)
        records.append(record)
        for number in range(count):
            case = f"{name}/{number}"
            pose = random_pose(head, case_generator(seed, case, "pose"), scale=head_scale)
            acquired = simulate(head, pose, seed=seed, case=case, settings=settings)
            mask = draw_mask(kind, settings.matrix[1], acceleration, centre, seed, case)
            parts.append(prepare_acquisitions([acquired], [mask], centre, prewhiten=prewhiten))
            done += 1
            if on_progress is not None:
                on_progress(done, total)
    joined = SimulatedSlices(
        scan=PreparedScan.join([part.scan for part in parts]),
        truth=torch.cat([part.truth for part in parts]),
        head=torch.cat([part.head for part in parts]),
        names=tuple(name for part in parts for name in part.names),
    )
    return joined, records


def simulate_slices(
    head: Head,
    name: str,
    positions: Sequence[float],
    *,
    kind: MaskFamily = "random",
    acceleration: float = 4.0,
    centre: int = 24,
    seed: int = 1,
    settings: ScanSettings | None = None,
) -> SimulatedSlices:
    """Axial slices of a head in its own position at `positions` (world mm), a fresh mask and set of coils per slice."""
    settings = settings or ScanSettings()
    acquired, masks = [], []
    for number, position in enumerate(positions):
        case = f"{name}/{number}"
        acquired.append(simulate(head, SlicePose(position), seed=seed, case=case, settings=settings))
        masks.append(draw_mask(kind, settings.matrix[1], acceleration, centre, seed, case))
    return prepare_acquisitions(acquired, masks, centre)


def simulate_test_slices(name: str, count: int, *, acceleration: float, centre: int, seed: int = 1) -> SimulatedSlices:
    """`count` evenly spaced axial slices of a sample head (see `simulate_slices`)."""
    head, _ = sample_head(name)
    return simulate_slices(
        head, name, slice_positions(head, count), acceleration=acceleration, centre=centre, seed=seed
    )
