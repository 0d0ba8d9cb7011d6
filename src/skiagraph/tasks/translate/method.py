"""What every way to translate has in common: a stack of source slices in, target slices and network calls out."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError

if TYPE_CHECKING:
    from skiagraph.tasks.translate.prior import TargetPrior

__all__ = ["METHODS", "SourceStack", "Tools", "Translation", "TranslationMethod", "stack_streams", "translation_method"]


@dataclass(frozen=True, eq=False)
class SourceStack:
    """The slices of one scan in the frame of the prior: RAS, its spacing, its range; neighbours lie side by side.

    Args:
        images: (N, 1, H, W) float32 in [-1, 1], background -1; slice n is next to slice n + 1.
        mask: (N, 1, H, W) bool, true on the foreground; a slice may be without.
        spacing_mm: from slice to slice, from row to row, from column to column.
        name: of the scan, for records.
    """

    images: Tensor
    mask: Tensor
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    name: str = ""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[1] != 1 or self.images.dtype != torch.float32:
            raise ValueError(
                f"images: found {self.images.dtype} {tuple(self.images.shape)}; allowed float32 (N,1,H,W)."
            )
        if self.mask.shape != self.images.shape or self.mask.dtype != torch.bool:
            raise ValueError(f"mask: found {self.mask.dtype} {tuple(self.mask.shape)}; allowed bool of images' shape.")
        if not bool(self.images.isfinite().all()) or float(self.images.abs().max()) > 1.001:
            raise ValueError("images: found values outside [-1, 1] or not finite; scale the scan first.")

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def unit(self) -> Tensor:
        """The images in [0, 1], as similarities take them."""
        return (self.images + 1) / 2


@dataclass(frozen=True, eq=False)
class Translation:
    """The slices in the target modality.

    Args:
        images: (N, 1, H, W) float32 in [-1, 1]: the result, a mean of candidates where there are several.
        calls: evaluations of a diffusion network a slice; 0 for methods without one.
        candidates: (K, N, 1, H, W), each a result of its own, or None.
        deviation: (N, 1, H, W), standard deviation of the candidates, or None.
        notes: what a reader of the result must know.
    """

    images: Tensor
    calls: float
    candidates: Tensor | None = None
    deviation: Tensor | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Tools:
    """What methods may use; each refuses by name what it misses.

    Args:
        priors: by role: "target" (trained with the condition that is judged, with condition dropout, so that it is an
            unconditional prior as well), "target-edges" (FGDM), "source" (where a source prior is allowed).
        calls: network evaluations a slice that a method may spend.
        target_slices: (M, 1, H, W) training slices of the target modality in [-1, 1], such as for histograms.
        paired: source and target training slices, (M, 1, H, W) each, for supervised upper bounds only.
    """

    priors: Mapping[str, TargetPrior] = field(default_factory=dict)
    calls: int = 50
    target_slices: Tensor | None = None
    paired: tuple[Tensor, Tensor] | None = None

    def prior(self, role: str) -> TargetPrior:
        """The prior of that role."""
        if role not in self.priors:
            raise InputError(f"prior {role!r}: found {sorted(self.priors) or 'none'}; this method needs one, give it.")
        return self.priors[role]


@runtime_checkable
class TranslationMethod(Protocol):
    """A way to translate, with all its tools and options inside."""

    def __call__(self, source: SourceStack, streams: Streams) -> Translation:
        """Translate one scan; all randomness comes from `streams`, one stream a slice."""
        ...


METHODS: dict[str, str] = {
    "skiagraph": "skiagraph.tasks.translate.guided:guided_translation",
    "matched-start": "skiagraph.tasks.translate.rivals.matched_start:matched_start",
    "copy": "skiagraph.tasks.translate.rivals.pointwise:copy_source",
    "histogram-matching": "skiagraph.tasks.translate.rivals.pointwise:histogram_matching",
    "intensity-lookup": "skiagraph.tasks.translate.rivals.pointwise:intensity_lookup",
    "sdedit": "skiagraph.tasks.translate.rivals.noised_start:sdedit",
    "ilvr": "skiagraph.tasks.translate.rivals.low_pass:ilvr",
    "egsde": "skiagraph.tasks.translate.rivals.noisy_energy:egsde",
    "fgdm": "skiagraph.tasks.translate.rivals.described:fgdm",
    "mind-condition": "skiagraph.tasks.translate.rivals.described:mind_condition",
    "ddib": "skiagraph.tasks.translate.rivals.bridges:ddib",
    "cycle-diffusion": "skiagraph.tasks.translate.rivals.bridges:cycle_diffusion",
    "supervised": "skiagraph.tasks.translate.rivals.supervised:supervised",
}
"""Name to "module:factory"; a factory takes (tools, **options) and returns a `TranslationMethod`."""


def translation_method(name: str, tools: Tools, **options: Any) -> TranslationMethod:
    """The method of that name with its options; an unknown name lists the known ones."""
    if name not in METHODS:
        raise InputError(f"method: found {name!r}; allowed are {', '.join(sorted(METHODS))}.")
    module, _, factory = METHODS[name].partition(":")
    made: TranslationMethod = getattr(importlib.import_module(module), factory)(tools, **options)
    return made


def stack_streams(seed: int, slices: int, candidate: int = 0) -> Streams:
    """One stream a slice, a function of seed, slice number and candidate; a stack cut short draws the same."""
    from skiagraph.training.order import derive_seed

    return Streams([derive_seed("skiagraph-translate", seed, candidate, number) for number in range(slices)])
