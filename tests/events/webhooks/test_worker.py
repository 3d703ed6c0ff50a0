"""The whole way, as a worker goes it: commit, log, subscription, job, request."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from standardwebhooks import Webhook

from plinth.tenancy.v1 import events_pb2
from services.events.model.deliveries import DeliveryState
from services.events.repository import EventsRepositories
from services.events.webhooks.build import build_webhooks
from services.events.webhooks.secrets import Secrets
from services.kernel.clock import SystemClock
from services.kernel.config import Settings
from services.kernel.db import Database
from services.kernel.event_log import PostgresEventLog
from services.kernel.feed import InvalidationHub
from services.kernel.jobs.worker import Worker
from services.kernel.mail import Mailbox
from services.kernel.secrets import Keyring
from services.kernel.subscriptions import Runner
from services.kernel.unit_of_work import Resources, Units
from tests.events.webhooks.conftest import Directory
from tests.events.webhooks.desk import Desk
from tests.events.webhooks.receivers import Receiver, hanging, receiver
from tests.support.event_log import sequencing, tailing
from tests.support.waiting import until


@pytest.fixture
def live(
    database: Database,
    owner: "psycopg.Connection[Any]",
    keyring: Keyring,
    mailbox: Mailbox,
    directory: Directory,
    webhook_settings: Settings,
) -> Iterator[Desk]:
    """A workspace whose work is done by a real worker, at the machine's own pace."""
    # What other tests left to do is not this worker's.
    owner.execute("delete from jobs.jobs")
    clock = SystemClock()
    units = Units(Resources(database, clock, InvalidationHub(), mailbox), "events", EventsRepositories)
    secrets = Secrets(keyring)
    webhooks = build_webhooks(units, clock, webhook_settings, secrets, directory, directory)  # type: ignore[arg-type]  # it answers what is asked
    source = PostgresEventLog(database, database.connect)
    with ExitStack() as running:
        running.callback(source.close)
        running.enter_context(sequencing(database))
        tail = running.enter_context(tailing(source))
        runner = Runner(
            [webhooks.subscription],
            source=source,
            tail=tail,
            database=database,
            connect=database.connect,
            clock=clock,
            park=lambda uow, subscription, event, error: pytest.fail(error),
        )
        worker = Worker(database, webhooks.job_handlers)
        for part in (runner, worker):
            part.start()
            running.callback(part.stop)
        yield Desk(units, clock, secrets, webhooks, owner)  # type: ignore[arg-type]  # nobody moves this clock


def happen(desk: Desk, count: int = 1) -> None:
    """So many events of the workspace, in one commit."""
    with desk.units(desk.workspace_id) as uow:
        for number in range(count):
            uow.emit(f"workspaces/{desk.workspace_id}", events_pb2.WorkspaceUpdated(display_name=str(number)))
        uow.commit()


class TestWorker:
    def test_what_is_committed_arrives(self, live: Desk, there: Receiver) -> None:
        endpoint = live.endpoint(there.url())
        happen(live, 20)
        until(lambda: len(live.deliveries(endpoint, DeliveryState.DELIVERED)) == 20, "20 deliveries")
        (key,) = live.keys(endpoint)
        for request in there.received:
            Webhook(key).verify(request.body, request.headers)
        assert len({request.headers["webhook-id"] for request in there.received}) == len(there.received) == 20
        until(lambda: live.jobs() == [], "the end of the jobs")

    def test_a_receiver_that_hangs_holds_up_its_own_workspace_alone(self, live: Desk, there: Receiver) -> None:
        other = Desk(live.units, live.clock, live.secrets, live.webhooks, live.owner)
        quick = other.endpoint(there.url())
        with receiver(hanging) as stuck:
            live.endpoint(stuck.url())
            happen(live, 20)
            until(lambda: stuck.connections > 0, "a call that hangs")
            happen(other, 5)
            until(lambda: len(other.deliveries(quick, DeliveryState.DELIVERED)) == 5, "5 deliveries")
            assert stuck.connections <= 4

    def test_a_receiver_that_hangs_holds_up_no_other_of_its_workspace(self, live: Desk, there: Receiver) -> None:
        quick = live.endpoint(there.url())
        with receiver(hanging) as stuck:
            slow = live.endpoint(stuck.url())
            happen(live)
            until(lambda: stuck.connections > 0, "a call that hangs")
            happen(live, 30)
            until(lambda: len(live.deliveries(quick, DeliveryState.DELIVERED)) == 31, "31 deliveries")
            assert {delivery.attempt_count for delivery in live.deliveries(slow)} == {0}
