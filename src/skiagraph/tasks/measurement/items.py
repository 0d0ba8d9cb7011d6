"""Training items: measurements, masks and maps, never a clean image, unless fresh masks were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skiagraph.data.pictures import Pictures, find_files, open_pictures
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.inverse.fresh_masks import FreshMasks
from skiagraph.inverse.noisy_objective import NoisyMeasurementObjective
from skiagraph.inverse.released_objective import ReferenceMeasurementScoreObjective
from skiagraph.physics.coils import pad_coils
from skiagraph.physics.masks import MaskFamily
from skiagraph.tasks.measurement.coils import CoilSlices, read_coil_slices
from skiagraph.tasks.measurement.masks import MaskBank, mask_family
from skiagraph.tasks.measurement.settings import TrainMeasurementSettings
from skiagraph.tasks.measurement.walks import training_table
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.training import Objective
from skiagraph.training.order import derive_seed

__all__ = ["CoilItems", "PictureItems", "TrainingData", "measurement_objective", "open_training_data"]

KSPACE = (".h5", ".hdf5")


@dataclass(frozen=True, eq=False)
class PictureItems:
    """Pictures as masked measurements: y = M (x + nu v), mask and noise a function of seed and name.

    Args:
        pictures: the pictures.
        family: mask family; None takes each picture's own mask, with the noise that it holds.
        noise_std: nu >= 0.
        seed: seed of masks and noise.
        complete: return x itself, for masks drawn anew at every step.
    """

    pictures: Pictures
    family: MaskFamily | None
    noise_std: float
    seed: int
    complete: bool = False

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """The items at `indices`: "measurement" (B, C, H, W), "mask" (B, 1, H, W), "noise" (B,)."""
        items = [self._item(int(index)) for index in indices]
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}

    def _item(self, index: int) -> dict[str, Tensor]:
        image = torch.from_numpy(self.pictures.image(index))
        if self.complete:
            return {"measurement": image}
        noise = torch.tensor(self.noise_std)
        own = self.pictures.mask(index)
        if self.family is None and own is not None:
            mask = torch.from_numpy(own)
            return {"measurement": mask * image, "mask": mask, "noise": noise}
        streams = Streams([derive_seed("measurement", self.seed, self.pictures.names[index])])
        drawn = self.family.draw(streams)[0] if self.family is not None else torch.ones(1, 1, 1)
        mask = drawn.expand(1, *image.shape[1:]).contiguous()
        noisy = image + self.noise_std * streams.normal(*image.shape)[0] if self.noise_std > 0 else image
        return {"measurement": mask * noisy, "mask": mask, "noise": noise}


@dataclass(frozen=True, eq=False)
class CoilItems:
    """Slices of k-space as measurements; see `PictureItems` for the arguments.

    Args:
        parts: slices file by file, all of one matrix; those of fewer coils get coils of zeros in a batch.
        family: mask family; None keeps each slice's own mask.
        noise_std: noise added to complete k-space, per part.
        seed: seed of masks and noise.
        complete: return complete k-space, for masks drawn anew at every step.
    """

    parts: tuple[CoilSlices, ...]
    family: MaskFamily | None
    noise_std: float
    seed: int
    complete: bool = False

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def names(self) -> list[str]:
        """One a slice."""
        return [name for part in self.parts for name in part.names]

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """The items at `indices`: "measurement" and "maps" (B, coils, H, W), "mask" (B, 1, 1, W), "noise" (B,)."""
        items = [self._item(int(index)) for index in indices]
        width = max(part.kspace.shape[1] for part in self.parts)
        for item in items:
            for name in ("measurement", "maps"):
                item[name] = pad_coils(item[name][None], width)[0]
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}

    def _place(self, index: int) -> tuple[CoilSlices, int]:
        for part in self.parts:
            if index < len(part):
                return part, index
            index -= len(part)
        raise IndexError(index)

    def _item(self, index: int) -> dict[str, Tensor]:
        part, place = self._place(index)
        kspace, maps, level = part.kspace[place], part.maps[place], part.noise[place]
        if self.complete:
            return {"measurement": kspace, "maps": maps}
        if self.family is None:
            stated = level if self.noise_std == 0 else torch.tensor(self.noise_std)
            return {"measurement": kspace, "mask": part.mask[place], "maps": maps, "noise": stated}
        streams = Streams([derive_seed("measurement", self.seed, part.names[place])])
        mask = self.family.draw(streams)[0].expand(1, 1, kspace.shape[-1]).contiguous()
        if self.noise_std > 0:
            kspace = kspace + self.noise_std * streams.normal(*kspace.shape, dtype=kspace.dtype)[0]
            level = (level.square() + self.noise_std**2).sqrt()
        return {"measurement": mask * kspace, "mask": mask, "maps": maps, "noise": level}


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run learns from.

    Args:
        items: the training items.
        channels: of the image (2 for k-space: real and imaginary part).
        size: rows and columns.
        names: of the training items.
        held_out: names of what was kept out.
        spacing_mm: (row, column); 1 where the data state none.
        normalisation: how intensities were brought to the network's range.
        bank: the data's own masks, for mask family "own".
    """

    items: PictureItems | CoilItems
    channels: int
    size: tuple[int, int]
    names: list[str]
    held_out: list[str]
    spacing_mm: tuple[float, float]
    normalisation: str
    bank: MaskBank | None


def open_training_data(settings: TrainMeasurementSettings, on_progress: OnProgress = silent) -> TrainingData:
    """Find and check the data; an empty training split is refused."""
    if settings.kind == "k-space":
        return _coil_data(settings, on_progress)
    return _picture_data(settings)


