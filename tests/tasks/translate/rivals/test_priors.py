"""Rivals that use a prior, on the exact Gaussian, where SDEdit, ILVR and the bridges have closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.tasks.translate.rivals.gaussian import MEAN, TABLE, VARIANCE, ExactPrior, stack, textured, tools

from skiagraph.diffusion import Streams
from skiagraph.errors import InputError
from skiagraph.tasks.translate.method import stack_streams, translation_method
from skiagraph.tasks.translate.rivals.bridges import cycle
from skiagraph.tasks.translate.rivals.low_pass import BlockLowPass, ilvr
from skiagraph.tasks.translate.rivals.noised_start import sdedit
from skiagraph.tasks.translate.rivals.noisy_energy import egsde
from skiagraph.tasks.translate.rivals.walks import Walk, noised, start_time


@pytest.mark.parametrize("index", [99, 199, 299])
def test_sdedit_keeps_the_share_of_the_source_that_the_formula_says(index: int) -> None:
    """mean = mu + G (y - mu) and var = r + k^2 sigma^2 at the start level, for the ideal reverse process."""
    alpha, sigma = (float(value) for value in TABLE(float(index)))
    total = alpha**2 * VARIANCE + sigma**2
    kept, gain = alpha**2 * VARIANCE / total, alpha * VARIANCE / total
    spread = math.sqrt(VARIANCE * sigma**2 / total + (gain * sigma) ** 2)
    source = stack(0.6, 4, 96)
    method = sdedit(tools(index + 1, target=ExactPrior()), (index + 1) / 1000, "ddpm")
    found = method(source, stack_streams(0, 4))
    assert found.calls == index + 1
    assert float(found.images.mean()) == pytest.approx(MEAN + kept * (0.6 - MEAN), abs=0.005)
    assert float(found.images.std()) == pytest.approx(spread, abs=0.006)


def test_a_start_has_the_marginal_of_its_level_and_is_spent_in_as_many_steps_as_calls() -> None:
    images = torch.full((8, 1, 64, 64), 0.5)
    found = noised(TABLE, images, 0.4, Streams(range(8)))
    alpha, sigma = (float(value) for value in TABLE(399.0))
    assert start_time(TABLE, 0.4) == 399
    assert float(found.mean()) == pytest.approx(0.5 * alpha, abs=0.02)
    assert float(found.std()) == pytest.approx(sigma, abs=0.02)
    for rule in ("ddim", "ddpm", "dpmpp"):
        for strength in (0.13, 0.4, 1.0):
            times = Walk(17, rule, strength).grid(TABLE)(TABLE)  # type: ignore[arg-type]
            assert len(times) == 18
            assert (float(times[0]), float(times[-1])) == (start_time(TABLE, strength), -1.0)
            assert bool((times.diff() < 0).all())


def test_block_means_and_what_they_leave_are_projections_on_any_size() -> None:
    x = torch.randn(2, 1, 21, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for part in (BlockLowPass(4), BlockLowPass(4, complement=True)):
        assert torch.allclose(part(part(x)), part(x), atol=1e-12)
    assert torch.allclose(BlockLowPass(4)(x) + BlockLowPass(4, complement=True)(x), x)


@pytest.mark.parametrize("part", ["low-pass", "high-pass"])
def test_ilvr_leaves_the_part_of_the_source_exactly(part: str) -> None:
    source = textured()
    method = ilvr(tools(12, target=ExactPrior(0.0)), 4, part)  # type: ignore[arg-type]
    found = method(source, stack_streams(0, len(source))).images
    assert float(found.abs().max()) < 1  # nothing was cut
    phi = BlockLowPass(4, part == "high-pass")
    assert float((phi(found) - phi(source.images)).abs().max()) < 1e-5
    rest = BlockLowPass(4, part != "high-pass")
    assert float((rest(found) - rest(source.images)).abs().max()) > 0.05


def test_ilvr_may_stop_before_the_clean_end() -> None:
    source = textured()
    plain = ilvr(tools(12, target=ExactPrior()), until=1.0)(source, stack_streams(0, 3)).images
    assert torch.equal(plain, sdedit(tools(12, target=ExactPrior()), 1.0, "ddpm")(source, stack_streams(0, 3)).images)


def test_egsde_with_zero_weight_is_sdedit_bit_for_bit_and_otherwise_nears_the_source() -> None:
    source, kit = textured(), tools(10, target=ExactPrior())
    plain = sdedit(kit, 0.6)(source, stack_streams(0, 3)).images
    for energy in ("low-pass", "mind-ssc"):
        assert torch.equal(egsde(kit, 0.6, energy, 0.0)(source, stack_streams(0, 3)).images, plain)  # type: ignore[arg-type]
    pushed = egsde(kit, 0.6, "low-pass", 0.5)(source, stack_streams(0, 3)).images
    phi = BlockLowPass(4)
    far = [(phi(image) - phi(source.images)).square().mean() for image in (plain, pushed)]
    assert float(far[1]) < 0.8 * float(far[0])


def test_ddib_between_equal_priors_is_the_identity_to_the_solver_s_order() -> None:
    source = textured()
    errors = []
    for calls in (80, 160, 320):
        kit = tools(calls, source=ExactPrior(), target=ExactPrior())
        found = translation_method("ddib", kit, heun=True)(source, stack_streams(0, 3))
        assert found.calls == calls
        errors.append(float((found.images - source.images).abs().max()))
    assert errors[2] < 0.01
    assert errors[2] < 0.4 * errors[1] < 0.16 * errors[0]


def test_ddib_moves_a_source_s_distribution_onto_the_target_s() -> None:
    """Between Gaussians the flow is y -> m + (s / s') (y - m')."""
    source = textured()
    kit = tools(400, source=ExactPrior(0.1, 0.3**2), target=ExactPrior(-0.2, 0.15**2))
    found = translation_method("ddib", kit, heun=True)(source, stack_streams(0, 3)).images
    assert float((found - (-0.2 + 0.5 * (source.images - 0.1))).abs().max()) < 0.01


def test_cycle_diffusion_between_equal_priors_is_the_identity() -> None:
    source = textured()
    kit = tools(20, source=ExactPrior(), target=ExactPrior())
    found = translation_method("cycle-diffusion", kit, strength=0.7)(source, stack_streams(0, 3))
    assert found.calls == 20
    assert float((found.images - source.images).abs().max()) < 1e-5
    other = ExactPrior(-0.2).denoiser(None)
    moved = cycle(
        ExactPrior().denoiser(None), other, source.images, torch.tensor([600.0, 200.0, -1.0]), Streams([1, 2, 3])
    )
    assert float(moved.mean()) < float(source.images.mean()) - 0.1


def test_described_priors_are_asked_with_the_source_and_a_missing_one_is_named() -> None:
    source = textured()
    for name, role in (("fgdm", "target_edges"), ("mind-condition", "target_mind")):
        found = translation_method(name, tools(5, **{role: ExactPrior()}))(source, stack_streams(0, 3))
        assert found.images.shape == source.images.shape
        with pytest.raises(InputError, match=role.replace("_", "-")):
            translation_method(name, tools(5))
    with pytest.raises(InputError, match="target"):
        translation_method("sdedit", tools(5))


def test_a_matched_start_stays_near_the_match_where_little_noise_is_added() -> None:
    source = textured()
    kit = replace(tools(8, target=ExactPrior()), target_slices=-source.images)
    found = translation_method("matched-start", kit, strength=0.02, candidates=2)(source, stack_streams(0, 3))
    assert found.calls == 8
    assert found.candidates is not None
    assert len(found.candidates) == 2
    assert float((found.images + source.images).abs().mean()) < 0.1


def test_a_slice_is_the_same_alone_and_in_a_stack() -> None:
    source, kit = textured(), tools(8, target=ExactPrior())
    alone = type(source)(source.images[:1], source.mask[:1])
    for name in ("sdedit", "ilvr", "egsde"):
        whole = translation_method(name, kit)(source, stack_streams(0, 3)).images[:1]
        assert torch.allclose(translation_method(name, kit)(alone, stack_streams(0, 1)).images, whole, atol=1e-6), name


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ilvr", {"part": "edges"}, "part: found 'edges'"),
        ("egsde", {"energy": "mse"}, "energy: found 'mse'"),
        ("sdedit", {"strength": 0.0}, "strength: found 0.0"),
        ("sdedit", {"rule": "euler"}, "rule: found 'euler'"),
    ],
)
def test_wrong_options_are_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises((InputError, ValueError), match=message):
        translation_method(name, tools(5, target=ExactPrior()), **options)
