"""An event log under test: events appended by units of work, a sequencer, and connections that can be cut."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from plinth.tenancy.v1 import events_pb2
from services.kernel.clock import Clock, SystemClock
from services.kernel.db import Database, Session
from services.kernel.event_log import EventSource, LogTail
from services.kernel.events import Event
from services.kernel.partitions import Partitions
from services.kernel.sequencer import Sequencer
from services.kernel.unit_of_work import Units
from tests.support.waiting import until

RENAMED = "plinth.tenancy.workspace.updated.v1"
CREATED = "plinth.tenancy.workspace.created.v1"


class Wire:
    """Connections of one process, which can be cut, and the database be kept out of its reach."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reachable = True
        self.pids: list[int] = []
        self.refused = 0

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of one's own, as `Database.connect`."""
        if not self.reachable:
            self.refused += 1
            raise psycopg.OperationalError("cut")
        connection = self._database.connect()
        self.pids.append(connection.info.backend_pid)
        return connection

    def cut(self, owner: psycopg.Connection[Any]) -> None:
        """End every connection, and let no new one through."""
        self.reachable = False
        for pid in self.pids:
            owner.execute("select pg_terminate_backend(%s, 5000)", [pid])
        self.pids.clear()


def created(name: str) -> events_pb2.WorkspaceCreated:
    """An event that says which one it is."""
    return events_pb2.WorkspaceCreated(display_name=name)


def name_of(event: Event) -> str:
    """What `created` was told."""
    return events_pb2.WorkspaceCreated.FromString(event.data).display_name


def emit(units: Units[Session], workspace_id: UUID, names: Sequence[str], *, subject: str = "workspaces/x") -> None:
    """Events about one subject, in one commit."""
    with units(workspace_id) as uow:
        for name in names:
            uow.emit(subject, created(name))
        uow.commit()


def partitions_of(database: Database, clock: Clock | None = None) -> Partitions:
    """The log's days, as the worker keeps them."""
    return Partitions(database.connect, clock or SystemClock(), retention=timedelta(days=30))


@contextmanager
def sequencing(
    database: Database, clock: Clock | None = None, connect: Callable[[], psycopg.Connection[Any]] | None = None
) -> Iterator[Sequencer]:
    """A sequencer that runs meanwhile, and is elected."""
    ensure = partitions_of(database, clock).ensure
    sequencer = Sequencer(connect or database.connect, clock or SystemClock(), ensure=ensure)
    sequencer.start()
    try:
        until(sequencer.leading, "an election")
        yield sequencer
    finally:
        sequencer.stop()


@contextmanager
def tailing(source: EventSource) -> Iterator[LogTail]:
    """A tail that follows meanwhile."""
    tail = LogTail(source)
    tail.start()
    try:
        until(lambda: tail.position is not None, "a tail that follows")
        yield tail
    finally:
        tail.stop()


def read_all(source: EventSource, after: int, *, page: int = 1000, workspace_id: UUID | None = None) -> list[Event]:
    """Every event after a position, page by page."""
    events: list[Event] = []
    while read := source.read(events[-1].position if events else after, page, workspace_id=workspace_id):
        events += read
    return events
