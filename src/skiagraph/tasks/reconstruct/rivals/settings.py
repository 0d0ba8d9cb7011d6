"""Settings of `train ssdu`, `train ambient`, `train image-prior` and `evaluate rivals`; no torch is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from skiagraph.config import Settings
from skiagraph.tasks.reconstruct.settings import Precision, SimulateSettings, TrainSettings

__all__ = [
    "AmbientSettings",
    "ImagePriorSettings",
    "PlugInSettings",
    "RivalTraining",
    "RivalsSettings",
    "SSDUSettings",
    "UNetSettings",
    "UnrolledSettings",
]


class UNetSettings(Settings):
    """Size of the network."""

    channels: int = Field(40, ge=8, description="Channels of the first level.")
    multipliers: tuple[int, ...] = Field((1, 2, 3), min_length=1, description="Channel multipliers of the levels.")
    residual_blocks: int = Field(1, ge=1, description="Residual blocks a level.")
    patch: int = Field(2, ge=1, description="Side of the pixel patches that enter as channels.")
    sigma_data: float = Field(0.25, gt=0, description="Scale of the image's real part in normalised intensity.")


class UnrolledSettings(UNetSettings):
    """Size of the unrolled network."""

    channels: int = Field(32, ge=8, description="Channels of the first level.")
    multipliers: tuple[int, ...] = Field((1, 2, 2), min_length=1, description="Channel multipliers of the levels.")
    cascades: int = Field(5, ge=1, description="Passes through the one network, each followed by a data step.")
    data_iterations: int = Field(5, ge=1, description="Conjugate-gradient steps of a data step.")


class RivalTraining(Settings):
    """What the trainings have in common."""

    data: list[Path] = Field([], description="k-space files to learn from; or give `simulate.scans`.")
    simulate: SimulateSettings = Field(SimulateSettings(), description="Simulate the scans from sample heads instead.")
    output: Path = Field(description="Folder of the prior to make; the run's state and metrics lie in it too.")
    name: str = Field("rival", description="Name of the prior, for its card.")
    images: int = Field(4_000, ge=1, description="Images to see in all.")
    batch_size: int = Field(4, ge=1, description="Images per optimiser step, summed over all processes.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate; falls to 0 along a cosine.")
    warmup: int = Field(400, ge=0, description="Images over which the learning rate rises.")
    ema_half_life: int = Field(500, ge=1, description="Half-life in images of the averaged weights that are kept.")
    rows: int | None = Field(64, ge=16, description="Rows of the image that one training item shows; None for all.")
    seed: int = Field(0, ge=0, description="Seed of weights, order and every draw.")
    threads: int | None = Field(None, ge=1, description="CPU threads per process; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the network; auto: bfloat16 where it is fast.")

    @model_validator(mode="after")
    def _one_source(self) -> RivalTraining:
        if bool(self.data) == bool(self.simulate.scans):
            raise ValueError(
                f"exactly one of data ({len(self.data)} files given) and simulate.scans "
                f"({len(self.simulate.scans)} names given); give one of the two"
            )
        return self

    def shared(self) -> TrainSettings:
        """The same run as `train` knows it, for its scans, its loop and its record."""
        names = set(RivalTraining.model_fields) - {"rows"}
        return TrainSettings(**{name: getattr(self, name) for name in names})


class SSDUSettings(RivalTraining):
    """Train an unrolled reconstruction network from undersampled scans alone (SSDU).

    Some acquired lines go in, the others judge what comes out.
    """

    network: UnrolledSettings = Field(UnrolledSettings(), description="Size of the network.")
    held_share: float = Field(0.4, gt=0, lt=1, description="Expected share of a scan's lines that judge.")
    held_centre: int = Field(4, ge=0, description="Innermost lines that always go in.")
    split: Literal["lines", "points"] = Field("lines", description="What is held out: whole lines, or samples.")


class AmbientSettings(RivalTraining):
    """Train a denoiser that is told the mask, from undersampled scans alone, by dropping further lines (Ambient)."""

    network: UNetSettings = Field(UNetSettings(), description="Size of the network.")
    dropped_share: float | None = Field(
        None, gt=0, lt=1, description="Share of a scan's outer lines to drop; default 1 / (R + 1): from R to R + 1."
    )
    images: int = Field(14_000, ge=1, description="Images to see in all.")


class ImagePriorSettings(RivalTraining):
    """Train an ordinary image prior from fully sampled, coil-combined scans: the oracle that others can't have."""

    simulate: SimulateSettings = Field(
        SimulateSettings(masks="full"), description="Simulate the scans from sample heads; masks must be full."
    )
    network: UNetSettings = Field(UNetSettings(), description="Size of the network.")
    images: int = Field(16_000, ge=1, description="Images to see in all.")
    start: Path | None = Field(None, description="Image prior whose weights the run starts from; default: fresh ones.")


