"""How a batch is drawn, on the exact laboratory: counts of calls, no push at scale 0, independence of the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.synthesize.laboratory import TABLE, kit, mixture, real_images, settings
from torch import Tensor

from skiagraph.errors import InputError
from skiagraph.tasks.synthesize.drawn import Drawn, to_bytes
from skiagraph.tasks.synthesize.kit import Guide, Kit
from skiagraph.tasks.synthesize.plan import Item
from skiagraph.tasks.synthesize.recipe import Recipe

ITEMS = [Item(k % 2, k // 2, 1000 + k, source=k, source_label=k % 2) for k in range(6)]
PRESETS = ["default", "reference"]
MODES = ["noise", "two-stage", "harden"]


def sources(channels: int = 1) -> Tensor:
    return torch.from_numpy(real_images(6, channels).images)


def draw(chosen: Kit | None = None, items: list[Item] = ITEMS, channels: int = 1, **values: Any) -> Drawn:
    mode = values.setdefault("mode", "noise")
    if mode == "harden":
        values.setdefault("real", Path("real"))
    recipe = Recipe(chosen or kit(channels), settings(Path("out"), **values))
    part = sources(channels)[[int(item.source or 0) for item in items]] if mode == "harden" else None
    return recipe.draw(items, part)


@pytest.mark.parametrize(
    ("values", "network", "classifier"),
    [
        ({"mode": "noise"}, 36, 36),
        ({"mode": "harden"}, 46, 23),
        ({"mode": "two-stage"}, 54, 18),
        ({"mode": "two-stage", "first_scale": 10.0}, 82, 59),
        ({"mode": "harden", "walk": {"inversion": "heun"}}, 90, 45),
        ({"mode": "harden", "walk": {"inversion": "noised"}}, 23, 23),
        ({"mode": "noise", "cfg": 1.0}, 72, 36),
        ({"mode": "noise", "guide": {"window": (0.0, 0.5)}}, 36, 18),
        ({"mode": "noise", "guide": {"every": 5}}, 36, 8),
        ({"mode": "harden", "preset": "reference"}, 500, 250),
        ({"mode": "two-stage", "preset": "reference"}, 750, 250),
    ],
)
def test_the_calls_are_those_that_were_stated(values: dict[str, Any], network: int, classifier: int) -> None:
    """By default at most 75 evaluations of both networks together, where the released walk takes 750."""
    seen: list[float] = []
    chosen = kit(seen=seen)
    drawn = draw(chosen, ITEMS[:1], **values)
    stated = Recipe(chosen, settings(Path("out"), **{"real": Path("real"), **values})).calls()
    assert (drawn.network_calls, drawn.classifier_calls) == (network, classifier)
    assert stated == {"network": network, "classifier": classifier}
    assert chosen.base.calls == network  # type: ignore[attr-defined]
    assert len(seen) == classifier


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preset", PRESETS)
def test_scale_0_is_the_unguided_decode_bit_for_bit_without_a_call(mode: str, preset: str) -> None:
    seen: list[float] = []
    values: dict[str, Any] = {"mode": mode, "preset": preset, "walk": {"levels": 25}}
    still = draw(kit(seen=seen), guide={"scale": 0.0}, **values)
    none = draw(guide={"measure": "none"}, **values)
    assert torch.equal(still.images, none.images)
    assert seen == []
    assert not torch.equal(still.images, draw(guide={"scale": 1.0}, **values).images)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_depends_on_its_item_alone(mode: str, channels: int) -> None:
    values: dict[str, Any] = {"mode": mode, "cfg": 0.5, "walk": {"levels": 12, "eta": 0.3}, "guide": {"trust": 1.0}}
    whole = draw(channels=channels, **values).images
    order = [4, 1, 0, 5, 3]
    mixed = draw(items=[ITEMS[k] for k in order], channels=channels, **values).images
    assert torch.allclose(mixed, whole[order], atol=1e-5)
    for place, item in enumerate(ITEMS):
        assert torch.allclose(draw(items=[item], channels=channels, **values).images[0], whole[place], atol=1e-5)


@pytest.mark.parametrize("mode", ["noise", "harden"])
def test_the_classifier_is_asked_at_the_levels_of_the_walk_and_no_others(mode: str) -> None:
    seen: list[float] = []
    draw(kit(seen=seen), ITEMS[:2], mode=mode)
    walked = Recipe(kit(), settings(Path("out"), mode=mode, real=Path("real"))).down[:-1].tolist()
    assert sorted(set(seen)) == sorted(walked)
    assert all(time.is_integer() and 0 <= time <= 996 for time in seen)


def test_volumes_are_drawn_as_pictures_are() -> None:
    """(B, C, D, H, W): the command writes pictures only, the recipe takes what the kit says."""
    flat = kit()
    folded = mixture()
    folded = replace(folded, means=folded.means.reshape(4, 1, 2, 2, 4))
    guide = Guide("exact", lambda x, t: folded.logits(x.double(), t), True)
    solid = replace(flat, base=type(flat.base)(folded), shape=(1, 2, 2, 4), guides=(guide,))  # type: ignore[call-arg]
    for scale in (0.0, 2.0):
        values: dict[str, Any] = {"mode": "two-stage", "walk": {"levels": 20}, "guide": {"trust": 1.0, "scale": scale}}
        drawn = Recipe(solid, settings(Path("out"), **values)).draw(ITEMS)
        assert torch.allclose(drawn.images.reshape(-1, 1, 4, 4), draw(**values).images, atol=1e-5)


def test_the_reference_preset_is_the_published_formulas() -> None:
    """Written out: eps' = eps - sigma g with g the gradient of the entropy, inversion offset by a level."""
    exact, scale, levels = mixture(), 1.5, TABLE.respaced("ddim25").indices
    abar = [TABLE.alpha_bar[level] for level in levels] + [0.0]
    label = torch.tensor([item.label for item in ITEMS])

    def noise(x: Tensor, i: int) -> Tensor:
        found = exact(x, torch.tensor(float(levels[i])), {"label": label}).x0
        return (x - abar[i] ** 0.5 * found) / (1 - abar[i]) ** 0.5

    x = sources().double()
    for i in range(25):
        eps = noise(x, i)
        clean = (x - (1 - abar[i]) ** 0.5 * eps) / abar[i] ** 0.5
        x = abar[i + 1] ** 0.5 * clean + (1 - abar[i + 1]) ** 0.5 * eps
    for i in reversed(range(25)):
        clean = ((x - (1 - abar[i]) ** 0.5 * noise(x, i)) / abar[i] ** 0.5).clamp(-1, 1)
        eps = (x - abar[i] ** 0.5 * clean) / (1 - abar[i]) ** 0.5
        state = x.clone().requires_grad_()
        log_p = torch.log_softmax(exact.logits(state, torch.tensor(float(levels[i]))), 1)
        (gradient,) = torch.autograd.grad(-(log_p.exp() * log_p).sum(), state)
        eps = eps - (1 - abar[i]) ** 0.5 * scale * gradient
        clean = (x - (1 - abar[i]) ** 0.5 * eps) / abar[i] ** 0.5
        x = clean if i == 0 else abar[i - 1] ** 0.5 * clean + (1 - abar[i - 1]) ** 0.5 * eps
    drawn = draw(mode="harden", preset="reference", guide={"scale": scale}, walk={"levels": 25})
    unguided = draw(mode="harden", preset="reference", guide={"scale": 0.0}, walk={"levels": 25})
    assert float((drawn.images - x).abs().max()) < 1e-4
    assert float((unguided.images - x).abs().max()) > 1e-2


