"""Every switch of the posterior sampler on its own: on the closed-form yardstick, and on slices of a held-out head.

    OMP_NUM_THREADS=1 python experiments/ablation/run.py [--em runs/brain-t1-128-em]

takes about 40 minutes on one free core (the closed form one of them); rows that are done are kept in runs/ablation and
found again. Colin27, simulated k-space as in experiments/reconstruct-brain, n = 1 head: intervals are over slabs of two
neighbouring slices. Nothing is chosen here: the default was, on training heads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from closed_form import GENERATION, POSTERIOR, exact_error, expectation_maximisation
from variants import ANCHORED, MASKED, Variant, draw

from skiagraph.evaluation.intervals import mean_interval, paired_difference
from skiagraph.inverse.consistent import ConsistentNetwork
from skiagraph.inverse.measurement_score import UncoveredWarning
from skiagraph.tasks.provenance import run_record
from skiagraph.tasks.reconstruct.acquire import default_centre
from skiagraph.tasks.reconstruct.demo import shipped_prior
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.posterior import MIRRORED, conditional_mean, slice_seeds
from skiagraph.tasks.reconstruct.rivals.figures import all_scores
from skiagraph.tasks.reconstruct.rivals.interface import Estimates
from skiagraph.tasks.reconstruct.simulated import SimulatedSlices, simulate_test_slices

HERE = Path(__file__).parent
KEPT = Path("runs/ablation")
HEAD = "colin27"
MEAN = "the network's mean, no samples"
FIGURES = ("psnr_db", "sample_psnr_db", "coverage")
EM_ROUNDS = 4
Row = dict[str, Any]


def closed_form() -> dict[str, Any]:
    """The figures of the yardstick."""
    return {
        "generation": {name: row.figures() for name, row in GENERATION.items()},
        "posterior": {name: row.figures() for name, row in POSTERIOR.items()},
        "exact_error": exact_error(),
        "em": expectation_maximisation(EM_ROUNDS),
    }


def measured(
    network: ConsistentNetwork, slices: SimulatedSlices, chosen: Sequence[int], variant: Variant | None, samples: int
) -> Row:
    """Figures of every slice and what it took; without a variant those of the network's mean."""
    scan, names = slices.scan.select(list(chosen)), [slices.names[index] for index in chosen]
    started = time.perf_counter()
    if variant is None:
        estimates, calls = Estimates(conditional_mean(network, scan)), MIRRORED * network.evaluations
    else:
        drawn = draw(network, scan, variant, slice_seeds(0, names, samples), samples)
        estimates, calls = Estimates(drawn.mean(1), drawn), variant.evaluations(network)
    seconds = (time.perf_counter() - started) / len(names) / (1 if variant is None else samples)
    scores = all_scores(estimates, scan, slices.truth[list(chosen)], slices.head[list(chosen)])
    figures = {name: [float(value) for value in scores[name]] for name in FIGURES}
    return {**figures, "slices": names, "evaluations": calls, "seconds": round(seconds, 3)}


def place(key: Mapping[str, Any]) -> Path:
    """Where a row is kept."""
    name = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return KEPT / f"{name}.json"


def kept(key: Mapping[str, Any], make: Any) -> Row:
    """A row that is on disk, or made now."""
    path = place(key)
    if not path.exists():
        made = make()
        KEPT.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made))
    found: Row = json.loads(path.read_text())
    return found


def block(
    rows: Mapping[str, Variant | None], rate: float, chosen: Sequence[int], arguments: argparse.Namespace
) -> dict[str, Row]:
    """Rows of one table at one rate."""
    slices = simulate_test_slices(HEAD, arguments.slices, acceleration=rate, centre=default_centre(rate))
    networks = {False: load_prior(arguments.prior or shipped_prior())}
    if arguments.em is not None:
        networks[True] = load_prior(arguments.em)
    found = {}
    for name, variant in rows.items():
        em = variant is not None and variant.em
        if em not in networks:
            continue
        network, record = networks[em]
        facts = {"variant": repr(variant), "rate": rate, "slices": list(chosen), "of": arguments.slices}
        key = {**facts, "weights": record.weights_sha256, "samples": arguments.samples}
        if arguments.kept and not place(key).exists():
            print(f"R = {rate:g}", name, "is left out: not measured yet", flush=True)
            continue

        def make(variant: Variant | None = variant, network: ConsistentNetwork = network) -> Row:
            return measured(network, slices, chosen, variant, arguments.samples)

        found[name] = kept(key, make)
        print(f"R = {rate:g}", name, round(float(np.mean(found[name]["psnr_db"])), 2), flush=True)
    return found


