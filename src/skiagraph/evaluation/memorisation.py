"""Memorisation audit: are synthetic images copies of training images, more than unseen real images happen to be?

Every synthetic image is compared with all training images, in several spaces, as it is and flipped or moved; as many
real images that were never trained on are compared in the same way, and their distances are what chance does. Reported
are near-copies (nearer than a stated share of the unseen images), copies (far nearer than that), whether the distances
to the synthetic set tell who was trained on, and duplicates inside the set.

Reference: the distance to the nearest training image beside that of unseen images follows Carlini et al. 2023 and Dar
et al. 2024 (arXiv 2402.01054); membership by the distance to the generated set Hilprecht et al. 2019, Chen et al. 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.evaluation.memorisation_rates import (
    Duplicates,
    Matches,
    MemorisationRules,
    Rate,
    count_duplicates,
    membership,
    near_copy_rate,
    nearest_variants,
)
from skiagraph.evaluation.memorisation_spaces import Space, Variant

__all__ = ["SpaceAudit", "audit_space"]


@dataclass(frozen=True, eq=False)
class SpaceAudit:
    """What was found in one space.

    Args:
        space: its name.
        of_images: whether it compares images, so that copies are counted in it.
        rules: what was asked for.
        variants: names of the variants.
        matches: nearest training images of the synthetic ones.
        baseline: (b,) distances of the unseen real images to their nearest training image, same variants.
        threshold: the `share` quantile of the baseline.
        near: places of near-copies, nearest first.
        copies: places of copies, nearest first.
        rate: near-copy rate.
        closer: probability that a synthetic image lies nearer to the training set than an unseen real one; 0.5 where
            neither is.
        closer_p: one-sided probability of so large a value by chance (Mann and Whitney).
        membership: area under the curve of telling training from unseen images by their distance to the synthetic set,
            with its 95 % interval; 0.5 where nothing leaks.
        duplicates: repetitions inside the set.
    """

    space: str
    of_images: bool
    rules: MemorisationRules
    variants: tuple[str, ...]
    matches: Matches
    baseline: NDArray[np.float64]
    threshold: float
    near: NDArray[np.intp]
    copies: NDArray[np.intp]
    rate: Rate
    closer: float
    closer_p: float
    membership: tuple[float, float, float]
    duplicates: Duplicates

    @property
    def distances(self) -> NDArray[np.float64]:
        """(n,) distance of each synthetic image to its nearest training image."""
        return self.matches.distances[:, 0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the audit fails in this space; empty where it does not."""
        found = []
        if self.of_images and len(self.copies) > self.rules.maximum_copies:
            found.append(
                f"{self.space}: {len(self.copies)} of {self.rate.total} synthetic images are copies of training images "
                f"({self.rules.maximum_copies} allowed)"
            )
        if self.rate.wilson[0] > self.rules.maximum_rate:
            found.append(
                f"{self.space}: near-copy rate {self.rate.value:.3f}, with 95 % confidence above "
                f"{self.rate.wilson[0]:.3f}; {self.rules.maximum_rate:g} is allowed, {self.rules.share:g} expected"
            )
        return tuple(found)

    def record(self) -> dict[str, Any]:
        """Figures as names and values, without those of single images."""
        quantiles = {
            name: [float(value) for value in np.quantile(values, [0, 0.01, 0.5, 1])]
            for name, values in (("synthetic", self.distances), ("unseen", self.baseline))
        }
        return {
            "space": self.space,
            "variants": list(self.variants),
            "unseen_images": len(self.baseline),
            "distance_min_1_percent_median_max": quantiles,
            "threshold": self.threshold,
            "expected_rate": self.rules.share,
            "near_copies": self.rate.count,
            **self.rate.record("near_copy_rate"),
            "copies": len(self.copies),
            "probability_closer_than_unseen": self.closer,
            "p_value": self.closer_p,
            "membership_auroc": self.membership[0],
            "membership_auroc_95_percent": list(self.membership[1:]),
            "duplicate_threshold": self.duplicates.threshold,
            **self.duplicates.rate.record("duplicate_rate"),
            "duplicate_groups": list(self.duplicates.groups[:20]),
            "reasons_to_fail": list(self.reasons),
        }


def audit_space(
    space: Space,
    synthetic: NDArray[Any],
    training: NDArray[Any],
    unseen: NDArray[Any],
    variants: Sequence[Variant],
    rules: MemorisationRules | None = None,
) -> SpaceAudit:
    """Look for training images among synthetic ones in one space.

    The unseen images must be of the same source as the training images: a model that has learned the source well
    without copying lies nearer to it than images of another source.

    Args:
        space: where distances are taken.
        synthetic: (n, C, H, W), n >= 2.
        training: (m, C, H, W) images that the model learned from, m >= 2.
        unseen: (b, C, H, W) real images that it did not learn from, b >= 2.
        variants: changes of an image behind which a copy may hide.
        rules: what counts.
    """
    from scipy.stats import mannwhitneyu

    rules = rules or MemorisationRules()
    for name, part in (("synthetic", synthetic), ("training", training), ("unseen", unseen)):
        if part.ndim != 4 or len(part) < 2 or part.shape[1:] != synthetic.shape[1:]:
            raise ValueError(f"{name}: found shape {part.shape}; two or more images (C, H, W) of one shape are needed.")
    found = nearest_variants(space, synthetic, training, variants, min(rules.neighbours, len(training)))
    beside = nearest_variants(space, unseen, training, variants).distances[:, 0]
    leaked = nearest_variants(space, synthetic, unseen, variants).reverse
    distances, threshold = found.distances[:, 0], float(np.quantile(beside, rules.share))
    order = np.argsort(distances, kind="stable")
    near = order[(distances[order] < threshold) | (distances[order] == 0)]
    copies = order[distances[order] <= rules.copy_fraction * threshold]
    test = mannwhitneyu(distances, beside, alternative="less")
    return SpaceAudit(
        space.name,
        space.of_images,
        rules,
        tuple(variant.name for variant in variants),
        found,
        beside,
        threshold,
        near,
        copies,
        near_copy_rate(distances, beside, rules),
        float(1 - test.statistic / (len(distances) * len(beside))),
        float(test.pvalue),
        membership(found.reverse, leaked, rules),
        count_duplicates(space, synthetic, training, variants[:1], rules),
    )
