"""The way of an event from its commit to a reader of the log: how long it is, and how many it carries."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import numpy as np
import psycopg

from services.kernel.clock import SystemClock
from services.kernel.db import Database
from services.kernel.event_log import PostgresEventLog
from services.kernel.events import Event
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox
from services.kernel.names import WORKSPACE
from services.kernel.secrets import Keyring
from services.kernel.unit_of_work import Resources, Units
from tests.bench.cores import running_on
from tests.bench.h2load import BenchError
from tests.bench.report import Aim
from tests.bench.rig import Rig
from tests.bench.world import World
from tests.support.event_log import CREATED, created, name_of, sequencing, tailing
from tests.support.settings import MASTER_KEYS

_EVENTS, _EVENTS_A_SECOND, _WRITERS = 3000, 500, 8
_BACKLOG = 100_000
_PATIENCE = 60.0
_MULTIPLY = """
    insert into kernel.outbox
        (id, workspace_id, type, source, subject, time, data_schema, data, actor, traceparent)
    select gen_random_uuid(), workspace_id, type, source, subject, time, data_schema, data, actor, traceparent
    from kernel.outbox cross join generate_series(1, %(count)s) limit %(count)s"""


def delay(app_url: str, workspace: str) -> list[Aim]:
    """From a commit's return until a reader has the event, at a steady rate; a worker must run. Raises BenchError."""
    [workspace_id] = WORKSPACE.ids(workspace)
    committed: dict[str, float] = {}
    arrived: dict[str, float] = {}
    expected = {_name(number) for number in range(_EVENTS)}
    complete = threading.Event()

    def note(events: Sequence[Event]) -> None:
        now = time.monotonic()
        names = [name_of(event) for event in events if event.type == CREATED]
        # Others make workspaces, too.
        arrived.update((name, now) for name in names if name in expected)
        if len(arrived) == _EVENTS:
            complete.set()

    with _log_and_units(app_url) as (_, source, units), tailing(source) as tail:
        tail.subscribe(note)
        begun = time.monotonic()
        with ThreadPoolExecutor(_WRITERS) as writers:
            done = [writers.submit(_write, units, workspace_id, writer, begun, committed) for writer in range(_WRITERS)]
            for future in done:
                future.result()
        rate = _EVENTS / (time.monotonic() - begun)
        if not complete.wait(_PATIENCE):
            raise BenchError(f"of {_EVENTS} events {len(arrived)} arrived: does a worker run?")
    delays = [arrived[name] - moment for name, moment in committed.items()]
    p50, p99 = (float(one) * 1e3 for one in np.percentile(delays, (50, 99)))
    return [
        Aim(f"commit to subscriber at {rate:.0f} events/s, p50", p50, 10, "ms", at_least=False),
        Aim(f"commit to subscriber at {rate:.0f} events/s, p99", p99, 50, "ms", at_least=False),
    ]


def relay(rig: Rig, world: World) -> list[Aim]:
    """How fast a backlog comes to a reader, once a sequencer runs. No worker may. Raises BenchError."""
    [workspace_id] = WORKSPACE.ids(world.workspace)
    read, complete = 0, threading.Event()

    def note(events: Sequence[Event]) -> None:
        nonlocal read
        read += len(events)
        if read >= backlog:
            complete.set()

    with _log_and_units(rig.app_url) as (database, source, units), tailing(source) as tail:
        tail.subscribe(note)
        with units(workspace_id) as uow:
            uow.emit(world.workspace, created("first of many"))
            uow.commit()
        with psycopg.connect(rig.owner_url) as owner:
            # What others have left there goes as well.
            owner.execute(_MULTIPLY, {"count": _BACKLOG})
            [backlog] = owner.execute("select count(*) from kernel.outbox").fetchone() or [0]
        begun = time.monotonic()
        with running_on(rig.cores.server), sequencing(database):
            if not complete.wait(_PATIENCE):
                raise BenchError(f"of {backlog} events {read} arrived")
            seconds = time.monotonic() - begun
    return [Aim(f"relay of a backlog of {backlog:,} events", backlog / seconds, 10_000, "events/s")]


@contextmanager
def _log_and_units(app_url: str) -> Iterator[tuple[Database, PostgresEventLog, Units[None]]]:
    database = Database(app_url, pool_size=_WRITERS + 2)
    resources = Resources(database, SystemClock(), InvalidationHub(), Mailbox(Keyring.parse(MASTER_KEYS)))
    source = PostgresEventLog(database, database.connect)
    try:
        yield database, source, Units(resources, "tenancy", lambda _: None)
    finally:
        source.close()
        database.close()


def _write(units: Units[None], workspace_id: UUID, writer: int, begun: float, committed: dict[str, float]) -> None:
    """Every so-manieth of the events, each at its time, each about a subject of its own."""
    pause = threading.Event()
    for number in range(writer, _EVENTS, _WRITERS):
        pause.wait(max(0.0, begun + number / _EVENTS_A_SECOND - time.monotonic()))
        name = _name(number)
        with units(workspace_id) as uow:
            uow.emit(f"{WORKSPACE.format(workspace=workspace_id)}/{number}", created(name))
            uow.commit()
        committed[name] = time.monotonic()


def _name(number: int) -> str:
    return f"event {number}"
