"""Settings of the commands `reconstruct`, `train` and `demo`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from skiagraph.config import Settings

__all__ = ["DemoSettings", "ReconstructSettings", "SimulateSettings", "TrainSettings"]

Precision = Literal["auto", "float32", "bfloat16"]


class ReconstructSettings(Settings):
    """Reconstruct undersampled multi-coil k-space with a prior: samples, mean, standard deviation, baselines, page."""

    prior: Path = Field(description="Folder of the prior (prior.json and model.safetensors).")
    scan: Path = Field(
        description="k-space file: HDF5 in the fastMRI layout or ISMRMRD; with `simulate`, a NIfTI volume."
    )
    output: Path | None = Field(None, description="Run folder to make; default runs/NAME-OF-SCAN.")
    simulate: bool = Field(False, description="Take a NIfTI volume and simulate the multi-coil acquisition first.")
    acceleration: float = Field(4.0, gt=1, description="Nominal acceleration; used with `simulate` only.")
    centre: int | None = Field(
        None, ge=8, description="Calibration lines about zero frequency; used with `simulate` only; default by rate."
    )
    slices: str = Field("all", description='Which slices: "all", one index, or START:STOP[:STEP], separated by commas.')
    samples: int = Field(4, ge=1, description="Posterior samples per slice; at least 2 for error bars.")
    steps: int = Field(20, ge=1, description="Noise levels of the sampler's grid.")
    sampler: Literal["anchored", "measurement-score", "reference"] = Field(
        "anchored", description="Posterior sampler; `reference` walks the 200 levels of the released code."
    )
    seed: int = Field(0, ge=0, description="Seed; every slice and sample has its own stream derived from it.")
    truth: Path | None = Field(
        None, description="File with the fully sampled images, for figures; never used to reconstruct."
    )
    baselines: list[str] = Field(
        ["zero-filled", "cg-sense", "l1-wavelet"], description="Baselines to compute in the same run; may be empty."
    )
    noise_std: float | None = Field(
        None,
        gt=0,
        description="Noise per real and imaginary part in the file's units; default: estimated from the scan.",
    )
    batch: int | None = Field(None, ge=1, description="Images in one network call; default by memory.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the network; auto: bfloat16 where it is fast.")


class SimulateSettings(Settings):
    """Training scans simulated from sample heads; the objective sees only their undersampled k-space."""

    heads: list[str] = Field([], description="Sample heads by name (see `skiagraph samples list`).")
    matrix: int = Field(128, ge=32, description="Rows and columns of the acquisition.")
    coils: int = Field(8, ge=1, description="Receive coils.")
    accelerations: list[float] = Field([4.0, 8.0], description="Nominal accelerations, drawn once for each scan.")
    seed: int = Field(0, ge=0, description="Seed of coils, phases, noise and masks.")


class TrainSettings(Settings):
    """Train a prior from undersampled scans alone: one fixed mask for each scan."""

    data: list[Path] = Field([], description="k-space files to learn from; or give `simulate.heads`.")
    simulate: SimulateSettings = Field(SimulateSettings(), description="Simulate the scans from sample heads instead.")
    output: Path = Field(description="Folder of the prior to make; the run's state and metrics lie in it too.")
    images: int = Field(200_000, ge=1, description="Images to see in all.")
    batch_size: int = Field(16, ge=1, description="Images per optimiser step, summed over all processes.")
    learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate.")
    seed: int = Field(0, ge=0, description="Seed of weights, order and every draw.")
    threads: int | None = Field(None, ge=1, description="CPU threads per process; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the network; auto: bfloat16 where it is fast.")
    resume: bool = Field(
        True, description="Continue the run that lies in `output`, exactly; refused if settings differ."
    )

    @model_validator(mode="after")
    def _one_source(self) -> TrainSettings:
        if bool(self.data) == bool(self.simulate.heads):
            raise ValueError(
                f"exactly one of data ({len(self.data)} files given) and simulate.heads "
                f"({len(self.simulate.heads)} names given); give one of the two"
            )
        return self


class DemoSettings(Settings):
    """Reconstruct slices of a head that took no part in training, beside what is used today; ends with a page."""

    accelerations: list[float] = Field([4.0, 8.0], min_length=1, description="Nominal accelerations to show.")
    slices: int = Field(4, ge=1, description="Number of slices.")
    samples: int = Field(4, ge=2, description="Posterior samples per slice.")
    output: Path = Field(Path("runs/demo"), description="Run folder to make.")
    seed: int = Field(0, ge=0, description="Seed of the acquisition and the samples.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")
