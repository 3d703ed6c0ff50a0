"""A hundred kills of workers, servers, streams and PostgreSQL under load: nothing is lost, nothing is doubled."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import psycopg
import pytest

from plinth.events.v1 import webhook_endpoint_pb2, webhook_service_pb2
from plinth.projects.v1 import activity_pb2, activity_service_pb2
from services.administration import read_mail
from services.kernel import migrations
from services.mesh import children
from services.mesh.supervisor import Supervisor
from tests.faults.chaos import Mover, Recorder
from tests.support.fleet import ENVIRONMENT
from tests.support.people import People
from tests.support.settings import settings_for_tests

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.e2e]

KILLS = 100
MOVERS = 4
# PostgreSQL takes as long to come back as several others together, and nobody can move anything meanwhile.
VICTIMS = {"worker": 30, "serve": 30, "streams": 28, "postgres": 12}
# Bounds of a hang. A slow machine takes its time.
_MOST_SECONDS = 900.0
_PATIENCE_SECONDS = 180.0
_LOG = "select id::text, subject, position from kernel.event_log order by position"
_LATE = "select subscriber from kernel.cursors where position < (select max(position) from kernel.event_log)"
_UNFINISHED = (
    "select state from jobs.jobs where state in ('arrived', 'scheduled', 'waiting', 'ready', 'running', 'dead')"
    " and kind = 'events.deliver'"
)


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A mesh that is durable as in production, and starts again at once what dies."""
    monkeypatch.setattr(children, "STEADY_SECONDS", 0.0)
    environment = ENVIRONMENT | {"PLINTH_WEBHOOK_ALLOW": "127.0.0.0/8", "PLINTH_WEBHOOK_ALLOW_HTTP": "true"}
    with Supervisor.ephemeral(
        migrations.migrate, env=environment, fast=False, drain_seconds=2.0, start_seconds=_PATIENCE_SECONDS
    ) as mesh:
        yield mesh


def look_after(mesh: Supervisor, condition: Any, what: str, seconds: float = _PATIENCE_SECONDS) -> None:
    """Start again what has died, until the condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        mesh.look_after()
        threading.Event().wait(0.02)


def rows(mesh: Supervisor, query: Any) -> list[tuple[Any, ...]]:
    """What the database holds, past every policy."""
    with psycopg.connect(mesh.migrate_database_url) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.timeout(2 * _MOST_SECONDS)
def test_a_hundred_kills_lose_and_double_nothing(mesh: Supervisor) -> None:
    rng = random.Random(20261122)
    began = time.monotonic()
    with ExitStack() as stack:
        recorder = Recorder()
        stack.callback(recorder.close)
        channel = stack.enter_context(grpc.insecure_channel(mesh.edge_address))
        settings = settings_for_tests(database_url=mesh.database_url)
        people = People(channel, lambda email: [mail.text for mail in read_mail(settings, recipient=email)])
        movers = [_mover(people, recorder, began + _MOST_SECONDS) for _ in range(MOVERS)]

        stop_moving, stop_watching = threading.Event(), threading.Event()
        threads = stack.enter_context(ThreadPoolExecutor(2 * MOVERS))
        stack.callback(stop_watching.set)
        stack.callback(stop_moving.set)
        watching = [threads.submit(mover.watch, stop_watching) for mover in movers]
        moving = [threads.submit(mover.move, stop_moving) for mover in movers]

        kills = 0
        while kills < KILLS:
            assert time.monotonic() < began + _MOST_SECONDS, f"only {kills} kills"
            [name] = rng.choices(list(VICTIMS), weights=list(VICTIMS.values()))
            pid = mesh.pids.get(name)
            if pid is not None:
                _kill(mesh, name)
                kills += 1
            pause = time.monotonic() + rng.uniform(0.2, 1.0)
            look_after(mesh, lambda pause=pause: time.monotonic() > pause, "a pause")
        stop_moving.set()
        look_after(mesh, lambda: all(done.done() for done in moving), "every move is answered")
        for done in moving:
            done.result()

        look_after(mesh, lambda: _is_back(mesh), "the mesh is whole")
        look_after(mesh, lambda: not rows(mesh, "select from kernel.outbox"), "every event has its position")
        look_after(mesh, lambda: not rows(mesh, _LATE), "every subscriber has caught up")
        look_after(mesh, lambda: not rows(mesh, _UNFINISHED), "every delivery has ended")
        moves = sum(len(mover.acknowledged) for mover in movers)
        look_after(mesh, lambda: sum(len(set(m.seen)) for m in movers) >= moves, "every stream has caught up")
        stop_watching.set()
        for done in watching:
            done.result()

        log = rows(mesh, _LOG)
        assert [position for _, _, position in log] == list(range(1, len(log) + 1))
        assert len({event_id for event_id, _, _ in log}) == len(log)
        for mover in movers:
            _check(mover, recorder, [event_id for event_id, subject, _ in log if subject == mover.project.name])
        print(f"\n{kills} kills, {moves} moves, {len(log)} events in {time.monotonic() - began:.0f} s")
        assert moves >= MOVERS


def _mover(people: People, recorder: Recorder, until: float) -> Mover:
    owner = people.new("owner")
    workspace = people.workspace_of(owner).name
    endpoint = webhook_endpoint_pb2.WebhookEndpoint(url=recorder.url, types=["plinth.projects.*"], max_per_second=1000)
    owner.stubs.webhooks.CreateWebhookEndpoint(
        webhook_service_pb2.CreateWebhookEndpointRequest(parent=workspace, webhook_endpoint=endpoint)
    )
    mover = Mover(owner, workspace, until)
    mover.begin()
    return mover


def _kill(mesh: Supervisor, name: str) -> None:
    os.kill(mesh.pids[name], signal.SIGKILL)


def _is_back(mesh: Supervisor) -> bool:
    try:
        rows(mesh, "select 1")
    except psycopg.OperationalError:
        return False
    return VICTIMS.keys() <= mesh.pids.keys()


def _check(mover: Mover, recorder: Recorder, logged: list[str]) -> None:
    """What the mover was told is what happened, each move once, in order, for every reader."""
    found: list[activity_pb2.Activity] = []
    page = ""
    while True:
        request = activity_service_pb2.ListActivityRequest(
            parent=mover.project.name, page_size=500, page_token=page, filter='verb = "transitioned"'
        )
        answer = mover.person.stubs.activity.ListActivity(request, timeout=60)
        found += answer.activities
        page = answer.next_page_token
        if not page:
            break
    moved = [change.new_value for one in reversed(found) for change in one.changes if change.field == "state"]
    assert moved == mover.acknowledged
    # The project's creation is an event about it too.
    assert len(logged) == len(mover.acknowledged) + 1
    assert mover.seen == [one.name for one in reversed(found)]
    assert set(recorder.arrivals[mover.project.name]) == set(logged)
