"""Settings of `audit`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from skiagraph.config import Settings

__all__ = ["AuditSettings"]


class AuditSettings(Settings):
    """Look for copies of training images among synthetic ones, against real images that were never trained on.

    Every image is compared as it is, flipped and moved, in pixels, by SSIM and on named features. The audit fails (exit
    code 5, everything written) where the set holds more copies, or more near-copies, than is allowed.
    """

    synthetic: Path = Field(description="Synthetic images: what `synthesize` or `generate` left, or a folder or file.")
    training: Path = Field(description="The images that the model learned from: class folders, a folder or a file.")
    held_out: Path = Field(description="Real images of the same source that it did not learn from, best as many.")
    split: Path | None = Field(
        None,
        description="JSON file of the split of the training data: its train side is taken, and of `held_out` the "
        "test side (validation where there is none).",
    )
    features: list[Literal["random-conv-v1", "image-pca-64", "patch-pca-8", "EffLite0"]] = Field(
        ["random-conv-v1", "image-pca-64"], description="Features that are compared beside pixels and SSIM."
    )
    flips: bool = Field(True, description="Compare flipped images too.")
    shift: int = Field(1, ge=0, description="Compare images moved by so many pixels in eight directions; 0 for none.")
    largest: int = Field(64, ge=11, description="Longer sides are averaged down to so many pixels for the comparison.")
    share: float = Field(
        0.01, gt=0, lt=1, description="Nearer than this share of the held-out images counts as a near-copy."
    )
    copy_fraction: float = Field(
        0.5, ge=0, lt=1, description="Nearer than this fraction of a near-copy's distance counts as a copy."
    )
    maximum_rate: float = Field(
        0.05, gt=0, le=1, description="Fails where the near-copy rate is above this with 95 % confidence."
    )
    maximum_copies: int = Field(0, ge=0, description="Fails where there are more copies, in pixels or by SSIM.")
    size: list[int] | None = Field(
        None, min_length=1, max_length=2, description="Rows and columns all images are brought to; default: as found."
    )
    channels: Literal[1, 3] | None = Field(None, description="Image channels; default: those of the synthetic images.")
    intensity: tuple[float, float] | None = Field(
        None, description="Intensities that become -1 and 1; default: the whole range of whole numbers."
    )
    prior: Path | None = Field(None, description="Prior folder whose model card gets the result.")
    shown: int = Field(12, ge=1, description="Closest pairs shown on the page.")
    resamples: int = Field(1000, ge=100, description="Bootstrap samples of the intervals.")
    seed: int = Field(0, ge=0, description="Seed of the bootstrap.")
    output: Path | None = Field(None, description="Run folder to make; default runs/audit-NAME.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")

    @property
    def shape(self) -> tuple[int, int] | None:
        """`size` as (rows, columns)."""
        return None if self.size is None else (self.size[0], self.size[-1])

    @model_validator(mode="after")
    def _consistent(self) -> AuditSettings:
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features: found {', '.join(self.features)}; name each once")
        if self.maximum_rate < self.share:
            raise ValueError(
                f"maximum_rate: found {self.maximum_rate}, below share ({self.share}), the rate that chance gives"
            )
        return self
