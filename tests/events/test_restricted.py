"""Events that not everybody may know of: nobody reads them or is sent them, and subscribers in the mesh get them."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest

from plinth.events.v1 import event_pb2
from plinth.events.v1 import event_service_pb2 as events
from services.events.repository import EventsRepositories
from services.events.repository import events as rows
from services.events.service import EventsServices, replays
from services.events.watch import EventWatcher
from services.kernel import cursors
from services.kernel.db import Scope
from services.kernel.event_log import PostgresEventLog
from services.kernel.events import Event
from services.kernel.jobs.worker import Worker
from services.kernel.log_stream import LogStreams
from services.kernel.subscriptions import Subscription
from services.kernel.unit_of_work import UnitOfWork, Units
from services.runtime import Runtime
from tests.events.office import RENAMED, Office
from tests.events.test_replays import deliveries, ended, replay
from tests.support.errors import refused
from tests.support.event_log import tailing
from tests.support.waiting import until

CODE = grpc.StatusCode
SUBSCRIBER = "events.insider"

# A worker claims whatever its queue holds.
pytestmark = pytest.mark.xdist_group("replays")


@pytest.fixture
def units(runtime: Runtime) -> Units[None]:
    """Where tenancy's events are made."""
    return Units(runtime.resources, "tenancy", lambda _: None)


@pytest.fixture
def source(runtime: Runtime) -> Iterator[PostgresEventLog]:
    """The log as those inside the mesh read it."""
    log = PostgresEventLog(runtime.database, runtime.database.connect)
    yield log
    log.close()


@pytest.fixture
def told(office: Office, units: Units[None], source: PostgresEventLog) -> list[Event]:
    """Three secrets among two events for all, in the log; oldest first."""
    office.happen(units, ("secret 1", True), ("open 1", False), ("secret 2", True), ("open 2", False), ("last", True))
    return logged(office, source, 5)


def logged(office: Office, source: PostgresEventLog, count: int) -> list[Event]:
    """So many events, once they are in the log."""

    def found() -> list[Event]:
        return [event for event in source.read(0, 1_000, workspace_id=office.workspace_id) if event.type == RENAMED]

    until(lambda: len(found()) == count, "the events in the log")
    return found()


def names(found: Iterable[event_pb2.Event]) -> list[str]:
    return [str(event.data["displayName"]) for event in found]


def test_pages_of_the_list_are_full_and_have_none_of_them(office: Office, told: list[Event]) -> None:
    stub = office.owner.stubs.events
    request = events.ListEventsRequest(parent=office.workspace, types=[RENAMED], page_size=1)
    first = stub.ListEvents(request)
    assert names(first.events) == ["open 2"]
    request.page_token = first.next_page_token
    second = stub.ListEvents(request)
    assert names(second.events) == ["open 1"]
    assert second.next_page_token == ""


def test_by_its_name_none_is_found_not_even_by_an_owner(office: Office, told: list[Event]) -> None:
    for event in told:
        request = events.GetEventRequest(name=f"{office.workspace}/events/{event.id}")
        if event.restricted:
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                office.owner.stubs.events.GetEvent(request)
        else:
            office.owner.stubs.events.GetEvent(request)


@pytest.mark.parametrize("live", [False, True])
def test_a_stream_passes_over_them(
    office: Office, units: Units[None], source: PostgresEventLog, told: list[Event], live: bool
) -> None:
    """Both out of the log, and as they happen."""
    request = events.WatchEventsRequest(parent=office.workspace, cursor="" if live else "0", types=[RENAMED])

    async def story() -> list[str]:
        found: list[str] = []
        streams = LogStreams(source, tail)
        async with asyncio.timeout(60):
            async for message in EventWatcher(streams).WatchEvents(request, None):
                if message.HasField("event"):
                    found += names([message.event])
                elif live:
                    again = (("secret 3", True), ("open 3", False), ("secret 4", True), ("open 4", False))
                    await asyncio.to_thread(office.happen, units, *again)
                if len(found) == 2:
                    break
        streams.end()
        return found

    with tailing(source) as tail:
        assert asyncio.run(story()) == (["open 3", "open 4"] if live else ["open 1", "open 2"])


