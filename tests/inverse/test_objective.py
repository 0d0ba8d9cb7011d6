"""The default objective: sees measurements only, item by item, draws from its streams only, respects the symmetries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.inverse.scans import Mixing, columns, maps, network, scan
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.consistent import Anchors, Estimate
from skiagraph.inverse.objective import MeasurementObjective, partition_lines
from skiagraph.inverse.variation import mirror
from skiagraph.physics.fourier import CoilFourier, centred_fft2, centred_ifft2

WHOLE = MeasurementObjective(flips=False)
EVERYTHING = MeasurementObjective(rows=7)
SIZES = [(12, 16), (11, 15)]


def wide_mask(batch: int = 40, width: int = 32) -> Tensor:
    """Half of the columns and a dense centre of 14."""
    mask = columns(batch, width)
    mask[..., 9:23] = 1
    return mask


class Recorder(torch.nn.Module):
    """Stands in for the network, and keeps what it was given; it answers with an image of its own."""

    def __init__(self, answer: Tensor | None = None) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, q: Tensor, rho: Tensor, mask: Tensor, fields: Tensor, anchors: Anchors) -> Estimate:
        self.q, self.rho, self.mask, self.maps, self.anchors = q, rho, mask, fields, anchors
        image = CoilFourier(fields).adjoint(mask * q) if self.answer is None else self.answer
        return Estimate(image, torch.zeros(len(q), 2))


@pytest.mark.parametrize("objective", [WHOLE, EVERYTHING], ids=["whole", "windows and flips"])
def test_lines_off_the_mask_and_so_the_image_change_nothing(objective: MeasurementObjective) -> None:
    batch, module = scan(noise=0.02), network()
    found = objective(module, batch, Streams([1, 2, 3])).loss
    # Where nothing was measured another image would only have been seen in these entries.
    other = {**batch, "kspace": batch["kspace"] + 50 * (1 - batch["mask"])}
    assert torch.equal(objective(module, other, Streams([1, 2, 3])).loss, found)


@pytest.mark.parametrize("objective", [WHOLE, EVERYTHING], ids=["whole", "windows and flips"])
def test_an_item_does_not_depend_on_its_batch(objective: MeasurementObjective) -> None:
    batch, module = scan(noise=0.02), network(Mixing(3))
    whole = objective(module, batch, Streams([1, 2, 3]))
    assert whole.loss.shape == whole.level.shape == (3,)
    for item in range(3):
        alone = objective(module, {name: value[[item]] for name, value in batch.items()}, Streams([item + 1]))
        assert torch.allclose(alone.loss, whole.loss[[item]], rtol=1e-5)
        assert torch.equal(alone.level, whole.level[[item]])


def test_only_the_streams_are_drawn_from_and_inputs_stay() -> None:
    batch, module = scan(noise=0.02), network()
    before = {name: value.clone() for name, value in batch.items()}
    state = torch.get_rng_state()
    first = EVERYTHING(module, batch, Streams([1, 2, 3]))
    torch.rand(3)
    second = EVERYTHING(module, batch, Streams([1, 2, 3]))
    torch.set_rng_state(state)
    EVERYTHING(module, batch, Streams([4, 5, 6]))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.loss, second.loss)
    assert all(torch.equal(batch[name], value) for name, value in before.items())


def test_no_file_is_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    EVERYTHING(network(), scan(), Streams([1, 2, 3]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("hide", "anchored"), [(0.0, 0.0), (1.0, 0.0), (0.5, 1.0), (0.75, 0.5)])
def test_the_observed_lines_are_split_in_three(hide: float, anchored: float) -> None:
    mask = wide_mask()
    parts = partition_lines(mask, Streams(range(40)), hide=hide, anchored=anchored, centre=6)
    split = [parts.noisy, parts.anchor, parts.hidden]
    assert all(part.shape == mask.shape and bool(((part == 0) | (part == 1)).all()) for part in split)
    assert torch.equal(parts.noisy + parts.anchor + parts.hidden, mask)
    inner = slice(13, 19)
    assert not parts.hidden[..., inner].any()
    hidden, with_anchors = (part.flatten(1).any(1).float().mean() for part in (parts.hidden, parts.anchor))
    assert with_anchors == pytest.approx(anchored, abs=0.25)
    assert hidden == pytest.approx(max(hide, anchored) if hide * anchored == 0 else 1 - (1 - hide) * 0.5, abs=0.3)
    if with_anchors:
        assert parts.anchor[parts.anchor.flatten(1).any(1)][..., inner].all()


def test_without_hiding_and_anchors_it_is_the_plain_score() -> None:
    parts = partition_lines(wide_mask(), Streams(range(40)), hide=0.0, anchored=0.0, centre=6)
    assert torch.equal(parts.noisy, wide_mask())
    batch, recorder = scan(noise=0.02), Recorder()
    objective = MeasurementObjective(hide=0.0, anchored=0.0, flips=False)
    result = objective(recorder, batch, Streams([1, 2, 3]))
    assert torch.equal(recorder.mask, batch["mask"])
    assert not recorder.anchors.mask.any()
    # q = s + rho n on the observed lines, n of unit variance per part.
    noise = (recorder.q - batch["kspace"]) / recorder.rho[:, None, None, None]
    assert torch.view_as_real(noise).square().mean() == pytest.approx(1, abs=0.1)
    estimate = CoilFourier(batch["maps"]).adjoint(batch["mask"] * recorder.q)
    difference = batch["mask"] * (batch["kspace"] - CoilFourier(batch["maps"]).forward(estimate))
    observed = batch["mask"].expand(difference.shape) > 0
    expected = [torch.view_as_real(difference[i][observed[i]]).square().mean() for i in range(3)]
    assert result.loss.tolist() == pytest.approx([float(value) for value in expected], rel=1e-5)
    assert torch.equal(result.level, -2 * recorder.rho.log())


def test_hidden_lines_are_judged_and_anchors_are_not() -> None:
    batch = scan(noise=0.02)
    objective = MeasurementObjective(hide=1.0, anchored=1.0, centre=2, flips=False)
    image = torch.zeros(3, 2, 12, 16)
    recorder = Recorder(image)
    before = objective(recorder, batch, Streams([1, 2, 3])).loss
    judged = batch["mask"] - recorder.anchors.mask
    assert bool((judged > recorder.mask).flatten(1).any(1).all())
    power = (judged * batch["kspace"]).abs().square().flatten(1).sum(1)
    assert torch.allclose(before, power / (2 * 4 * 12 * judged.flatten(1).sum(1)), rtol=1e-5)


def test_items_alone_show_anchors_only_at_the_noisiest_level() -> None:
    parts = partition_lines(wide_mask(), Streams(range(40)), hide=0.0, anchored=1.0, alone=1.0, centre=6)
    assert not parts.noisy.any()
    assert parts.hidden.flatten(1).any(1).float().mean() > 0.9
    batch, recorder = scan(noise=0.02), Recorder()
    objective = MeasurementObjective(anchored=1.0, alone=1.0, centre=2, flips=False)
    objective(recorder, batch, Streams([1, 2, 3]))
    assert not recorder.mask.any()
    assert recorder.rho.tolist() == [objective.rho_range[1]] * 3


def test_noise_levels_stay_in_their_range() -> None:
    batch, recorder = scan(batch=3), Recorder()
    objective = MeasurementObjective(log_rho=(0.0, 4.0), rho_range=(0.5, 2.0))
    for seed in range(5):
        objective(recorder, batch, Streams([3 * seed, 3 * seed + 1, 3 * seed + 2]))
        assert bool(((recorder.rho >= 0.5) & (recorder.rho <= 2.0)).all())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows", [None, 6, 7])
def test_symmetries_and_windows_keep_scans_consistent(size: tuple[int, int], rows: int | None) -> None:
    """A noise-free, fully sampled scan remains one: T T^H s = s, with the coil maps that went through the same."""
    batch = scan(40, size=size)
    batch["mask"] = torch.ones_like(batch["mask"])
    x = CoilFourier(batch["maps"])
    batch["kspace"] = x.forward(x.adjoint(batch["kspace"]))
    recorder = Recorder()
    MeasurementObjective(hide=0, anchored=0, rows=rows)(recorder, batch, Streams(range(40)))
    kspace, operator = recorder.anchors.kspace, CoilFourier(recorder.maps)
    assert kspace.shape[-2] == (rows or size[0])
    assert torch.allclose(operator.forward(operator.adjoint(kspace)), kspace, atol=1e-5)
    assert kspace.abs().flatten(1).sum(1).min() > 0
    if rows is None:
        same = [torch.allclose(after, before) for after, before in zip(kspace, batch["kspace"], strict=True)]
        assert sum(same) < 5


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_mirrored_with_their_scan(size: tuple[int, int]) -> None:
    batch, recorder = scan(40, size=size), Recorder()
    MeasurementObjective(hide=0, anchored=0)(recorder, batch, Streams(range(40)))
    lines = recorder.anchors.kspace.abs().amax((1, 2)) > 0
    assert torch.equal(lines, recorder.mask[:, 0, 0] > 0)
    assert not torch.equal(recorder.mask, batch["mask"])
    assert bool(recorder.mask[..., size[1] // 2 - 1 : size[1] // 2 + 2].all())


@pytest.mark.parametrize("size", SIZES)
def test_mirrored_images_and_spectra_are_pairs(size: tuple[int, int]) -> None:
    x = Streams([1]).normal(1, *size, dtype=torch.complex128)
    for axis in (-1, -2):
        assert torch.allclose(centred_fft2(mirror(x, axis)), mirror(centred_fft2(x), axis))
        assert torch.equal(mirror(mirror(x, axis), axis), x)


def test_a_window_shows_rows_of_the_image() -> None:
    fields, recorder = maps(), Recorder()
    batch = scan()
    batch["mask"] = torch.ones_like(batch["mask"])
    batch["kspace"] = centred_fft2(fields * torch.arange(1.0, 13.0)[:, None])
    MeasurementObjective(hide=0, anchored=0, rows=5, flips=False)(recorder, batch, Streams([1, 2, 3]))
    shown = centred_ifft2(recorder.anchors.kspace) / recorder.maps
    first = shown[:, 0, 0, 0].real.round()
    expected = first[:, None] + torch.arange(5.0)
    assert torch.allclose(shown.real, expected[:, None, :, None].expand_as(shown.real), atol=1e-3)
    assert len(set(first.tolist())) > 1


def test_training_lowers_the_loss() -> None:
    batch, module = scan(noise=0.02), network(Mixing(3))
    objective = MeasurementObjective(centre=2)
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    losses = []
    for _ in range(30):
        loss = objective(module, batch, Streams([1, 2, 3])).loss.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.3
