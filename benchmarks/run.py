"""The one command: measure every section, print the tables, write RESULTS.md."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.loop import compare_loops
from benchmarks.machine import describe_machine, load
from benchmarks.networks import compare_networks
from benchmarks.operators import compare_espirit, compare_operators
from benchmarks.report import print_section, renew_results, write_results
from benchmarks.samplers import compare_samplers
from benchmarks.similarity import compare_similarities
from benchmarks.timing import Effort, Section

__all__ = ["main"]

RESULTS = Path(__file__).with_name("RESULTS.md")
QUICK = Effort(rounds=3, shortest=0.01, sizes=(64,), slices=1)
PARTS = ("networks", "operators", "espirit", "similarity", "loop", "samplers")

Measure = Callable[[], Section | str]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats and small sizes: a check, not a measurement")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run; default: all")
    parser.add_argument(
        "--output", type=Path, help="page to write; default: benchmarks/RESULTS.md, of which a part renews its section"
    )
    parser.add_argument("--remark", default="", help="a sentence about this run to put on the page")
    return parser.parse_args()


def _parts(effort: Effort, report: Callable[[str], None]) -> Iterator[tuple[str, str, Measure]]:
    """Part, where it runs and what measures it: on the processor always, on a GPU where there is one."""
    devices = [torch.device("cpu")] + [torch.device("cuda")] * torch.cuda.is_available()
    for device in devices:
        yield "networks", device.type, partial(compare_networks, effort, device, report)
        yield "operators", device.type, partial(compare_operators, effort, device, report)
    yield "espirit", "cpu", partial(compare_espirit, effort, report)
    yield "similarity", "cpu", partial(compare_similarities, effort, report)
    for device in devices:
        yield "loop", device.type, partial(compare_loops, effort, device, report)
        yield "samplers", device.type, partial(compare_samplers, effort, device, report)


def _shared(before: float, after: float) -> str:
    """Load averages as text; more than a process and a half means that others were at work."""
    shared = "; the machine was shared" if max(before, after) > 1.5 else ""
    return f"{before:.1f}, {after:.1f} processes (this run alone: about 1){shared}"


def main(threads: int) -> int:
    """Run; a part that fails is named with its error, the others still run, and the exit code is 1.

    Args:
        threads: processor threads, which the environment of the numerical libraries must already allow.
    """
    arguments = _arguments()
    torch.set_num_threads(threads)
    effort = QUICK if arguments.quick else Effort()
    console, progress = Console(width=160), Console(stderr=True, highlight=False)
    facts = {**describe_machine(threads), "Repeats": f"{effort.rounds} (posterior samplers: {effort.slices} slices)"}
    busy = load()
    sections: list[Section] = []
    omitted: list[str] = []
    failed = False
    for name, device, measure in _parts(effort, lambda text: progress.print(text, style="dim")):
        if name not in arguments.only:
            continue
        try:
            found = measure()
        except Exception as error:
            traceback.print_exc()
            found, failed = f"failed: {type(error).__name__}: {error}", True
        if isinstance(found, Section):
            sections.append(found)
            print_section(console, found)
        else:
            omitted.append(f"{name} ({device}): {found}")
            console.print(omitted[-1])
    if not torch.cuda.is_available():
        omitted.append("anything on a GPU: this machine has none that torch can use")
    facts["Load before and after"] = _shared(busy, load())
    if arguments.remark:
        facts["Remark"] = arguments.remark
    console.print(_leave(arguments, facts, sections, omitted))
    return int(failed)


def _leave(
    arguments: argparse.Namespace, facts: dict[str, str], sections: Sequence[Section], omitted: Sequence[str]
) -> str:
    """Write the page, or the sections of it that were measured; return what was done."""
    whole = set(arguments.only) == set(PARTS)
    if arguments.output is None and arguments.quick:
        return "Nothing written: a quick run is no measurement."
    if arguments.output is None and not whole:
        refusal = renew_results(RESULTS, facts, sections)
        return f"Nothing written: {refusal}." if refusal else f"Renewed in {RESULTS}: {', '.join(arguments.only)}"
    output = arguments.output or RESULTS
    write_results(output, facts, sections, omitted)
    return f"Written: {output}"
