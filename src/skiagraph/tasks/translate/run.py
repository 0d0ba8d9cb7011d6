"""The command `translate`: a scan in the modality that a prior knows, on its own grid, with maps and a page."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from skiagraph.data.intensity import Scaling
from skiagraph.errors import InputError
from skiagraph.similarity import similarity
from skiagraph.tasks.left_run import LeftRun
from skiagraph.tasks.progress import OnProgress, silent
from skiagraph.tasks.reconstruct.outputs import check_writable
from skiagraph.tasks.translate.conditions import ConditionMaps
from skiagraph.tasks.translate.guided import GuidedTranslation, guided_translation
from skiagraph.tasks.translate.leave import leave
from skiagraph.tasks.translate.method import Tools, TranslationMethod, stack_streams
from skiagraph.tasks.translate.prior import TargetPrior
from skiagraph.tasks.translate.released import ReleasedTranslation
from skiagraph.tasks.translate.rescaled import Rescaled
from skiagraph.tasks.translate.result import assemble
from skiagraph.tasks.translate.run_settings import TranslateSettings
from skiagraph.tasks.translate.scan import Scan, read_scan, require_dicom_output, scan_name
from skiagraph.tasks.translate.translatability import TranslatabilityRange, picture

__all__ = ["TranslateResult", "at_full_scale", "chosen_method", "modality_of", "target_scaling", "translate"]


@dataclass(frozen=True, eq=False)
class TranslateResult(LeftRun):
    """What a run left.

    Args:
        translated: the image, on the scan's grid.
        figures: what the run came to, by name.
    """

    translated: Path
    figures: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Names and values."""
        return {"translated": self.translated, **self.figures, **super().record()}

    def __rich__(self) -> Any:
        from rich.text import Text

        figures = self.figures
        between = figures["between_slices"]
        lines = [
            f"{figures['slices']} slices, {figures['network_calls_per_slice']:g} network calls a slice, "
            f"{figures['seconds']:.0f} s, {figures['peak_memory_gib']:.2f} GiB",
            f"Mean consistency with the source {figures['mean_consistency']:.3f}; regions of low consistency: "
            f"{len(figures['low_consistency_regions'])}",
            "Step from slice to slice: one slice only"
            if between["result"] is None
            else f"Step from slice to slice {between['result']:.4f}, in the source {between['source']:.4f}",
            f"Synthetic image: {self.translated}",
        ]
        return self.shown(*(Text(line) for line in lines))


def modality_of(prior: TargetPrior) -> str:
    """What the prior's scans show."""
    return prior.prior.record.channels[0].name.replace(" ", "-")


def target_scaling(prior: TargetPrior) -> Scaling:
    """What -1 and 1 stood for in the prior's training scans; 0 to 1 where it does not say."""
    stated = prior.prior.record.normalisation.settings
    low, high = stated.get("low"), stated.get("high")
    if isinstance(low, int | float) and isinstance(high, int | float):
        return Scaling(float(low), float(high), str(stated.get("kind", "as stated")))
    return Scaling(0.0, 1.0, "none stated")


def at_full_scale(method: TranslationMethod, prior: TargetPrior) -> Rescaled:
    """The method with its results at the scale of the prior's scans, which must have been scaled by percentiles."""
    settings = prior.prior.record.normalisation.settings
    stated = settings.get("percentiles")
    upper = stated[-1] if isinstance(stated, list) and stated else None
    if "window" in settings or not isinstance(upper, int | float):
        raise InputError(
            f"rescale: prior {prior.prior.record.name!r} learned from scans in stated units, not from scans scaled by "
            "percentiles of their own; leave it out"
        )
    return Rescaled(method, float(upper))


