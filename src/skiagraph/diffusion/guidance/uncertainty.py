"""A classifier and a measure of its opinion, as a term that `Energy` increases.

    Energy(Clip(net), ClassifierTerm(noisy, "log_odds_target"), 2.0, trust=1.5)                      at x_t
    Energy(net, ClassifierTerm(clean, "entropy", on="x0"), 2.0, through="x0")                        at x0-hat
    Energy(net, ClassifierTerm(clean, "entropy", on="x0"), 2.0, through="network")                   through the network

Luo et al., Measurement Guidance in Diffusion Models, TPAMI 2024 (doi 10.1109/TPAMI.2024.3399098).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from skiagraph.diffusion.denoiser import Condition, NetworkTime, TimeKind
from skiagraph.diffusion.guidance.measures import Measure, measure, uses_label
from skiagraph.diffusion.schedule import Schedule

__all__ = ["ClassifierTerm", "Ensemble", "On"]

On = Literal["state", "x0"]


@dataclass(frozen=True, eq=False)
class ClassifierTerm:
    """M(z / temperature, y) per sample, z the logits at the noisy state or at x0-hat; the label y is cond["label"].

    Args:
        classifier: called as classifier(x, time) with time (B,) on "state", as classifier(x0) on "x0"; returns logits
            (B, K), or (B, members, K) of an `Ensemble`. Frozen weights are fine, and no weight receives a gradient.
        measure: a name of `MEASURES` with its default options, or any function (logits, labels) -> (B,).
        temperature: what logits are divided by before the measure, > 0; fitted on noised images not trained on.
        on: "state" for a classifier that knows noise, within `Energy(through="state")`; "x0" for one of clean images,
            within `Energy(through="x0")` or "network".
        schedule: the schedule that is walked: the classifier is then told the time that `time` makes of it, float32.
            None hands the walk's own time on as it is, float64.
        time: which time the classifier is told; as it was told in training.
    """

    classifier: Callable[..., Tensor]
    measure: Measure | str
    temperature: float = 1.0
    on: On = "state"
    schedule: Schedule | None = None
    time: NetworkTime | TimeKind = "original_index"

    def __post_init__(self) -> None:
        object.__setattr__(self, "measure", measure(self.measure))
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature: found {self.temperature}; allowed a positive finite number.")
        if self.on not in get_args(On):
            raise ValueError(f"on: found {self.on!r}; allowed {', '.join(map(repr, get_args(On)))}.")
        if self.schedule is not None:
            self._time_kind.check(self.schedule)

    @property
    def _time_kind(self) -> NetworkTime:
        return self.time if isinstance(self.time, NetworkTime) else NetworkTime(self.time)

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor, cond: Condition) -> Tensor:
        """Per sample (B,)."""
        function: Any = self.measure
        return torch.as_tensor(function(self.logits(x, t, x0), self._labels(cond, x)))

    def logits(self, x: Tensor, t: Tensor, x0: Tensor) -> Tensor:
        """Logits divided by the temperature, at least float32."""
        logits = self.classifier(x0) if self.on == "x0" else self.classifier(x, self._told(x, t))
        precise = logits if logits.dtype == torch.float64 else logits.float()
        return precise / self.temperature

    def _told(self, x: Tensor, t: Tensor) -> Tensor:
        if self.schedule is None:
            return t.to(x.device).expand(x.shape[0])
        return self._time_kind(self.schedule, t).to(device=x.device, dtype=torch.float32).expand(x.shape[0])

    def _labels(self, cond: Condition, x: Tensor) -> Tensor:
        label = cond.get("label")
        if label is None:
            if uses_label(self.measure):  # type: ignore[arg-type]  # a function since construction
                raise ValueError(
                    "cond: found no label, which this measure compares with; give cond={'label': (B,) whole numbers}."
                )
            return torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
        return torch.as_tensor(label, device=x.device)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several classifiers of the same classes as one, whose logits are (B, members, K).

    Args:
        members: at least 2 classifiers of one kind.
    """

    members: Sequence[Callable[..., Tensor]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if len(self.members) < 2:
            raise ValueError(f"members: found {len(self.members)}; allowed at least 2.")

    def __call__(self, x: Tensor, *time: Tensor) -> Tensor:
        """Logits of every member, (B, members, K)."""
        each = [member(x, *time) for member in self.members]
        if any(logits.shape != each[0].shape for logits in each):
            found = sorted({tuple(logits.shape) for logits in each})
            raise ValueError(f"members: found logits of shapes {found}; allowed classifiers of the same classes.")
        return torch.stack(each, dim=1)
