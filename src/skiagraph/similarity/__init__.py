"""How alike two images are where intensities do not correspond: maps that a network can read or a sampler can climb."""

from __future__ import annotations

from skiagraph.similarity.interface import SimilarityMap, masked_mean, similarity_score
from skiagraph.similarity.local import LocalInformation, local_mutual_information

__all__ = ["LocalInformation", "SimilarityMap", "local_mutual_information", "masked_mean", "similarity_score"]
