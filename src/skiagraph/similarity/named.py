"""Similarities by name, for configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skiagraph.similarity.correlation import LocalCorrelation, NormalisedGradients
from skiagraph.similarity.edges import Edges, HighPass
from skiagraph.similarity.interface import SimilarityMap
from skiagraph.similarity.local import LocalInformation
from skiagraph.similarity.mind import MIND
from skiagraph.similarity.whole import WholeInformation

__all__ = ["SIMILARITIES", "similarity"]

SIMILARITIES: dict[str, Callable[..., SimilarityMap]] = {
    "lmi": LocalInformation.default,
    "lmi-reference": LocalInformation.reference,
    "mind": lambda **options: MIND(context=False, **options),
    "mind-ssc": MIND,
    "lncc": LocalCorrelation,
    "ngf": NormalisedGradients,
    "nmi": WholeInformation,
    "edges": Edges,
    "high-pass": HighPass,
}
"""Name to what makes the similarity; a new one is a new file and a line here."""


def similarity(name: str, **options: Any) -> SimilarityMap:
    """The similarity of that name with its options; an unknown name lists the known ones."""
    if name not in SIMILARITIES:
        raise ValueError(f"similarity: found {name!r}; allowed are {', '.join(sorted(SIMILARITIES))}.")
    return SIMILARITIES[name](**options)