def slabs(row: Row) -> list[str]:
    """Two neighbouring slices of the head make a slab."""
    return [f"slab {int(name.split('/')[-1]) // 2}" for name in row["slices"]]


def lines_of(rows: Mapping[str, Row]) -> list[str]:
    """A table on data; the first row is what the others are compared with."""
    first = next(iter(rows.values()))
    heads = ("switch", "PSNR of the mean (dB)", "minus the first row", "PSNR of one sample", "90 % interval holds")
    lines = [f"| {' | '.join((*heads, 'evaluations a sample', 's a sample'))} |", "| --- " * 7 + "|"]
    for name, row in rows.items():
        groups = slabs(row)
        cells = [name, _cell(mean_interval(row["psnr_db"], groups=groups), ".2f")]
        same = paired_difference(row["psnr_db"], first["psnr_db"], groups=groups)
        cells.append("" if row is first else _cell(same, "+.2f"))
        for figure, style in (("sample_psnr_db", ".2f"), ("coverage", ".2f")):
            values = row[figure]
            cells.append("" if np.isnan(values).any() else _cell(mean_interval(values, groups=groups), style))
        lines.append(f"| {' | '.join((*cells, str(row['evaluations']), format(row['seconds'], '.2f')))} |")
    return [*lines, ""]


def _cell(found: Any, style: str) -> str:
    return f"{found.mean:{style}} [{found.low:{style}}, {found.high:{style}}]"


def lines_of_closed_form(found: Mapping[str, Any]) -> list[str]:
    """The tables of the yardstick."""
    lines = ["## Closed form: generation", "", "| sampler | F2 | variance kept | evaluations |", "| --- " * 4 + "|"]
    lines += [f"| {name} | {row[0]:.4f} | {row[1]:.3f} | {row[2]} |" for name, row in found["generation"].items()]
    lines += ["", "EM rounds, from masked data alone: the full-image prior after round 1, 2, ... has "]
    lines[-1] += "; ".join(f"F2 {f2:.4f}, variance {variance:.3f}" for f2, variance in found["em"]) + "."
    lines += ["", "## Closed form: posterior", ""]
    lines += [f"Eleven of 32 pixels given; the exact posterior mean errs by {found['exact_error']:.4f} a pixel.", ""]
    lines += ["| sampler | error of the mean | of a sample | residual / noise | evaluations |", "| --- " * 5 + "|"]
    for name, row in found["posterior"].items():
        lines.append(f"| {name} | {row[0]:.4f} | {row[1]:.4f} | {row[2]:.2f} | {row[3]} |")
    return [*lines, ""]


def main() -> None:
    """Run what is not there yet and write RESULTS.md and figures.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="*", default=[4.0, 8.0])
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--masked-every", type=int, default=2, help="rows of masked views take every n-th slice")
    parser.add_argument("--kept", action="store_true", help="write what earlier runs have left, measure nothing")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--prior", type=Path, default=None, help="prior folder; default: the shipped one")
    parser.add_argument("--em", type=Path, default=None, help="prior folder after one EM round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UncoveredWarning)
    yardstick = kept({"closed form": (HERE / "closed_form.py").read_text(), "em": EM_ROUNDS}, closed_form)
    words = (HERE / "words.md").read_text() if (HERE / "words.md").exists() else ""
    lines = ["# The switches of the posterior sampler, one at a time", "", (__doc__ or "").split("\n\n", 1)[1], words]
    lines += lines_of_closed_form(yardstick)
    figures: dict[str, Any] = {"closed_form": yardstick, **run_record()}
    every = range(arguments.slices)
    for rate in arguments.rates:
        parts = {
            "all lines at once": block({**ANCHORED, MEAN: None}, rate, every, arguments),
            "masked views": block({**MASKED}, rate, every[:: arguments.masked_every], arguments),
        }
        for title, rows in parts.items():
            count = len(next(iter(rows.values()))["slices"])
            lines += [f"## Colin27, R = {rate:g}: {title} ({count} slices, {arguments.samples} samples)", ""]
            lines += lines_of(rows)
            missing = [
                name for name in {"all lines at once": ANCHORED, "masked views": MASKED}[title] if name not in rows
            ]
            lines += [f"Not measured: {'; '.join(missing)}.", ""] if missing else []
        figures[f"R = {rate:g}"] = parts
        (HERE / "RESULTS.md").write_text("\n".join(lines))
        (HERE / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
