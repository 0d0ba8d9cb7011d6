"""How alike two images are where intensities do not correspond: maps that a network can read or a sampler can climb."""

from __future__ import annotations

from skiagraph.similarity.correlation import LocalCorrelation, NormalisedGradients
from skiagraph.similarity.descriptors import Descriptor
from skiagraph.similarity.edges import Edges, HighPass, bilateral_filter
from skiagraph.similarity.interface import SimilarityMap, masked_mean, similarity_score
from skiagraph.similarity.local import LocalInformation, local_mutual_information
from skiagraph.similarity.mind import MIND
from skiagraph.similarity.named import SIMILARITIES, similarity
from skiagraph.similarity.whole import WholeInformation

__all__ = [
    "MIND",
    "SIMILARITIES",
    "Descriptor",
    "Edges",
    "HighPass",
    "LocalCorrelation",
    "LocalInformation",
    "NormalisedGradients",
    "SimilarityMap",
    "WholeInformation",
    "bilateral_filter",
    "local_mutual_information",
    "masked_mean",
    "similarity",
    "similarity_score",
]