def chosen_method(
    settings: TranslateSettings, prior: TargetPrior, observe: Callable[[int], None] | None = None
) -> GuidedTranslation | ReleasedTranslation:
    """The method of a run: the preset's values under those that were given."""
    given = {name: value for name, value in settings.solver.model_dump().items() if value is not None}
    if settings.preset == "reference":
        levels = given.pop("steps", 1000)
        return ReleasedTranslation(prior, levels, given.pop("normalise", None), settings.batch, observe)
    normal = prior.prior.record.normalisation
    if (normal.low, normal.high) != (-1, 1):
        raise InputError(
            f"prior {prior.prior.record.name!r}: its states lie in [{normal.low:g}, {normal.high:g}], those of the "
            "default preset in [-1, 1]; use preset 'reference', which is the sampler it was released with"
        )
    calls = given.pop("calls", 50)
    if "planes" in given:
        given["planes"] = tuple(given["planes"])
    given.setdefault("mode", "condition" if prior.conditional else "gradient")
    if given["mode"] != "gradient" and not prior.conditional:
        raise InputError(
            f"solver.mode: found {given['mode']!r}, but prior {prior.prior.record.name!r} has no map channels; use "
            "'gradient', or a prior trained with maps"
        )
    _refuse_inert(given, prior)
    method = guided_translation(Tools({"target": prior}, calls), batch=settings.batch, observe=observe, **given)
    if "steps" not in given and method.calls > calls:
        raise InputError(
            f"solver.calls: found {calls}, but one step of {method.candidates} candidates takes {method.calls:g}; "
            "allow more, or draw fewer candidates"
        )
    return method


def _refuse_inert(given: dict[str, Any], prior: TargetPrior) -> None:
    """Refuse what was asked for and has no effect in the mode, or on the maps, that this prior leads to."""
    mode, name = given["mode"], prior.prior.record.name
    keys = {"condition": ("energy", "push"), "gradient": ("weight", "refresh")}.get(mode, ())
    for key in (key for key in keys if key in given):
        raise InputError(
            f"solver.{key} has no effect in mode {mode!r}, which prior {name!r} gets where solver.mode is not given; "
            "leave it out, or give another mode"
        )
    if given.get("refresh", 1) > 1 and not ConditionMaps(prior.condition).dynamic:
        raise InputError(
            f"solver.refresh: found {given['refresh']}, but the {prior.condition.kind} maps of prior {name!r} do not "
            "depend on the state and are made once; leave it out"
        )


def _translatability(prior: TargetPrior, folder: Path, scan: Scan) -> tuple[dict[str, Any], list[str], bytes | None]:
    """What the check says, where the prior has a range."""
    usual = TranslatabilityRange.load(folder)
    if usual is None:
        return {}, ["the prior has no range of self maps, so it was not checked whether this source suits it"], None
    measure = similarity(usual.measure)
    found = usual.check(measure, scan.stack)
    warning = found.warning
    return found.record(), [warning] if warning else [], picture(found, measure, scan.stack)


def translate(settings: TranslateSettings, on_progress: OnProgress = silent) -> TranslateResult:
    """Translate a scan and leave a run folder: image, maps, record, page."""
    started = time.perf_counter()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    folder = settings.output or Path("runs") / f"translate-{scan_name(settings.scan)}"
    check_writable(folder)
    require_dicom_output(settings)
    prior = TargetPrior.load(settings.prior)
    total = 0

    def observe(done: int) -> None:
        on_progress("translating slices", done % total or total, total)

    method = chosen_method(settings, prior, observe)
    drawn = at_full_scale(method, prior) if settings.rescale else method
    scan = read_scan(settings.scan, settings.source, prior, on_progress)
    on_progress("comparing structures", 0, 1)
    check, doubts, shown = _translatability(prior, settings.prior, scan)
    total = round(method.calls * len(scan.stack))
    walked = time.perf_counter()
    made = drawn(scan.stack, stack_streams(settings.seed, len(scan.stack)))
    walking = time.perf_counter() - walked
    on_progress("returning to the scan's grid", 0, 1)
    result = assemble(
        scan,
        made,
        target_scaling(prior),
        best=settings.result == "best",
        keep=settings.keep_candidates,
        modality=modality_of(prior),
    )
    warnings = (*scan.warnings, *doubts, *made.notes)
    seconds = {"all": time.perf_counter() - started, "network": walking}
    left = leave(folder, settings, prior, scan, made, result, check, warnings, seconds, shown)
    return TranslateResult(folder, folder / "report.html", warnings, left.image, left.figures)
