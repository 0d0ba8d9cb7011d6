"""The data-consistent network: exact where the data are, whatever the backbone, one item or many."""

from __future__ import annotations

import pytest
import torch
from tests.inverse.scans import Mixing, Silent, columns, image, maps, network, scan
from torch import Tensor, nn

from skiagraph.diffusion.schedule import EDM, linear_table
from skiagraph.diffusion.streams import Streams
from skiagraph.inverse.consistent import Anchors, ConsistentDenoiser, ConsistentNetwork, LineWeightedNormal
from skiagraph.physics.fourier import CoilFourier, to_complex

SIZES = [(12, 16), (11, 15), (9, 16)]


def level(value: float, batch: int = 3) -> Tensor:
    return torch.full((batch,), value)


def misfit(x: Tensor, data: Tensor, mask: Tensor, fields: Tensor) -> float:
    """|M (T x - q)| / |M q|."""
    difference = mask * (CoilFourier(fields).forward(x) - data)
    return float(torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(mask * data))


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_a_fresh_network_reproduces_all_lines_at_small_noise(size: tuple[int, int]) -> None:
    fields, x = maps(size=size), image(size=size)
    q = CoilFourier(fields).forward(x)
    found = network(Silent())(q, level(0.01), torch.ones(3, 1, 1, size[1]), fields).image
    assert misfit(found, q, torch.ones(()), fields) < 1e-3
    assert torch.allclose(found, x, atol=2e-3)


