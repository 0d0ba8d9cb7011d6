"""MIND, local correlation, gradient directions, whole-image information and edges: closed forms and invariances."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from helpers.local_information_by_hand import phantom
from skiagraph.similarity import (
    MIND,
    Edges,
    HighPass,
    LocalCorrelation,
    LocalInformation,
    NormalisedGradients,
    SimilarityMap,
    WholeInformation,
    bilateral_filter,
    similarity,
    similarity_score,
)

EVERY = (
    MIND(),
    MIND(context=False),
    LocalCorrelation(5),
    NormalisedGradients(),
    WholeInformation(),
    Edges(window=3),
    HighPass(1.0),
    LocalInformation(patch=3, clamp=False),
)
SMOOTH = (*EVERY[:5], LocalInformation(patch=3, bins=8, width=1 / 7, reduce="soft", clamp=False))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("measure", EVERY, ids=lambda measure: type(measure).__name__)
@pytest.mark.parametrize("shape", [(2, 1, 9, 8), (2, 1, 7, 9, 8)], ids=["2-D", "3-D"])
def test_the_interface(measure: SimilarityMap, shape: tuple[int, ...]) -> None:
    assert isinstance(measure, SimilarityMap)
    first, second = noise(*shape), noise(*shape, seed=1)
    kept = first.clone(), second.clone()
    found = measure(first, second)
    assert found.shape == (2, measure.channels(len(shape) - 2), *shape[2:])
    assert measure.range[0] <= float(found.min())
    assert float(found.max()) <= measure.range[1]
    assert torch.equal(first, kept[0])
    assert torch.equal(second, kept[1])
    for sample in range(2):
        alone = measure(first[sample : sample + 1], second[sample : sample + 1])
        torch.testing.assert_close(alone, found[sample : sample + 1], rtol=0, atol=1e-9)
    mask = first > 0.5
    masked = measure(first, second, mask)
    assert float(masked[~mask.expand_as(masked)].abs().max()) == 0
    same, other = similarity_score(measure, first, first), similarity_score(measure, first, second)
    assert bool((same > other).all())


@pytest.mark.parametrize("measure", EVERY, ids=lambda measure: type(measure).__name__)
@pytest.mark.parametrize("level", [0.0, 0.7, -4.0])
def test_constant_images_are_finite_with_finite_gradient(measure: SimilarityMap, level: float) -> None:
    image = torch.full((1, 1, 8, 8), level).requires_grad_()
    other = noise(1, 1, 8, 8).float()
    for pair in ((image, other), (other, image), (image, image)):
        found = measure(*pair)
        assert bool(torch.isfinite(found).all())
        (gradient,) = torch.autograd.grad(found.sum(), image)
        assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("measure", SMOOTH, ids=lambda measure: type(measure).__name__)
def test_gradients_in_double_precision(measure: SimilarityMap) -> None:
    leaves = (noise(1, 1, 5, 5).requires_grad_(), noise(1, 1, 5, 5, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: similarity_score(measure, a, b), leaves, atol=1e-6)


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_mind_does_not_see_an_affine_map_of_intensities(dimensions: int, context: bool) -> None:
    image, measure = noise(2, 1, *[8] * dimensions), MIND(context)
    described = measure.describe(image)
    torch.testing.assert_close(measure.describe(-3 * image + 7), described, rtol=0, atol=1e-12)
    torch.testing.assert_close(described.amax(1), torch.ones_like(described[:, 0]), rtol=0, atol=1e-12)
    assert described.shape[1] == {(2, True): 4, (2, False): 4, (3, True): 12, (3, False): 6}[dimensions, context]


def test_mind_of_one_voxel_by_hand() -> None:
    image = noise(7, 7)
    at = (3, 3)
    faces = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    for context in (True, False):
        pairs = [((0, 0), face) for face in faces]
        if context:
            pairs = [(a, b) for a, b in itertools.combinations(faces, 2) if (a[0] + b[0], a[1] + b[1]) != (0, 0)]
        distances = torch.tensor(
            [
                sum(
                    float(image[at[0] + i + a[0], at[1] + j + a[1]] - image[at[0] + i + b[0], at[1] + j + b[1]]) ** 2
                    for i in (-1, 0, 1)
                    for j in (-1, 0, 1)
                )
                / 9
                for a, b in pairs
            ],
            dtype=torch.float64,
        )
        wanted = torch.exp(-(distances - distances.min()) / distances.mean())
        found = MIND(context).describe(image[None, None])[0, :, 3, 3]
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("context", "wanted"), [(True, (0.0026, 0.2125, 0.2132)), (False, (0.0319, 0.2022, 0.2094))])
def test_mind_distances_of_the_phantom(context: bool, wanted: tuple[float, ...]) -> None:
    names = (("T1", "A"), ("PD", "A"), ("T1", "B"))
    t1, pd, other = (phantom(*name).double()[None, None] for name in names)
    found = [float(-similarity_score(MIND(context), *pair)) for pair in ((t1, pd), (t1, other), (pd, other))]
    assert found == pytest.approx(wanted, abs=1e-3)


def test_local_correlation_of_affine_images_is_one_and_of_a_product_by_hand() -> None:
    image = noise(1, 1, 9, 9)
    torch.testing.assert_close(LocalCorrelation(3)(image, 5 - 2 * image), torch.ones_like(image), rtol=0, atol=1e-9)
    other = noise(1, 1, 9, 9, seed=1)
    window = (0, 0, slice(3, 6), slice(2, 5))
    table = torch.corrcoef(torch.stack([image[window].flatten(), other[window].flatten()]))
    found = LocalCorrelation(3)(image, other)[0, 0, 4, 3]
    assert float(found) == pytest.approx(float(table[0, 1]) ** 2, abs=1e-9)


def test_gradient_directions_of_ramps() -> None:
    x = torch.arange(9.0).expand(9, 9)[None, None]
    inner = (..., slice(1, -1), slice(1, -1))
    measure = NormalisedGradients(noise=1e-3)
    assert float((measure(x, -4 * x + 1)[inner] - 1).abs().max()) < 1e-5
    assert float(measure(x, x.transpose(2, 3))[inner].abs().max()) < 1e-5
    diagonal = x + x.transpose(2, 3)
    assert float((measure(x, diagonal)[inner] - 0.5).abs().max()) < 1e-5


def test_whole_information_ends_and_permutations() -> None:
    labels = torch.randint(0, 4, (1, 1, 40, 40), generator=torch.Generator().manual_seed(0))
    levels = torch.linspace(0, 1, 4, dtype=torch.float64)
    measure = WholeInformation(bins=4, width=0.02)
    image, exchanged = levels[labels], levels[torch.tensor([2, 0, 3, 1])][labels]
    assert float(measure.value(image, exchanged)) == pytest.approx(2, abs=1e-6)
    unrelated = levels[torch.randint(0, 4, labels.shape, generator=torch.Generator().manual_seed(1))]
    assert float(measure.value(image, unrelated)) == pytest.approx(1, abs=5e-3)
    assert float(measure.value(image, torch.full_like(image, 0.4))) == pytest.approx(1, abs=1e-9)
    assert float(measure.value(torch.zeros_like(image), torch.zeros_like(image))) == 1
    half = torch.where(labels < 2, 0.0, 1.0).double()  # a function of the image: H = 2, 1 and 2 bits
    counts = torch.bincount(labels.flatten()) / labels.numel()
    whole = float(-(counts * counts.log2()).sum())
    pairs = torch.tensor([float(counts[:2].sum()), float(counts[2:].sum())])
    assert float(measure.value(image, half)) == pytest.approx(
        1 + float(-(pairs * pairs.log2()).sum()) / whole, abs=1e-5
    )


def test_edges_of_a_step_and_of_its_inversion() -> None:
    step = torch.zeros(1, 1, 8, 8)
    step[..., 4:] = 0.5
    found = Edges(window=1).describe(step)
    assert float((found[..., 3:5] - 1).abs().max()) < 1e-6
    assert float(found[..., :3].abs().max()) == 0
    torch.testing.assert_close(Edges().describe(1 - step), Edges().describe(step), rtol=0, atol=1e-5)
    kept = bilateral_filter(step, 5, value_width=0.05, space_width=2.0)
    torch.testing.assert_close(kept, step, rtol=0, atol=1e-6)  # an edge far higher than the width stays
    plain = bilateral_filter(step, 3, value_width=1e6, space_width=1e6)
    assert float(plain[0, 0, 4, 3]) == pytest.approx(0.5 / 3, abs=1e-6)  # a box mean


def test_the_high_pass_has_the_stated_gain() -> None:
    place = torch.arange(256, dtype=torch.float64)
    mixed = torch.cos(2 * math.pi / 32 * place).expand(1, 1, 8, 256)
    image = torch.cat([mixed, torch.zeros_like(mixed)], -1)
    image[..., 400] = 10.0  # an impulse, whose height sets the scale of the map
    centre = 10.0 * (1 - (1 / sum(math.exp(-0.5 * (step / 2) ** 2) for step in range(-8, 9))))
    gain = 1 - math.exp(-0.5 * (2 * math.pi / 32 * 2) ** 2)
    assert float(HighPass(2.0).describe(image)[0, 0, 0, 128] * centre) == pytest.approx(gain, abs=0.01 * gain)


def test_names() -> None:
    assert isinstance(similarity("mind", patch=5), MIND)
    assert not similarity("mind").context
    assert similarity("lmi", dimensions=3).patch == (3, 5, 5)
    assert similarity("lmi-reference", patch=5).bins == 125
    with pytest.raises(ValueError, match="allowed are edges, high-pass, lmi"):
        similarity("mutual")


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: MIND(patch=2), "patch"),
        (lambda: LocalCorrelation(4), "window"),
        (lambda: LocalCorrelation(flat=0.0), "flat"),
        (lambda: NormalisedGradients(0.0), "noise"),
        (lambda: WholeInformation(bins=1), "bins"),
        (lambda: Edges(window=2), "window"),
        (lambda: Edges(value_width=0.0), "value_width"),
        (lambda: HighPass(0.0), "width"),
    ],
)
def test_options_are_checked_by_name(make: object, named: str) -> None:
    with pytest.raises(ValueError, match=f"{named}: found"):
        make()
