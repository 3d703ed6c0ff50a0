"""The event log as its readers see it: pages, tenants, waiting, and a tail that misses nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import text

from services.kernel.caller import Caller
from services.kernel.db import Database, Scope, Session
from services.kernel.errors import DependencyUnavailable
from services.kernel.event_log import PostgresEventLog
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.sequencer import Sequencer
from services.kernel.unit_of_work import Units
from tests.kernel.conftest import Owner, settled
from tests.support.event_log import CREATED, Wire, created, emit, name_of, read_all, sequencing, tailing
from tests.support.waiting import until


@pytest.fixture
def wire(database: Database) -> Wire:
    return Wire(database)


@pytest.fixture
def source(database: Database, wire: Wire) -> Iterator[PostgresEventLog]:
    log = PostgresEventLog(database, wire.connect)
    yield log
    log.close()


@pytest.fixture
def sequencer(database: Database) -> Iterator[Sequencer]:
    with sequencing(database) as running:
        yield running


@pytest.fixture
def head(source: PostgresEventLog, owner: Owner, sequencer: Sequencer) -> int:
    """Where the test's own events begin: after all that other tests left."""
    until(lambda: settled(owner), "an empty outbox")
    return source.head()


def _until_read(source: PostgresEventLog, after: int, count: int) -> list[Event]:
    until(lambda: source.head() >= after + count, f"{count} events in the log")
    return read_all(source, after)


class TestRead:
    def test_an_event_is_read_as_it_was_emitted(
        self, source: PostgresEventLog, head: int, units: Units[Session], caller: Caller
    ) -> None:
        with units() as uow:
            uow.emit("workspaces/1", created("Acme"))
            uow.commit()
        (event,) = _until_read(source, head, 1)
        assert event.position == head + 1
        assert (event.workspace_id, event.subject, event.type) == (caller.workspace_id, "workspaces/1", CREATED)
        assert (event.source, event.data_schema) == ("//plinth/tenancy", "plinth.tenancy.v1.WorkspaceCreated")
        assert (event.actor, event.traceparent) == (caller.principal, caller.traceparent)
        assert event.message() == created("Acme")

    def test_what_is_restricted_stays_so_on_its_way_into_the_log_and_the_audit(
        self, source: PostgresEventLog, head: int, units: Units[Session], caller: Caller, owner: Owner
    ) -> None:
        with units() as uow:
            uow.emit("workspaces/1", created("for few"), restricted=True)
            uow.emit("workspaces/1", created("for all"))
            uow.commit()
        read = _until_read(source, head, 2)
        assert [(name_of(event), event.restricted) for event in read] == [("for few", True), ("for all", False)]
        audited = owner.execute(
            "select restricted from kernel.audit where workspace_id = %s order by id", [caller.workspace_id]
        )
        assert [row["restricted"] for row in audited] == [True, False]

    def test_pages_follow_each_other_without_a_gap(
        self, source: PostgresEventLog, head: int, units: Units[Session]
    ) -> None:
        names = [str(n) for n in range(25)]
        emit(units, new_id(), names)
        until(lambda: source.head() >= head + 25, "the events")
        events = read_all(source, head, page=7)
        assert [event.position for event in events] == list(range(head + 1, head + 26))
        assert [name_of(event) for event in events] == names

    def test_a_workspace_reads_its_own(self, source: PostgresEventLog, head: int, units: Units[Session]) -> None:
        mine, other = new_id(), new_id()
        for workspace, name in ((mine, "mine"), (other, "other"), (mine, "mine too")):
            emit(units, workspace, [name])
        until(lambda: source.head() >= head + 3, "the events")
        assert [name_of(event) for event in source.read(head, 10, workspace_id=mine)] == ["mine", "mine too"]
        assert source.read(head, 10, workspace_id=new_id()) == []

    def test_of_a_type_whose_stubs_are_not_here_the_message_is_not_read(self, strange: Event) -> None:
        with pytest.raises(KeyError):
            strange.message()

    @pytest.fixture
    def strange(self, source: PostgresEventLog, head: int, owner: Owner) -> Event:
        owner.execute(
            "insert into kernel.outbox values"
            " (default, gen_random_uuid(), null, 't', '', 's', now(), 'a.Stranger', '', '', '')"
        )
        (event,) = _until_read(source, head, 1)
        return event


class TestRowSecurity:
    LOOK = text("select workspace_id from kernel.event_log where subject = :subject")

    def test_a_session_in_a_workspace_sees_that_one_only_and_the_systems_all(
        self, database: Database, source: PostgresEventLog, head: int, units: Units[Session]
    ) -> None:
        mine, other, subject = new_id(), new_id(), str(new_id())
        for workspace in (mine, other):
            emit(units, workspace, ["x"], subject=subject)
        until(lambda: source.head() >= head + 2, "the events")
        for workspace_id, seen in ((mine, {mine}), (new_id(), set()), (None, {mine, other})):
            with database.transaction(Scope("plinth_kernel", workspace_id)) as session:
                rows = session.all(self.LOOK, lambda workspace_id: workspace_id, subject=subject)
            assert set(rows) == seen

    @pytest.mark.parametrize("role", ["plinth_identity", "plinth_tenancy", "plinth_tenancy_system"])
    def test_a_domain_that_is_not_told_so_reads_none_of_it(self, database: Database, role: str) -> None:
        with pytest.raises(InsufficientPrivilege), database.transaction(Scope(role, new_id())) as session:
            session.all(self.LOOK, lambda workspace_id: workspace_id, subject="")

    @pytest.mark.parametrize("verb", ["update kernel.event_log set actor = ''", "delete from kernel.event_log"])
    @pytest.mark.parametrize("role", ["plinth_kernel", "plinth_sequencer", "plinth_tenancy"])
    def test_nobody_changes_what_was_logged(self, database: Database, role: str, verb: str) -> None:
        with pytest.raises(InsufficientPrivilege), database.transaction(Scope(role)) as session:
            session.run(text(verb))

    def test_a_domain_moves_the_cursors_of_its_own_subscribers_only(self, database: Database) -> None:
        add = text("insert into kernel.cursors values (:name, 0, now())")
        move = text("update kernel.cursors set position = 1 where subscriber = :name")
        mine = f"tenancy.{new_id()}"
        with database.transaction(Scope("plinth_tenancy", new_id())) as session:
            session.run(add, name=mine)
            session.commit()
        for role, moved in (("plinth_tenancy_system", 1), ("plinth_identity", 0)):
            with database.transaction(Scope(role)) as session:
                assert session.run(move, name=mine) == moved
        with pytest.raises(InsufficientPrivilege), database.transaction(Scope("plinth_identity")) as session:
            session.run(add, name=f"tenancy.{new_id()}")


