"""Durable subscriptions: every event has its effect once, in order, whatever dies, and a bad one stops nobody."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from plinth.tenancy.v1 import events_pb2
from services.kernel import cursors, election, subscriptions
from services.kernel.caller import Caller, current_caller
from services.kernel.clock import SystemClock
from services.kernel.db import Database, Session
from services.kernel.errors import ConcurrentUpdate
from services.kernel.event_log import LogTail, PostgresEventLog
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.jobs import Backoff
from services.kernel.mail import Mail
from services.kernel.sequencer import Sequencer
from services.kernel.subscriptions import Park, Runner, Subscription
from services.kernel.unit_of_work import UnitOfWork, Units
from tests.kernel.conftest import Owner
from tests.support.event_log import CREATED, Wire, created, emit, name_of, sequencing, tailing
from tests.support.waiting import until

Handle = Callable[[UnitOfWork[Session], Event], None]


@pytest.fixture(autouse=True)
def sequencer(database: Database) -> Iterator[Sequencer]:
    with sequencing(database) as running:
        yield running


@pytest.fixture
def tail(source: PostgresEventLog) -> Iterator[LogTail]:
    with tailing(source) as following:
        yield following


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the long pauses between attempts and elections: nothing here is about how long they are."""
    monkeypatch.setattr(subscriptions, "_BACKOFF", Backoff(most=timedelta()))
    monkeypatch.setattr(subscriptions, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(subscriptions, "_ELECT_SECONDS", 0.1)


@dataclass
class Parked:
    """Where events that cannot be handled go."""

    events: list[tuple[str, str, str]] = field(default_factory=list)

    def __call__(self, uow: UnitOfWork[Any], subscription: Subscription[Any], event: Event, failure: str) -> None:
        assert uow.session.scope.workspace_id == event.workspace_id
        self.events.append((subscription.name, name_of(event), failure))


@dataclass
class Rig:
    """One subscriber and its effects: a mail for each event, whose recipient is the event's name."""

    database: Database
    source: PostgresEventLog
    tail: LogTail
    units: Units[Session]
    owner: Owner
    name: str = field(default_factory=lambda: f"tenancy.test_{new_id().hex}")
    mark: str = field(default_factory=lambda: new_id().hex)
    parked: Parked = field(default_factory=Parked)

    def emit(self, *names: str, workspace: UUID | None = None) -> None:
        emit(self.units, workspace or new_id(), [f"{self.mark}/{name}" for name in names])

    def mail(self, uow: UnitOfWork[Session], event: Event) -> None:
        if name_of(event).startswith(self.mark):
            uow.mail(Mail(name_of(event), "s", "t", "event"))

    def effects(self) -> list[str]:
        rows = self.owner.execute(
            "select recipient from kernel.mail where recipient like %s order by id", [f"{self.mark}/%"]
        )
        return [row["recipient"].removeprefix(f"{self.mark}/") for row in rows]

    def cursor(self) -> int:
        row = self.owner.execute("select position from kernel.cursors where subscriber = %s", [self.name]).fetchone()
        return int(row["position"]) if row is not None else -1

    def runner(
        self,
        handle: Handle | None = None,
        *,
        types: frozenset[str] = frozenset({CREATED}),
        wire: Wire | None = None,
        park: Park | None = None,
    ) -> Runner:
        return Runner(
            [Subscription(self.name, types, handle or self.mail, self.units)],
            source=self.source,
            tail=self.tail,
            database=self.database,
            connect=wire.connect if wire else self.database.connect,
            clock=SystemClock(),
            park=park or self.parked,
        )

    def begin_here(self) -> None:
        """Not at the oldest event: others' are in the log too, and of no interest here."""
        self.owner.execute("insert into kernel.cursors values (%s, %s, now())", [self.name, self.source.head()])


@pytest.fixture
def rig(
    database: Database, source: PostgresEventLog, tail: LogTail, units: Units[Session], owner: Owner
) -> Iterator[Rig]:
    rig = Rig(database, source, tail, units, owner)
    rig.begin_here()
    yield rig
    owner.execute("delete from kernel.cursors where subscriber = %s", [rig.name])


@pytest.fixture
def running() -> Iterator[Callable[[Runner], Runner]]:
    started: list[Runner] = []

    def start(runner: Runner) -> Runner:
        started.append(runner)
        runner.start()
        return runner

    yield start
    for runner in started:
        runner.stop()


Start = Callable[[Runner], Runner]


class TestHandle:
    def test_each_event_has_its_effect_once_and_in_order(self, rig: Rig, running: Start) -> None:
        rig.emit("before 1", "before 2")
        running(rig.runner())
        until(lambda: len(rig.effects()) == 2, "the effects of what came before")
        workspaces, names = [new_id(), new_id()], [str(n) for n in range(40)]
        for n, name in enumerate(names):
            rig.emit(name, workspace=workspaces[n // 3 % 2])
        until(lambda: len(rig.effects()) >= 42, "all effects")
        assert rig.effects() == ["before 1", "before 2", *names]
        until(lambda: rig.cursor() == rig.source.head(), "a cursor at the head")

    def test_runs_in_the_events_own_workspace_and_trace_on_the_domains_behalf(
        self, rig: Rig, running: Start, caller: Caller
    ) -> None:
        seen: list[tuple[UUID | None, Caller]] = []

        def look(uow: UnitOfWork[Session], event: Event) -> None:
            assert event.workspace_id == caller.workspace_id
            seen.append((uow.session.scope.workspace_id, current_caller()))

        running(rig.runner(look))
        rig.emit("x", workspace=caller.workspace_id)
        until(lambda: seen, "the event")
        ((workspace_id, acting),) = seen
        assert workspace_id == acting.workspace_id == caller.workspace_id
        assert (acting.principal, acting.user_id) == ("services/tenancy", None)
        assert (acting.traceparent, acting.trace_id) == (caller.traceparent, caller.trace_id)

    def test_a_users_own_event_is_handled_in_the_domains_system_session(self, rig: Rig, running: Start) -> None:
        roles: list[str] = []

        def look(uow: UnitOfWork[Session], event: Event) -> None:
            if event.workspace_id is None:
                roles.append(uow.session.scope.role)

        running(rig.runner(look))
        with rig.units.user(new_id()) as uow:
            uow.emit("users/x", created("x"))
            uow.commit()
        until(lambda: roles == ["plinth_tenancy_system"], "the event")

    def test_other_types_are_passed_over(self, rig: Rig, running: Start) -> None:
        seen: list[str] = []
        running(rig.runner(lambda _, event: seen.append(event.type)))
        with rig.units(new_id()) as uow:
            uow.emit("a", events_pb2.WorkspacePurged())
            uow.emit("a", created("x"))
            uow.emit("a", events_pb2.WorkspacePurged())
            uow.commit()
        until(lambda: rig.cursor() == rig.source.head() and seen, "a cursor at the head")
        assert seen == [CREATED]

    def test_a_new_subscriber_begins_with_the_oldest_event(self, rig: Rig, running: Start) -> None:
        rig.emit("old")
        rig.name = f"tenancy.new_{new_id().hex}"
        running(rig.runner())
        until(lambda: rig.effects() == ["old"], "the effect of an event that was there before")
        rig.owner.execute("delete from kernel.cursors where subscriber = %s", [rig.name])


class TestCrash:
    def test_between_effect_and_cursor_nothing_lasts_and_nothing_happens_twice(
        self, rig: Rig, running: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        move, died = cursors.move, list[str]()

        def die_once(session: Session, subscriber: str, before: int, after: int, now: Any) -> None:
            if subscriber == rig.name and not died:
                died.append(subscriber)
                session.run(text("select pg_terminate_backend(pg_backend_pid())"))
            move(session, subscriber, before, after, now)

        monkeypatch.setattr(cursors, "move", die_once)
        running(rig.runner())
        rig.emit("one", "two")
        until(lambda: len(rig.effects()) >= 2, "the effects")
        assert died
        until(lambda: rig.cursor() == rig.source.head(), "a cursor at the head")
        assert rig.effects() == ["one", "two"]
        assert rig.parked.events == []

    def test_a_consumer_that_was_overtaken_undoes_what_it_did(self, rig: Rig, running: Start) -> None:
        overtaken: list[Event] = []

        def overtake(uow: UnitOfWork[Session], event: Event) -> None:
            rig.mail(uow, event)
            if not overtaken:
                overtaken.append(event)
                rig.owner.execute(
                    "update kernel.cursors set position = %s where subscriber = %s", [event.position, rig.name]
                )

        running(rig.runner(overtake))
        rig.emit("done by another")
        until(lambda: overtaken, "the first event")
        rig.emit("mine")
        until(lambda: rig.effects() == ["mine"], "the effect of the second")

    def test_another_process_takes_over_where_the_first_stood(self, rig: Rig, running: Start) -> None:
        wire = Wire(rig.database)
        first, second = running(rig.runner(wire=wire)), rig.runner()
        until(first.leading, "a first that consumes")
        running(second)
        rig.emit("one")
        until(lambda: rig.effects() == ["one"], "the first effect")
        assert not second.leading()
        wire.cut(rig.owner)
        until(second.leading, "a second that consumes")
        until(lambda: not first.leading(), "a first that knows")
        rig.emit("two")
        until(lambda: len(rig.effects()) >= 2, "the second effect")
        first.stop()
        assert rig.effects() == ["one", "two"]

    def test_what_a_frozen_process_holds_is_taken_from_it(
        self, rig: Rig, running: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(election, "_FROZEN_SECONDS", 0.3)
        with rig.database.connect() as frozen:
            seat = subscriptions._seat(rig.name)
            assert election.stand(frozen, subscriptions._OFFICE, [seat]) == [seat]
            running(rig.runner())
            rig.emit("x")
            until(lambda: rig.effects() == ["x"], "the effect")

    def test_one_that_has_nothing_to_do_is_not_taken_for_frozen(
        self, rig: Rig, running: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(election, "_FROZEN_SECONDS", 1.0)
        first, second = running(rig.runner()), rig.runner()
        until(first.leading, "a first that consumes")
        asked, stand = list[int](), election.stand

        def note(connection: psycopg.Connection[Any], office: int, keys: Sequence[int]) -> list[int]:
            asked.append(len(keys))
            return stand(connection, office, keys)

        monkeypatch.setattr(election, "stand", note)
        running(second)
        # For longer than a second: a quarter of one lies between two.
        until(lambda: asked.count(1) > 8, "a second that has asked again and again")
        assert first.leading()
        assert not second.leading()


class TestPoison:
    def test_an_event_that_fails_five_times_is_parked_and_the_others_go_on(self, rig: Rig, running: Start) -> None:
        attempts: list[str] = []

        def handle(uow: UnitOfWork[Session], event: Event) -> None:
            rig.mail(uow, event)
            if name_of(event).endswith("poison"):
                attempts.append(name_of(event))
                raise ZeroDivisionError("by zero\nDETAIL: a row")

        running(rig.runner(handle))
        rig.emit("before", "poison", "after")
        until(lambda: rig.effects() == ["before", "after"], "the effects of the others")
        # Once with those of the same commit, and then alone.
        assert len(attempts) == 6
        assert rig.parked.events == [(rig.name, f"{rig.mark}/poison", "ZeroDivisionError: by zero")]
        until(lambda: rig.cursor() == rig.source.head(), "a cursor at the head")

    def test_what_an_error_says_of_a_restricted_event_is_not_kept(self, rig: Rig, running: Start) -> None:
        def handle(_: UnitOfWork[Session], event: Event) -> None:
            if name_of(event).startswith(rig.mark):
                raise ValueError(f"{name_of(event)} is not for everyone")

        running(rig.runner(handle))
        with rig.units(new_id()) as uow:
            uow.emit("workspaces/x", created(f"{rig.mark}/secret"), restricted=True)
            uow.commit()
        until(lambda: rig.parked.events, "a parked event")
        assert rig.parked.events == [(rig.name, f"{rig.mark}/secret", "ValueError")]

    def test_what_failed_and_then_succeeds_is_not_parked(self, rig: Rig, running: Start) -> None:
        failures = iter([ZeroDivisionError, KeyError])

        def handle(uow: UnitOfWork[Session], event: Event) -> None:
            rig.mail(uow, event)
            for failure in failures:
                raise failure

        running(rig.runner(handle))
        rig.emit("x")
        until(lambda: rig.effects() == ["x"], "its effect")
        assert rig.parked.events == []

    def test_what_lost_a_race_for_a_row_is_tried_for_as_long_as_it_takes(self, rig: Rig, running: Start) -> None:
        races = [ConcurrentUpdate] * 10

        def handle(uow: UnitOfWork[Session], event: Event) -> None:
            rig.mail(uow, event)
            if name_of(event).startswith(rig.mark) and races:
                raise races.pop()

        running(rig.runner(handle))
        rig.emit("one", "two")
        until(lambda: rig.effects() == ["one", "two"], "the effects, in order")
        assert rig.parked.events == []

    def test_what_cannot_be_parked_either_is_not_lost(self, rig: Rig, running: Start) -> None:
        broken = [True]

        def handle(uow: UnitOfWork[Session], event: Event) -> None:
            rig.mail(uow, event)
            if broken and name_of(event).startswith(rig.mark):
                raise ZeroDivisionError

        refused: list[str] = []

        def refuse(*_: object) -> None:
            refused.append("once more")
            raise LookupError

        running(rig.runner(handle, park=refuse))
        rig.emit("one", "two")
        until(lambda: len(refused) >= 2, "an event that is tried again")
        broken.clear()
        until(lambda: rig.effects() == ["one", "two"], "the effects")


class TestFallingBehind:
    def test_a_long_past_is_read_page_by_page(self, rig: Rig, running: Start) -> None:
        names, seen = [str(n) for n in range(2500)], list[str]()
        rig.emit(*names)
        running(rig.runner(lambda _, event: seen.append(name_of(event).rpartition("/")[2])))
        until(lambda: len(seen) >= len(names), "all events")
        assert seen == names

    def test_past_retention_it_goes_on_with_the_oldest_event(self, rig: Rig, running: Start) -> None:
        rig.emit("kept")
        before = rig.owner.execute("select dropped from kernel.event_retention").fetchone()
        assert before is not None
        rig.owner.execute("update kernel.cursors set position = -5 where subscriber = %s", [rig.name])
        rig.owner.execute("update kernel.event_retention set dropped = greatest(dropped, 1)")
        running(rig.runner())
        until(lambda: rig.effects() == ["kept"], "the effect of an event that is kept")
        rig.owner.execute("update kernel.event_retention set dropped = %s", [before["dropped"]])