class PlugInSettings(Settings):
    """One way to use an image prior on a scan."""

    steps: int = Field(30, ge=1, description="Noise levels of the grid.")
    noisiest: float = Field(0.3, gt=0, description="Noise level that the walk starts from, in normalised units.")
    finest: float = Field(0.005, gt=0, description="Noise level of the last step before the clean image.")
    strength: float = Field(
        1.0, gt=0, description="DPS: step of the gradient; DiffPIR: trust in the prior; PiGDM: factor on r_t^2."
    )
    eta: float = Field(1.0, ge=0, le=1, description="Share of fresh noise in each step.")
    samples: int | None = Field(None, ge=1, description="Samples to average; default: those of the comparison.")

    @model_validator(mode="after")
    def _falling(self) -> PlugInSettings:
        if self.finest >= self.noisiest:
            raise ValueError(f"finest is {self.finest} and noisiest {self.noisiest}; finest must be the smaller one")
        return self


class RivalsSettings(Settings):
    """Compare ways to reconstruct the same slices: one table with bootstrap intervals, pictures, page.

    Every prior folder joins with all the methods its kind allows. A comparison that was stopped goes on where it stood.
    """

    sample: str = Field("colin27", description="Sample head whose simulated slices are reconstructed.")
    slices: int = Field(20, ge=2, description="Evenly spread slices of that head.")
    slabs: int = Field(8, ge=2, description="Slabs of neighbouring slices that intervals are drawn over.")
    accelerations: list[float] = Field([4.0], min_length=1, description="Nominal accelerations, one table each.")
    masks: Literal["random", "equispaced", "variable-density"] = Field("random", description="Mask family.")
    centre: int | None = Field(None, ge=8, description="Calibration lines; default by acceleration.")
    noise_fraction: float = Field(0.005, ge=0, description="Noise per part as a fraction of the image's peak.")
    coils: int = Field(8, ge=1, description="Receive coils.")
    scans: list[Path] = Field([], description="k-space files with reference images, to be used in the head's place.")
    baselines: list[str] = Field(
        ["zero-filled", "cg-sense", "total-variation", "l1-wavelet", "l1-wavelet-plain", "bart-pics"],
        description="Methods without a prior; bart-pics is left out where BART is not installed.",
    )
    priors: dict[str, Path] = Field({}, description="Prior folders by the name they have in the table.")
    plug_ins: list[Literal["ddnm", "dps", "diffpir", "pigdm"]] = Field(
        ["ddnm", "dps", "diffpir", "pigdm"], description="Ways to use an image prior."
    )
    ddnm: PlugInSettings = Field(PlugInSettings(), description="DDNM with noise.")
    dps: PlugInSettings = Field(PlugInSettings(strength=4.0), description="DPS.")
    diffpir: PlugInSettings = Field(PlugInSettings(strength=1.0), description="DiffPIR.")
    pigdm: PlugInSettings = Field(PlugInSettings(strength=0.3), description="PiGDM.")
    adps: PlugInSettings = Field(PlugInSettings(strength=4.0), description="A-DPS of Ambient.")
    image_noise: float = Field(
        0.0, ge=0, description="Noise per part of the images that image priors learned from; walks leave it out."
    )
    samples: int = Field(4, ge=1, description="Posterior samples per slice of every sampler; their mean is judged.")
    mirrors: bool = Field(
        True,
        description="Average one-shot networks over a scan's mirror images; mirror a walk's images at random.",
    )
    shifts: int = Field(
        1, ge=1, le=5, description="Average networks that give an image at once over so many shifts of the scan, too."
    )
    tune: dict[str, int] = Field(
        {}, description="Scans of each training head to tune grids and strengths on; empty: take those given."
    )
    tune_at: float | None = Field(
        None, gt=1, description="Acceleration to tune at, for all tables; default: tune for every table at its own."
    )
    against: str | None = Field(
        None, description="Method to which all others are compared; default the first one with a prior."
    )
    output: Path = Field(Path("runs/rivals"), description="Run folder to make.")
    seed: int = Field(0, ge=0, description="Seed of the samples; every slice and sample has its own stream.")
    acquisition_seed: int = Field(1, ge=0, description="Seed of masks, coils, phases and noise of the test slices.")
    batch: int = Field(8, ge=1, description="Images in one network call.")
    threads: int | None = Field(None, ge=1, description="CPU threads; default: torch's choice.")
    precision: Precision = Field("auto", description="Number format of the networks; auto: bfloat16 where it is fast.")
