"""Settings of `segment`; importing them costs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from skiagraph.config import Settings

__all__ = ["DifferenceSettings", "ReferenceName"]

ReferenceName = Literal["none", "reference-1000cos", "reference-4000lin", "reference-abs"]


class DifferenceSettings(Settings):
    """How a map is made of an image."""

    engine: Literal["jvp", "difference", "reference"] = Field(
        "difference",
        description="difference: two predictions in one batch; jvp: exact derivative along the label at `present`; "
        "reference: the released walks.",
    )
    levels: list[float] = Field(
        [0.06, 0.18, 0.35, 0.68, 1.04],
        min_length=1,
        description="Noise-to-signal ratios, for images in [-1, 1]; not for the reference engine.",
    )
    seeds: int = Field(2, ge=1, description="Draws of noise at each level.")
    tau: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="difference, reference: share of present in the other condition; default 0, 0.95.",
    )
    weights: Literal["uniform", "native", "inverse", "snr"] | list[float] = Field(
        "inverse",
        description="Weights of the levels: alike, as in differences of states, 1 / rho, 1 / rho^2, or a list.",
    )
    sign: Literal["signed", "negative", "absolute", "evidence", "learned"] | None = Field(
        None,
        description="evidence: where `present` explains the image itself better, bright or dark; signed: lesions are "
        "bright; negative: dark; absolute: either; learned: bright or dark for each channel, from cases with and "
        "without a lesion (`segment`: positives, normals). Default: evidence; reference: signed.",
    )
    channel_signs: list[float] | None = Field(None, description="signed: a factor for every channel, such as [1, -1].")
    flips: Literal["none", "horizontal", "vertical", "both"] = Field(
        "none", description="Also average over mirrored copies; only where training mirrored too."
    )
    classifier_scale: float = Field(0.0, ge=0, description="Scale of the noisy classifier's own term; 0: none.")
    level: int = Field(400, ge=0, description="reference: index Q at which noise is added.")
    steps: int = Field(10, ge=1, description="reference: steps R of each walk.")
    clamp: bool = Field(True, description="reference: keep estimates in [-1, 1], as released.")
    first_call: Literal["below", "at"] = Field(
        "below", description="reference: ask the network first at Q - 1, as released, or at Q."
    )
    batch: int = Field(32, ge=1, description="Most samples in one evaluation of the network.")

    @property
    def chosen_sign(self) -> Literal["signed", "negative", "absolute", "evidence"]:
        """`sign`, or what it is by default: "signed" where walks or factors of channels are asked for."""
        if self.sign == "learned":
            raise ValueError("sign 'learned' is settled by `segment`, from positives and normals; give another sign")
        if self.sign is not None:
            return self.sign
        return "signed" if self.engine == "reference" or self.channel_signs is not None else "evidence"

    def _changed(self, *names: str) -> list[str]:
        """Those of the fields that do not hold their default; the command line names them all."""
        fields = type(self).model_fields
        return [name for name in names if getattr(self, name) != fields[name].default]

    @model_validator(mode="after")
    def _no_contradiction(self) -> DifferenceSettings:
        problems = []
        if self.engine == "jvp" and self.tau is not None:
            problems.append("tau has no effect on the exact derivative; leave it out, or take engine 'difference'")
        if self.engine == "reference":
            given = self._changed("levels", "weights", "channel_signs", "flips")
            problems += [f"{name} has no effect on engine 'reference'; leave it out" for name in given]
            if self.sign not in (None, "signed", "absolute"):
                problems.append(f"sign: found {self.sign!r}; engine 'reference' knows signed and absolute")
        else:
            given = self._changed("level", "steps", "clamp", "first_call")
            problems += [f"{name} has an effect on engine 'reference' only; leave it out" for name in given]
        if self.sign == "learned" and self.channel_signs is not None:
            problems.append("channel_signs has no effect with sign 'learned'; leave it out")
        if problems:
            raise ValueError("; ".join(problems))
        return self
