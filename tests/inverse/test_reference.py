"""The released sampler equals a literal evaluation of the method page when fed the same noise and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from tests.inverse import literal
from tests.inverse.replay import RecordedMasks, RecordedNoise
from tests.inverse.yardstick import Identity
from torch import Tensor

from skiagraph.diffusion.grid import Levels
from skiagraph.diffusion.sampling import Step, trajectory
from skiagraph.diffusion.schedule import linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.data_consistency import ReleasedColumnStep, ReleasedImageStep
from skiagraph.inverse.partial import EpsPartialDenoiser
from skiagraph.inverse.reference import ReferenceMeasurementScore
from skiagraph.physics.fourier import CoilFourier
from skiagraph.physics.masks import ReferenceCellSchedule, ReferenceColumnSchedule
from skiagraph.physics.resample import CubicDownsample, nearest_upsample
from skiagraph.physics.selection import PixelMask

LEVELS, STRIDE, BATCH = 10, 100, 2
SCHEDULE = linear_table().respaced("ddim10")
REAL = (BATCH, 3, 8, 8)
COILS = (BATCH, 4, 6, 12)


def network(u: Any, tau: Any, module: Any = torch) -> Any:
    """A small nonlinear function of the image and the time, the same in torch and in numpy."""
    mixed = u + 0.5 * module.roll(u, 1, -1) - 0.3 * module.roll(u, 1, -2)
    return 0.8 * module.tanh(mixed + tau / 700)


def denoiser(operator: Any) -> EpsPartialDenoiser:
    return EpsPartialDenoiser(
        lambda u, tau: network(u, tau.reshape(-1, 1, 1, 1)), SCHEDULE, operator, SCHEDULE.original_index
    )


def numpy_network(u: Any, tau: float) -> Any:
    return network(u, tau, np)


def coil_maps(seed: int = 3) -> Tensor:
    maps = Streams(range(seed, seed + BATCH)).normal(*COILS[1:], dtype=torch.complex128)
    return maps / maps.abs().square().sum(1, keepdim=True).sqrt()


@dataclass
class Recording:
    """All random numbers of a walk."""

    gaussians: list[Tensor]
    masks: list[Tensor]

    @classmethod
    def of(cls, like: Tensor, family: Any, views: int) -> Recording:
        streams = Streams(range(BATCH))
        count = 1 + LEVELS * (views + 1)
        masks, memory = [], None
        for _ in range(LEVELS * views):
            mask, memory = family.draw(streams, memory)
            masks.append(mask.to(like.real.dtype if like.is_complex() else like.dtype))
        return cls([streams.normal_like(like) for _ in range(count)], masks)

    def library(self, rule: Any, operator: Any) -> list[Step]:
        """Walk the library's rule; checks that exactly these numbers were used."""
        noise = RecordedNoise(self.gaussians)
        start = noise.normal_like(self.gaussians[0])
        steps = list(trajectory(denoiser(operator), start, Levels(), rule, streams=noise))  # type: ignore[arg-type]
        assert noise.used == len(self.gaussians) == 1 + LEVELS * (rule.views + 1)
        assert rule.masks.used == len(self.masks) == LEVELS * rule.views
        return steps

    def literal(self, item: int, space: Any, **settings: Any) -> Any:
        """Walk the literal sampler for one item of the batch."""
        gaussians = (value[item].numpy() for value in self.gaussians)
        masks = (value[item].numpy() for value in self.masks)
        levels = literal.scale_levels(STRIDE)
        return literal.sample(numpy_network, space, levels, STRIDE, gaussians, masks, **settings)


def agree(steps: list[Step], expected: list[Any], tolerance: float = 1e-10) -> None:
    found = steps[-1].x.numpy()
    for item, value in enumerate(expected):
        assert np.abs(found[item] - value).max() <= tolerance * np.abs(value).max()


