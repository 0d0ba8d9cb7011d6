"""A small generated head and scans of it, made once."""

from __future__ import annotations

import numpy as np
import pytest

from skiagraph.data.kspace import KSpace
from skiagraph.data.phantom import head_phantom
from skiagraph.data.simulation import Acquisition, ScanSettings, simulate
from skiagraph.data.slicing import Head, SlicePose, locate_head, slice_positions
from skiagraph.data.volume import Volume


@pytest.fixture(scope="session")
def phantom() -> Volume:
    return head_phantom(0, spacing_mm=3.0)


@pytest.fixture(scope="session")
def head(phantom: Volume) -> Head:
    return locate_head(phantom)


@pytest.fixture(scope="session")
def acquisitions(head: Head) -> list[Acquisition]:
    settings = ScanSettings(coils=4, matrix=(64, 48), field_of_view_mm=(256.0, 208.0))
    poses = [SlicePose(position) for position in slice_positions(head, 2)]
    return [simulate(head, pose, seed=3, case=f"case {i}", settings=settings) for i, pose in enumerate(poses)]


@pytest.fixture
def scan(acquisitions: list[Acquisition]) -> KSpace:
    mask = np.zeros(48, dtype=bool)
    mask[::4] = True
    mask[18:30] = True
    affine = acquisitions[0].affine.copy()
    affine[:3, 3] += [3.0, -2.0, 1.0]
    affine[:3, 2] = [0.0, 0.0, 2.0]
    return KSpace(
        data=np.stack([item.kspace for item in acquisitions]) * mask.astype(np.float32),
        mask=mask,
        field_of_view_mm=(256.0, 208.0),
        slice_spacing_mm=2.0,
        affine=affine,
        truth=np.stack([item.truth for item in acquisitions]),
        noise_scan=acquisitions[0].noise_scan,
        source="generated",
    )
