"""The methods of the study: how each makes its maps, and by which rule they become masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from skiagraph.diffusion import Streams
from skiagraph.tasks.segment.command_settings import MaskSettings
from skiagraph.tasks.segment.labelled_prior import LabelledPrior
from skiagraph.tasks.segment.maps import difference_map
from skiagraph.tasks.segment.rivals.activation import ActivationMap
from skiagraph.tasks.segment.rivals.counterfactual import AnoFPDM, ClassifierFreeCounterfactual, GuidedCounterfactual
from skiagraph.tasks.segment.rivals.healthy import HealthyReconstruction
from skiagraph.tasks.segment.rivals.intensity import MaskedIntensity
from skiagraph.tasks.segment.rivals.interface import MapMethod, RivalMap
from skiagraph.tasks.segment.segmenter import Segmenter
from skiagraph.tasks.segment.settings import DifferenceSettings
from skiagraph.training.classifier import Classifier

__all__ = ["METHODS", "MapMethod", "Method", "Models", "map_name"]

Group = Literal["ours", "reference", "intensity", "cam", "counterfactual", "healthy", "taught", "ceiling"]


@dataclass(frozen=True)
class Models:
    """Where the networks of the study lie."""

    folder: Path
    steps: int = 10

    def prior(self, kind: str) -> LabelledPrior:
        """With the kind as "present"."""
        return LabelledPrior.load(self.folder / "prior", present=kind, absent="normal")

    def classifier(self, name: str) -> Classifier:
        """ "classifier" or "noisy-classifier"."""
        return Classifier.load(self.folder / name)


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Args:
        title: in words.
        group: what it is compared as.
        build: from models and kind to the maps' function.
        rule: from map to mask; the default is calibrated on normal volumes.
        like: method whose maps are used again with another rule.
        kindless: whether its maps do not depend on the kind of lesion, so that one file serves all kinds.
    """

    title: str
    group: Group
    build: Callable[[Models, str], MapMethod]
    rule: MaskSettings = field(default_factory=MaskSettings)
    like: str | None = None
    kindless: bool = False


@dataclass(frozen=True, eq=False)
class _Difference:
    """The difference maps as a map method."""

    prior: LabelledPrior
    settings: DifferenceSettings
    classifier: Classifier | None = None

    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        found = difference_map(self.prior, images, self.settings, streams, self.classifier)
        return RivalMap(found.maps[:, 0], float(found.calls + found.classifier_calls))


@dataclass(frozen=True, eq=False)
class _Network:
    """A segmenter as a map method; one in 3 dimensions wants all slices of a volume at once."""

    segmenter: Segmenter

    @property
    def whole(self) -> bool:
        return self.segmenter.record.dimensions == 3

    def __call__(self, images: Tensor, streams: Streams) -> RivalMap:
        return RivalMap(self.segmenter(images), 1.0)


def _ours(**settings: Any) -> Callable[[Models, str], MapMethod]:
    chosen = DifferenceSettings(**settings)

    def build(models: Models, kind: str) -> MapMethod:
        guide = models.classifier("noisy-classifier") if chosen.classifier_scale else None
        return _Difference(models.prior(kind), chosen, guide)

    return build


def _cam(kind_of_map: Any) -> Callable[[Models, str], MapMethod]:
    return lambda models, kind: ActivationMap(models.classifier("classifier"), kind, kind_of_map)


def _direction(kind: str) -> Literal["bright", "dark"]:
    return "dark" if kind == "hypo" else "bright"


OTSU = MaskSettings(threshold="otsu", gate="none")
RELEASED = MaskSettings(threshold="otsu", gate="none", released=True)
HALF = MaskSettings(threshold="fixed", value=0.5, gate="none", smoothing_mm=0.0)
_reference = _ours(engine="reference", seeds=1)
_default = _ours()