@pytest.mark.parametrize("views", [1, 2, 3])
def test_generation_of_images(views: int) -> None:
    recording = Recording.of(torch.zeros(REAL, dtype=torch.float64), ReferenceCellSchedule(8), views)
    rule = ReferenceMeasurementScore(Identity(), RecordedMasks(recording.masks), views)
    steps = recording.library(rule, Identity())
    agree(steps, [recording.literal(item, literal.Images(), views=views, eta=1.0) for item in range(BATCH)])


def test_generation_clipped_in_single_precision() -> None:
    recording = Recording.of(torch.zeros(REAL), ReferenceCellSchedule(8), 2)
    rule = ReferenceMeasurementScore(Identity(), RecordedMasks(recording.masks), 2, clip=True)
    steps = recording.library(rule, Identity())
    images = literal.Images()
    agree(steps, [recording.literal(i, images, views=2, eta=1.0, clip=True) for i in range(BATCH)], 1e-4)
    assert steps[-1].x.abs().max() <= 1


@pytest.mark.parametrize("clip", [False, True])
def test_box_inpainting(clip: bool) -> None:
    recording = Recording.of(torch.zeros(REAL, dtype=torch.float64), ReferenceCellSchedule(8), 2)
    hole = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    hole[..., 2:6, 3:7] = 0
    y = hole * Streams([7, 8]).normal(*REAL[1:], dtype=torch.float64)
    step = ReleasedImageStep(PixelMask(hole), y, lambda residual: residual)
    rule = ReferenceMeasurementScore(Identity(), RecordedMasks(recording.masks), 2, 0.85, "image", step, clip)
    steps = recording.library(rule, Identity())
    keep = hole[0].numpy()

    def plain(item: int) -> Any:
        problem = literal.Problem(False, 1.75, y[item].numpy(), lambda z: keep * z, lambda r: r)
        return recording.literal(item, literal.Images(), views=2, eta=0.85, problem=problem, clip=clip)

    agree(steps, [plain(item) for item in range(BATCH)])


def test_super_resolution_with_the_released_transpose() -> None:
    recording = Recording.of(torch.zeros(REAL, dtype=torch.float64), ReferenceCellSchedule(8), 2)
    down = CubicDownsample(8, 8)
    y = Streams([7, 8]).normal(3, 2, 2, dtype=torch.float64)
    step = ReleasedImageStep(down, y, nearest_upsample)
    rule = ReferenceMeasurementScore(Identity(), RecordedMasks(recording.masks), 2, 0.85, "image", step)
    steps = recording.library(rule, Identity())
    matrix = down.forward(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)).reshape(64, 4).T.numpy()

    def plain(item: int) -> Any:
        problem = literal.Problem(
            False,
            1.75,
            y[item].numpy(),
            lambda z: (z.reshape(3, 64) @ matrix.T).reshape(3, 2, 2),
            lambda r: np.kron(r, np.ones((4, 4))),
        )
        return recording.literal(item, literal.Images(), views=2, eta=0.85, problem=problem)

    agree(steps, [plain(item) for item in range(BATCH)])


def _columns(views: int) -> Recording:
    family = ReferenceColumnSchedule(COILS[-1], 4.0, 2)
    return Recording.of(torch.zeros(COILS, dtype=torch.complex128), family, views)


def test_generation_of_kspace() -> None:
    recording, maps = _columns(2), coil_maps()
    operator = CoilFourier(maps)
    steps = recording.library(ReferenceMeasurementScore(operator, RecordedMasks(recording.masks), 2), operator)
    spaces = [literal.Coils(item.numpy()) for item in maps]
    agree(steps, [recording.literal(i, space, views=2, eta=1.0) for i, space in enumerate(spaces)])


def _reconstruct(lam: float, y: Tensor, measured: Tensor, views: int = 3) -> tuple[Recording, list[Step]]:
    recording = _columns(views)
    operator = CoilFourier(coil_maps())
    step = ReleasedColumnStep(measured, y, lam)
    rule = ReferenceMeasurementScore(operator, RecordedMasks(recording.masks), views, 0.85, "mri", step)
    return recording, recording.library(rule, operator)


