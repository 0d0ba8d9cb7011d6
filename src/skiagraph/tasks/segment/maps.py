"""From images and settings to maps: one call in front of the three engines."""

from __future__ import annotations

import torch
from torch import Tensor

from skiagraph.diffusion import DiscreteTable, Streams
from skiagraph.diffusion.difference import (
    AveragePlan,
    DifferenceMap,
    TrajectoryPlan,
    average_difference,
    trajectory_map,
)
from skiagraph.diffusion.difference.trajectory import Logits
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.settings import DifferenceSettings
from skiagraph.training.classifier import Classifier

__all__ = ["average_plan", "check_images", "check_maps", "difference_map", "guide_logits", "trajectory_plan"]

FLIPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "horizontal": ((), (-1,)),
    "vertical": ((), (-2,)),
    "both": ((), (-1,), (-2,), (-2, -1)),
}


def difference_map(
    prior: LabelledPrior,
    images: Tensor,
    settings: DifferenceSettings,
    streams: Streams,
    classifier: Classifier | None = None,
) -> DifferenceMap:
    """The map of every image: larger where the prior's "present" differs more from "absent".

    Args:
        prior: class-conditional prior with its two classes.
        images: (B, C, H, W) float32 or float64, of the prior's size and range.
        settings: engine, levels, draws, sign.
        streams: one random stream an image; equal seeds share their noise (slices of one volume).
        classifier: noisy classifier, where settings.classifier_scale is above 0.
    """
    check_images(prior, images)
    logits, labels = guide_logits(prior, settings, classifier)
    images = images.to(prior.device)
    if settings.engine == "reference":
        return _reference(prior, images, settings, streams, logits, labels)
    plan = average_plan(settings, labels)
    found = average_difference(prior.denoiser, prior.pair, images, plan, streams, logits)
    check_maps(found.maps)
    return found


def average_plan(settings: DifferenceSettings, labels: tuple[int, int] = (1, 0)) -> AveragePlan:
    """What the settings mean to the engines jvp and difference."""
    tau = 1.0 if settings.engine == "jvp" else settings.tau or 0.0
    weights = tuple(settings.weights) if isinstance(settings.weights, list) else settings.weights
    return AveragePlan(
        levels=tuple(settings.levels),
        seeds=settings.seeds,
        tau=tau,
        weights=weights,
        sign=settings.chosen_sign,
        channel_signs=tuple(settings.channel_signs or ()),
        flips=FLIPS[settings.flips],
        scale=settings.classifier_scale,
        present=labels[0],
        absent=labels[1],
        batch=settings.batch,
    )


def trajectory_plan(settings: DifferenceSettings, labels: tuple[int, int] = (1, 0)) -> TrajectoryPlan:
    """What the settings mean to the engine reference."""
    return TrajectoryPlan(
        level=settings.level,
        steps=settings.steps,
        tau=0.95 if settings.tau is None else settings.tau,
        absolute=settings.chosen_sign == "absolute",
        clamp=settings.clamp,
        first_call=settings.first_call,
        scale=settings.classifier_scale,
        present=labels[0],
        absent=labels[1],
    )


def _reference(
    prior: LabelledPrior,
    images: Tensor,
    settings: DifferenceSettings,
    streams: Streams,
    logits: Logits | None,
    labels: tuple[int, int],
) -> DifferenceMap:
    """The released map, averaged over `seeds` draws of noise (released: one)."""
    plan = trajectory_plan(settings, labels)
    total, squares, calls, guided = torch.zeros_like(images[:, :1]), torch.zeros_like(images[:, :1]), 0, 0
    for seed in range(settings.seeds):
        noise = streams.fork(f"difference/reference/{seed}").normal_like(images)
        found = trajectory_map(prior.denoiser, prior.pair, images, noise, plan, logits)
        total, squares = total + found.maps, squares + found.maps**2
        calls, guided = calls + found.calls, guided + found.classifier_calls
    mean = total / settings.seeds
    check_maps(mean)
    spread = (squares / settings.seeds - mean**2).clamp(min=0).sqrt()
    return DifferenceMap(mean, spread, mean, None, calls, guided)


def guide_logits(
    prior: LabelledPrior, settings: DifferenceSettings, classifier: Classifier | None
) -> tuple[Logits | None, tuple[int, int]]:
    """The noisy classifier as a function, and the positions of the two classes in its logits; misfits are refused."""
    if settings.classifier_scale == 0:
        if classifier is not None:
            raise InputError("classifier: given, but classifier_scale is 0; give a scale above 0, or leave it out")
        return None, prior.labels
    if classifier is None:
        raise InputError(f"classifier is missing; classifier_scale {settings.classifier_scale:g} needs a noisy one")
    classifier.require(kind="noisy", channels=prior.shape[0], size=prior.shape[1:], schedule=prior.denoiser.schedule)
    missing = [name for name in (prior.present, prior.absent) if name not in classifier.classes]
    if missing:
        known = ", ".join(classifier.classes)
        raise InputError(f"classifier: it knows no class {', '.join(missing)}; its classes are {known}")
    table = prior.denoiser.schedule

    def logits(x: Tensor, t: Tensor) -> Tensor:
        return classifier(x, table.original_index(t) if isinstance(table, DiscreteTable) else t)

    return logits, (classifier.classes.index(prior.present), classifier.classes.index(prior.absent))


def check_images(prior: LabelledPrior, images: Tensor) -> None:
    """Refuse images that are not the prior's: number format, channels, size, range."""
    if images.dtype not in (torch.float32, torch.float64):
        raise InputError(f"images: found {images.dtype}; maps of small differences need float32. Convert them")
    if images.dim() != 4 or tuple(images.shape[1:]) != tuple(prior.shape):
        raise InputError(
            f"images: found {tuple(images.shape)}, but prior {prior.name!r} takes "
            f"(B, {', '.join(map(str, prior.shape))}); resample them, or use windows"
        )
    if not bool(images.isfinite().all()):
        raise DataError("images: found values that are not finite; mend or leave out these images")
    margin = 0.05 * (prior.high - prior.low)
    low, high = float(images.min()), float(images.max())
    if low < prior.low - margin or high > prior.high + margin:
        raise InputError(
            f"images: found values from {low:.4g} to {high:.4g}, but prior {prior.name!r} was trained on "
            f"[{prior.low:g}, {prior.high:g}]; normalise them as it was trained"
        )


def check_maps(maps: Tensor) -> None:
    """Refuse maps that say nothing: not finite, or the same everywhere."""
    flat = maps.flatten(1)
    bad = ~flat.isfinite().all(1)
    if bool(bad.any()):
        raise DataError(f"maps: not finite for images {bad.nonzero().flatten().tolist()[:8]}; look at the prior")
    constant = flat.amax(1) == flat.amin(1)
    if bool(constant.any()):
        raise DataError(
            f"maps: constant for images {constant.nonzero().flatten().tolist()[:8]}; the prior does not react "
            "to the label (is it trained? are the images empty?)"
        )
