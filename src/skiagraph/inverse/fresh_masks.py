"""Fresh masks and fresh noise at every step: the released way of training, which honest data do not allow.

    FreshMasks(objective, family, noise_std=0.0)
        (network, batch, streams) -> ObjectiveResult; batch: "measurement" complete (B, C, H, W) or k-space with "maps"
    FreshColumns(objective, family)
        the same for `MeasurementObjective`; batch: "kspace" complete, "mask", "maps", "noise"; the noise stays its own

A scanner gives one mask and one noise draw per item. Drawing new ones at every step needs complete data, and shows the
network every coordinate of every item in time: an ablation, to be reported as one (measurement-score, section 7.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.diffusion.objective import ObjectiveResult
from skiagraph.inverse.items import coil_draws
from skiagraph.physics.coils import present_coils
from skiagraph.physics.masks import MaskFamily

__all__ = ["FreshColumns", "FreshMasks"]


@dataclass(frozen=True)
class FreshMasks:
    """Mask complete measurements anew, then train on them as if they had been acquired so.

    Args:
        objective: any objective of this package on batches with "measurement" and "mask".
        family: mask family; `Cells(shared_offset=True)` is that of the released image settings.
        noise_std: nu >= 0, white noise added before masking; stated in the batch that the objective gets.

    Draws the masks, then (for nu > 0) v; what follows is the objective's.
    """

    objective: Callable[[Any, Mapping[str, Tensor], Any], ObjectiveResult]
    family: MaskFamily
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        if not self.noise_std >= 0:
            raise ValueError(f"noise_std: found {self.noise_std}; a standard deviation is >= 0.")

    def __call__(self, network: Any, batch: Mapping[str, Tensor], streams: Any) -> ObjectiveResult:
        """Loss of each item of a batch, under a mask of its own."""
        full = batch["measurement"]
        _check_complete(batch)
        mask = self.family.draw(streams).to(full.device)
        if "maps" in batch:
            streams = coil_draws(streams, present_coils(batch["maps"]).expand(full.shape[0]), full.shape[1])
        noisy = full + self.noise_std * streams.normal_like(full) if self.noise_std > 0 else full
        level = torch.full((full.shape[0],), self.noise_std, device=full.device)
        given = {name: value for name, value in batch.items() if name == "maps"}
        return self.objective(network, {**given, "measurement": mask * noisy, "mask": mask, "noise": level}, streams)


@dataclass(frozen=True)
class FreshColumns:
    """Leave out columns of complete k-space anew at every step; only the masks differ from honest training.

    Args:
        objective: an objective on batches with "kspace" and "mask", e.g. `MeasurementObjective`.
        family: family of column masks.
    """

    objective: Callable[[Any, dict[str, Tensor], Any], ObjectiveResult]
    family: MaskFamily

    def __call__(self, network: Any, batch: dict[str, Tensor], streams: Any) -> ObjectiveResult:
        """Loss of each item of a batch, under a mask of its own."""
        _check_complete(batch)
        mask = self.family.draw(streams).to(batch["kspace"].device).reshape(batch["mask"].shape)
        return self.objective(network, {**batch, "kspace": mask * batch["kspace"], "mask": mask}, streams)


def _check_complete(batch: Mapping[str, Tensor]) -> None:
    if "mask" in batch and not bool((batch["mask"] == 1).all()):
        raise ValueError("mask: found measurements that are not complete; fresh masks can only be drawn on those.")
