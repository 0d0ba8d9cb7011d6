"""Settings of the commands `reconstruct`, `train` and `demo`; importing them costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from skiagraph.config import Settings

__all__ = [
    "DemoSettings",
    "NetworkSettings",
    "ObjectiveSettings",
    "ReconstructSettings",
    "SimulateSettings",
    "TrainSettings",
]

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
    steps: int = Field(5, ge=1, description="Noise levels of the sampler's grid.")
    shifts: int = Field(
        1, ge=1, le=5, description="Average the mean over so many shifts of the scan (`anchored` only)."
    )
    sampler: Literal["anchored", "measurement-score", "reference"] = Field(
        "anchored", description="Posterior sampler; `reference` walks the 200 levels of the released code."
    )
    seed: int = Field(0, ge=0, description="Seed; every slice and sample has its own stream derived from it.")
    truth: Path | None = Field(
        None, description="File with the fully sampled images, for figures; never used to reconstruct."
    )
    baselines: list[str] = Field(
        ["zero-filled", "cg-sense", "l1-wavelet", "total-variation"],
        description="Baselines to compute in the same run; may be empty.",
    )
    counters: dict[str, int] = Field(
        {}, description="Which contrast, phase, repetition or set of an ISMRMRD file that holds several, by name."
    )
    maps: Path | None = Field(
        None, description="Coil maps of the scan, as `skiagraph maps` writes them; default: estimated here."
    )
    coils: int | None = Field(None, ge=1, description="Compress to at most this many virtual coils; default: keep all.")
    noise: Path | None = Field(
        None,
        description="File with the noise of the receivers: ISMRMRD noise lines, `noise_scan` or `noise_covariance`.",
    )
    prewhiten: bool = Field(True, description="Pre-whiten the coils where a noise scan or covariance is there.")
    noise_std: float | None = Field(
        None,
        ge=0,
        description="Noise per real and imaginary part in the file's units; default: from the noise scan or estimated.",
    )
    batch: int | None = Field(None, ge=1, description="Images in one network call; default by memory.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the network; auto: bfloat16 where it is fast.")

    @model_validator(mode="after")
    def _no_inert_key(self) -> ReconstructSettings:
        if self.shifts > 1 and self.sampler != "anchored":
            raise ValueError(
                f"shifts has no effect with sampler {self.sampler!r}, which has no direct mean; leave it out"
            )
        return self


class SimulateSettings(Settings):
    """Training scans simulated from sample heads; the objective sees only their undersampled k-space."""

    scans: dict[str, int] = Field({}, description="Scans of each sample head, by name (see `skiagraph samples list`).")
    masks: Literal["random", "equispaced", "variable-density", "full"] = Field(
        "random", description='Mask family, one fixed mask a scan; "full" is for a clean-data oracle only.'
    )
    acceleration: float = Field(4.0, ge=1, description="Nominal acceleration of the masks.")
    centre: int = Field(24, ge=8, description="Calibration lines about zero frequency.")
    matrix: int = Field(128, ge=32, description="Rows and columns of the acquisition.")
    field_of_view_mm: float = Field(256.0, gt=0, description="Field of view along rows and columns.")
    coils: int = Field(8, ge=1, description="Receive coils.")
    noise_fraction: float = Field(0.005, ge=0, description="Noise per part as a fraction of the image's peak.")
    head_scale: tuple[float, float] = Field(
        (0.92, 1.08), description="Range of the size of a head relative to its file; small heads show finer detail."
    )
    prewhiten: bool = Field(True, description="Pre-whiten the coils with the noise scan of each simulated scan.")
    seed: int = Field(0, ge=0, description="Seed of positions, coils, phases, noise and masks.")


class NetworkSettings(Settings):
    """Size of the network between the linear estimate and the data step."""

    channels: int = Field(24, ge=8, description="Channels of the first level.")
    multipliers: tuple[int, ...] = Field((1, 2, 3), min_length=1, description="Channel multipliers of the levels.")
    residual_blocks: int = Field(1, ge=1, description="Residual blocks a level.")
    cascades: int = Field(4, ge=1, description="Networks in a row, each followed by a data step.")
    patch: int = Field(2, ge=1, description="Side of the pixel patches that enter as channels.")
    trust: Literal["scalar", "map"] = Field(
        "map", description="Width of the data step: by noise level, or by pixel too."
    )
    linear_iterations: int = Field(4, ge=1, description="Conjugate-gradient steps of the linear estimates.")
    data_iterations: int = Field(4, ge=1, description="Conjugate-gradient steps of the data step.")
    sigma_data: float = Field(0.25, gt=0, description="Scale of the image's real part in normalised intensity.")
    noise_range: tuple[float, float] | None = Field(
        None,
        description="Noise of scans, in normalised intensity, between which the network learns what to make of it; "
        "None: only the data steps are told.",
    )


class ObjectiveSettings(Settings):
    """The measurement-score objective; see `MeasurementObjective`."""

    hide: float = Field(0.75, ge=0, le=1, description="Probability that an item hides lines; 0: plain score.")
    anchored: float = Field(0.8, ge=0, le=1, description="Probability that acquired lines condition an item.")
    alone: float = Field(0.5, ge=0, le=1, description="Share of those items that show acquired lines only.")
    hidden_share: tuple[float, float] = Field((0.05, 0.6), description="Range of the share of lines that is hidden.")
    anchor_share: tuple[float, float] = Field(
        (0.5, 1.0), description="Range of the share of visible lines that anchor."
    )
    rows: int | None = Field(64, ge=16, description="Rows of the image that one training item shows; None for all.")
    noisier: float = Field(
        0.0, ge=0, le=1, description="Share of images shown with more noise than the scan has, to serve noisier scans."
    )
    noisiest: float = Field(0.4, gt=0, description="Largest noise to show then, in normalised intensity.")
    fresh_masks: bool = Field(
        False,
        description="A new mask for every image at every step, not one a scan: an ablation, for simulated scans only.",
    )


class TrainSettings(Settings):
    """Train a prior from undersampled scans alone: one fixed mask for each scan."""

    data: list[Path] = Field([], description="k-space files to learn from; or give `simulate.scans`.")
    simulate: SimulateSettings = Field(SimulateSettings(), description="Simulate the scans from sample heads instead.")
    network: NetworkSettings = Field(NetworkSettings(), description="Size of the network.")
    objective: ObjectiveSettings = Field(ObjectiveSettings(), description="What is learned from a scan.")
    output: Path = Field(description="Folder of the prior to make; the run's state and metrics lie in it too.")
    coils: int | None = Field(None, ge=1, description="Compress files to at most this many virtual coils.")
    counters: dict[str, int] = Field(
        {}, description="Which contrast, phase, repetition or set of ISMRMRD files that hold several, by name."
    )
    prewhiten: bool = Field(True, description="Pre-whiten the coils of files that hold a noise scan or covariance.")
    start: Path | None = Field(None, description="Prior folder whose weights the run starts from; default: fresh ones.")
    complete: Path | None = Field(
        None, description="Prior whose posterior samples first fill the lines that were not measured: an EM round."
    )
    name: str = Field("prior", description="Name of the prior, for its card.")
    images: int = Field(16_000, ge=1, description="Images to see in all.")
    batch_size: int = Field(4, ge=1, description="Images per optimiser step, summed over all processes.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate; falls to 0 along a cosine.")
    warmup: int = Field(400, ge=0, description="Images over which the learning rate rises.")
    ema_half_life: int = Field(500, ge=1, description="Half-life in images of the averaged weights that are kept.")
    seed: int = Field(0, ge=0, description="Seed of weights, order and every draw.")
    threads: int | None = Field(None, ge=1, description="CPU threads per process; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the network; auto: bfloat16 where it is fast.")

    @model_validator(mode="after")
    def _one_source(self) -> TrainSettings:
        if bool(self.data) == bool(self.simulate.scans):
            raise ValueError(
                f"exactly one of data ({len(self.data)} files given) and simulate.scans "
                f"({len(self.simulate.scans)} names given); give one of the two"
            )
        if self.objective.fresh_masks and self.data:
            raise ValueError("objective.fresh_masks: found data files, which have their masks; give simulate.scans")
        return self


class DemoSettings(Settings):
    """Reconstruct slices of a head that took no part in training, beside what is used today; ends with a page."""

    accelerations: list[float] = Field([4.0, 8.0], min_length=1, description="Nominal accelerations to show.")
    slices: int = Field(4, ge=1, description="Number of slices.")
    samples: int = Field(4, ge=2, description="Posterior samples per slice.")
    output: Path = Field(Path("runs/demo"), description="Run folder to make.")
    seed: int = Field(0, ge=0, description="Seed of the acquisition and the samples.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")
