"""Who leads the sequencer: when it dies or freezes another takes over, and nothing is lost, doubled or out of order."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.kernel import election, sequencer
from services.kernel.clock import SystemClock
from services.kernel.db import Database, Session
from services.kernel.event_log import PostgresEventLog
from services.kernel.ids import new_id
from services.kernel.sequencer import Sequencer
from services.kernel.unit_of_work import Units
from tests.kernel import freezing
from tests.kernel.conftest import Owner
from tests.support.event_log import Wire, emit, name_of, partitions_of, read_all, sequencing
from tests.support.waiting import SLOWNESS_SECONDS, until

ROOT = Path(__file__).parents[2]
# How long the log may stand still when who leads dies, and what a busy machine adds to it.
TAKE_OVER_SECONDS = 2.0


class Leader:
    """A sequencer in a process of its own, which leads."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", freezing.__name__, url],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "gen")))},
        )

    def says(self) -> str:
        """The next change of whether it leads."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        """Freeze it, thaw it, kill it."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Leave nothing of it."""
        self._process.kill()
        self._process.wait(15)


@pytest.fixture
def leader(kernel_url: str, head: int) -> Iterator[Leader]:
    """One that leads."""
    del head  # another has led until then
    started = Leader(kernel_url)
    try:
        assert started.says() == "leads"
        yield started
    finally:
        started.end()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For which offices anybody in this process has stood, each time."""
    offices, stand = list[int](), election.stand

    def note(connection: psycopg.Connection[Any], office: int, keys: Sequence[int]) -> list[int]:
        won = stand(connection, office, keys)
        offices.append(office)
        return won

    monkeypatch.setattr(election, "stand", note)
    return offices


@contextmanager
def standing_by(database: Database) -> Iterator[Sequencer]:
    """One that waits for its turn."""
    second = Sequencer(database.connect, SystemClock(), ensure=partitions_of(database).ensure)
    second.start()
    try:
        yield second
    finally:
        second.stop()


def test_when_its_connection_dies_another_takes_over_and_counts_on(
    database: Database, source: PostgresEventLog, head: int, units: Units[Session], owner: Owner
) -> None:
    wire = Wire(database)
    with sequencing(database, connect=wire.connect) as first, standing_by(database) as second:
        emit(units, new_id(), ["before"])
        until(lambda: source.head() == head + 1, "the first event")
        assert not second.leading()
        wire.cut(owner)
        emit(units, new_id(), ["meanwhile"])
        until(second.leading, "a second that leads")
        until(lambda: not first.leading(), "a first that knows")
        emit(units, new_id(), ["after"])
        until(lambda: source.head() == head + 3, "the others")
    events = read_all(source, head)
    assert [name_of(event) for event in events] == ["before", "meanwhile", "after"]
    assert [event.position for event in events] == [head + 1, head + 2, head + 3]


def test_when_its_process_is_killed_another_takes_over_within_two_seconds(
    database: Database, leader: Leader, asked: list[int]
) -> None:
    asked.clear()
    with standing_by(database) as second:
        until(lambda: asked, "one that has stood in vain")
        assert not second.leading()
        leader.send(signal.SIGKILL)
        until(second.leading, "a take-over", TAKE_OVER_SECONDS + SLOWNESS_SECONDS)


def test_a_frozen_one_is_put_aside_and_when_it_thaws_it_has_no_say(
    database: Database,
    source: PostgresEventLog,
    head: int,
    units: Units[Session],
    leader: Leader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emit(units, new_id(), ["before"])
    until(lambda: source.head() == head + 1, "the first event")
    leader.send(signal.SIGSTOP)
    emit(units, new_id(), ["meanwhile"])
    monkeypatch.setattr(election, "_FROZEN_SECONDS", 0.5)
    with standing_by(database) as second:
        until(lambda: source.head() == head + 2, "the event that it did not move")
        leader.send(signal.SIGCONT)
        assert leader.says() == "stands by"
        emit(units, new_id(), ["after"])
        until(lambda: source.head() == head + 3, "the last event")
        assert second.leading()
    assert [name_of(event) for event in read_all(source, head)] == ["before", "meanwhile", "after"]


def test_one_that_sleeps_is_not_taken_for_frozen(
    database: Database, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(sequencer, "_STANDBY_SECONDS", 0.01)
    monkeypatch.setattr(election, "_FROZEN_SECONDS", 1.0)
    with sequencing(database) as first:
        until(first.asleep, "sleep")
        with standing_by(database) as second:
            asked.clear()
            # For longer than a second: ten milliseconds and a query lie between two.
            until(lambda: len(asked) > 150, "a standby that has asked again and again")
            assert first.leading()
            assert not second.leading()


def test_who_stops_gives_way(database: Database) -> None:
    with sequencing(database) as first, standing_by(database) as second:
        assert first.leading()
        first.stop()
        until(second.leading, "a second that leads")


def test_killed_again_and_again_it_loses_and_doubles_nothing(
    database: Database, source: PostgresEventLog, head: int, units: Units[Session], owner: Owner
) -> None:
    wire = Wire(database)
    with sequencing(database, connect=wire.connect):
        for turn in range(30):
            emit(units, new_id(), [f"{turn}/{part}" for part in range(40)])
            wire.cut(owner)
            wire.reachable = True
        until(lambda: source.head() >= head + 1200, "all events in the log")
    events = read_all(source, head)
    assert [event.position for event in events] == list(range(head + 1, head + 1201))
    assert [name_of(event) for event in events] == [f"{turn}/{part}" for turn in range(30) for part in range(40)]
