"""The steps that measure: strengths on training heads, baselines and priors on the held-out head."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from settings import Setting, Size, held_out_slices, training_slices

from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.baselines import BASELINES, PLAIN_WAVELET, Baseline, tune, tuned_strength
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.posterior import (
    SamplerSettings,
    conditional_mean,
    evaluations_per_slice,
    posterior_samples,
    slice_seeds,
)
from skiagraph.tasks.reconstruct.results import METHOD, Reconstruction, score_slices

__all__ = ["FIXED", "TUNED", "choose", "compare", "kept", "reconstruct", "tune_all"]

TUNED = ("total-variation", "l1-wavelet", PLAIN_WAVELET)
FIXED = ("zero-filled", "cg-sense")


def kept(path: Path, make: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """What an earlier run left in `path`, or what `make` finds now from what is given, written whole or not at all."""
    if not path.exists():
        started = time.perf_counter()
        found = make(*given)
        found["seconds_of_step"] = round(time.perf_counter() - started, 1)
        found["peak_memory_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({**found, **run_record()}, indent=2) + "\n")
        partial.replace(path)
        print(f"{path.name}: {found['seconds_of_step']} s", flush=True)
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def tune_all(setting: Setting, size: Size) -> dict[str, Any]:
    """The best strength of each baseline on slices of training heads, searched about that of the library's table.

    A grid of half decades; where its end wins, up to four more values follow; then the top of a parabola.
    """
    slices = training_slices(setting, size.tuned_on)
    effective, level = float(1 / slices.scan.mask.mean()), float(slices.scan.noise.mean())
    found: dict[str, Any] = {"slices": len(slices.names)}
    for name in (*TUNED, FIXED[1]):
        start = tuned_strength(name, effective, level)
        steps = np.arange(size.grid) - size.grid // 2
        grid = [float(value) for value in start * 10 ** (steps / 2)]
        best = tune(BASELINES[name], grid, slices.scan, slices.truth, slices.head)
        tried = dict(zip(best.strengths, best.psnr_db, strict=True))
        for _ in range(4 if size.grid > 2 else 0):
            strength = max(tried, key=lambda value: tried[value])
            outside = {min(tried): strength / 10**0.5, max(tried): strength * 10**0.5}.get(strength)
            if outside is None:
                break
            more = tune(BASELINES[name], [strength, outside], slices.scan, slices.truth, slices.head)
            tried |= dict(zip(more.strengths, more.psnr_db, strict=True))
        found[name] = {
            "strength": _top(tried),
            "tried": {f"{strength:.3g}": round(value, 3) for strength, value in sorted(tried.items())},
        }
    return found


def _top(tried: dict[float, float]) -> float:
    """Where a parabola through the best strength and its neighbours is highest, in the logarithm."""
    strengths = sorted(tried)
    best = max(range(len(strengths)), key=lambda index: tried[strengths[index]])
    if not 0 < best < len(strengths) - 1:
        return strengths[best]
    below, top, above = (tried[strengths[index]] for index in (best - 1, best, best + 1))
    step = float(np.log(strengths[best + 1] / strengths[best]))
    return float(strengths[best] * np.exp(0.5 * step * (below - above) / (below + above - 2 * top)))


def compare(setting: Setting, size: Size, strengths: dict[str, Any]) -> dict[str, Any]:
    """The baselines, with the strengths of the training heads, on the held-out head."""
    slices, slabs = held_out_slices(setting, size.slices)
    images, seconds = {}, {}
    for name in (*FIXED, *TUNED):
        baseline: Baseline = BASELINES[name](strengths[name]["strength"] if name in strengths else 0.0)
        started = time.perf_counter()
        images[name] = baseline(slices.scan)
        seconds[name] = (time.perf_counter() - started) / len(slices.names)
    figures = score_slices(Reconstruction(images[FIXED[1]][:, None], baselines=images), slices.truth, slices.head)
    rows = {
        name: {"psnr_db": figures.psnr[name].tolist(), "ssim": figures.ssim[name].tolist(), "seconds": seconds[name]}
        for name in images
    }
    return {"methods": rows, "slabs": slabs, "slices": slices.names, "effective": float(1 / slices.scan.mask.mean())}


def choose(folder: Path, setting: Setting, size: Size) -> dict[str, Any]:
    """Mean PSNR of a prior's posterior mean on new poses of training heads: what choices are made by."""
    slices = training_slices(setting, 2 * size.tuned_on, seed=98)
    mean = conditional_mean(load_prior(folder)[0], slices.scan)
    figures = score_slices(Reconstruction(mean[:, None]), slices.truth, slices.head)
    return {"psnr_db": figures.psnr[METHOD].tolist(), "slices": slices.names}


def reconstruct(folder: Path, setting: Setting, size: Size) -> dict[str, Any]:
    """A prior on the held-out head: posterior mean, samples, coverage of the 90 % interval."""
    slices, slabs = held_out_slices(setting, size.slices)
    network, record = load_prior(folder)
    sampler = SamplerSettings(samples=size.samples)
    spread = float(str(record.extra.get("spread", 1.0)))
    started = time.perf_counter()
    mean = conditional_mean(network, slices.scan)
    samples = posterior_samples(network, slices.scan, sampler, slice_seeds(0, slices.names, size.samples))
    seconds = (time.perf_counter() - started) / len(slices.names)
    result = Reconstruction(samples, mean, spread)
    figures = score_slices(result, slices.truth, slices.head)
    by_samples = score_slices(Reconstruction(samples), slices.truth, slices.head)
    return {
        "prior": {"name": record.name, "weights_sha256": record.weights_sha256},
        "psnr_db": figures.psnr[METHOD].tolist(),
        "ssim": figures.ssim[METHOD].tolist(),
        "psnr_db_of_the_mean_of_samples": by_samples.psnr[METHOD].tolist(),
        "coverage_of_90_percent_interval": figures.coverage.tolist(),
        "error_bar_factor": spread,
        "evaluations_per_slice": evaluations_per_slice(network, sampler),
        "seconds": seconds,
        "slabs": slabs,
        "slices": slices.names,
    }
