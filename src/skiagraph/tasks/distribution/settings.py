"""Settings of `evaluate distribution`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from skiagraph.config import Settings

__all__ = ["DistributionSettings", "FeatureName"]

FeatureName = Literal["random-conv-v1", "image-pca-64", "patch-pca-8", "EffLite0"]


class DistributionSettings(Settings):
    """Compare generated images with the training images: distances, precision and recall, and a search for copies.

    Distances are on named features, and every figure carries their name and the number of images; none is an "FID".
    """

    task: Annotated[Literal["distribution"], tyro.conf.Suppress] = Field(
        "distribution", description="Names this variant of the command in a file."
    )
    generated: list[Path] = Field(
        min_length=1, description="Generated images: folders or files; of a run of `generate` its pictures are taken."
    )
    training: list[Path] = Field(min_length=1, description="The images that the model learned from.")
    held_out: list[Path] = Field(
        [], description="Real images of the same kind that it did not learn from: the baseline of every figure."
    )
    features: list[FeatureName] = Field(
        ["random-conv-v1", "image-pca-64"], min_length=1, description="Features that distances are taken on."
    )
    encoder: Path | None = Field(
        None, description="Prior folder; the middle of its U-Net gives further features, named after it."
    )
    neighbours: int = Field(5, ge=1, description="k of precision, recall, density and coverage.")
    subsets: int = Field(100, ge=2, description="Random subsets for the spread of the kernel distance.")
    subset_size: int | None = Field(
        None, ge=2, description="Images of each set in a subset; default half the smaller set, at most 1000."
    )
    copy_share: float = Field(
        0.01, gt=0, lt=1, description="Share of the baseline's images that may count as near-copies by chance."
    )
    size: list[int] | None = Field(
        None, min_length=1, max_length=2, description="Rows and columns all pictures are brought to; default: as found."
    )
    channels: Literal[1, 3] | None = Field(None, description="Image channels; default: those of the first image.")
    intensity: tuple[float, float] | None = Field(
        None, description="Intensities that become -1 and 1; default: the whole range of whole numbers."
    )
    shown: int = Field(8, ge=1, description="Generated images shown beside their nearest training image.")
    seed: int = Field(0, ge=0, description="Seed of the subsets and of the choice of images shown.")
    output: Path | None = Field(None, description="Run folder to make; default runs/distribution-NAME.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")

    @property
    def shape(self) -> tuple[int, int] | None:
        """`size` as (rows, columns)."""
        return None if self.size is None else (self.size[0], self.size[-1])

    @model_validator(mode="after")
    def _each_once(self) -> DistributionSettings:
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features: found {', '.join(self.features)}; name each once")
        return self
