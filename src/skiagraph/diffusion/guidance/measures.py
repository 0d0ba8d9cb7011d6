"""Measures of a classifier's opinion, to be increased by guidance: one number per sample from logits and label.

Each is a function of logits z (B, K) and intended labels y (B,), with p = softmax(z) and natural logarithms. Values are
formed from log_softmax, so that they and their gradients are finite for logits of any finite size. Logits of an
ensemble, (B, M, K), stand for the mean of the members' probabilities; `bald` and `energy` see the members themselves.

Luo et al., Measurement Guidance in Diffusion Models, TPAMI 2024 (doi 10.1109/TPAMI.2024.3399098), where `log_prob` is
called "classifier", `entropy` "Entropy", `margin` "Margin" and `least_confidence` "LeastConf". The others are ours.
"""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "MEASURES",
    "LogOddsAbs",
    "LogOddsTarget",
    "Measure",
    "bald",
    "energy",
    "entropy",
    "entropy_normalised",
    "least_confidence",
    "log_odds",
    "log_prob",
    "margin",
    "measure",
    "uses_label",
]

Measure = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K) or (B, M, K), labels (B,) int64) -> (B,), what guidance increases."""


def log_prob(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y: classifier guidance. Gradient [k = y] - p_k."""
    log_p = _log_probabilities(logits)
    return log_p.gather(1, _checked(labels, log_p))[:, 0]


def entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """H = -sum_k p_k log p_k. Gradient -p_k (log p_k + H), which vanishes where the classifier is sure."""
    log_p = _log_probabilities(logits)
    return -(log_p.exp() * log_p).sum(1)


def entropy_normalised(logits: Tensor, labels: Tensor) -> Tensor:
    """H / log K, in [0, 1]: the same for any number of classes. Gradient -p_k (log p_k + H) / log K."""
    return entropy(logits, labels) / math.log(logits.shape[-1])


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """-(p_a - p_b), a the largest and b the second. Gradient -p_a ([k = a] - p_k) + p_b ([k = b] - p_k)."""
    top = _log_probabilities(logits).topk(2, dim=1).values.exp()
    return top[:, 1] - top[:, 0]


def least_confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """-p_a, a the largest. Gradient -p_a ([k = a] - p_k); for K = 2 half that of `margin`."""
    return -_log_probabilities(logits).amax(1).exp()


def bald(logits: Tensor, labels: Tensor) -> Tensor:
    """H(mean_m p^m) - mean_m H(p^m): how much the members disagree (Houlsby et al. 2011, arXiv 1112.5745).

    Args:
        logits: (B, M, K), M at least 2 members of an ensemble.
        labels: not used.
    """
    if logits.dim() != 3 or logits.shape[1] < 2:
        raise ValueError(
            f"logits: found shape {tuple(logits.shape)}; bald needs (B, members, classes) with at least 2 members. "
            "Guide with an Ensemble of classifiers."
        )
    each = torch.log_softmax(logits, dim=2)
    return entropy(logits, labels) + (each.exp() * each).sum(2).mean(1)


def energy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log sum_k exp z_k: towards low density under the classifier (Liu et al. 2020, 2010.03759). Gradient -p_k."""
    _check_logits(logits)
    value = -torch.logsumexp(logits, dim=-1)
    return value if value.dim() == 1 else value.mean(1)


def log_odds(logits: Tensor, labels: Tensor, runner_up: bool = False) -> Tensor:
    """l_y = z_y - logsumexp_{k != y} z_k = log p_y - log(1 - p_y), the signed log-odds of the intended label.

    Args:
        logits: (B, K) or (B, M, K).
        labels: (B,) int64.
        runner_up: z_y - max_{k != y} z_k instead: how far y is ahead of its strongest rival. The same for K = 2.
    """
    log_p = _log_probabilities(logits)
    index = _checked(labels, log_p)
    others = log_p.scatter(1, index, -math.inf)
    rival = others.amax(1) if runner_up else torch.logsumexp(others, dim=1)
    return log_p.gather(1, index)[:, 0] - rival


@dataclass(frozen=True)
class LogOddsTarget:
    """-Huber_delta(l_y - target), l_y the log-odds of the intended label: uncertain, yet the label still wins.

    Gradient -clip(l_y - target, -delta, delta) dl_y/dz_k with dl_y/dz_k = [k = y] - [k != y] q_k, q the softmax over
    k != y. The pull has a bounded size wherever the classifier stands and vanishes at the target only.

    Args:
        target: wanted log-odds; 0.5 means p_y = 0.622, 0 the decision boundary.
        delta: log-odds beyond which the pull no longer grows; > 0.
        runner_up: compare with the strongest other class instead of all others together.
    """

    target: float = 0.5
    delta: float = 1.0
    runner_up: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.target):
            raise ValueError(f"target: found {self.target}; allowed a finite number of log-odds.")
        if not 0 < self.delta < math.inf:
            raise ValueError(f"delta: found {self.delta}; allowed a positive finite number of log-odds.")

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Value per sample, (B,)."""
        away = log_odds(logits, labels, self.runner_up) - self.target
        size = away.abs()
        return -torch.where(size <= self.delta, 0.5 * away**2, self.delta * (size - 0.5 * self.delta))