METHODS: dict[str, Method] = {
    "default": Method("default: evidence, 5 levels x 2 draws, calibrated", "ours", _default),
    "default-otsu": Method("the same maps, Otsu", "ours", _default, OTSU, "default"),
    "signed": Method(
        "signed difference, 5 levels x 2 draws",
        "ours",
        _ours(sign="signed"),
    ),
    "one-level": Method(
        "evidence, one level, one draw (2 evaluations)",
        "ours",
        _ours(levels=[0.35], seeds=1),
    ),
    "reference": Method("reference (CDM): Otsu, largest part, as released", "reference", _reference, RELEASED),
    "reference-calibrated": Method("reference maps, calibrated", "reference", _reference, MaskSettings(), "reference"),
    "reference-matched": Method(
        "reference (CDM) at its noise level of 0.855 (index 225), as released",
        "reference",
        _ours(engine="reference", seeds=1, level=225),
        RELEASED,
    ),
    "reference-guided": Method(
        "reference (CG-CDM): with the classifier at scale 10, as released",
        "reference",
        _ours(engine="reference", seeds=1, classifier_scale=10.0),
        RELEASED,
    ),
    "intensity": Method(
        "masked intensity, bright (hypo: dark)", "intensity", lambda models, kind: MaskedIntensity(_direction(kind))
    ),
    "intensity-either": Method(
        "masked intensity, distance from the median", "intensity", lambda models, kind: MaskedIntensity("either")
    ),
    "intensity-otsu": Method(
        "masked intensity, Otsu", "intensity", lambda models, kind: MaskedIntensity(_direction(kind)), OTSU, "intensity"
    ),
    "grad-cam": Method("Grad-CAM", "cam", _cam("grad-cam")),
    "grad-cam++": Method("Grad-CAM++", "cam", _cam("grad-cam++")),
    "layer-cam": Method("Layer-CAM", "cam", _cam("layer-cam")),
    "score-cam": Method("Score-CAM", "cam", _cam("score-cam")),
    "guided": Method(
        "classifier-guided counterfactual (Wolleb)",
        "counterfactual",
        lambda models, kind: GuidedCounterfactual(
            models.prior(kind), models.classifier("noisy-classifier"), steps=models.steps
        ),
        kindless=True,
    ),
    "classifier-free": Method(
        "classifier-free counterfactual (Sanchez)",
        "counterfactual",
        lambda models, kind: ClassifierFreeCounterfactual(models.prior(kind), steps=models.steps),
        kindless=True,
    ),
    "anofpdm": Method(
        "AnoFPDM",
        "counterfactual",
        lambda models, kind: AnoFPDM(models.prior(kind), steps=models.steps),
        kindless=True,
    ),
    "healthy": Method(
        "healthy-only, simplex noise (AnoDDPM)",
        "healthy",
        lambda models, kind: HealthyReconstruction(models.prior(kind), steps=models.steps // 2),
        kindless=True,
    ),
    "healthy-patched": Method(
        "healthy-only, Gaussian noise, 2 x 2 patches (pDDPM)",
        "healthy",
        lambda models, kind: HealthyReconstruction(
            models.prior(kind), steps=models.steps // 2, noise="gaussian", patches=2
        ),
        kindless=True,
    ),
    "taught": Method(
        "U-Net taught by the maps (image labels only)",
        "taught",
        lambda models, kind: _Network(Segmenter.load(models.folder / "segmenter")),
        HALF,
        kindless=True,
    ),
    "taught-calibrated": Method(
        "the same network, calibrated on normals like the maps",
        "taught",
        lambda models, kind: _Network(Segmenter.load(models.folder / "segmenter")),
        MaskSettings(extent=0.0),
        "taught",
        True,
    ),
    "taught-3d": Method(
        "the same in 3 dimensions (stacks of 6 slices)",
        "taught",
        lambda models, kind: _Network(Segmenter.load(models.folder / "segmenter-3d")),
        HALF,
        kindless=True,
    ),
    "ceiling": Method(
        "U-Net taught by masks (ceiling)",
        "ceiling",
        lambda models, kind: _Network(Segmenter.load(models.folder / "ceiling")),
        HALF,
        kindless=True,
    ),
    "ceiling-calibrated": Method(
        "the same network, calibrated on normals like the maps",
        "ceiling",
        lambda models, kind: _Network(Segmenter.load(models.folder / "ceiling")),
        MaskSettings(extent=0.0),
        "ceiling",
        True,
    ),
}
"""Rows by key; keys name the files of maps, too."""


def map_name(kind: str, name: str) -> str:
    """The file of a method's maps: one a kind, or one for all."""
    method = METHODS[name]
    return f"{'any' if method.kindless else kind}-{method.like or name}.npz"
