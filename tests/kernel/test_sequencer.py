"""The sequencer: every event gets one place, in the order of its subject's commits, whoever idles or dies."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from services.kernel import event_lag
from services.kernel.clock import FrozenClock
from services.kernel.db import Database, Scope, Session
from services.kernel.event_log import PostgresEventLog
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.sequencer import SETTLED_SECONDS, Floor
from services.kernel.unit_of_work import Units
from tests.kernel.conftest import Owner, settled
from tests.support.event_log import created, emit, name_of, read_all, sequencing, tailing
from tests.support.waiting import until

WRITERS = 8
COMMITS = 250
EVENTS = 5
SUBJECTS = 12
_EARLIER_WRITE = text(
    "insert into kernel.mail (id, kind, recipient, subject, create_time) values (:id, '', '', '', now())"
)


@dataclass(frozen=True)
class Commit:
    """When a writer began to flush, and when its commit had returned (monotonic seconds)."""

    began: float
    ended: float


class Writers:
    """Eight writers of commits about a few subjects, half of which wrote something else first."""

    def __init__(self, database: Database, units: Units[Session]) -> None:
        self._database = database
        self._units = units
        self.commits: dict[str, Commit] = {}

    def run(self) -> None:
        with ThreadPoolExecutor(WRITERS) as pool:
            for future in [pool.submit(self._write, number) for number in range(WRITERS)]:
                future.result(100)

    def _write(self, number: int) -> None:
        chance = random.Random(number)
        for turn in range(COMMITS):
            name = f"{number}/{turn}"
            with self._units(new_id()) as uow:
                if turn % 2:
                    uow.session.run(_EARLIER_WRITE, id=new_id())
                for part in range(EVENTS):
                    uow.emit(f"subject/{chance.randrange(SUBJECTS)}", created(f"{name}/{part}"))
                began = time.monotonic()
                uow.commit()
                self.commits[name] = Commit(began, time.monotonic())

    def commit_of(self, event: Event) -> Commit:
        return self.commits[name_of(event).rpartition("/")[0]]


class Reader(threading.Thread):
    """Reads the log by cursor, in pages of its own size, until it has seen so many events."""

    def __init__(self, source: PostgresEventLog, after: int, page: int, count: int) -> None:
        super().__init__(daemon=True)
        self._source, self._cursor, self._page, self._count = source, after, page, count
        self.events: list[Event] = []

    def run(self) -> None:
        while len(self.events) < self._count:
            self._source.wait(self._cursor, 0.05)
            self.events += self._source.read(self._cursor, self._page)
            self._cursor = self.events[-1].position if self.events else self._cursor


def _assert_in_order_of_commits(events: list[Event], writers: Writers) -> None:
    """Of one subject, no commit stands before one that had ended before it began; nor parts of one out of turn."""
    latest_begin: dict[str, float] = {}
    latest_part: dict[tuple[str, str], int] = {}
    for event in events:
        commit, (name, _, part) = writers.commit_of(event), name_of(event).rpartition("/")
        assert commit.ended >= latest_begin.get(event.subject, 0.0)
        latest_begin[event.subject] = max(latest_begin.get(event.subject, 0.0), commit.began)
        assert int(part) > latest_part.get((event.subject, name), -1)
        latest_part[event.subject, name] = int(part)


class TestManyWriters:
    def test_every_reader_sees_all_of_it_in_order_and_once_while_somebody_idles(
        self,
        database: Database,
        source: PostgresEventLog,
        head: int,
        units: Units[Session],
        owner: Owner,
        kernel_owner_url: str,
        owner_url: str,
    ) -> None:
        count = WRITERS * COMMITS * EVENTS
        writers, told = Writers(database, units), list[Event]()
        with ExitStack() as stack:
            # Their transactions have written, so both hold a transaction id, here and in another database.
            for url in (kernel_owner_url, owner_url):
                idle = stack.enter_context(psycopg.connect(url))
                idle.execute("create temporary table idle on commit drop as select 1 as one")
                idle.execute("select txid_current()")
            stack.enter_context(sequencing(database))
            tail = stack.enter_context(tailing(source))
            tail.subscribe(told.extend)
            sources = [PostgresEventLog(database, database.connect) for _ in range(3)]
            for one in sources:
                stack.callback(one.close)
            readers = [Reader(one, head, page, count) for one, page in zip(sources, (1000, 64, 7), strict=True)]
            for reader in readers:
                reader.start()
            writers.run()
            until(lambda: source.head() >= head + count, "all events in the log")
            for reader in readers:
                reader.join(60)
            until(lambda: len(told) >= count, "all events at the tail")
        positions = list(range(head + 1, head + count + 1))
        for events in (*(reader.events for reader in readers), told):
            assert [event.position for event in events] == positions
            assert len({event.id for event in events}) == count
            _assert_in_order_of_commits(events, writers)
        assert settled(owner)


class TestSleep:
    def test_asleep_it_asks_less_than_once_a_second_and_a_commit_wakes_it(
        self, database: Database, source: PostgresEventLog, head: int, units: Units[Session], owner: Owner
    ) -> None:
        def quiet() -> bool:
            """Whether no session of ours has asked anything for more than a second."""
            latest = owner.execute(
                "select extract(epoch from clock_timestamp() - max(query_start)) as silent from pg_stat_activity"
                " where datname = current_database() and usename = 'plinth_app'"
            ).fetchone()
            return latest is not None and latest["silent"] > 1.5

        with sequencing(database) as sequencer, tailing(source):
            until(sequencer.asleep, "sleep")
            until(quiet, "silence")
            emit(units, new_id(), ["wake up"])
            until(lambda: source.head() == head + 1, "the event")
            until(sequencer.asleep, "sleep again")

    def test_it_takes_what_was_committed_while_nobody_led(
        self, database: Database, source: PostgresEventLog, head: int, units: Units[Session]
    ) -> None:
        emit(units, new_id(), [str(n) for n in range(5000)])
        with sequencing(database):
            until(lambda: source.head() == head + 5000, "all of them")


class TestDays:
    def test_a_missing_day_is_made(
        self, database: Database, source: PostgresEventLog, head: int, units: Units[Session], owner: Owner
    ) -> None:
        later = datetime.now(UTC) + timedelta(days=400)
        name = f"event_log_{later:%Y%m%d}"
        with sequencing(database, FrozenClock(later)):
            emit(units, new_id(), ["far from now"])
            until(lambda: source.head() == head + 1, "the event")
        row = owner.execute("select count(*) as n from pg_class where relname = %s", [name]).fetchone()
        assert row == {"n": 1}
        assert [name_of(event) for event in read_all(source, head)] == ["far from now"]

    def test_a_clock_that_goes_back_does_not_take_the_log_back(
        self, database: Database, source: PostgresEventLog, head: int, units: Units[Session], owner: Owner
    ) -> None:
        with sequencing(database, FrozenClock(datetime(2020, 1, 1, tzinfo=UTC))):
            for name in ("one", "two"):
                emit(units, new_id(), [name])
            until(lambda: source.head() == head + 2, "the events")
        times = owner.execute("select log_time from kernel.event_log order by position").fetchall()
        assert [row["log_time"] for row in times] == sorted(row["log_time"] for row in times)


class TestLag:
    def test_what_waits_is_counted_and_aged(
        self, database: Database, head: int, units: Units[Session], clock: FrozenClock, source: PostgresEventLog
    ) -> None:
        emit(units, new_id(), ["one", "two"])
        clock.advance(timedelta(seconds=90))
        with database.transaction(Scope("plinth_kernel")) as session:
            assert event_lag.waiting(session, clock.now()) == event_lag.Waiting(2, 90.0)
        with sequencing(database):
            until(lambda: source.head() == head + 2, "the events")
        with database.transaction(Scope("plinth_kernel")) as session:
            assert event_lag.waiting(session, clock.now()) == event_lag.Waiting(0, 0.0)

    def test_a_subscriber_is_as_late_as_what_it_has_not_seen(
        self, database: Database, source: PostgresEventLog, head: int, units: Units[Session], owner: Owner
    ) -> None:
        with sequencing(database):
            emit(units, new_id(), ["one", "two", "three"])
            until(lambda: source.head() == head + 3, "the events")
        behind, there, expired = (f"tenancy.{new_id()}" for _ in range(3))
        for name, position in ((behind, head + 1), (there, head + 3), (expired, -5)):
            owner.execute("insert into kernel.cursors values (%s, %s, now())", [name, position])
        row = owner.execute("select log_time from kernel.event_log where position = %s", [head + 2]).fetchone()
        assert row is not None
        with database.transaction(Scope("plinth_kernel")) as session:
            lags = {
                lag.name: (lag.positions, lag.seconds)
                for lag in event_lag.subscribers(session, head + 3, row["log_time"] + timedelta(seconds=7))
            }
        owner.execute("delete from kernel.cursors where subscriber = any(%s)", [[behind, there, expired]])
        assert lags[behind] == (2, 7.0)
        assert lags[there] == (0, 0.0)
        # What it should have read next is no longer kept.
        assert lags[expired][0] == head + 8
        assert lags[expired][1] >= 7.0


class TestFloor:
    @given(
        st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), max_size=30), st.randoms(use_true_random=False)
    )
    def test_is_never_above_a_sequence_that_may_still_come(self, turns: list[list[int]], chance: random.Random) -> None:
        """In each turn so many sequences are drawn by a transaction each, and some of those under way commit."""
        floor, now, last, under_way = Floor(), 0.0, 0, set[int]()
        for turn in turns:
            for draws in turn:
                under_way |= set(range(last + 1, last + 1 + draws))
                last += draws
            committed = sorted(sequence for sequence in under_way if chance.random() < 0.5)
            assert all(sequence > floor.at(now) for sequence in committed)
            floor.passed(committed, now)
            under_way -= set(committed)
            now += 1.0
        assert floor.at(now) <= min(under_way, default=last + 1) - 1

    def test_waits_for_what_was_drawn_before_the_first_look(self) -> None:
        floor = Floor()
        floor.passed([100, 101], 0.0)
        assert floor.at(SETTLED_SECONDS - 1) == 0
        assert floor.at(SETTLED_SECONDS) == 101

    def test_passes_a_gap_once_no_transaction_can_fill_it(self) -> None:
        floor = Floor()
        floor.passed([1, 2, 5], 0.0)
        assert floor.at(1.0) == 2
        floor.passed([3], 2.0)
        assert floor.at(3.0) == 3
        assert floor.at(SETTLED_SECONDS) == 5
