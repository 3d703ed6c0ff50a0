"""Throughput of the cases that are compared, in rounds, and latency against load."""

import os
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.h2load import Load, Sample, Target, run

# As many calls under way in each case: what is compared is the server, not the queue in front of it.
UNDER_WAY = 32
GRPC_CONNECTIONS = 4
_COLD_CALLS = 5 * UNDER_WAY
_WARM_UP_SECONDS = 1.0
_ORDER_SEED = 20
_SWEEP_FRACTIONS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0, 1.1)


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one case; the server's processor time is in seconds a call."""

    sample: Sample
    cpu: float

    @property
    def busy(self) -> float:
        """The share of the time in which the server was at work."""
        return self.cpu * self.sample.rate


@dataclass(slots=True)
class Case:
    """One thing to call so many times, the process whose processor time counts, and what was measured."""

    name: str
    call: Callable[[int], Sample]
    pid: int
    rounds: list[Round] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Calls a second: the median of the rounds."""
        return statistics.median(one.sample.rate for one in self.rounds)

    @property
    def cpu(self) -> float:
        """Processor time of the server a call, in seconds: the median of the rounds."""
        return statistics.median(one.cpu for one in self.rounds)

    @property
    def busy(self) -> float:
        """The share of the time in which the server was at work: the median of the rounds."""
        return statistics.median(one.busy for one in self.rounds)

    def times(self, other: "Case") -> float:
        """How many times as fast as `other`."""
        return median_ratio([one.sample.rate for one in self.rounds], [one.sample.rate for one in other.rounds])

    def percentile(self, percent: float) -> float:
        """Of the latency, in seconds: the median of the rounds."""
        return statistics.median(one.sample.percentile(percent) for one in self.rounds)


def median_ratio(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' own ratios: in each, both met the same weather."""
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


def full_load(target: Target) -> Callable[[int], Sample]:
    """As fast as it goes, with UNDER_WAY calls at once: over a few connections in gRPC, one each in HTTP/1.1."""

    def call(calls: int) -> Sample:
        if target.message is None:
            return run(target, Load(calls, UNDER_WAY))
        return run(target, Load(calls, GRPC_CONNECTIONS, UNDER_WAY // GRPC_CONNECTIONS))

    return call


def one_at_a_time(target: Target) -> Callable[[int], Sample]:
    """Each call after the one before: what counts is all that a call takes, on whatever core."""
    return lambda calls: run(target, Load(calls, 1))


def measure(cases: Sequence[Case], *, rounds: int, seconds: float) -> None:
    """Warm each case up, then run it for about `seconds` in each round.

    The cases' order is drawn anew for each round (the same draws in each run): what one case leaves behind in caches
    and in the database slows the next one down, by up to a tenth, and must not always hit the same.
    """
    rates = {}
    for case in cases:
        cold = case.call(_COLD_CALLS)
        rates[case.name] = case.call(_calls(cold.rate, _WARM_UP_SECONDS)).rate
    draw = random.Random(_ORDER_SEED)  # an order, no secret
    for _ in range(rounds):
        for case in draw.sample(cases, len(cases)):
            before = _processor_seconds(case.pid)
            sample = case.call(_calls(rates[case.name], seconds))
            case.rounds.append(Round(sample, (_processor_seconds(case.pid) - before) / sample.calls))


def _calls(rate: float, seconds: float) -> int:
    return max(UNDER_WAY, round(rate * seconds))


def _processor_seconds(pid: int) -> float:
    """What a process has used so far, in user and in kernel mode: proc_pid_stat(5), fields 14 and 15."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Point:
    """Latency (in seconds) at a load: so many calls a second were offered, so many answered."""

    offered: float
    answered: float
    p50: float
    p99: float


def sweep(target: Target, at_most: float, *, seconds: float) -> list[Point]:
    """Offer more and more calls a second, up to a little over `at_most`.

    Every connection has one call under way, in gRPC too: so the calls of all cases arrive alike.
    """
    points: list[Point] = []
    for fraction in _SWEEP_FRACTIONS:
        offered = at_most * fraction
        load = Load(max(UNDER_WAY, round(offered * seconds)), UNDER_WAY, offered=offered)
        sample = run(target, load)
        points.append(Point(offered, sample.rate, sample.percentile(50), sample.percentile(99)))
    return points
