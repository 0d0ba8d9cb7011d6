"""Target priors on stacks: what the network is shown, strengths, neighbours, volumes, planes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tiny_heads import prior_folder, prior_settings, target_prior
from skiagraph.errors import InputError
from skiagraph.tasks.translate.conditions import ConditionMaps
from skiagraph.tasks.translate.method import SourceStack
from skiagraph.tasks.translate.planes import PlaneAverage, in_plane, source_in_plane
from skiagraph.tasks.translate.prior import StackMaps, TargetPrior
from skiagraph.tasks.translate.settings import ConditionSettings

T = torch.tensor(400)


def stack(slices: int = 5, seed: int = 0) -> SourceStack:
    images = torch.rand(slices, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    return SourceStack(2 * images - 1, torch.ones(slices, 1, 16, 16, dtype=torch.bool))


def noise(slices: int = 5) -> torch.Tensor:
    return torch.randn(slices, 1, 16, 16, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "mind-ssc"},
        {"kind": "mind-ssc", "windows": 3, "show_source": "values"},
        {"kind": "lmi"},
        {"kind": "lmi", "windows": 3},
        {"kind": "lmi-reference", "pseudo_source": "same", "flag": False, "dropout": 0},
        {"kind": "edges"},
    ],
    ids=str,
)
def test_a_slab_and_a_stack_have_the_same_maps(settings: dict[str, Any]) -> None:
    maps = ConditionMaps(ConditionSettings.model_validate(settings))
    source, searched = stack(7).unit, noise(7) if maps.dynamic else None
    source[..., 4:12, 4:12] += 2  # deep is bright: the same direction in every slice
    source /= source.max()
    whole = maps.of_stack(source, searched)
    assert whole.shape == (7, maps.channels, 16, 16)
    slab = source.transpose(0, 1)[:, 1:6]
    own = maps.of_slabs(slab, None if searched is None else searched.transpose(0, 1)[:, 1:6])
    torch.testing.assert_close(own[0], whole[3], rtol=0, atol=1e-4)
    assert maps.settings.flag is False or bool((whole[:, -1] == 1).all())


def test_strength_one_is_the_conditional_network_zero_the_prior_and_two_beyond(heads: Path) -> None:
    prior, source, x = target_prior(heads), stack(), noise()
    plain = prior.denoiser(None)(x, T).x0
    full = prior.denoiser(source)(x, T).x0
    assert not torch.allclose(plain, full)
    assert torch.equal(prior.denoiser(source, weight=0)(x, T).x0, plain)
    torch.testing.assert_close(prior.denoiser(source, weight=2)(x, T).x0, 2 * full - plain)
    base = prior.stack_denoiser()
    prior.denoiser(source, weight=2, base=base)(x, T)
    assert base.evaluated == 10


def test_a_stack_equals_its_slices_and_any_batch(heads: Path) -> None:
    prior, source, x = target_prior(heads), stack(), noise()
    whole = prior.denoiser(source)(x, T).x0
    small = prior.denoiser(source, base=prior.stack_denoiser(2))(x, T).x0
    torch.testing.assert_close(small, whole)
    alone = SourceStack(source.images[2:3], source.mask[2:3])
    torch.testing.assert_close(prior.denoiser(alone)(x[2:3], T).x0, whole[2:3])


def test_neighbours_are_the_slices_beside_edges_repeated(heads: Path) -> None:
    prior = target_prior(heads, neighbours=1)
    beside = prior.stack_denoiser()._beside(torch.arange(4.0).reshape(4, 1, 1, 1))
    assert beside[:, :, 0, 0].tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    x = noise()
    moved = x.clone()
    moved[4] += 1
    one, two = (prior.denoiser(stack())(state, T).x0 for state in (x, moved))
    assert torch.equal(one[:3], two[:3])
    assert not torch.allclose(one[3], two[3])


def test_a_small_prior_of_volumes_takes_the_stack_as_one(heads: Path) -> None:
    changes = {"size": [8, 16, 16], "condition": {"kind": "mind-ssc", "windows": 3}}
    prior, x = target_prior(heads, **changes), noise(6)
    found = prior.denoiser(stack(6))(x, T).x0
    assert found.shape == x.shape
    moved = x.clone()
    moved[0] += 1
    assert not torch.allclose(prior.denoiser(stack(6))(moved, T).x0[1], found[1])


def test_planes_average_what_each_plane_says(heads: Path) -> None:
    prior = target_prior(heads, planes=["axial", "coronal", "sagittal"])
    source = stack(16)
    x = noise(16)
    assert in_plane(x, "coronal").shape == (16, 1, 16, 16)
    assert torch.equal(in_plane(x, "coronal")[3, 0, 5], x[5, 0, 3])
    assert torch.equal(in_plane(x, "sagittal")[3, 0, 5], x[5, 0, :, 3])
    each = {plane: prior.denoiser(source_in_plane(source, plane)) for plane in prior.planes}
    found = PlaneAverage(each)(x, T).x0
    coronal = each["coronal"](in_plane(x, "coronal"), T).x0
    sagittal = each["sagittal"](in_plane(x, "sagittal"), T).x0
    by_hand = (each["axial"](x, T).x0[:, 0] + coronal[:, 0].permute(1, 0, 2) + sagittal[:, 0].permute(1, 2, 0)) / 3
    torch.testing.assert_close(found[:, 0], by_hand)


def test_what_a_prior_cannot_do_is_refused_by_name(heads: Path) -> None:
    always = target_prior(heads, condition={"kind": "mind-ssc", "dropout": 0})
    for source, weight in ((None, 1.0), (stack(), 0.5)):
        with pytest.raises(InputError, match="cannot be asked without them"):
            always.denoiser(source, weight=weight)
    with pytest.raises(InputError, match="has no map channels"):
        target_prior(heads, condition={"kind": "none"}).denoiser(stack())
    assert target_prior(heads, condition={"kind": "none"}).denoiser(None)(noise(), T).x0.shape == (5, 1, 16, 16)


def test_a_folder_gives_the_same_prior(heads: Path, tmp_path: Path) -> None:
    changes = {"condition": {"kind": "lmi", "dropout": 0.1}}
    loaded = TargetPrior.load(prior_folder(heads, tmp_path / "prior", **changes))
    made = target_prior(heads, **changes)
    assert loaded.condition == made.condition
    assert loaded.spacing_mm == (4.0, 4.0, 4.0)
    x = noise()
    assert torch.equal(loaded.denoiser(stack())(x, T).x0, made.denoiser(stack())(x, T).x0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"condition": {"kind": "mind-ssc", "search": "state"}}, "search has no effect on mind-ssc"),
        ({"condition": {"pseudo_source": "same", "show_source": "values"}}, "shows the network its answer"),
        ({"condition": {"flag": False}}, "set flag"),
        ({"condition": {"kind": "lmi-reference", "windows": 3}}, "windows of 2 axes"),
        ({"size": [4, 16, 16]}, "needs windows of 3 axes"),
        ({"size": [4, 16, 16], "neighbours": 1}, "no effect on a 3-D prior"),
        ({"condition": {"kind": "lmi", "windows": 3, "search": "x0-hat"}}, "has no neighbours"),
        ({"exclude": ["a"], "validation": ["a"]}, "excluded as well"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prior_settings(tmp_path, tmp_path, **changes)


@pytest.mark.parametrize("windows", [2, 3])
def test_what_does_not_depend_on_the_state_is_made_once_and_stays(windows: int) -> None:
    settings = ConditionSettings.model_validate({"kind": "lmi", "windows": windows})
    maps, source = ConditionMaps(settings), stack(5).unit
    kept = StackMaps(source, maps, low=0.0, high=1.0)
    for seed in (1, 2):
        state = stack(5, seed).unit
        torch.testing.assert_close(kept(state, T, {}), maps.of_stack(source, state), rtol=0, atol=0)
