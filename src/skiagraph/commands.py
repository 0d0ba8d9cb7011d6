"""The commands by the names of what they need; nothing is imported here, so that listing them costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMANDS", "Command"]


@dataclass(frozen=True)
class Command:
    """One command, or one variant of a command, by the names of what it needs, imported on use.

    Several entries of `COMMANDS` with one name and different variants are one command: the variant is the word after
    the command (`skiagraph train measurement-score`), else the key `task` of the file given with --config, else the
    first entry of that name.

    Args:
        name: what is typed.
        summary: one sentence for the list of commands.
        settings: "module:class" of its settings.
        function: "module:function" that takes settings and `on_progress` and returns a `CommandResult`.
        expectation: "module:function" from settings to what the run will cost, for `--dry-run`; or None.
        variant: the variant's name; needed by every entry of a command that has several.
    """

    name: str
    summary: str
    settings: str
    function: str
    expectation: str | None = None
    variant: str | None = None

    @property
    def title(self) -> str:
        """The words that are typed."""
        return f"{self.name} {self.variant}" if self.variant else self.name


_TASKS = "skiagraph.tasks"
_RECONSTRUCT = f"{_TASKS}.reconstruct"
_MEASUREMENT = f"{_TASKS}.measurement"
_RIVALS = f"{_RECONSTRUCT}.rivals"
_SYNTHESIZE = f"{_TASKS}.synthesize"
_SEGMENT = f"{_TASKS}.segment"
_LEARN = f"{_TASKS}.synthesize.learn"
_TRANSLATE = f"{_TASKS}.translate"
COMMANDS = (
    Command(
        "demo",
        "Reconstruct slices of a head that the shipped prior never saw, and leave a page.",
        f"{_RECONSTRUCT}.settings:DemoSettings",
        f"{_RECONSTRUCT}.demo:demo",
        f"{_RECONSTRUCT}.demo:expectation",
    ),
    Command(
        "reconstruct",
        "Reconstruct a scan with a prior: mean, error bars, baselines, figures, page.",
        f"{_RECONSTRUCT}.settings:ReconstructSettings",
        f"{_RECONSTRUCT}.run:reconstruct",
        f"{_RECONSTRUCT}.run:expectation",
    ),
    Command(
        "train",
        "Train a prior from undersampled scans alone.",
        f"{_RECONSTRUCT}.settings:TrainSettings",
        f"{_RECONSTRUCT}.train:train_prior",
        f"{_RECONSTRUCT}.train:expectation",
        variant="reconstruction",
    ),
    Command(
        "train",
        "Train a U-Net prior from masked images or k-space, noisy or not, or a clean-data oracle.",
        f"{_MEASUREMENT}.settings:TrainMeasurementSettings",
        f"{_MEASUREMENT}.train:train_measurement",
        f"{_MEASUREMENT}.train:expectation",
        variant="measurement-score",
    ),
    Command(
        "train",
        "Train a class-conditional diffusion prior from labelled images.",
        f"{_LEARN}.settings:ClassPriorSettings",
        f"{_LEARN}.class_prior:train_class_prior",
        f"{_LEARN}.class_prior:expectation",
        variant="class-prior",
    ),
    Command(
        "train",
        "Train a classifier of noised images, to guide a class-conditional prior with.",
        f"{_LEARN}.settings:NoisyClassifierSettings",
        f"{_LEARN}.classifiers:train_noisy_classifier",
        f"{_LEARN}.classifiers:expectation",
        variant="noisy-classifier",
    ),
    Command(
        "train",
        "Train a classifier of clean images: a judge, or a guide through the estimate of x0.",
        f"{_LEARN}.settings:ClassifierSettings",
        f"{_LEARN}.classifiers:train_classifier",
        f"{_LEARN}.classifiers:expectation",
        variant="classifier",
    ),
    Command(
        "train",
        "Train a prior of a target modality that a source of any modality can steer, from the target alone.",
        f"{_TRANSLATE}.settings:TranslatePriorSettings",
        f"{_TRANSLATE}.train:train_translate_prior",
        f"{_TRANSLATE}.train:expectation",
        variant="translate-prior",
    ),
    Command(
        "translate",
        "Show a scan in the modality that a prior knows, on its own grid, with error bars and a page.",
        f"{_TRANSLATE}.run_settings:TranslateSettings",
        f"{_TRANSLATE}.run:translate",
        f"{_TRANSLATE}.plan:expectation",
    ),
    Command(
        "train",
        "Train a U-Net that marks lesions from image labels alone, or from masks as the ceiling.",
        f"{_TASKS}.segment.train_segmenter:SegmenterSettings",
        f"{_TASKS}.segment.train_segmenter:train_segmenter",
        f"{_TASKS}.segment.train_segmenter:expectation",
        variant="segmenter",
    ),
    Command(
        "generate",
        "Draw synthetic images from a prior.",
        f"{_MEASUREMENT}.sampling_settings:GenerateSettings",
        f"{_MEASUREMENT}.generate:generate",
        f"{_MEASUREMENT}.generate:expectation",
    ),
    Command(
        "synthesize",
        "Draw labelled images that a classifier learns from, judged, filtered and recorded one by one.",
        f"{_SYNTHESIZE}.settings:SynthesizeSettings",
        f"{_SYNTHESIZE}.run:synthesize",
        f"{_SYNTHESIZE}.expectation:expectation",
        variant="images",
    ),
    Command(
        "synthesize",
        "Try several scales of the push on the same images, and propose the largest that keeps the labels.",
        f"{_SYNTHESIZE}.settings:SweepSettings",
        f"{_SYNTHESIZE}.sweep:sweep",
        f"{_SYNTHESIZE}.expectation:expectation",
        variant="sweep",
    ),
    Command(
        "segment",
        "Make lesion masks of scans with a prior that was trained on yes/no labels alone.",
        f"{_SEGMENT}.command_settings:SegmentSettings",
        f"{_SEGMENT}.run:segment",
        f"{_SEGMENT}.plan:expectation",
    ),
    Command(
        "restore",
        "Restore degraded images or undersampled k-space with a U-Net prior.",
        f"{_MEASUREMENT}.sampling_settings:RestoreSettings",
        f"{_MEASUREMENT}.restore:restore",
        f"{_MEASUREMENT}.restore:expectation",
    ),
    Command(
        "train",
        "Train an unrolled reconstruction network from undersampled scans alone (SSDU).",
        f"{_RIVALS}.settings:SSDUSettings",
        f"{_RIVALS}.train:train_ssdu",
        f"{_RIVALS}.train:expect_ssdu",
        variant="ssdu",
    ),
    Command(
        "train",
        "Train a mask-conditional denoiser from undersampled scans alone (Ambient diffusion).",
        f"{_RIVALS}.settings:AmbientSettings",
        f"{_RIVALS}.train:train_ambient",
        f"{_RIVALS}.train:expect_ambient",
        variant="ambient",
    ),
    Command(
        "train",
        "Train an ordinary image prior from fully sampled scans (the clean-data oracle).",
        f"{_RIVALS}.settings:ImagePriorSettings",
        f"{_RIVALS}.train:train_image_prior",
        f"{_RIVALS}.train:expect_image_prior",
        variant="image-prior",
    ),
    Command(
        "evaluate",
        "Score a reconstruction file against a truth file.",
        f"{_TASKS}.evaluate:EvaluateSettings",
        f"{_TASKS}.evaluate:evaluate",
        variant="files",
    ),
    Command(
        "evaluate",
        "Compare ways to reconstruct the same scans: one table with intervals, pictures, page.",
        f"{_RIVALS}.settings:RivalsSettings",
        f"{_RIVALS}.evaluate:evaluate_rivals",
        f"{_RIVALS}.evaluate:expectation",
        variant="rivals",
    ),
    Command(
        "evaluate",
        "Compare generated images with the training images: distances on named features, coverage, copies.",
        f"{_TASKS}.distribution.settings:DistributionSettings",
        f"{_TASKS}.distribution.run:evaluate_distribution",
        f"{_TASKS}.distribution.run:expectation",
        variant="distribution",
    ),
    Command(
        "evaluate",
        "Do synthetic images make classifiers better? Many networks, seeds, arms and controls; tables with intervals.",
        f"{_TASKS}.downstream.settings:DownstreamSettings",
        f"{_TASKS}.downstream.run:evaluate_downstream",
        f"{_TASKS}.downstream.run:expectation",
        variant="downstream",
    ),
    Command(
        "audit",
        "Look for copies of training images in a synthetic set; fails where there are too many.",
        f"{_TASKS}.audit.settings:AuditSettings",
        f"{_TASKS}.audit.run:audit",
        f"{_TASKS}.audit.run:expectation",
    ),
    Command(
        "report",
        "Write the page of a run again.",
        f"{_TASKS}.report:ReportSettings",
        f"{_TASKS}.report:report",
    ),
    Command(
        "simulate",
        "Scan a head volume in simulation: a k-space file to try, and its hidden truth in another.",
        f"{_TASKS}.simulate:ScanFileSettings",
        f"{_TASKS}.simulate:simulate_file",
        f"{_TASKS}.simulate:expectation",
        variant="scan",
    ),
    Command(
        "simulate",
        "Show one brain in several contrasts, computed from a T1-weighted head, with its tissues as truth.",
        f"{_TASKS}.simulate_contrasts:ContrastSettings",
        f"{_TASKS}.simulate_contrasts:simulate_contrast_files",
        f"{_TASKS}.simulate_contrasts:expectation",
        variant="contrasts",
    ),
    Command(
        "simulate",
        "Insert lesions of real shapes into sample brains: labelled slices to learn from, masks to judge by.",
        f"{_TASKS}.simulate_lesions:LesionSettings",
        f"{_TASKS}.simulate_lesions:simulate_lesion_files",
        f"{_TASKS}.simulate_lesions:expectation",
        variant="lesions",
    ),
    Command(
        "maps",
        "Estimate coil sensitivity maps (ESPIRiT) and write them beside a scan.",
        f"{_TASKS}.maps:MapsSettings",
        f"{_TASKS}.maps:write_maps",
        f"{_TASKS}.maps:expectation",
    ),
    Command(
        "samples",
        "List the sample heads with their licences, show one, or fetch some into the cache.",
        f"{_TASKS}.samples:SamplesSettings",
        f"{_TASKS}.samples:samples",
        f"{_TASKS}.samples:expectation",
        variant="archives",
    ),
    Command(
        "samples",
        "Cut a labelled set of small pictures from a sample CT: class folders, table, split by slab.",
        f"{_TASKS}.organ_crops:OrganCropsSettings",
        f"{_TASKS}.organ_crops:organ_crops",
        f"{_TASKS}.organ_crops:expectation",
        variant="organ-crops",
    ),
    Command(
        "import-checkpoint",
        "Turn a guided-diffusion or improved-diffusion checkpoint into a prior folder.",
        f"{_TASKS}.import_checkpoint:ImportSettings",
        f"{_TASKS}.import_checkpoint:import_checkpoint",
        variant="prior",
    ),
    Command(
        "import-checkpoint",
        "Turn a noisy classifier of guided-diffusion into a classifier folder.",
        f"{_TASKS}.import_classifier:ImportClassifierSettings",
        f"{_TASKS}.import_classifier:import_classifier",
        variant="classifier",
    ),
    Command(
        "import-checkpoint",
        "Turn a checkpoint of the released mutual-information guided translation into a prior folder.",
        f"{_TASKS}.import_translation:ImportTranslationSettings",
        f"{_TASKS}.import_translation:import_translation",
        variant="translation",
    ),
    Command(
        "doctor",
        "Say what is installed, what this machine can do, and what is missing.",
        f"{_TASKS}.doctor:DoctorSettings",
        f"{_TASKS}.doctor:doctor",
    ),
)
