"""Targets from maps, the loss over what is known, and a U-Net taught by masks or maps, saved and read again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from skiagraph.data.png import write_png
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.pseudo_labels import band_of, banded_loss, targets_of
from skiagraph.tasks.segment.segmenter import Segmenter, SegmenterRecord, build_segmenter
from skiagraph.tasks.segment.stacks import slice_groups, stacked, stacks_of
from skiagraph.tasks.segment.teaching import refined_targets
from skiagraph.tasks.segment.train_segmenter import SegmenterSettings, expectation, train_segmenter


def test_the_band_is_two_quantiles_of_normal_maps() -> None:
    maps = np.arange(100.0).reshape(1, 10, 10)
    inside = maps > 49.5  # 50 ... 99
    assert band_of(maps, inside, 0.5, 0.9) == pytest.approx((74.5, 94.1))
    with pytest.raises(InputError, match="rising"):
        band_of(maps, inside, 0.9, 0.5)
    with pytest.raises(DataError, match="both"):
        band_of(np.zeros((1, 4, 4)), np.ones((1, 4, 4), bool), 0.5, 0.9)


def test_confident_pixels_are_taught_and_the_band_is_ignored() -> None:
    maps = np.array([[[0.0, 1.5, 2.5, 9.0]], [[9.0, 9.0, 9.0, 9.0]]], dtype=np.float32)
    inside = np.array([[[True, True, True, True]], [[True, True, True, False]]])
    found = targets_of(maps, np.array([True, False]), inside, (1.0, 2.0))
    assert found.labels.tolist() == [[[0, -1, 1, 1]], [[0, 0, 0, 0]]]
    assert found.weights.tolist() == [[[1.0, 0.0, 0.75, 1.0]], [[1.0, 1.0, 1.0, 1.0]]]
    air = targets_of(maps, np.array([True, True]), inside, (1.0, 2.0))
    assert air.labels[1].tolist() == [[1, 1, 1, 0]]


def test_ignored_pixels_do_not_count_and_a_sure_network_has_no_loss() -> None:
    labels = torch.tensor([[[1, 0, -1, -1]], [[0, 0, 0, -1]]])
    weights = (labels >= 0).float()
    right = torch.where(labels == 1, 20.0, -20.0).float()
    assert torch.allclose(banded_loss(right, labels, weights), torch.zeros(2), atol=1e-4)
    other = right.clone()
    other[labels == -1] = 20.0
    assert torch.equal(banded_loss(other, labels, weights), banded_loss(right, labels, weights))
    assert (banded_loss(-right, labels, weights) > 5).all()


def record(**more: object) -> SegmenterRecord:
    values = {"name": "a", "supervision": "masks", "size": (16, 16), "spacing_mm": 3.0, "channels": (4, 8, 8)}
    return SegmenterRecord(**{**values, "classes": ("normal", "lesion"), "rounds": 1, **more})  # type: ignore[arg-type]


def test_a_segmenter_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    made = Segmenter(build_segmenter((4, 8, 8)), record())
    made.save(tmp_path)
    again = Segmenter.load(tmp_path)
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(made(x), again(x))
    assert again.record.classes == ("normal", "lesion")
    with pytest.raises(InputError, match="16"):
        again(torch.zeros(1, 1, 8, 8))
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(DataError, match="SHA-256"):
        Segmenter.load(tmp_path)
    with pytest.raises(DataError, match="segmenter"):
        Segmenter.load(tmp_path / "nowhere")


def test_a_network_can_be_sure_of_images_with_and_without_lesion() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 0.05 * torch.randn(6, 1, 32, 32, generator=generator) - 0.5
    labels = torch.zeros(6, 32, 32)
    for number, corner in enumerate((4, 12, 20)):
        labels[number, corner : corner + 7, 6:15] = 1
        images[number, 0] += 0.6 * labels[number]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_segmenter((8, 16, 16))
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        banded_loss(network(images)[:, 0], labels, torch.ones_like(labels)).mean().backward()
        optimiser.step()
    with torch.no_grad():
        chance = network(images)[:, 0].sigmoid()
    # six images by heart; a network whose logits are normalised image by image cannot do it
    assert float(chance[labels == 1].quantile(0.05)) > 0.9
    assert float(chance[labels == 0].quantile(0.95)) < 0.1
    assert float(chance[3:].max()) < 0.5
    marked = (chance > 0.5).float()
    assert float(2 * (marked * labels).sum() / (marked + labels).sum()) > 0.95


def test_self_training_keeps_what_the_network_is_sure_of() -> None:
    class Sure:
        record = record()

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return (images[:, 0] + 1) / 2

    chance = np.array([0.05, 0.5, 0.95], dtype=np.float32).reshape(1, 1, 1, 3)
    images = type(
        "Images", (), {"images": np.concatenate([2 * chance - 1] * 2), "size": (1, 3), "__len__": lambda self: 2}
    )()
    found = refined_targets(Sure(), images, np.array([True, False]), 0.8)  # type: ignore[arg-type]
    assert found.labels.tolist() == [[[0, -1, 1]], [[0, 0, 0]]]
    assert found.weights[0].ravel().tolist() == pytest.approx([0.9, 0, 0.9])


def write_set(folder: Path) -> None:
    """Dark pictures with noise; lesions are bright squares."""
    generator = np.random.default_rng(0)
    rows = ["file,label,patient,split"]
    for number in range(24):
        label = "lesion" if number % 2 else "normal"
        pixels = generator.integers(60, 90, (16, 16)).astype(np.uint8)
        mask = np.zeros((16, 16), dtype=np.uint8)
        if label == "lesion":
            row, column = generator.integers(2, 9, 2)
            pixels[row : row + 5, column : column + 5] += 120
            mask[row : row + 5, column : column + 5] = 255
        write_png(folder / "slices" / label / f"{number}.png", pixels)
        write_png(folder / "masks" / f"{number}.png", mask)
        rows.append(f"{label}/{number}.png,{label},p{number},{'train' if number < 20 else 'validation'}")
    (folder / "slices" / "labels.csv").write_text("\n".join(rows) + "\n")
    (folder / "slices" / "classes.txt").write_text("normal\nlesion\n")


def test_masks_teach_a_network_to_find_squares(tmp_path: Path) -> None:
    write_set(tmp_path)
    settings = SegmenterSettings(
        data=tmp_path / "slices",
        masks=tmp_path / "masks",
        output=tmp_path / "out",
        images=640,
        batch_size=16,
        learning_rate=0.01,
        warmup=0,
        widths=[4, 8, 8],
        threads=1,
    )
    assert expectation(settings)["network_evaluations"] == 0
    made = train_segmenter(settings)
    assert made.lesion_share == pytest.approx(25 / 256)
    found = Segmenter.load(tmp_path / "out")
    assert found.record.supervision == "masks"
    x = torch.full((1, 1, 16, 16), -0.4)
    x[:, :, 4:9, 5:10] += 0.95
    marked = found(x)[0] > 0.5
    assert marked[5:8, 6:9].all()
    assert marked.sum() < 60
    assert json.loads((tmp_path / "out" / "run.json").read_text())["images_seen"] == 640


def test_slices_become_stacks_of_neighbours() -> None:
    names = [*(f"a/case-1-{number:02d}.png" for number in (3, 4, 5, 9)), "b/case-1-00.png", "c.nii#1", "c.nii#0"]
    assert slice_groups(names) == [[0, 1, 2, 3], [4], [6, 5]]
    assert stacks_of(names, 2).tolist() == [[0, 1], [1, 2], [3, -1], [4, -1], [6, 5]]
    assert stacks_of(names, 4).tolist() == [[0, 1, 2, -1], [3, -1, -1, -1], [4, -1, -1, -1], [6, 5, -1, -1]]
    values = np.arange(7.0)
    assert stacked(values, stacks_of(names, 2), -9).tolist()[2:] == [[3, -9], [4, -9], [6, 5]]
    with pytest.raises(DataError, match="no slice number"):
        slice_groups(["picture.png"])


def test_stacks_teach_a_network_in_three_dimensions(tmp_path: Path) -> None:
    """The lesion is as bright as other squares; only that it goes on into the next slice tells it from them."""
    generator = np.random.default_rng(0)
    rows = ["file,label,patient,split"]
    for volume in range(16):
        label = "lesion" if volume % 2 else "normal"
        for number in range(4):
            pixels = generator.integers(60, 90, (16, 16)).astype(np.uint8)
            mask = np.zeros((16, 16), dtype=np.uint8)
            row, column = (8, 3) if label == "lesion" else ((2, 9) if number % 2 else (9, 2))
            pixels[row : row + 5, column : column + 5] += 120
            mask[row : row + 5, column : column + 5] = 255 * (label == "lesion")
            name = f"{volume}-{number}.png"
            write_png(tmp_path / "slices" / label / name, pixels)
            write_png(tmp_path / "masks" / name, mask)
            rows.append(f"{label}/{name},{label},p{volume},{'train' if volume < 14 else 'validation'}")
    (tmp_path / "slices" / "labels.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "slices" / "classes.txt").write_text("normal\nlesion\n")
    settings = SegmenterSettings(
        data=tmp_path / "slices",
        masks=tmp_path / "masks",
        output=tmp_path / "out",
        images=320,
        batch_size=8,
        learning_rate=0.02,
        warmup=0,
        widths=[4, 8, 8],
        dimensions=3,
        depth=4,
        threads=1,
    )
    train_segmenter(settings)
    found = Segmenter.load(tmp_path / "out")
    assert found.record.dimensions == 3
    x = torch.full((6, 1, 16, 16), -0.4)
    x[:, :, 8:13, 3:8] += 0.95
    chance = found(x)
    assert chance.shape == (6, 16, 16)
    assert float(chance[1:5, 9:12, 4:7].min()) > 0.5
    assert float(chance[:, :7, 9:].max()) < 0.5
    assert not torch.allclose(chance[2], found(x[2:3])[0])  # neighbours count
    with pytest.raises(ValueError, match="depth has an effect"):
        SegmenterSettings(data=tmp_path, masks=tmp_path, output=tmp_path, images=1, depth=4)


def test_one_teacher_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of them"):
        SegmenterSettings(data=tmp_path, output=tmp_path, images=1)
    with pytest.raises(ValueError, match="sampling has no effect"):
        SegmenterSettings(data=tmp_path, masks=tmp_path, output=tmp_path, images=1, sampling="sqrt")
