"""The posterior samplers of `reconstruct` with the same weights: seconds, network evaluations and PSNR per slice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import skiagraph
from benchmarks.timing import Effort, Row, Section, spread
from skiagraph.data.phantom import head_phantom
from skiagraph.data.simulation import simulate
from skiagraph.data.slicing import SlicePose, locate_head, slice_positions
from skiagraph.errors import SampleUnavailable
from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.posterior import (
    SamplerSettings,
    conditional_mean,
    evaluations_per_slice,
    posterior_samples,
    slice_seeds,
)
from skiagraph.tasks.reconstruct.results import Reconstruction, score_slices
from skiagraph.tasks.reconstruct.scan import PreparedScan
from skiagraph.tasks.reconstruct.simulated import (
    SimulatedSlices,
    draw_mask,
    prepare_acquisitions,
    simulate_test_slices,
)
from skiagraph.training.record import PriorRecord

__all__ = ["PRIOR", "compare_samplers"]

PRIOR = Path(skiagraph.__file__).parent / "presets" / "priors" / "brain-t1-128"
DEFAULT = "default, mean and 4 samples"
REFERENCE = "reference, 1 sample"
HEAD, ACCELERATION, CENTRE, SEED = "colin27", 4.0, 24, 2


@dataclass(frozen=True)
class _Outcome:
    """Seconds and PSNR (dB) of one sampler on one slice."""

    seconds: float
    psnr: float


def _slices(count: int) -> tuple[SimulatedSlices, str]:
    """Test slices of the held-out head, or of the generated one where it cannot be had, and which of the two."""
    try:
        return simulate_test_slices(HEAD, count, acceleration=ACCELERATION, centre=CENTRE, seed=SEED), HEAD
    except SampleUnavailable:
        head = locate_head(head_phantom(1))
    acquired = [
        simulate(head, SlicePose(place), seed=SEED, case=f"phantom/{number}")
        for number, place in enumerate(slice_positions(head, count))
    ]
    masks = [draw_mask("random", 128, ACCELERATION, CENTRE, SEED, scan.case) for scan in acquired]
    return prepare_acquisitions(acquired, masks, CENTRE), "the generated phantom (the sample head could not be had)"


def _samplers(record: PriorRecord) -> dict[str, SamplerSettings]:
    trained = record.measurement.settings if record.measurement else {}
    base = SamplerSettings(
        samples=1, acceleration=float(str(trained.get("acceleration", 4.0))), centre=int(str(trained.get("centre", 24)))
    )
    return {
        DEFAULT: replace(base, samples=4),
        f"{DEFAULT}, bf16": replace(base, samples=4, precision="bfloat16"),
        "anchored, 1 sample": base,
        "measurement-score, 1 sample": replace(base, sampler="measurement-score", steps=25, views=4),
        REFERENCE: replace(base, sampler="reference", views=3),
    }


def _moved(scan: PreparedScan, device: torch.device) -> PreparedScan:
    return replace(scan, **{field.name: getattr(scan, field.name).to(device) for field in fields(scan)})


def _run(
    network: ConsistentNetwork, slices: SimulatedSlices, index: int, settings: SamplerSettings, device: torch.device
) -> _Outcome:
    """Reconstruct one slice: samples, and where there are several also the mean, as the command does."""
    seeds = slice_seeds(SEED, [slices.names[index]], settings.samples)
    scan = _moved(slices.scan.select([index]), device)
    started = time.perf_counter()
    direct = conditional_mean(network, scan, settings.rows).cpu() if settings.samples > 1 else None
    samples: Tensor = posterior_samples(network, scan, settings, seeds).cpu()
    seconds = time.perf_counter() - started
    figures = score_slices(
        Reconstruction(samples, direct), slices.truth[index : index + 1], slices.head[index : index + 1]
    )
    (values,) = figures.psnr.values()
    return _Outcome(seconds, float(values[0]))


def compare_samplers(effort: Effort, device: torch.device, report: Callable[[str], None]) -> Section | str:
    """Reconstruct slice after slice by every sampler in an order of its own; the reason where there is no prior."""
    if not (PRIOR / "prior.json").is_file():
        return f"skipped: the package ships no prior at {PRIOR.relative_to(Path(skiagraph.__file__).parents[1])}"
    network, record = load_prior(PRIOR, device)
    network.eval()
    slices, source = _slices(effort.slices)
    samplers = _samplers(record)
    outcomes: dict[str, list[_Outcome]] = {name: [] for name in samplers}
    _run(network, slices, 0, replace(samplers[DEFAULT], steps=2), device)
    order, shuffler = list(samplers), random.Random(0)
    for index in range(effort.slices):
        shuffler.shuffle(order)
        for name in order:
            report(f"samplers: slice {index + 1} of {effort.slices}, {name} on {device.type}")
            outcomes[name].append(_run(network, slices, index, samplers[name], device))
    return Section(
        f"Posterior samplers ({device.type})",
        f"Prior {record.name!r}; {effort.slices} slices of {source}, simulated acquisition with 8 coils, nominal "
        f"R = {ACCELERATION:g} with {CENTRE} calibration lines. `reference` is the released sampler: 200 levels, three "
        "masked views one after another. `default` is what the command does: the posterior mean, which PSNR judges, "
        "and 4 anchored samples for the error bars; the other rows are judged by one sample, which scores lower than "
        "a mean does. Repeats are slices; ratios and gains are paired by slice. PSNR is after one fitted factor; "
        "seconds are those of a slice on its own.",
        "s",
        [
            _row(
                name,
                evaluations_per_slice(network, samplers[name], mean=samplers[name].samples > 1),
                outcomes[name],
                outcomes[REFERENCE],
                outcomes,
            )
            for name in samplers
        ],
        extra=("network evaluations", "PSNR (dB), mean", "gain over reference (dB), mean [min, max]"),
    )


def _row(
    name: str,
    evaluations: int,
    own: Sequence[_Outcome],
    reference: Sequence[_Outcome],
    outcomes: dict[str, list[_Outcome]],
) -> Row:
    first = next(iter(outcomes))
    ratios = [mine.seconds / base.seconds for mine, base in zip(own, outcomes[first], strict=True)]
    gains = [mine.psnr - base.psnr for mine, base in zip(own, reference, strict=True)]
    gain = "-" if name == REFERENCE else f"{np.mean(gains):+.2f} [{min(gains):+.2f}, {max(gains):+.2f}]"
    notes = (str(evaluations), f"{np.mean([one.psnr for one in own]):.2f}", gain)
    cost = spread([one.seconds for one in own])
    return Row("one slice", name, cost, None if name == first else spread(ratios), notes)
