"""What the benchmarks make of measurements: medians, ratios paired by round, tables, and the page."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from benchmarks.machine import describe_machine, load
from benchmarks.report import print_section, write_results
from benchmarks.timing import Row, Section, Spread, race, rows_of, spread, timed
from rich.console import Console

SECTION = Section(
    "Walks",
    "Two walkers on one road.",
    "ms",
    [
        Row("short", "ours", Spread(0.002, 0.001, 0.003)),
        Row("short", "theirs", Spread(0.004, 0.004, 0.005), Spread(2.0, 1.5, 2.5), ("uphill",)),
        Row("long", "ours", Spread(1.2345, 1.0, 2.0)),
    ],
    extra=("remark",),
    remarks=("They arrive at the same place.",),
)


def test_spread_is_median_and_quartiles() -> None:
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(3.0, 2.0, 4.0)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)


def test_ratios_are_paired_by_round() -> None:
    """A machine that becomes three times slower changes the costs and not the ratios."""
    ours, theirs = rows_of("case", {"ours": [1.0, 1.0, 3.0], "theirs": [2.0, 2.0, 6.0]}, "ours", per=10.0)
    assert ours == Row("case", "ours", spread([0.1, 0.1, 0.3]))
    assert theirs.ratio == Spread(2.0, 2.0, 2.0)
    assert theirs.cost == spread([0.2, 0.2, 0.6])
    with pytest.raises(ValueError, match="longer"):
        rows_of("case", {"ours": [1.0, 1.0], "theirs": [2.0]}, "ours")


def test_every_round_runs_every_contestant_once_in_an_order_of_its_own() -> None:
    calls: list[str] = []
    contestants = {name: lambda name=name: calls.append(name) for name in "abc"}
    measured = race(contestants, rounds=6, shortest=0.0, synchronise=lambda: calls.append("."))
    assert {name: len(values) for name, values in measured.items()} == dict.fromkeys("abc", 6)
    ran = [name for name in calls if name != "."]
    assert ran[:6] == list("aabbcc")  # warm-up
    rounds = ["".join(ran[start : start + 3]) for start in range(6, 24, 3)]
    assert all(sorted(order) == list("abc") for order in rounds)
    assert len(set(rounds)) > 1
    assert calls[:3] == [".", "a", "."]  # the device is waited for on both sides of the clock


def test_repeated_calls_are_counted() -> None:
    calls: list[int] = []
    assert timed(lambda: calls.append(1), calls=5) >= 0
    assert len(calls) == 5


def test_the_page_says_what_was_measured_and_what_was_not(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    write_results(page, {"Machine": "a loom"}, [SECTION], ["GPU: there is none"])
    lines = page.read_text(encoding="utf-8").splitlines()
    assert "- Machine: a loom" in lines
    table = lines.index("| case | contestant | time (ms) | time / first contestant | remark |")
    assert lines[table + 2 : table + 5] == [
        "| short | ours | 2 [1, 3] | 1 |",
        "|  | theirs | 4 [4, 5] | 2.00 [1.50, 2.50] | uphill |",
        "| long | ours | 1234 [1000, 2000] | 1 |",
    ]
    assert "They arrive at the same place." in lines
    assert "- GPU: there is none" in lines[lines.index("## Not measured") :]
    assert [path.name for path in tmp_path.iterdir()] == ["RESULTS.md"]


def test_the_terminal_shows_the_same() -> None:
    shown = io.StringIO()
    print_section(Console(file=shown, width=120), SECTION)
    for words in ("Walks", "4 [4, 5]", "2.00 [1.50, 2.50]", "They arrive at the same place."):
        assert words in shown.getvalue()


def test_the_machine_is_described() -> None:
    facts = describe_machine(3)
    assert facts["Threads"] == "3"
    assert "torch" in facts["Versions"]
    assert all(facts.values())
    assert load() >= 0
