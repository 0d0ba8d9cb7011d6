"""Machine code for voxels against double precision, and the products that replace it elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from skiagraph.similarity import LocalInformation
from skiagraph.similarity.slabs import _Tile

FORMS = {
    "released": LocalInformation.reference(),
    "released in bits, 5 x 5": LocalInformation.reference(5, normalise=False),
    "default": LocalInformation.default(),
    "default in bits, zeros outside": LocalInformation(normalise=False, boundary="zero", radius=2, bins=12, width=0.1),
    "not clamped": LocalInformation(clamp=False, patch=3),
    "one window": LocalInformation(radius=0, patch=(3, 5)),
    "less chance": LocalInformation(radius=0, debias=True),
    "less chance, several windows": LocalInformation(radius=1, debias=True),
}


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    """Two images with flat parts, and values outside the range in the second."""
    draws = torch.Generator().manual_seed(0)
    first = torch.rand(2, 1, *shape, generator=draws)
    first[..., : shape[-1] // 3] = 0.25
    second = 0.7 * first + 0.5 * torch.randn(2, 1, *shape, generator=draws)
    second[0, ..., :4] = 3.0  # whole windows that reach no bin
    return first, second


@pytest.mark.parametrize("name", FORMS)
def test_every_form_agrees_with_double_precision(name: str) -> None:
    first, second = pair(13, 17)
    mask = torch.rand(1, 1, 13, 17, generator=torch.Generator().manual_seed(1)) > 0.3
    for searched in (second, first):
        found = FORMS[name](first, searched, mask)
        exact = FORMS[name](first.double(), searched.double(), mask)
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)


def test_volumes_and_tiles_agree_with_double_precision() -> None:
    first, second = pair(7, 9, 8)
    form = LocalInformation.default(3)
    exact = form(first.double(), second.double())
    for memory in (2**20, 2**27):
        found = LocalInformation(patch=form.patch, memory=memory)(first, second)
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)


def test_threads_change_nothing() -> None:
    first, second = pair(20, 12)
    before = torch.get_num_threads()
    maps = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        maps.append(LocalInformation.reference()(first, second))
    torch.set_num_threads(before)
    assert torch.equal(*maps)


@pytest.mark.parametrize("name", FORMS)
def test_products_of_histograms_give_the_same_map(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pair(13, 17)
    found = FORMS[name](first, second)
    monkeypatch.setattr(_Tile, "_compiled", False)
    torch.testing.assert_close(FORMS[name](first, second), found, rtol=0, atol=1e-4)  # bins left out; up to 7 bits