class TestWait:
    def test_returns_at_once_for_what_is_there(
        self, source: PostgresEventLog, head: int, units: Units[Session]
    ) -> None:
        emit(units, new_id(), ["x"])
        until(lambda: source.head() > head, "the event")
        assert source.wait(head, 0)

    def test_is_woken_by_what_comes(self, source: PostgresEventLog, head: int, units: Units[Session]) -> None:
        assert not source.wait(head, 0)
        emit(units, new_id(), ["x"])
        assert source.wait(head, 10)

    def test_ends_after_its_time(self, source: PostgresEventLog, head: int) -> None:
        assert not source.wait(head, 0.01)

    def test_tells_that_the_database_is_gone_and_listens_anew(
        self, source: PostgresEventLog, head: int, wire: Wire, owner: Owner, units: Units[Session]
    ) -> None:
        assert not source.wait(head, 0)
        wire.cut(owner)
        with pytest.raises(DependencyUnavailable):
            source.wait(head, 10)
        emit(units, new_id(), ["while it was deaf"])
        until(lambda: source.head() > head, "the event")
        wire.reachable = True
        assert source.wait(head, 0)


class TestLogTail:
    def test_hands_every_new_event_to_each_listener_in_order(
        self, source: PostgresEventLog, head: int, units: Units[Session]
    ) -> None:
        heard: tuple[list[str], list[str]] = ([], [])
        with tailing(source) as tail:
            for names in heard:
                tail.subscribe(lambda events, names=names: names.extend(map(name_of, events)))  # type: ignore[misc]
            told = [str(n) for n in range(30)]
            for name in told:
                emit(units, new_id(), [name])
            until(lambda: all(len(names) >= 30 for names in heard), "thirty events")
            assert tail.position == head + 30
        assert heard == (told, told)

    def test_the_past_is_not_told(self, source: PostgresEventLog, head: int, units: Units[Session]) -> None:
        emit(units, new_id(), ["past"])
        until(lambda: source.head() > head, "the event")
        heard: list[str] = []
        with tailing(source) as tail:
            tail.subscribe(lambda events: heard.extend(map(name_of, events)))
            emit(units, new_id(), ["new"])
            until(lambda: heard, "an event")
        assert heard == ["new"]

    @pytest.mark.usefixtures("head")
    def test_a_listener_that_fails_does_not_keep_events_from_others(
        self, source: PostgresEventLog, units: Units[Session]
    ) -> None:
        heard: list[str] = []

        def fail(_: list[Event]) -> None:
            raise ZeroDivisionError

        with tailing(source) as tail:
            tail.subscribe(fail)
            tail.subscribe(lambda events: heard.extend(map(name_of, events)))
            for name in ("one", "two"):
                emit(units, new_id(), [name])
            until(lambda: heard == ["one", "two"], "both events")

    @pytest.mark.usefixtures("head")
    def test_who_left_hears_no_more(self, source: PostgresEventLog, units: Units[Session]) -> None:
        left: list[Event] = []
        stayed: list[Event] = []
        with tailing(source) as tail:
            tail.subscribe(left.extend)()
            tail.subscribe(stayed.extend)
            emit(units, new_id(), ["x"])
            until(lambda: stayed, "the event")
        assert left == []

    @pytest.mark.usefixtures("head")
    def test_misses_nothing_of_what_came_while_it_was_cut(
        self, source: PostgresEventLog, wire: Wire, owner: Owner, units: Units[Session]
    ) -> None:
        heard: list[str] = []
        with tailing(source) as tail:
            tail.subscribe(lambda events: heard.extend(map(name_of, events)))
            emit(units, new_id(), ["before"])
            until(lambda: heard == ["before"], "the first event")
            wire.cut(owner)
            until(lambda: wire.refused, "a tail that knows that it is cut")
            emit(units, new_id(), ["meanwhile"])
            wire.reachable = True
            until(lambda: len(heard) == 2, "what came meanwhile")
            emit(units, new_id(), ["after"])
            until(lambda: len(heard) == 3, "all of them")
        assert heard == ["before", "meanwhile", "after"]

    @pytest.mark.usefixtures("head")
    def test_goes_on_after_an_error_that_nobody_foresaw(
        self, source: PostgresEventLog, units: Units[Session], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard: list[str] = []
        failures = iter([ZeroDivisionError])
        read = source.read

        def fail_once(*arguments: Any, **named: Any) -> list[Event]:
            for failure in failures:
                raise failure
            return read(*arguments, **named)

        with tailing(source) as tail:
            tail.subscribe(lambda events: heard.extend(map(name_of, events)))
            monkeypatch.setattr(source, "read", fail_once)
            emit(units, new_id(), ["x"])
            until(lambda: heard == ["x"], "the event")
