"""Training items: masks and noise fixed for each item, never a clean value off the mask, honest splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.tiny_pictures import pictures
from tests.helpers.tiny_scans import column_mask, scan

from skiagraph.data.fastmri import write_fastmri
from skiagraph.data.map_files import CoilMaps, write_maps
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.inverse.fresh_masks import FreshMasks
from skiagraph.physics.fourier import CoilFourier
from skiagraph.tasks.measurement.coils import combined_images, map_file, read_coil_slices
from skiagraph.tasks.measurement.items import measurement_objective, open_training_data
from skiagraph.tasks.measurement.settings import TrainMeasurementSettings


def _half(u: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """A network of k-space that gives half of what it sees."""
    return 0.5 * u[:, :2]


def settings(data: Path, **changes: Any) -> TrainMeasurementSettings:
    return TrainMeasurementSettings.model_validate({"data": [data], "output": "p", **changes})


def zero(u: torch.Tensor, time: torch.Tensor, **conditions: torch.Tensor) -> torch.Tensor:
    """A network that predicts no noise."""
    return 0 * u[:, :3]


def test_mask_and_noise_of_an_item_never_change(pictures_at: Path) -> None:
    items = open_training_data(settings(pictures_at, noise_std=0.1)).items
    alone = items.batch(torch.tensor([4]))
    among = items.batch(torch.tensor([1, 4, 4]))
    for name, value in alone.items():
        assert torch.equal(value[0], among[name][1])
        assert torch.equal(among[name][1], among[name][2])
    assert torch.equal(alone["mask"].mean((1, 2, 3)), torch.tensor([0.625]))
    assert bool((alone["measurement"] * (1 - alone["mask"]) == 0).all())
    truth = torch.from_numpy(pictures()[4].astype(np.float32) / 127.5 - 1).permute(2, 0, 1)
    seen = alone["mask"][0].expand(3, -1, -1) > 0
    added = (alone["measurement"][0] - truth)[seen]
    assert 0.08 < float(added.std()) < 0.12
    other = open_training_data(settings(pictures_at, noise_std=0.1, seed=1)).items
    assert not torch.equal(other.batch(torch.tensor([4]))["mask"], alone["mask"])


def test_reference_loss_is_the_kept_fraction_of_the_default_one(pictures_at: Path) -> None:
    losses = []
    for form in ("default", "reference"):
        chosen = settings(pictures_at, objective=form)
        data = open_training_data(chosen)
        objective = measurement_objective(chosen, data)
        losses.append(objective(zero, data.items.batch(torch.tensor([2])), Streams([5])).loss)  # type: ignore[arg-type]
    assert torch.allclose(losses[1], 0.625 * losses[0], rtol=1e-6)


def test_fresh_masks_change_with_the_stream_and_need_complete_data(pictures_at: Path, scans_at: Path) -> None:
    chosen = settings(pictures_at, fresh=True, objective="reference", noise_std=0.1)
    data = open_training_data(chosen)
    objective = measurement_objective(chosen, data)
    assert isinstance(objective, FreshMasks)
    batch = data.items.batch(torch.tensor([0, 1]))
    assert set(batch) == {"measurement"}
    masks = objective.family.draw(Streams([1, 2]))
    assert torch.equal(masks[0].roll(0), masks[0])
    assert objective(zero, batch, Streams([1, 2])).loss.shape == (2,)
    k_space = settings(scans_at, kind="k-space", mask={"family": "random"}, fresh=True)
    assert set(open_training_data(k_space).items.batch(torch.tensor([0]))) == {"measurement", "maps"}


def test_masks_of_the_data_are_kept_and_banked(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(0, 1, (8, 16, 16)).astype(np.float32)
    masks = (np.random.default_rng(1).uniform(size=(8, 16, 16)) < 0.7).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, masks=masks)
    own = settings(tmp_path / "a.npz", intensity=[0, 1], mask={"family": "own"})
    data = open_training_data(own)
    batch = data.items.batch(torch.tensor([3]))
    assert np.array_equal(batch["mask"][0, 0].numpy(), masks[3])
    assert data.bank is not None
    images[masks == 0] = 9.0
    np.savez(tmp_path / "b.npz", images=images, masks=masks)
    changed = open_training_data(settings(tmp_path / "b.npz", intensity=[0, 1], mask={"family": "own"}))
    assert torch.equal(changed.items.batch(torch.tensor([3]))["measurement"], batch["measurement"])
    with pytest.raises(InputError, match='masks of their own; give "own"'):
        open_training_data(settings(tmp_path / "a.npz", intensity=[0, 1]))
    masks[:, 0, 0] = 0
    np.savez(tmp_path / "c.npz", images=images, masks=masks)
    with pytest.raises(InputError, match="observed in no item"):
        open_training_data(settings(tmp_path / "c.npz", intensity=[0, 1], mask={"family": "own"}))


def test_an_empty_training_split_is_refused(pictures_at: Path, scans_at: Path) -> None:
    assert len(open_training_data(settings(pictures_at, hold_out=5)).items) == 1
    with pytest.raises(InputError, match="leaves none"):
        open_training_data(settings(pictures_at, hold_out=6))
    k_space = {"kind": "k-space", "mask": {"family": "random"}}
    held = open_training_data(settings(scans_at, hold_out=1, skip_last=1, **k_space))
    assert held.held_out == ["scan-0.h5"]
    assert held.names == ["scan-1.h5/0", "scan-1.h5/1"]
    with pytest.raises(InputError, match="leaves none"):
        open_training_data(settings(scans_at, hold_out=2, **k_space))
    with pytest.raises(InputError, match="skip_last"):
        open_training_data(settings(scans_at, skip_last=3, **k_space))


def test_combined_images_lie_in_the_range_of_the_model(scans_at: Path) -> None:
    part = read_coil_slices(scans_at / "scan-0.h5", combined=True, size=(24, 24))
    operator = CoilFourier(part.maps)
    images = operator.adjoint(part.kspace)
    assert images.shape == (3, 2, 24, 24)
    assert torch.allclose(operator.forward(images), part.kspace, atol=1e-5)
    magnitude = images.square().sum(1).sqrt().flatten(1)
    assert torch.allclose(magnitude.amax(1), torch.ones(3), atol=1e-5)
    assert float(magnitude.amin()) < 1e-4
    assert part.complete
    with pytest.raises(InputError, match="at most that"):
        combined_images(part.kspace, part.maps, (30, 24))


def test_undersampled_scans_keep_their_own_lines(tmp_path: Path) -> None:
    masks = [column_mask(), np.roll(column_mask(16), 1)]
    masks[1][8:24] = True
    for number, mask in enumerate(masks):
        write_fastmri(tmp_path / f"{number}.h5", scan(slices=1, mask=mask))
    own = settings(tmp_path, kind="k-space", mask={"family": "own"})
    batch = open_training_data(own).items.batch(torch.tensor([0, 1]))
    assert np.array_equal(batch["mask"][:, 0, 0].numpy(), np.stack(masks))
    assert bool((batch["noise"] > 0).all())
    with pytest.raises(InputError, match="misses lines of its own"):
        open_training_data(settings(tmp_path, kind="k-space", mask={"family": "random"}))
    with pytest.raises(InputError, match="need complete k-space"):
        open_training_data(settings(tmp_path, kind="k-space", mask={"family": "own"}, kspace="combined"))


def test_scans_of_unequal_coil_counts_share_a_batch(tmp_path: Path) -> None:
    content = scan(slices=1, mask=np.ones(32, dtype=bool))
    write_fastmri(tmp_path / "a.h5", content)
    write_fastmri(tmp_path / "b.h5", replace(content, data=content.data[:, :3], noise_scan=None))
    chosen = settings(tmp_path, kind="k-space", mask={"family": "random"}, noise_std=0.1)
    data = open_training_data(chosen)
    both, alone = (data.items.batch(torch.tensor(index)) for index in ([0, 1], [1]))
    assert both["measurement"].shape == (2, 4, 32, 32)
    assert not bool(both["maps"][1, 3].any())
    objective = measurement_objective(chosen, data)
    few = {**alone, **{name: alone[name][:, :3] for name in ("measurement", "maps")}}  # as if no other file were there
    together = objective(_half, both, Streams([3, 4])).loss[1]
    torch.testing.assert_close(together, objective(_half, few, Streams([4])).loss[0], rtol=2e-5, atol=1e-6)


def test_maps_beside_a_scan_are_used(tmp_path: Path) -> None:
    file = write_fastmri(tmp_path / "a.h5", scan(slices=2, mask=np.ones(32, dtype=bool)))
    found = read_coil_slices(file, combined=True).maps
    turned = CoilMaps((found * 1j).numpy(), (0, 1), "", {})
    assert map_file(file) == tmp_path / "a.maps.h5"
    write_maps(map_file(file), turned)
    assert torch.allclose(read_coil_slices(file, combined=True).maps, found * 1j, atol=1e-5)
    assert len(open_training_data(settings(tmp_path, kind="k-space", mask={"family": "random"})).items) == 2
