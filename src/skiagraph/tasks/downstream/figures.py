"""What the synthetic sets are like: distances to the real images on named features, neighbours, class score, labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from skiagraph.data.labelled import LabelledImages
from skiagraph.errors import DataError
from skiagraph.evaluation.classification import class_score
from skiagraph.evaluation.distribution import FeatureScale, frechet_distance, kernel_distance
from skiagraph.evaluation.features import Features, fit_features
from skiagraph.evaluation.neighbours import neighbour_scores
from skiagraph.tasks.downstream.arms import TrainingSet, number_of
from skiagraph.tasks.downstream.sets import StudySets
from skiagraph.tasks.downstream.settings import DownstreamSettings
from skiagraph.tasks.downstream.train import predict, train_classifier
from skiagraph.tasks.progress import OnProgress

__all__ = ["LastFeatures", "set_figures"]


@dataclass(frozen=True, eq=False)
class LastFeatures:
    """What enters the last linear layer of a classifier that was trained on the study's real images.

    Args:
        network: the classifier.
        name: what figures carry: "NETWORK-on-real".
    """

    network: nn.Module
    name: str

    def __call__(self, images: ArrayLike) -> NDArray[np.float64]:
        """Features (N, D) of images (N, C, H, W)."""
        last = [module for module in self.network.modules() if isinstance(module, nn.Linear)][-1]
        found: list[Tensor] = []
        hook = last.register_forward_hook(lambda _, given, __: found.append(given[0].detach().double()))
        try:
            predict(self.network, np.asarray(images, np.float32))
        finally:
            hook.remove()
        return torch.cat(found).numpy()

    def record(self) -> dict[str, Any]:
        """The name."""
        return {"name": self.name}


def set_figures(sets: StudySets, settings: DownstreamSettings, on_progress: OnProgress) -> list[dict[str, Any]]:
    """One row for each synthetic set, the test images first, as what real images that were not trained on score.

    Args:
        sets: all images.
        settings: network of the features, neighbours, seed.
        on_progress: told about every set.
    """
    real = sets.real
    given = TrainingSet(real.images, real.labels, None, settings.training.augmentation)
    name = settings.figure_network
    seed = number_of(settings.seed, "figures")
    network = train_classifier(name, given, len(sets.classes), settings.training, seed).network
    try:
        kinds: list[Features] = [fit_features(kind, real.images) for kind in settings.features]
    except ValueError as error:
        raise DataError(f"real: {error}") from error
    kinds.append(LastFeatures(network, f"{name}-on-real"))
    scales = [FeatureScale.of(kind(real.images)) for kind in kinds]
    known = [scale(kind(real.images)) for kind, scale in zip(kinds, scales, strict=True)]
    parts = {"test images (real)": sets.test, **sets.synthetic}
    rows = []
    for done, (title, part) in enumerate(parts.items()):
        on_progress("figures of the sets", done, len(parts))
        row: dict[str, Any] = {"set": title, "images": len(part), "real_images": len(real)}
        row.update(_agreement(network, part, name))
        if len(part) > settings.neighbours and len(real) > settings.neighbours:
            for kind, scale, reference in zip(kinds, scales, known, strict=True):
                features = scale(kind(part.images))
                row.update(_distances(kind.name, features, reference, settings))
                row[f"by_class-{kind.name}"] = _by_class(features, part, reference, real, settings.neighbours)
        rows.append(row)
    on_progress("figures of the sets", len(parts), len(parts))
    return rows


def _agreement(network: nn.Module, part: LabelledImages, name: str) -> dict[str, Any]:
    """Class score, share of images of the intended class, mean entropy, by the named network."""
    if len(part) == 0:
        return {}
    logits = torch.from_numpy(predict(network, part.images)).double()
    rows = torch.softmax(logits, 1)
    entropy = -(rows * torch.log_softmax(logits, 1)).sum(1)
    return {
        f"class_score_{name}": class_score(rows.numpy()),
        f"label_agreement_{name}": float((rows.argmax(1).numpy() == part.labels).mean()),
        f"mean_entropy_{name}": float(entropy.mean()),
    }


def _by_class(
    features: NDArray[np.float64],
    part: LabelledImages,
    reference: NDArray[np.float64],
    real: LabelledImages,
    neighbours: int,
) -> dict[str, list[float] | None]:
    """Precision, recall, density and coverage of each class against its real images; None where either has too few."""
    found: dict[str, list[float] | None] = {}
    for label, name in enumerate(real.classes):
        own, known = features[part.labels == label], reference[real.labels == label]
        if min(len(own), len(known)) > neighbours:
            scores = neighbour_scores(own, known, neighbours)
            found[name] = [scores.precision, scores.recall, scores.density, scores.coverage]
        else:
            found[name] = None
    return found


def _distances(
    name: str, features: NDArray[np.float64], reference: NDArray[np.float64], settings: DownstreamSettings
) -> dict[str, Any]:
    kernel = kernel_distance(features, reference, subsets=50, seed=settings.seed)
    scores = neighbour_scores(features, reference, settings.neighbours)
    return {
        f"KD-{name}": kernel.value,
        f"KD-{name}_deviation": kernel.subset_deviation,
        f"FD-{name}": frechet_distance(features, reference),
        **{f"{key}-{name}": getattr(scores, key) for key in ("precision", "recall", "density", "coverage")},
    }