@dataclass(frozen=True)
class LogOddsAbs:
    """-|l_y|: to the decision boundary, with a kink there. Gradient -sign(l_y) dl_y/dz_k.

    Not recommended: it hops over the boundary and loses labels; `log_odds_target` rests before it.

    Args:
        runner_up: compare with the strongest other class instead of all others together.
    """

    runner_up: bool = False

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Value per sample, (B,)."""
        return -log_odds(logits, labels, self.runner_up).abs()


MEASURES: Mapping[str, Callable[..., Measure]] = {
    "log_prob": lambda: log_prob,
    "entropy": lambda: entropy,
    "margin": lambda: margin,
    "least_confidence": lambda: least_confidence,
    "log_odds_target": LogOddsTarget,
    "log_odds_abs": LogOddsAbs,
    "entropy_normalised": lambda: entropy_normalised,
    "bald": lambda: bald,
    "energy": lambda: energy,
}
"""Every named measure, as a function of its options."""

_RELEASED = {"classifier": "log_prob", "Entropy": "entropy", "Margin": "margin", "LeastConf": "least_confidence"}
_LABEL_FREE = (entropy, margin, least_confidence, entropy_normalised, bald, energy)


def measure(name: str | Measure, **options: Any) -> Measure:
    """The measure of a name with its options, or the caller's own function as it is.

    Args:
        name: one of `MEASURES`, or any function (logits, labels) -> (B,).
        options: of that measure: target, delta, runner_up for "log_odds_target", runner_up for "log_odds_abs".
    """
    if not isinstance(name, str):
        if options or not callable(name):
            raise ValueError(f"measure: found {name!r} with options {sorted(options)}; a function takes no options.")
        return name
    if name not in MEASURES:
        near = difflib.get_close_matches(name, MEASURES, n=1)
        meant = _RELEASED.get(name) or (near[0] if near else None)
        hint = f"; did you mean {meant!r}?" if meant else "."
        raise ValueError(f"measure: found {name!r}{hint} Allowed: {', '.join(MEASURES)}.")
    make = MEASURES[name]
    known = list(inspect.signature(make).parameters)
    unknown = sorted(set(options) - set(known))
    if unknown:
        allowed = ", ".join(known) or "none"
        raise ValueError(f"measure: found option {', '.join(unknown)} for {name!r}; allowed: {allowed}.")
    return make(**options)


def uses_label(measure: Measure) -> bool:
    """Whether a measure depends on the intended label; functions of the caller are taken to."""
    return measure not in _LABEL_FREE


def _check_logits(logits: Tensor) -> None:
    if logits.dim() not in (2, 3) or logits.shape[-1] < 2 or logits.shape[-2] < 1:
        raise ValueError(
            f"logits: found shape {tuple(logits.shape)}; allowed (B, K), or (B, members, K) of an ensemble, with at "
            "least K = 2 classes."
        )


def _log_probabilities(logits: Tensor) -> Tensor:
    """log p, (B, K); of members (B, M, K) the logarithm of their mean probability."""
    _check_logits(logits)
    log_p = torch.log_softmax(logits, dim=-1)
    return log_p if log_p.dim() == 2 else torch.logsumexp(log_p, dim=1) - math.log(logits.shape[1])


def _checked(labels: Tensor, log_p: Tensor) -> Tensor:
    """Labels as an index (B, 1)."""
    batch, classes = log_p.shape
    if labels.shape != (batch,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"labels: found shape {tuple(labels.shape)} {labels.dtype}; allowed whole numbers of shape ({batch},)."
        )
    if labels.device.type == "cpu" and batch and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
        raise ValueError(
            f"labels: found {int(labels.min())} ... {int(labels.max())}; allowed 0 ... {classes - 1}, the classes of "
            "the classifier."
        )
    return labels.to(log_p.device, torch.int64)[:, None]