def _scan() -> tuple[Tensor, Tensor]:
    """Data with an exact zero on a measured column, and their columns."""
    measured = torch.zeros(1, 1, 1, COILS[-1], dtype=torch.float64)
    measured[..., [1, 4, 5, 6, 7, 10]] = 1
    y = measured * Streams([7, 8]).normal(*COILS[1:], dtype=torch.complex128)
    y[:, 0, 2, 5] = 0
    return y, measured


@pytest.mark.parametrize("lam", [2.0, 1.0])
def test_reconstruction_from_kspace(lam: float) -> None:
    """With lam = 1 an estimate on a zero of the data is exactly zero, which the released rule takes for unobserved."""
    y, measured = _scan()
    recording, steps = _reconstruct(lam, y, measured)
    columns = measured[0].numpy()

    def plain(item: int) -> Any:
        problem = literal.Problem(True, lam, y[item].numpy(), lambda s: columns * s, lambda r: columns * r)
        space = literal.Coils(coil_maps()[item].numpy())
        return recording.literal(item, space, views=3, eta=0.85, problem=problem)

    agree(steps, [plain(item) for item in range(BATCH)])


def test_the_released_step_replaces_reflects_or_does_nothing() -> None:
    y, measured = _scan()
    mask = torch.zeros(1, 1, 1, COILS[-1], dtype=torch.float64)
    mask[..., [0, 1, 5, 6]] = 1
    s = mask * Streams([1, 2]).normal(*COILS[1:], dtype=torch.complex128)
    both = (mask * measured).expand(COILS) > 0
    free = (mask * (1 - measured)).expand(COILS) > 0
    for lam, expected in ((0.0, s), (1.0, y), (2.0, 2 * y - s)):
        found = ReleasedColumnStep(measured, y, lam)(s, mask)
        assert torch.allclose(found[both], expected[both], rtol=0, atol=1e-14)
        assert torch.equal(found[free], s[free])
        assert not found[~both & ~free].any()
    with pytest.raises(ValueError, match="relaxation: found"):
        ReleasedColumnStep(measured, y, 2.5)


def test_data_count_for_nothing_at_relaxation_0() -> None:
    y, measured = _scan()
    with_data, other_data = _reconstruct(0.0, y, measured)[1][-1].x, _reconstruct(0.0, 5 * y, measured)[1][-1].x
    assert torch.equal(with_data, other_data)
    assert not torch.equal(with_data, _reconstruct(0.5, y, measured)[1][-1].x)


@pytest.mark.parametrize("kind", ["generate", "image"])
def test_the_last_draws_are_consumed_and_not_used(kind: str) -> None:
    recording = Recording.of(torch.zeros(REAL, dtype=torch.float64), ReferenceCellSchedule(8), 2)
    y = torch.zeros(REAL, dtype=torch.float64)
    step = None if kind == "generate" else ReleasedImageStep(PixelMask(torch.ones(1, 1, 8, 8)), y)

    def end() -> Tensor:
        masks = RecordedMasks(recording.masks)
        rule = ReferenceMeasurementScore(Identity(), masks, 2, 0.85, kind, step)  # type: ignore[arg-type]
        return recording.library(rule, Identity())[-1].x

    before = end()
    recording.gaussians[-3:] = [1e6 * value for value in recording.gaussians[-3:]]
    assert torch.equal(end(), before)
    recording.gaussians[-4] = 1.01 * recording.gaussians[-4]
    assert not torch.equal(end(), before)


def test_wrong_settings_are_refused() -> None:
    masks = RecordedMasks([])
    with pytest.raises(ValueError, match="views: found 0"):
        ReferenceMeasurementScore(Identity(), masks, 0)
    with pytest.raises(ValueError, match="measured: missing for kind 'mri'"):
        ReferenceMeasurementScore(Identity(), masks, kind="mri")
    with pytest.raises(ValueError, match="measured: given for kind 'generate'"):
        ReferenceMeasurementScore(Identity(), masks, measured=lambda z, mask: z)
    steps = trajectory(denoiser(Identity()), torch.zeros(REAL), Levels(), ReferenceMeasurementScore(Identity(), masks))
    with pytest.raises(ValueError, match="streams: found None"):
        next(steps)