def test_webhooks_are_sent_none_of_them(
    office: Office, units: Units[None], source: PostgresEventLog, services: EventsServices
) -> None:
    # Made first: an endpoint is told of nothing that happened before it was there.
    endpoint = office.endpoint(types=[RENAMED]).name
    office.happen(units, ("secret", True), ("open", False))
    secret, for_all = logged(office, source, 2)
    subscription = services.outbound.subscription
    with subscription.units(office.workspace_id) as uow:
        for event in (secret, for_all):
            subscription.handle(uow, event)
        uow.commit()
    assert [one.event_id for one in deliveries(office, endpoint)] == [str(for_all.id)]


class TestReplay:
    @pytest.fixture
    def heard(self, subscriptions: list[Subscription[Any]], runtime: Runtime) -> list[str]:
        """What a subscriber in the mesh hears."""
        names: list[str] = []

        def handle(_: UnitOfWork[EventsRepositories], event: Event) -> None:
            names.append(str(event.message().display_name))  # type: ignore[attr-defined]  # a WorkspaceUpdated

        units = Units(runtime.resources, "events", EventsRepositories)
        subscriptions.append(Subscription(SUBSCRIBER, frozenset({RENAMED}), handle, units))
        with runtime.database.transaction(Scope("plinth_kernel")) as session:
            cursors.begin(session, SUBSCRIBER, 0, runtime.clock.now())
            session.commit()
        return names

    @pytest.fixture(autouse=True)
    def _worker(self, services: EventsServices, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Goes through the log two by two."""
        monkeypatch.setattr(replays, "_BATCH", 2)
        running = Worker(runtime.database, [services.replays.handler()], clock=runtime.clock, threads=1)
        running.start()
        yield
        running.stop()

    def test_to_an_endpoint_has_none_of_them(self, office: Office, told: list[Event]) -> None:
        endpoint = office.endpoint(types=[RENAMED]).name
        ended(office, replay(office, endpoint))
        sent = {one.event_id for one in deliveries(office, endpoint)}
        assert sent == {str(event.id) for event in told if not event.restricted}

    def test_to_a_subscriber_has_them_all(self, office: Office, told: list[Event], heard: list[str]) -> None:
        ended(office, replay(office, SUBSCRIBER))
        assert heard == ["secret 1", "open 1", "secret 2", "open 2", "last"]


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_page_passes_over_no_thousands_of_them(office: Office, analyzed: bool) -> None:
    values = {"workspace": office.workspace_id, "before": 2**62, "count": 50}
    statement = rows._newest(frozenset())
    with office.database.transaction(force_rollback=True):
        office.database.execute(
            "insert into kernel.event_log (position, log_time, id, workspace_id, type, source, subject, time,"
            " data_schema, data, actor, traceparent, restricted)"
            " select 1e15::bigint + n, now(), gen_random_uuid(), %s, 't', 's', 's', now(), 'd', '', 'a', '', n > 20"
            " from generate_series(1, 10000) n",
            [office.workspace_id],
        )
        if analyzed:
            office.database.execute("analyze kernel.event_log")
        office.database.execute(
            "select set_config('plinth.workspace', %s, true), set_config('role', 'plinth_events', true),"
            " set_config('plan_cache_mode', 'force_generic_plan', true)",
            [str(office.workspace_id)],
        )
        found = office.database.execute(f"explain (analyze, format json) {statement.sql}", values).fetchall()
    [([plan],)] = found
    assert 20 <= plan["Plan"]["Actual Rows"] < 50
    assert passed_over(plan["Plan"]) == 0


def passed_over(node: dict[str, Any]) -> int:
    """How many rows a plan reads for nothing."""
    return int(node.get("Rows Removed by Filter", 0)) + sum(map(passed_over, node.get("Plans", ())))
