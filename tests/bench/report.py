"""What was measured, against what was aimed at: as tables, and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from tests.bench.measure import Case, Point
from tests.bench.stages import Breakdown

OUTPUT = Path(__file__).resolve().parents[2] / ".build" / "bench"
# Where no terminal says how wide it is.
WIDTH = 140
_MANY = 1000


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure and its target; `at_least` or else at most."""

    what: str
    measured: float
    target: float
    unit: str
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether it is where it should be."""
        return self.measured >= self.target if self.at_least else self.measured <= self.target


@dataclass(frozen=True, slots=True)
class Timing:
    """What calls took that were made one after the other, in milliseconds."""

    what: str
    milliseconds: Sequence[float]

    def percentile(self, percent: float) -> float:
        """So many of them took no longer."""
        return float(np.percentile(self.milliseconds, percent))


def print_timings(console: Console, timings: Sequence[Timing]) -> None:
    """The middle of each, and its end."""
    table = Table("one at a time", *_right("calls", "p50 ms", "p90 ms", "p99 ms"))
    for timing in timings:
        figures = (f"{timing.percentile(percent):,.2f}" for percent in (50, 90, 99))
        table.add_row(timing.what, f"{len(timing.milliseconds):,}", *figures)
    console.print(table)


def print_cases(console: Console, cases: Sequence[Case]) -> None:
    """Throughput, the server's processor time, and latency."""
    table = Table("case", *(_right("calls/s", "least", "most", "µs CPU a call", "core busy", "p50 ms", "p99 ms")))
    for case in cases:
        table.add_row(
            case.name,
            f"{case.rate:,.0f}",
            f"{min(one.sample.rate for one in case.rounds):,.0f}",
            f"{max(one.sample.rate for one in case.rounds):,.0f}",
            f"{case.cpu * 1e6:,.0f}",
            f"{case.busy:.0%}",
            f"{case.percentile(50) * 1e3:.1f}",
            f"{case.percentile(99) * 1e3:.1f}",
        )
    console.print(table)


def print_breakdown(console: Console, breakdown: Breakdown) -> None:
    """What the chain costs on one call, and how it is made up."""
    table = Table(
        "part of the call", *_right("µs", "share of the chain"), title="Where a call spends its time, medians"
    )
    for name, cost in [*breakdown.stages.items(), ("walk, call, caller", breakdown.walk)]:
        table.add_row(name, f"{cost:.1f}", f"{cost / breakdown.overhead:.0%}")
    table.add_section()
    table.add_row("chain", f"{breakdown.overhead:.1f}", "100%")
    table.add_row("handler, waits for PostgreSQL and other threads included", f"{breakdown.handler:.1f}", "")
    table.add_row("whole", f"{breakdown.whole:.1f}", "")
    console.print(table)


def print_aims(console: Console, aims: Sequence[Aim]) -> None:
    """Each target beside its figure."""
    table = Table("aim", *_right("measured", "target"), "")
    for aim in aims:
        sign = "≥" if aim.at_least else "≤"
        table.add_row(
            aim.what,
            f"{aim.measured:,.{0 if aim.measured >= _MANY else 2}f} {aim.unit}",
            f"{sign} {aim.target:,g} {aim.unit}",
            "[green]met[/]" if aim.met else "[red]missed[/]",
        )
    console.print(table)


def keep(
    path: Path,
    machine: str,
    cases: Sequence[Case],
    curves: Mapping[str, Sequence[Point]],
    breakdown: Breakdown,
    timings: Sequence[Timing],
    aims: Sequence[Aim],
) -> None:
    """All figures, as JSON."""
    figures = {
        "machine": machine,
        "cases": {
            case.name: {
                "calls_per_second": case.rate,
                "cpu_microseconds": case.cpu * 1e6,
                "rounds": [one.sample.rate for one in case.rounds],
                "p50_ms": case.percentile(50) * 1e3,
                "p99_ms": case.percentile(99) * 1e3,
            }
            for case in cases
        },
        "latency": {name: [asdict(point) for point in points] for name, points in curves.items()},
        "stages_microseconds": asdict(breakdown),
        "one_at_a_time": {
            timing.what: {f"p{percent}_ms": timing.percentile(percent) for percent in (50, 90, 99)}
            for timing in timings
        },
        "aims": [asdict(aim) | {"met": aim.met} for aim in aims],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2))


def _right(*names: str) -> list[Column]:
    return [Column(name, justify="right") for name in names]