def test_fresh_noise_makes_different_images_of_one_source() -> None:
    again = [replace(ITEMS[0], number=k, seed=k) for k in range(3)]
    drawn = draw(items=again, mode="harden", walk={"inversion": "noised"}, guide={"scale": 0.0}).images
    assert float((drawn[0] - drawn[1]).abs().max()) > 0.1
    assert torch.equal(
        draw(items=again[1:2], mode="harden", walk={"inversion": "noised"}, guide={"scale": 0.0}).images[0], drawn[1]
    )


def test_a_measure_of_ones_own_takes_the_place_of_a_name() -> None:
    chosen = settings(Path("out"), mode="harden", real=Path("real"), walk={"levels": 50})
    own = Recipe(kit(), chosen, own=lambda logits, labels: -(logits.diff(dim=1)[:, 0].abs() - 3).abs()).draw(
        ITEMS, sources()
    )
    odds = mixture().logits(own.images.double(), torch.tensor(0.0)).diff(dim=1).abs()
    assert float((odds - 3).abs().max()) < 1.5


def test_pushed_estimates_may_be_bounded_again() -> None:
    strong: dict[str, Any] = {"guide": {"trust": 1.0, "scale": 5.0, "measure": "energy"}}
    free = draw(**strong)
    for bound in ({"reclip": True}, {"threshold": 1.0}):
        assert float(draw(walk=bound, **strong).images.abs().max()) <= 1 + 1e-6 < float(free.images.abs().max())


