"""The days of the log: made ahead, dropped after the retention, and in nobody's way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.rows import dict_row

from services.kernel.clock import FrozenClock
from services.kernel.db import Database, Session
from services.kernel.errors import CursorExpired
from services.kernel.event_log import PostgresEventLog
from services.kernel.feed import InvalidationHub
from services.kernel.ids import new_id
from services.kernel.mail import Mailbox
from services.kernel.partitions import Partitions
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Resources, Units
from tests.kernel.conftest import Owner
from tests.support.databases import own_database, with_database
from tests.support.event_log import emit, name_of, read_all, sequencing
from tests.support.waiting import until

DAY = timedelta(days=1)
TODAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def own_url(owner_url: str, own_name: str) -> str:
    return with_database(owner_url, own_name)


@pytest.fixture
def own_name(owner_url: str) -> Iterator[str]:
    """A database whose log begins with the test: what is dropped here, nobody else misses."""
    with own_database(owner_url, "log") as name:
        yield name


@pytest.fixture
def owner(own_url: str) -> Iterator[Owner]:
    with psycopg.connect(own_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def database(app_url: str, own_name: str) -> Iterator[Database]:
    opened = Database(with_database(app_url, own_name), pool_size=4)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(TODAY)


@pytest.fixture
def units(database: Database, clock: FrozenClock, keyring: Keyring) -> Units[Session]:
    return Units(Resources(database, clock, InvalidationHub(), Mailbox(keyring)), "tenancy", lambda session: session)


@pytest.fixture
def partitions(database: Database, clock: FrozenClock) -> Partitions:
    return Partitions(database.connect, clock, retention=2 * DAY, ahead=2 * DAY)


def _days(owner: Owner) -> list[str]:
    rows = owner.execute(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = %s::regclass", [_LOG]
    )
    return sorted(row["name"].rpartition("_")[2] for row in rows if row["name"].rpartition("_")[2].isdigit())


_LOG = "kernel.event_log"


@pytest.fixture
def five_days(
    database: Database, clock: FrozenClock, units: Units[Session], source: PostgresEventLog, partitions: Partitions
) -> None:
    """Two events a day, from the first of March to the fifth: positions 1 to 10."""
    partitions.ensure(clock.now())
    for day in range(5):
        with sequencing(database, clock):
            emit(units, new_id(), [f"{day}a", f"{day}b"])
            until(lambda day=day: source.head() == 2 * day + 2, "the day's events")  # type: ignore[misc]
        clock.advance(DAY)
    clock.advance(-DAY)


class TestEnsure:
    def test_makes_the_day_and_those_ahead_once(self, partitions: Partitions, owner: Owner, clock: FrozenClock) -> None:
        for _ in range(2):
            partitions.ensure(clock.now())
            assert _days(owner) == ["20260301", "20260302", "20260303"]
        clock.advance(DAY)
        partitions.ensure(clock.now())
        assert _days(owner) == ["20260301", "20260302", "20260303", "20260304"]

    def test_two_at_once_make_each_day_once(self, partitions: Partitions, owner: Owner, clock: FrozenClock) -> None:
        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(partitions.ensure, clock.now()) for _ in range(4)]:
                future.result(30)
        assert len(_days(owner)) == 3

    def test_a_day_is_under_row_security_by_itself(
        self, partitions: Partitions, owner: Owner, clock: FrozenClock
    ) -> None:
        partitions.ensure(clock.now())
        rows = owner.execute(
            "select relrowsecurity and relforcerowsecurity as guarded from pg_class where relname ~ '^event_log_2'"
            " and relkind = 'r'"
        )
        assert [row["guarded"] for row in rows] == [True, True, True]


@pytest.mark.usefixtures("five_days")
class TestRetention:
    def test_days_past_it_are_dropped_and_positions_go_on(
        self, partitions: Partitions, owner: Owner, source: PostgresEventLog
    ) -> None:
        assert source.oldest() == 0
        assert partitions.drop_expired() == ["event_log_20260301", "event_log_20260302"]
        assert _days(owner)[0] == "20260303"
        assert (source.oldest(), source.head()) == (5, 10)
        assert [name_of(event) for event in read_all(source, 4)] == ["2a", "2b", "3a", "3b", "4a", "4b"]
        assert partitions.drop_expired() == []

    def test_a_cursor_past_it_is_told_so(self, partitions: Partitions, source: PostgresEventLog) -> None:
        assert len(source.read(0, 100)) == 10
        partitions.drop_expired()
        for after in (0, 3):
            with pytest.raises(CursorExpired):
                source.read(after, 100)
            with pytest.raises(CursorExpired):
                source.read(after, 100, workspace_id=new_id())
        assert source.read(4, 1)[0].position == 5

    def test_when_nothing_is_left_positions_still_go_on(
        self,
        partitions: Partitions,
        database: Database,
        clock: FrozenClock,
        source: PostgresEventLog,
        units: Units[Session],
    ) -> None:
        clock.advance(30 * DAY)
        assert len(partitions.drop_expired()) == 7
        assert (source.oldest(), source.head()) == (11, 10)
        assert source.read(10, 10) == []
        with sequencing(database, clock):
            emit(units, new_id(), ["next"])
            until(lambda: source.head() == 11, "the event")
        assert [name_of(event) for event in source.read(10, 10)] == ["next"]

    def test_what_a_subscriber_has_not_read_waits_for_it(self, partitions: Partitions, owner: Owner) -> None:
        owner.execute("insert into kernel.cursors values ('tenancy.slow', 3, now())")
        assert partitions.drop_expired() == ["event_log_20260301"]
        owner.execute("update kernel.cursors set position = 4")
        assert partitions.drop_expired() == ["event_log_20260302"]

    def test_who_never_reads_is_waited_for_twice_as_long_and_no_longer(
        self, partitions: Partitions, owner: Owner, clock: FrozenClock
    ) -> None:
        owner.execute("insert into kernel.cursors values ('tenancy.gone', 0, now())")
        assert partitions.drop_expired() == []
        clock.advance(DAY)
        assert partitions.drop_expired() == ["event_log_20260301"]

    def test_a_reader_in_its_transaction_is_neither_disturbed_nor_in_anybodys_way(
        self,
        partitions: Partitions,
        own_url: str,
        database: Database,
        clock: FrozenClock,
        source: PostgresEventLog,
        units: Units[Session],
    ) -> None:
        with ThreadPoolExecutor(1) as pool, psycopg.connect(own_url) as reader:
            assert len(reader.execute("select 1 from kernel.event_log").fetchall()) == 10
            dropping = pool.submit(partitions.drop_expired)
            until(lambda: _is_leaving(database), "a day on its way out")
            with sequencing(database, clock):
                emit(units, new_id(), ["meanwhile"])
                until(lambda: source.head() == 11, "the event")
            assert [name_of(event) for event in source.read(10, 10)] == ["meanwhile"]
            assert len(reader.execute("select 1 from kernel.event_log_20260301").fetchall()) == 2
            assert not dropping.done()
            reader.commit()
            assert dropping.result(30) == ["event_log_20260301", "event_log_20260302"]

    def test_what_was_cut_short_is_finished_the_next_time(
        self, partitions: Partitions, owner: Owner, database: Database, own_url: str
    ) -> None:
        with ThreadPoolExecutor(1) as pool, psycopg.connect(own_url) as reader:
            reader.execute("select 1 from kernel.event_log")
            dropping = pool.submit(partitions.drop_expired)
            until(lambda: _is_leaving(database), "a day on its way out")
            owner.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                " where datname = current_database() and query like '%detach partition%' and pid <> pg_backend_pid()"
            )
            with pytest.raises(psycopg.OperationalError):
                dropping.result(30)
        assert partitions.drop_expired() == ["event_log_20260301", "event_log_20260302"]
        left = owner.execute("select 1 from pg_class where relname in ('event_log_20260301', 'event_log_20260302')")
        assert left.fetchall() == []


def _is_leaving(database: Database) -> bool:
    with database.connect() as connection:
        return bool(connection.execute("select 1 from pg_inherits where inhdetachpending").fetchall())


class TestThread:
    def test_looks_after_the_days_as_soon_as_it_starts(self, partitions: Partitions, owner: Owner) -> None:
        partitions.start()
        until(lambda: len(_days(owner)) == 3, "three days")
        partitions.stop()
