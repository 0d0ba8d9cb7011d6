"""Random changes of images: exact where they can be, alone as in a batch, nothing unless asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.tasks.synthesize.learn.augment import Augmentation, augmentation
from skiagraph.tasks.synthesize.learn.settings import AugmentSettings

IMAGES = torch.rand(64, 2, 9, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Fixed:
    """Streams that draw one value everywhere, but for some places."""

    def __init__(self, **values: float) -> None:
        names = ("across", "along", "turn", "right", "down", "grow", "bright")
        self.row = torch.tensor([values.get(name, 0.5) for name in names])

    def uniform(self, count: int) -> Tensor:
        assert count == len(self.row)
        return self.row.expand(64, -1)


def changed(draws: Fixed, **settings: object) -> Tensor:
    return Augmentation(AugmentSettings.model_validate(settings))(IMAGES, draws)


def test_off_is_off() -> None:
    assert augmentation(AugmentSettings()) is None
    assert torch.equal(Augmentation(AugmentSettings())(IMAGES, Streams(range(64))), IMAGES)


def test_mirrors_half_of_the_images() -> None:
    out = Augmentation(AugmentSettings(flip="horizontal"))(IMAGES, Streams(range(64)))
    mirrored = (out == IMAGES.flip(3)).flatten(1).all(1)
    same = (out == IMAGES).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert 20 < int(mirrored.sum()) < 44
    assert torch.equal(changed(Fixed(along=0.1), flip="both"), IMAGES.flip(2))


def test_a_middle_draw_moves_nothing_and_the_ends_move_by_the_most() -> None:
    torch.testing.assert_close(changed(Fixed(), rotation=30, shift=0.2, scale=0.3), IMAGES, atol=1e-5, rtol=0)
    right = changed(Fixed(right=1.0), shift=2 / 9)
    torch.testing.assert_close(right[..., 2:], IMAGES[..., :-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(right[..., :2], IMAGES[..., :1].expand(-1, -1, -1, 2), atol=1e-5, rtol=0)
    down = changed(Fixed(down=1.0), shift=1 / 9)
    torch.testing.assert_close(down[..., 1:, :], IMAGES[..., :-1, :], atol=1e-5, rtol=0)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    turned = changed(Fixed(turn=1.0), rotation=90)
    quarters = [torch.rot90(IMAGES, k, (2, 3)) for k in (1, 3)]
    assert any(bool((turned - quarter).abs().max() < 1e-4) for quarter in quarters)


def test_brightness_stays_in_range() -> None:
    brighter = changed(Fixed(bright=1.0), brightness=0.25)
    torch.testing.assert_close(brighter, (IMAGES + 0.5).clamp(-1, 1))


def test_an_image_alone_changes_as_in_a_batch() -> None:
    augment = Augmentation(AugmentSettings(flip="both", rotation=10, shift=0.1, scale=0.1, brightness=0.1))
    whole = augment(IMAGES, Streams(range(64)))
    torch.testing.assert_close(augment(IMAGES[5:6], Streams([5]))[0], whole[5])