def test_twins_start_from_the_same_noise_and_change_nothing() -> None:
    items = [replace(item, twin=k in (1, 4)) for k, item in enumerate(ITEMS)]
    values: dict[str, Any] = {"walk": {"levels": 12, "eta": 0.5}}
    drawn, plain = draw(items=items, **values), draw(guide={"measure": "none"}, **values)
    assert drawn.has_before == (False, True, False, False, True, False)
    assert drawn.before is not None
    assert torch.equal(drawn.before[[1, 4]], plain.images[[1, 4]])
    assert torch.equal(drawn.images, draw(**values).images)
    assert drawn.network_calls == draw(**values).network_calls


def test_a_latent_from_the_first_stage_decodes_to_its_own_image_without_a_push() -> None:
    """The saving of the inversion is exact where nothing pushes; through the image only nearly so."""
    for handover, error in (("latent", 1e-6), ("image", 0.06)):
        drawn = draw(mode="two-stage", walk={"handover": handover}, guide={"scale": 0.0})
        assert drawn.before is not None
        assert float((drawn.images - drawn.before).abs().max()) < error


def test_labels_are_mapped_on_the_way_down_only() -> None:
    swapped = [replace(item, label=1 - item.label) for item in ITEMS]
    drawn = draw(items=swapped, mode="harden", guide={"measure": "none"}, walk={"depth": 1.0})
    same = draw(mode="harden", guide={"measure": "none"}, walk={"depth": 1.0})
    odds = mixture().logits(drawn.images.double(), torch.tensor(0.0)).diff(dim=1)[:, 0]
    assert bool(((odds > 0) == torch.tensor([item.label == 1 for item in swapped])).all())
    assert float((same.images - sources()).abs().max()) < 0.1 < float((drawn.images - sources()).abs().max())


@pytest.mark.parametrize("through", ["x0", "network"])
def test_a_clean_classifier_guides_through_the_estimate(through: str) -> None:
    exact = mixture()
    clean = Guide("clean", lambda x, t: exact.logits(x.double(), torch.tensor(0.0)), False, sha256="d")
    drawn = draw(replace(kit(), guides=(clean,)), guide={"through": through, "scale": 0.5}, mode="harden")
    before = exact.logits(sources().double(), torch.tensor(0.0)).diff(dim=1).abs().mean()
    after = exact.logits(drawn.images.double(), torch.tensor(0.0)).diff(dim=1).abs().mean()
    assert float(after) < 0.7 * float(before)