def _split(settings: TrainMeasurementSettings, count: int, what: str) -> None:
    if settings.hold_out >= count:
        raise InputError(
            f"hold_out: keeps the first {settings.hold_out} of {count} {what} out of training, which leaves none; "
            "give more data or a smaller number"
        )


def _picture_data(settings: TrainMeasurementSettings) -> TrainingData:
    found = open_pictures(settings.data, channels=settings.channels, size=settings.shape, intensity=settings.intensity)
    _split(settings, len(found), "images")
    chosen = found.select(range(settings.hold_out, len(found)))
    bank = None
    if settings.mask.family == "own":
        if not chosen.masked:
            raise InputError(
                'mask.family: "own" needs `masks` beside the `images` of every file; name a family instead'
            )
        own = [chosen.mask(index) for index in range(len(chosen))]
        bank = MaskBank.of(torch.stack([torch.from_numpy(mask) for mask in own if mask is not None]))
    elif chosen.masked:
        raise InputError(
            f'mask.family: found {settings.mask.family!r}, but the data have masks of their own; give "own"'
        )
    family = None if bank is not None else _family(settings, found.size, None)
    items = PictureItems(chosen, family, settings.noise_std, settings.seed, settings.fresh)
    names = found.names
    spacing = next((s.affine for s in found.stacks.values() if s.affine is not None), None)
    steps = (1.0, 1.0) if spacing is None else tuple(float((spacing[:3, axis] ** 2).sum() ** 0.5) for axis in (0, 1))
    low, high = chosen.limits(0)
    return TrainingData(
        items,
        found.channels,
        found.size,
        names[settings.hold_out :],
        names[: settings.hold_out],
        (steps[0], steps[1]),
        f"linear, {low:g} to -1 and {high:g} to 1",
        bank,
    )


def _coil_data(settings: TrainMeasurementSettings, on_progress: OnProgress) -> TrainingData:
    files = find_files(settings.data, KSPACE)
    files = [file for file in files if not file.name.endswith(".maps.h5")]
    _split(settings, len(files), "files")
    combined, last = settings.kspace == "combined", settings.skip_last or 0
    parts = []
    for done, file in enumerate(chosen := files[settings.hold_out :]):
        on_progress("scans", done, len(chosen))
        part = read_coil_slices(
            file, combined=combined, size=settings.shape, choose=lambda n: range(max(0, n - last)), on_progress=silent
        )
        parts.append(part)
        if part.kspace.shape[2:] != parts[0].kspace.shape[2:]:
            raise InputError(
                f"data: {file} has (rows, columns) {tuple(part.kspace.shape[2:])}, but {chosen[0]} has "
                f"{tuple(parts[0].kspace.shape[2:])}; train on scans of one size, or crop them with kspace: combined"
            )
    on_progress("scans", len(chosen), len(chosen))
    size = (int(parts[0].kspace.shape[-2]), int(parts[0].kspace.shape[-1]))
    own = settings.mask.family == "own"
    incomplete = [name for part in parts if not part.complete for name in part.names[:1]]
    if incomplete and not own:
        raise InputError(f'mask.family: {incomplete[0]} misses lines of its own; give "own", or complete k-space')
    bank = MaskBank.of(torch.cat([part.mask for part in parts])) if own else None
    family = None if own else _family(settings, size, None)
    items = CoilItems(tuple(parts), family, settings.noise_std, settings.seed, settings.fresh)
    method = "smallest and largest magnitude of a slice to 0 and 1, phase kept"
    if not combined:
        method = "divide by the 99th percentile of the magnitude of the calibration lines' image"
    held = [file.name for file in files[: settings.hold_out]]
    return TrainingData(items, 2, size, items.names, held, parts[0].spacing_mm, method, bank)


def _family(settings: TrainMeasurementSettings, size: tuple[int, int], bank: MaskBank | None) -> MaskFamily:
    released = settings.objective == "reference" and settings.fresh and settings.mask.family == "cells"
    return mask_family(settings.mask, size, bank, shared_offset=released)


def measurement_objective(settings: TrainMeasurementSettings, data: TrainingData) -> Objective:
    """The objective of a run, with fresh masks around it where they were asked for."""
    table = training_table(settings.steps)
    sure: dict[str, Any] = {
        name: value
        for name, value in (("sure_weight", settings.sure_weight), ("kappa", settings.sure_step))
        if value is not None
    }
    objective: Objective
    try:
        if settings.objective == "reference":
            mask = settings.mask
            rate = (0.4 if mask.drop is None else mask.drop) if settings.kind == "images" else mask.acceleration or 4.0
            rate = 1.0 if mask.family in ("none", "own") else rate
            objective = ReferenceMeasurementScoreObjective(table, settings.noise_std, acceleration_rate=rate, **sure)
        else:
            objective = NoisyMeasurementObjective(
                table,
                noise_std=settings.noise_std,
                parametrisation=settings.predicts or ("v" if settings.kind == "k-space" else "eps"),
                sees_mask=sees_mask(settings),
                **sure,
            )
        if settings.fresh:
            return FreshMasks(objective, _family(settings, data.size, None), settings.noise_std)
    except ValueError as error:
        raise InputError(f"objective: {error}") from None
    return objective


def sees_mask(settings: TrainMeasurementSettings) -> bool:
    """Whether the mask is one of the network's input channels."""
    if settings.network.mask_channel is not None:
        return settings.network.mask_channel
    return settings.kind == "k-space" and settings.objective == "default" and settings.mask.family != "none"