@torch.no_grad()
@pytest.mark.parametrize("backbone", [Silent(), Mixing(), Mixing(3)], ids=["silent", "two outputs", "trust"])
@pytest.mark.parametrize("size", SIZES)
def test_the_estimate_meets_the_data_as_noise_vanishes(size: tuple[int, int], backbone: nn.Module) -> None:
    fields, mask = maps(size=size), columns(width=size[1])
    q = CoilFourier(fields).forward(image(size=size))
    module = network(backbone, data_iterations=80)
    errors = [misfit(module(q, level(rho), mask, fields).image, q, mask, fields) for rho in (0.1, 1e-3, 1e-5)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


@torch.no_grad()
def test_cascades_feed_each_other_and_end_at_the_data() -> None:
    batch, fields = scan(), maps()
    first, second = Mixing(3), Mixing(3)
    arguments = (batch["kspace"], level(0.05), batch["mask"], fields)
    one, two = network(first), ConsistentNetwork(first, later=[second], patch=1)
    assert (one.evaluations, two.evaluations) == (1, 2)
    assert not torch.allclose(one(*arguments).image, two(*arguments).image, atol=1e-4)
    exact = {"patch": 1, "linear_iterations": 60, "data_iterations": 60}
    quiet = [ConsistentNetwork(Silent(), later=[Silent()] * count, **exact) for count in (0, 2)]
    # A silent network leaves the least-squares image; its data step can only bring it closer to the data.
    before, after = (misfit(module(*arguments).image, batch["kspace"], batch["mask"], fields) for module in quiet)
    assert after <= before * 1.001


@torch.no_grad()
def test_the_expected_error_may_follow_the_share_of_lines_seen() -> None:
    batch, module = scan(), network()
    plain = module(batch["kspace"], level(0.2), batch["mask"], batch["maps"]).log_error
    module.error_slope += 0.5
    share = batch["mask"].flatten(1).mean(1, keepdim=True)
    sloped = module(batch["kspace"], level(0.2), batch["mask"], batch["maps"]).log_error
    assert torch.allclose(sloped, plain - 0.5 * share.log())


@torch.no_grad()
def test_anchors_are_met_at_their_own_noise_whatever_the_level() -> None:
    batch, fields = scan(), maps()
    anchors = Anchors(batch["kspace"], batch["mask"], level(1e-3))
    q = 20 * Streams([7, 8, 9]).normal_like(batch["kspace"])
    found = network(data_iterations=80)(q, level(20.0), torch.ones(3, 1, 1, 16), fields, anchors).image
    assert misfit(found, batch["kspace"], batch["mask"], fields) < 5e-3


@torch.no_grad()
def test_anchors_take_precedence_and_no_anchors_is_no_condition() -> None:
    batch, fields, module = scan(), maps(), network()
    module.log_error[2:] += 1
    anchors = Anchors(batch["kspace"], batch["mask"], level(0.01))
    q, full = 0.5 * Streams([7, 8, 9]).normal_like(batch["kspace"]), torch.ones(3, 1, 1, 16)
    found = module(q, level(0.5), full, fields, anchors)
    elsewhere = torch.where(batch["mask"] > 0, 100 * q, q)
    assert torch.equal(module(elsewhere, level(0.5), full, fields, anchors).image, found.image)
    empty = Anchors(torch.zeros_like(q), torch.zeros_like(full), level(0.01))
    with_empty, without = module(q, level(0.5), full, fields, empty), module(q, level(0.5), full, fields)
    assert torch.equal(with_empty.image, without.image)
    assert torch.equal(with_empty.log_error, without.log_error)
    assert torch.allclose(found.log_error, without.log_error + 1)


@torch.no_grad()
def test_lines_off_the_mask_are_not_read() -> None:
    batch, module = scan(), network()
    found = module(batch["kspace"], level(0.2), batch["mask"], batch["maps"]).image
    filled = batch["kspace"] + 1e3 * (1 - batch["mask"])
    assert torch.equal(module(filled, level(0.2), batch["mask"], batch["maps"]).image, found)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("anchored", [False, True])
def test_a_batch_equals_its_items_and_inputs_stay(size: tuple[int, int], anchored: bool) -> None:
    batch = scan(size=size, noise=0.05)
    module, rho = network(Mixing(3)), torch.tensor([0.02, 0.3, 4.0])
    seen = columns(width=size[1], seed=9) * batch["mask"]
    anchors = Anchors(batch["kspace"] * (batch["mask"] - seen), batch["mask"] - seen, batch["noise"])
    arguments = [batch["kspace"], rho, seen, batch["maps"], *([anchors] if anchored else [])]
    tensors = [*arguments[:4], anchors.kspace, anchors.mask, anchors.noise]
    before = [value.clone() for value in tensors]
    whole = module(*arguments)
    assert all(torch.equal(value, kept) for value, kept in zip(tensors, before, strict=True))
    for item in range(3):
        one = slice(item, item + 1)
        part = [Anchors(*(v[one] for v in tensors[4:])) if isinstance(a, Anchors) else a[one] for a in arguments]
        alone = module(*part)
        assert torch.allclose(alone.image, whole.image[one], rtol=0, atol=0 if size == (12, 16) else 1e-6)
        assert torch.equal(alone.log_error, whole.log_error[one])


@torch.no_grad()
def test_views_in_a_row_equal_separate_calls() -> None:
    batch, module = scan(), network()
    schedule = linear_table().respaced("ddim20")
    anchors = Anchors(batch["kspace"], columns(seed=9) * batch["mask"], level(0.02))
    x = Streams([1, 2, 3]).normal_like(batch["kspace"])
    views = torch.stack([columns(seed=20), columns(seed=30)], 1).flatten(0, 1)
    for denoiser in (
        ConsistentDenoiser(module, schedule, batch["maps"]),
        ConsistentDenoiser(module, schedule, batch["maps"], anchors),
    ):
        t = torch.tensor(7.0, dtype=torch.float64)
        together = denoiser(x.repeat_interleave(2, 0), t, views).x0
        for view in range(2):
            assert torch.allclose(together[view::2], denoiser(x, t, views[view::2]).x0, rtol=0, atol=1e-6)


def test_the_denoiser_refuses_what_does_not_fit() -> None:
    batch = scan()
    denoiser = ConsistentDenoiser(network(), EDM(), batch["maps"])
    t = torch.tensor(1.0, dtype=torch.float64)
    with pytest.raises(ValueError, match="cond: found"):
        denoiser(batch["kspace"], t, batch["mask"], {"label": 1})
    with pytest.raises(ValueError, match="x: found 4 rows for maps of 3 items"):
        denoiser(batch["kspace"][[0, 1, 2, 0]], t, batch["mask"][[0, 1, 2, 0]])


@torch.no_grad()
@pytest.mark.parametrize("coils", [1, 2, 7])
def test_another_number_of_coils_works(coils: int) -> None:
    batch = scan(coils=coils)
    found = network()(batch["kspace"], level(0.1), batch["mask"], batch["maps"]).image
    assert found.shape == (3, 2, 12, 16)
    assert found.isfinite().all()


@torch.no_grad()
def test_zero_padded_coils_change_nothing() -> None:
    batch, module = scan(), network()
    found = module(batch["kspace"], level(0.1), batch["mask"], batch["maps"]).image
    padded = [torch.cat([batch[name], torch.zeros_like(batch[name][:, :2])], 1) for name in ("kspace", "maps")]
    again = module(padded[0], level(0.1), batch["mask"], padded[1]).image
    assert torch.allclose(again, found, rtol=0, atol=1e-6)


def test_gradients_reach_backbone_and_tables_and_are_finite() -> None:
    batch, module = scan(noise=0.02), network(Mixing(3))
    anchors = Anchors(batch["kspace"], columns(seed=9) * batch["mask"], level(0.02))
    anchors.mask[0] = 0
    estimate = module(batch["kspace"], torch.tensor([0.004, 0.3, 20.0]), batch["mask"], batch["maps"], anchors)
    (estimate.image.square().sum() + estimate.log_error.sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_the_normal_operator_is_that_of_the_weighted_problem(size: tuple[int, int]) -> None:
    fields, weights = maps(size=size), 3 * columns(width=size[1])
    width = 0.1 + image(size=size)[:, 0].abs()
    x = image(size=size, seed=5)
    operator = CoilFourier(fields)
    r = width[:, None]
    expected = x + r * operator.adjoint(weights * operator.forward(r * x))
    assert torch.allclose(LineWeightedNormal(fields, weights, width)(to_complex(x)), to_complex(expected), atol=1e-5)
