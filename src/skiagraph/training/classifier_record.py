"""What classifier.json says: everything needed to ask a classifier, and everything needed to judge it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from skiagraph.training.record import (
    ArchitectureRecord,
    DataRecord,
    NormalisationRecord,
    ScheduleRecord,
    Settings,
    TrainingRecord,
)

__all__ = ["ClassifierRecord", "TimeConvention"]

TimeConvention = Literal["original", "spaced_index"]


class ClassifierRecord(BaseModel):
    """Everything about a classifier but its weights; unknown keys are errors.

    Args:
        name: short name.
        summary: what it is and what for, one or two sentences.
        kind: "noisy" (knows the time of a noised image) or "clean".
        architecture: the network.
        classes: names of the classes in the order of the logits, at least two.
        channels: channels of the images.
        size: image size in pixels.
        normalisation: the range of intensities.
        schedule: noise schedule of a noisy classifier, on the table of training; else None.
        times: what a noisy classifier is told as time: the "original" index 0 ... T - 1, or the "spaced_index", the
            position in the respaced table it was trained on.
        trained_times: the levels it was trained on, "1000" or a respacing such as "ddim250".
        temperature: what the logits are to be divided by, fitted on unseen images; the logits come undivided.
        data: the training data and its split.
        training: the run.
        licence: of the weights.
        weights_sha256: hash of model.safetensors; filled in when it is saved.
        figures: measured figures by name.
        limits: what it should not be used for.
        extra: anything else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal[1] = 1
    name: str
    summary: str
    kind: Literal["noisy", "clean"]
    architecture: ArchitectureRecord
    classes: Annotated[list[str], Field(min_length=2)]
    channels: Annotated[int, Field(ge=1)]
    size: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1, max_length=3)]
    normalisation: NormalisationRecord
    schedule: ScheduleRecord | None = None
    times: TimeConvention | None = None
    trained_times: str | None = None
    temperature: Annotated[float, Field(gt=0)] = 1.0
    data: DataRecord
    training: TrainingRecord
    licence: str
    weights_sha256: str | None = None
    figures: dict[str, JsonValue] = {}
    limits: list[str] = []
    extra: Settings = {}

    @model_validator(mode="after")
    def _complete(self) -> ClassifierRecord:
        given = {name: getattr(self, name) is not None for name in ("schedule", "times", "trained_times")}
        if self.kind == "noisy" and not all(given.values()):
            raise ValueError(
                f"a noisy classifier needs {', '.join(name for name, there in given.items() if not there)}"
            )
        if self.kind == "clean" and any(given.values()):
            raise ValueError(f"a clean classifier has no {', '.join(name for name, there in given.items() if there)}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes: {self.classes} names one more than once")
        return self
