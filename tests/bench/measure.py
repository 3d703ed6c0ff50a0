"""Throughput of the cases that are compared, in rounds, and latency against load."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.h2load import Load, Sample, Target, run

# As many calls under way in each case: what is compared is the server, not the queue in front of it.
_UNDER_WAY = 32
_GRPC_CONNECTIONS = 4
_WARM_UP_CALLS = 1500
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
    """One thing to call, the process whose processor time counts, and what was measured."""

    name: str
    target: Target
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
        """How many times as fast as `other`: the median of the rounds' own ratios, since weather spares no round."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(mine.sample.rate / theirs.sample.rate for mine, theirs in pairs)

    def percentile(self, percent: float) -> float:
        """Of the latency, in seconds: the median of the rounds."""
        return statistics.median(one.sample.percentile(percent) for one in self.rounds)


def full_load(target: Target, calls: int) -> Load:
    """As fast as it goes, with _UNDER_WAY calls at once: over a few connections in gRPC, one each in HTTP/1.1."""
    if target.message is None:
        return Load(calls, _UNDER_WAY)
    return Load(calls, _GRPC_CONNECTIONS, _UNDER_WAY // _GRPC_CONNECTIONS)


def measure(cases: Sequence[Case], *, rounds: int, seconds: float) -> None:
    """Run each case for about `seconds` in each round; the cases take turns, so that all meet the same weather."""
    calls = {}
    for case in cases:
        run(case.target, full_load(case.target, _WARM_UP_CALLS))
        warm = run(case.target, full_load(case.target, _WARM_UP_CALLS))
        calls[case.name] = max(_UNDER_WAY, round(warm.rate * seconds))
    for _ in range(rounds):
        for case in cases:
            before = _processor_seconds(case.pid)
            sample = run(case.target, full_load(case.target, calls[case.name]))
            case.rounds.append(Round(sample, (_processor_seconds(case.pid) - before) / sample.calls))


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
        load = Load(max(_UNDER_WAY, round(offered * seconds)), _UNDER_WAY, offered=offered)
        sample = run(target, load)
        points.append(Point(offered, sample.rate, sample.percentile(50), sample.percentile(99)))
    return points
