"""Local information in its corrected form: bounds, symmetries, gradients, sizes and chunks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from helpers.local_information_by_hand import noised, phantom
from skiagraph.similarity import LocalInformation, local_mutual_information, similarity_score
from skiagraph.similarity.information import paired_information

RAMP = torch.arange(9, dtype=torch.float64) / 8
TWO = torch.tensor([0.0] * 3 + [1.0] * 6, dtype=torch.float64)
MID = torch.tensor([0.25] * 3 + [0.75] * 6, dtype=torch.float64)


def constant(level: float) -> torch.Tensor:
    return torch.full((9,), level, dtype=torch.float64)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def value(u: torch.Tensor, v: torch.Tensor, bins: int, normalise: bool) -> float:
    histogram = LocalInformation(bins=bins, width=1 / (bins - 1))._histogram()
    rows = [histogram.weights(patch) for patch in (u, v)]
    return float(paired_information(rows[0][None], rows[1][None, :, None], 0.0, normalise))


@pytest.mark.parametrize(
    ("u", "v", "bins", "bits", "normalised"),
    [
        (RAMP, RAMP, 32, 2.820558, 0.579197),
        (RAMP, 1 - RAMP, 32, 2.820558, 0.579197),
        (TWO, TWO, 32, 0.918296, 0.409219),
        (MID, MID, 32, 0.918296, 0.309671),
        (RAMP, RAMP, 16, 1.687699, 0.422352),
        (TWO, TWO, 16, 0.918296, 0.409219),
        (MID, MID, 16, 0.917657, 0.309498),
        (RAMP, constant(0.5), 32, 0.0, 0.0),
        (RAMP, constant(-100 / 255), 32, 0.0, 0.0),
        (RAMP, constant(5.0), 32, 0.0, 0.0),
        (constant(0.0), constant(5.0), 32, 0.0, 0.0),
    ],
)
def test_values_of_patches(u: torch.Tensor, v: torch.Tensor, bins: int, bits: float, normalised: float) -> None:
    assert value(u, v, bins, False) == pytest.approx(bits, abs=1e-6)
    assert value(u, v, bins, True) == pytest.approx(normalised, abs=1e-6)


def by_hand(reference: torch.Tensor, search: torch.Tensor, options: LocalInformation) -> torch.Tensor:
    """The map of 2-D images (H, W) by a loop over pixels and shifts, without trimming."""
    patch, radius = int(options.patch), int(options.radius)
    reach = patch // 2
    histogram = options._histogram()
    padded = [
        torch.nn.functional.pad(image[None, None], (reach + radius,) * 4, mode="replicate")[0, 0].clamp(0, 1)
        for image in (reference, search)
    ]
    height, width = reference.shape
    result = torch.zeros_like(reference)
    for y in range(height):
        for x in range(width):
            own = padded[0][y + radius : y + radius + patch, x + radius : x + radius + patch]
            windows = [
                padded[1][y + a : y + a + patch, x + b : x + b + patch]
                for a in range(2 * radius + 1)
                for b in range(2 * radius + 1)
            ]
            rows = torch.stack([histogram.weights(window.flatten()) for window in windows], 1)
            values = paired_information(histogram.weights(own.flatten())[None], rows[None], 0.0, options.normalise)
            result[y, x] = values.max()
    return result


@pytest.mark.parametrize(("patch", "normalise"), [(3, True), (5, True), (5, False)])
def test_maps_equal_a_loop_over_pixels_and_shifts(patch: int, normalise: bool) -> None:
    first = noise(9, 7).mul(0.2).add(0.5)
    second = first + 0.4 * noise(9, 7, seed=1)
    options = LocalInformation(patch=patch, normalise=normalise)
    wanted = by_hand(first, second, options)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 5e-6)):
        found = options(first[None, None].to(dtype), second[None, None].to(dtype))[0, 0]
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=tolerance)


def test_bounds_whatever_the_values() -> None:
    first, second = noise(2, 1, 12, 11).mul(3), noise(2, 1, 12, 11, seed=1).mul(3)
    for clamp in (True, False):
        for dtype in (torch.float32, torch.float64):
            options = LocalInformation(clamp=clamp)
            found = options(first.to(dtype), second.to(dtype))
            assert float(found.min()) >= 0
            assert float(found.max()) <= 1
            bits = replace(options, normalise=False)(first.to(dtype), second.to(dtype))
            assert float(bits.min()) >= 0
            assert options.range == (0, 1)


def test_symmetry_and_inversion_without_shifts() -> None:
    first, second = (noise(1, 1, 10, 10, seed=seed).mul(0.3).add(0.5) for seed in (0, 1))
    options = LocalInformation(radius=0, clamp=False)
    forward = options(first, second)
    torch.testing.assert_close(options(second, first), forward, rtol=0, atol=1e-12)
    torch.testing.assert_close(options(1 - first, second), forward, rtol=0, atol=1e-12)


def test_information_is_blind_to_an_exchange_of_grey_levels() -> None:
    """Levels on bin centres far apart: any permutation of them leaves the information of narrow kernels as it was."""
    levels = torch.tensor([0, 4, 8, 12, 16], dtype=torch.float64) / 16
    labels = torch.randint(0, 5, (1, 1, 12, 12), generator=torch.Generator().manual_seed(0))
    options = LocalInformation(bins=17, width=1 / 64, normalise=False)
    plain = options(levels[labels], levels[labels])
    exchanged = options(levels[labels], levels[torch.tensor([3, 0, 4, 2, 1])][labels])
    torch.testing.assert_close(exchanged, plain, rtol=0, atol=1e-5)
    counts = torch.stack([(labels[0, 0, 4:9, 4:9] == level).sum() for level in range(5)]) / 25
    entropy = -(counts * counts.clamp(min=1e-9).log2()).sum()
    assert float(plain[0, 0, 6, 6]) >= float(entropy) - 1e-6  # I(u, u) = H(u) in the limit of narrow kernels
    centre = replace(options, radius=0)(levels[labels], levels[labels])
    assert float(centre[0, 0, 6, 6]) == pytest.approx(float(entropy), abs=1e-6)


def test_a_shift_of_one_voxel_is_found_within_the_radius() -> None:
    image = noise(1, 1, 20, 20).mul(0.2).add(0.5).clamp(0, 1)
    moved = image.roll(1, -1)
    own = LocalInformation(radius=0)(image, image)[..., 4:-4, 4:-4]
    found = LocalInformation()(image, moved)[..., 4:-4, 4:-4]
    assert bool((found >= own - 1e-9).all())
    assert float((found - own).abs().mean()) < 0.01 * float(own.mean())
    assert float(LocalInformation(radius=0)(image, moved)[..., 4:-4, 4:-4].mean()) < 0.8 * float(own.mean())


@pytest.mark.parametrize("level", [0.0, 0.5, -3.0, 40.0])
def test_constant_images_tell_nothing(level: float) -> None:
    image, other = torch.full((1, 1, 9, 9), level), noise(1, 1, 9, 9, dtype=torch.float32)
    for options in (LocalInformation(), LocalInformation(clamp=False)):
        for pair in ((image, other), (other, image), (image, image)):
            assert float(options(*pair).abs().max()) < 2e-6


@pytest.mark.parametrize("case", ["random", "constant", "outside"])
def test_gradients_in_double_precision(case: str) -> None:
    first = {
        "random": noise(1, 1, 5, 5),
        "constant": torch.zeros(1, 1, 5, 5).double(),
        "outside": 3 * noise(1, 1, 5, 5),
    }
    reference, search = first[case].mul(0.2).add(0.5), noise(1, 1, 5, 5, seed=1).mul(0.2).add(0.5)
    options = LocalInformation(patch=3, bins=8, width=1 / 7, reduce="soft", clamp=False)
    leaves = (reference.requires_grad_(), search.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: similarity_score(options, a, b), leaves, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_and_vanish_far_away(dtype: torch.dtype) -> None:
    reference = noise(1, 1, 8, 8, dtype=dtype).mul(0.2).add(0.5)
    search = torch.full_like(reference, -100.0).requires_grad_()
    options = LocalInformation.default(energy=True)
    (gradient,) = torch.autograd.grad(options(reference, search).sum(), search)
    assert bool((gradient == 0).all())
    near = (3 * noise(1, 1, 8, 8, seed=2, dtype=dtype)).requires_grad_()
    (gradient,) = torch.autograd.grad(options(reference, near).sum(), near)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().max()) > 0


def test_the_gradient_does_not_depend_on_the_memory_and_agrees_with_the_value() -> None:
    reference = noise(1, 1, 16, 16).mul(0.2).add(0.5)
    search = noise(1, 1, 16, 16, seed=1).mul(0.3).add(0.5).requires_grad_()
    options = LocalInformation.default(energy=True)
    gradients = []
    for memory in (2**22, 2**30):
        (gradient,) = torch.autograd.grad(replace(options, memory=memory)(reference, search).sum(), search)
        gradients.append(gradient)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(options(reference, search), options(reference, search.detach()), rtol=0, atol=1e-6)


def test_the_soft_maximum_lies_between_mean_and_maximum() -> None:
    first, second = (noise(1, 1, 9, 9, seed=seed).mul(0.2).add(0.5) for seed in (0, 1))
    hard = LocalInformation(clamp=False)(first, second)
    cold = LocalInformation(clamp=False, reduce="soft", temperature=1e-4)(first, second)
    torch.testing.assert_close(cold, hard, rtol=0, atol=3e-4)
    warm = [LocalInformation(clamp=False, reduce="soft", temperature=tau)(first, second) for tau in (0.05, 1e3)]
    assert bool((warm[1] < warm[0]).all())
    assert bool((warm[0] < hard).all())


def test_a_batch_equals_its_loop_and_any_memory_gives_the_same() -> None:
    first, second = (noise(3, 1, 30, 26, seed=seed, dtype=torch.float32).mul(0.2).add(0.5) for seed in (0, 1))
    options = LocalInformation()
    whole = options(first, second)
    for sample in range(3):
        alone = options(first[sample : sample + 1], second[sample : sample + 1])
        torch.testing.assert_close(alone, whole[sample : sample + 1], rtol=0, atol=3e-6)
    torch.testing.assert_close(replace(options, memory=2**20)(first, second), whole, rtol=0, atol=3e-6)


def test_a_crop_equals_the_map_of_the_whole_away_from_its_border() -> None:
    first, second = (noise(1, 1, 20, 20, seed=seed).mul(0.2).add(0.5) for seed in (0, 1))
    options = LocalInformation()
    part = (..., slice(4, 18), slice(2, 16))
    inner = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(
        options(first[part], second[part])[inner], options(first, second)[part][inner], rtol=0, atol=1e-9
    )


def test_a_flat_patch_in_a_volume_equals_its_slices() -> None:
    first, second = (noise(1, 1, 3, 9, 8, seed=seed).mul(0.2).add(0.5) for seed in (0, 1))
    volume = LocalInformation(patch=(1, 5, 5), radius=(0, 1, 1))(first, second)
    for index in range(3):
        torch.testing.assert_close(
            volume[:, :, index], LocalInformation()(first[:, :, index], second[:, :, index]), rtol=0, atol=1e-9
        )


def test_volumes_read_across_slices_and_in_tiles() -> None:
    first, second = (noise(2, 1, 9, 10, 11, seed=seed, dtype=torch.float32).mul(0.2).add(0.5) for seed in (0, 1))
    options = LocalInformation.default(3)
    whole = local_mutual_information(first, second)
    torch.testing.assert_close(replace(options, memory=2**23)(first, second), whole, rtol=0, atol=3e-6)
    own = options(first, first)
    assert float(own[:, :, 2:-2, 3:-3, 3:-3].mean()) > 1.5 * float(whole[:, :, 2:-2, 3:-3, 3:-3].mean())


def test_a_mask_is_zero_outside_and_changes_nothing_inside() -> None:
    first, second = (noise(2, 1, 12, 12, seed=seed).mul(0.2).add(0.5) for seed in (0, 1))
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 3:7, 4:9] = 1
    found, whole = LocalInformation()(first, second, mask), LocalInformation()(first, second)
    inside = mask.bool().expand_as(found)
    torch.testing.assert_close(found[inside], whole[inside], rtol=0, atol=1e-9)
    assert float(found[~inside].abs().max()) == 0
    wanted = whole[inside].reshape(2, -1).mean(1)
    torch.testing.assert_close(similarity_score(LocalInformation(), first, second, mask), wanted, rtol=0, atol=1e-9)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_yardsticks_of_the_phantom() -> None:
    right, wrong, other = phantom("T1", "A"), phantom("T1", "B"), phantom("PD", "A")
    for patch, means, across in ((5, (0.1311, 0.1241), 0.311), (3, (0.0730, 0.0693), 0.095)):
        images = torch.stack([right, other, wrong]).unsqueeze(1)
        own = LocalInformation(patch=patch)(images, images)
        assert float(own[0].mean()) == pytest.approx(means[0], abs=1e-3)
        assert float(own[1].mean()) == pytest.approx(means[1], abs=1e-3)
        assert correlation(own[0], own[2]) == pytest.approx(across, abs=2e-3)


@pytest.mark.parametrize(
    ("time", "wide", "narrow"), [(49, 0.424, 0.141), (199, 0.357, 0.109), (499, 0.371, 0.118), (999, 0.375, 0.123)]
)
def test_nothing_saturates_at_any_level(time: int, wide: float, narrow: float) -> None:
    right, wrong, other = phantom("T1", "A"), phantom("T1", "B"), phantom("PD", "A")
    state = noised(right, time)
    references = torch.stack([right, wrong, other]).unsqueeze(1)
    for patch, foreign, most in ((5, wide, 0.27), (3, narrow, 0.44)):
        maps = LocalInformation(patch=patch)(references, state.expand(3, 1, 64, 64))
        assert float(maps.max()) <= most + 0.005
        assert correlation(maps[0], maps[2]) > 0.99
        assert correlation(maps[0], maps[1]) == pytest.approx(foreign, abs=0.01)


def test_debiased_information_of_unrelated_images_is_near_zero() -> None:
    first, second = (torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    inner = (..., slice(2, -2), slice(2, -2))  # beside the border both images repeat their voxels
    plain = LocalInformation(radius=0)(first, second)[inner]
    corrected = LocalInformation(radius=0, debias=True)(first, second)[inner]
    assert float(plain.mean()) > 0.2
    assert abs(float(corrected.mean())) < 0.01


def test_half_precision_is_computed_in_single() -> None:
    image = noise(1, 1, 10, 10, dtype=torch.float32).mul(0.2).add(0.5).bfloat16()
    found = LocalInformation()(image, image)
    assert found.dtype == torch.bfloat16
    wanted = LocalInformation()(image.float(), image.float())
    torch.testing.assert_close(found.float(), wanted, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"patch": 4}, "patch"),
        ({"bins": 1}, "bins"),
        ({"width": 0.0}, "width"),
        ({"temperature": 0.0}, "temperature"),
        ({"radius": -1}, "radius"),
        ({"windows": "scrambled"}, "windows"),
        ({"windows": "tiled", "patch": 7}, "patch"),
        ({"memory": 10}, "memory"),
        ({"value_range": (1.0, 0.0)}, "value_range"),
        ({"quantise": True, "value_range": (-1.0, 1.0)}, "value_range"),
    ],
)
def test_options_are_checked_by_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"{named}: found"):
        LocalInformation(**change)


def test_images_are_checked_by_name() -> None:
    image = torch.rand(1, 1, 8, 8)
    options = LocalInformation()
    for reference, search, mask, words in (
        (image.expand(1, 3, 8, 8), image, None, "reference: found"),
        (image, torch.rand(1, 1, 8, 9), None, "search: found shape"),
        (image, image / 0, None, "search: found NaN"),
        (image[..., :3], image[..., :3], None, "sides"),
        (image, image, torch.zeros_like(image), "mask: found a sample without foreground"),
        (image, image, torch.ones(1, 1, 4, 4), "mask: found shape"),
        ((255 * image).long(), image, None, "reference: found torch.int64"),
    ):
        with pytest.raises(ValueError, match=words):
            options(reference, search, mask)
    with pytest.raises(ValueError, match="dimensions: found 4"):
        LocalInformation.default(4)
    with pytest.raises(ValueError, match="patch: found"):
        LocalInformation(patch=(3, 5, 5))(image, image)