def test_an_ensemble_agrees_with_its_only_opinion_and_bald_needs_members() -> None:
    one = kit().guides[0]
    twice = replace(kit(), guides=(one, replace(one, name="again", sha256="e" * 64)))
    pair: dict[str, Any] = {"classifier": [Path("a"), Path("b")], "guide": {"measure": "entropy", "scale": 2.0}}
    assert torch.allclose(draw(twice, **pair).images, draw(guide=pair["guide"]).images, atol=1e-5)
    same = draw(twice, classifier=pair["classifier"], guide={"measure": "bald", "scale": 2.0})
    assert torch.allclose(same.images, draw(guide={"measure": "none"}).images, atol=1e-4)  # no disagreement, no push


def test_temperature_divides_the_logits() -> None:
    one = kit().guides[0]
    warm = draw(replace(kit(), guides=(replace(one, temperature=4.0),)), mode="harden", guide={"scale": 8.0})
    cool = draw(mode="harden")
    odds = [mixture().logits(drawn.images.double(), torch.tensor(0.0)).diff(dim=1).abs() for drawn in (warm, cool)]
    assert 2.5 < float(odds[0].mean() / odds[1].mean()) < 6  # the target is met after the division


def test_images_that_have_reached_the_target_are_not_pushed_further() -> None:
    stopped = draw(mode="harden", guide={"stop_at": 1e9 * -1})
    assert torch.equal(stopped.images, draw(mode="harden", guide={"scale": 0.0}).images)


def test_frozen_weights_guide_and_receive_no_gradient() -> None:
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    exact = mixture()
    for frozen in (False, True):
        weight.requires_grad_(not frozen)
        guide = Guide("weighted", lambda x, t: weight * exact.logits(x.double(), t), True, sha256="w")
        drawn = draw(replace(kit(), guides=(guide,)), walk={"levels": 12})
        assert weight.grad is None
        assert not drawn.images.requires_grad


def test_a_gradient_that_is_not_finite_names_level_and_sample() -> None:
    def broken(x: Tensor, t: Tensor) -> Tensor:
        logits = mixture().logits(x.double(), t)
        return logits * torch.where(torch.arange(len(x)) == 2, torch.inf, 1.0)[:, None]

    with pytest.raises(FloatingPointError, match="samples 2 "):
        draw(replace(kit(), guides=(Guide("broken", broken, True),)))


def test_levels_outside_the_trained_times_are_refused_or_snapped() -> None:
    trained = replace(kit(), trained_times=frozenset(TABLE.respaced("ddim250").indices))
    times = Recipe(trained, settings(Path("out"))).times[:-1]
    assert len(times) == 35
    assert bool((times % 4 == 0).all())
    with pytest.raises(InputError, match="are not among the 250 levels that 'laboratory' and its classifiers were"):
        Recipe(trained, settings(Path("out"), walk={"grid": "uniform", "levels": 500}))
    with pytest.raises(InputError, match=r"walk\.levels"):
        Recipe(kit(), settings(Path("out"), walk={"grid": "uniform", "levels": 60}))


def test_a_measure_without_a_classifier_is_refused() -> None:
    with pytest.raises(InputError, match="classifier: none was given"):
        Recipe(replace(kit(), guides=()), settings(Path("out"), mode="two-stage"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"walk": {"grid": "uniform", "levels": 50}, "guide": {"trust": 1.5}}, "lose their label"),
        ({"guide": {"every": 5, "multiply": True}}, "multiplied by 5"),
        ({"mode": "two-stage", "first_scale": 5.0, "guide": {"measure": "entropy"}}, "works against the second stage"),
        ({"guide": {"window": (0.05, 1.0)}}, "on which the effect depends"),
    ],
)
def test_settings_that_lose_labels_are_warned_of(values: dict[str, Any], words: str) -> None:
    assert words in " ".join(Recipe(kit(), settings(Path("out"), **values)).risks())
    assert Recipe(kit(), settings(Path("out"))).risks() == ()


def test_grey_levels_are_rounded_and_in_the_reference_cut_off() -> None:
    level = torch.tensor([99.7 / 127.5 - 1, -2.0, 2.0])
    assert to_bytes(level).tolist() == [100, 0, 255]
    assert to_bytes(level, truncate=True).tolist() == [99, 0, 255]
