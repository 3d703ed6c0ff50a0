"""Fifty kills of worker, parsers and PostgreSQL at every stage of ingestions: each comes to its end, once."""

import os
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest

from services.administration import read_mail
from services.documents.blobs.build import store_of
from services.documents.service import build_documents
from services.kernel import migrations
from services.mesh import children
from services.mesh.supervisor import Supervisor
from services.runtime import open_runtime
from services.search.service.model_lifecycle import BUILD
from tests.faults.batch import Batch, texts
from tests.faults.test_chaos import look_after, rows
from tests.support.fleet import ENVIRONMENT
from tests.support.parsers import parsers_of
from tests.support.people import People
from tests.support.settings import settings_for_tests

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.e2e]

WORKSPACES = 4
# A worker takes as long to come back as it takes to ingest a few files, PostgreSQL even longer.
VICTIMS = {"parser": 36, "worker": 8, "postgres": 6}
KILLS = sum(VICTIMS.values())
# What a worker or PostgreSQL is killed at: attempts behind each stage, of which the last is a publish, and vectors.
MOMENTS = ("embedded", "parsed", "chunked", BUILD, "received", "scanned")
_MOST_SECONDS = 600.0
# How long a moment is waited for, with the worker's start.
_LONG_SECONDS = 6.0
# Attempts whose job is held, by the stage behind them; work on the index, by its kind; and all that has not ended.
_UNDER_WAY = """
    select ingestions.state, count(*) from jobs.jobs join documents.ingestions
        on ingestions.workspace_id = jobs.workspace_id and ingestion_id::text = split_part(subject, '/', 4)
    where jobs.state = 'running' and kind = 'documents.ingest' and lease_time > clock_timestamp()
        and ingestions.end_time is null and attempts -> -1 ->> 'end_time' is null
        and (attempts -> -1 ->> 'fence')::bigint = fence
    group by 1
    union all
    select kind, count(*) from jobs.jobs
    where state = 'running' and queue = 'index' and lease_time > clock_timestamp() group by 1
    union all
    select 'unfinished', count(*) from documents.ingestions where end_time is null
"""
# What somebody else finds out thirty seconds after a worker was killed.
_LET_LEASES_RUN_OUT = """
    update jobs.jobs set lease_time = clock_timestamp() where state = 'running' and start_time < to_timestamp(%s)
    returning id
"""
_UNFINISHED = {
    "every ingestion has come to its end": "select from documents.ingestions where end_time is null",
    "every index is looked after": """
        select from jobs.jobs where queue = 'index' and state in ('arrived', 'scheduled', 'waiting', 'ready', 'running')
    """,
    "every event has its position": "select from kernel.outbox",
}
_STATES = "select state, reason, count(*) from documents.ingestions group by state, reason order by 3 desc"
_DEAD = """
    select format('workspaces/%s/documents/%s', workspace_id, document_id) from documents.documents
    where ingestion_state = 'dead'
"""
_NEWEST = """
    select d.display_name from documents.documents d cross join lateral (
        select * from documents.ingestions i where i.workspace_id = d.workspace_id and i.document_id = d.document_id
        order by create_time desc, ingestion_id desc limit 1
    ) newest where
"""
WRONG = {
    "documents that do not follow their newest ingestion": _NEWEST
    + "(d.ingestion_id, d.ingestion_state) is distinct from (newest.ingestion_id, newest.state)",
    "documents that are said to be found, in another version": _NEWEST
    + "newest.state = 'indexed' and not d.indexed_version = all (array[newest.document_version, d.current_version])",
    "documents that were given up, or cancelled, though nobody wanted that": _NEWEST
    + "newest.state not in ('indexed', 'dead')"
    " or newest.state = 'dead' and newest.reason not in ('internal', 'parser_crashed')",
    "documents that search has in another version, or not at all": """
        select d.display_name from documents.documents d left join search.documents s using (workspace_id, document_id)
        where d.indexed_version > 0 and s.document_version is distinct from d.indexed_version
    """,
    "documents whose passages were miscounted": """
        select display_name from search.documents d where chunk_count <> (
            select count(*) from search.chunks c where (c.workspace_id, c.document_id) = (d.workspace_id, d.document_id)
        )
    """,
    "indexes whose documents and passages were miscounted": """
        select workspace_id from search.indexes i where (document_count, chunk_count) <> (
            select count(*), coalesce(sum(d.chunk_count), 0) from search.documents d
            where d.workspace_id = i.workspace_id
        )
    """,
    "passages that stay staged": """
        select document_id from search.staged_chunks join documents.documents using (workspace_id, document_id)
        where ingestion_state <> 'dead'
    """,
    "segments that stay staged": """
        select document_id from search.staged_segments join documents.documents using (workspace_id, document_id)
        where ingestion_state <> 'dead'
    """,
    "words that are counted otherwise than they stand": """
        with counted as (
            select workspace_id, word, sum(passages) as passages from search.vocabulary where word like 'own%'
            group by workspace_id, word
        ), stood as (
            select workspace_id, substring(text from 'own[a-z]+') as word, count(*) as passages from search.chunks
            group by 1, 2
        )
        select workspace_id, word, counted.passages, stood.passages from counted full join stood
            using (workspace_id, word) where counted.passages is distinct from stood.passages
    """,
    "text that is kept of what is gone": "select document_id from search.removed_chunks",
    "passages without a vector": """
        select chunk_no from search.chunks c join search.models m using (workspace_id) where m.state = 'live'
        and not exists (
            select from search.vectors v where v.workspace_id = c.workspace_id and v.model_id = m.model_id
            and v.chunk_no = c.chunk_no
        )
    """,
    "vectors without a passage": """
        select chunk_no from search.vectors v where not exists (
            select from search.chunks c where c.workspace_id = v.workspace_id and c.chunk_no = v.chunk_no
        )
    """,
    "bytes that are kept for nobody": """
        select blob_id from documents.blobs b where state = 'live'
        and not exists (
            select from documents.versions o where (o.workspace_id, o.blob_id) = (b.workspace_id, b.blob_id)
        )
        and not exists (
            select from documents.ingestions o where (o.workspace_id, o.parsed_blob_id) = (b.workspace_id, b.blob_id)
        )
    """,
    "workspaces that store something else than they are told": """
        select workspace_id from documents.usage u where (documents, version_bytes, upload_bytes) is distinct from (
            (select count(*) from documents.documents d where d.workspace_id = u.workspace_id),
            (select sum(size_bytes) from documents.versions v where v.workspace_id = u.workspace_id), 0
        )
    """,
    "half of a model": "select model_id from search.models where state = 'building'",
}
_BLOBS = "select workspace_id || '/' || blob_id, state from documents.blobs"
_WANTED = (
    "select workspace_id || '/' || blob_id from documents.versions union"
    " select workspace_id || '/' || parsed_blob_id from documents.ingestions where parsed_blob_id is not null"
)


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Supervisor]:
    """A mesh that is durable as in production, and starts again at once what dies."""
    monkeypatch.setattr(children, "STEADY_SECONDS", 0.0)
    environment = ENVIRONMENT | {
        "PLINTH_BLOB_URL": (tmp_path / "blobs").as_uri(),
        "PLINTH_INGEST_RETRY_SECONDS": "0.5",
        # Jobs of killed workers count as long as their leases last.
        "PLINTH_INGEST_PER_WORKSPACE": "32",
    }
    with Supervisor.ephemeral(
        migrations.migrate, env=environment, fast=False, drain_seconds=2.0, start_seconds=180.0
    ) as mesh:
        yield mesh


class Sight:
    """What is under way, past every policy, on one connection for as long as PostgreSQL lives."""

    def __init__(self, mesh: Supervisor) -> None:
        self._mesh = mesh
        self._connection: psycopg.Connection[Any] | None = None

    def under_way(self) -> Counter[str]:
        """How many of which kind; nothing while PostgreSQL is away."""
        return Counter(dict(self._rows(_UNDER_WAY) or []))

    def let_leases_run_out(self, killed: float) -> bool:
        """Of jobs that began before (POSIX time). Whether PostgreSQL is there."""
        return self._rows(_LET_LEASES_RUN_OUT, killed) is not None

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, query: str, *values: object) -> list[Any] | None:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._mesh.migrate_database_url, autocommit=True)
            return self._connection.execute(query, values).fetchall()
        except psycopg.OperationalError:
            self.close()
            return None


@pytest.mark.timeout(2 * _MOST_SECONDS)
def test_fifty_kills_leave_no_file_half_done_and_nothing_twice(mesh: Supervisor, tmp_path: Path) -> None:
    rng = random.Random(20261122)
    began = time.monotonic()
    folder = tmp_path / "blobs"
    settings = settings_for_tests(database_url=mesh.database_url, blob_url=folder.as_uri())
    with ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(mesh.edge_address))
        people = People(channel, lambda email: [mail.text for mail in read_mail(settings, recipient=email)])
        owners = [people.new("owner") for _ in range(WORKSPACES)]
        shelves = [(owner, people.workspace_of(owner).name) for owner in owners]
        batch = stack.enter_context(Batch(shelves, texts(rng, tmp_path), _MOST_SECONDS))

        hit = _kill_all(mesh, batch, rng)
        batch.stop()
        killed = time.monotonic()
        look_after(mesh, lambda: batch.answered, "every upload is answered")
        for what, query in _UNFINISHED.items():
            look_after(mesh, lambda query=query: _answers(mesh, query), what)

        states = rows(mesh, _STATES)
        stages = sum((Counter(by_stage) for by_stage in hit.values()), Counter[str]())
        seconds = f"{killed - began:.0f} s and {time.monotonic() - killed:.0f} s until the end"
        print(f"\n{batch.uploads} files {states} in {seconds}; hit: { {name: dict(one) for name, one in hit.items()} }")
        assert stages["nothing"] < KILLS / 5
        assert {moment for moment in MOMENTS if not stages[moment]} == set()
        assert sum(count for *_, count in states) == batch.uploads
        # Somebody was unlucky five times in a row.
        dead = {name for (name,) in rows(mesh, _DEAD)}
        assert len(dead) < KILLS / 5
        assert {what: found for what, query in WRONG.items() if (found := rows(mesh, query))} == {}
        assert batch.differences(dead) == []
        _collect(mesh, folder, settings)


def _kill_all(mesh: Supervisor, batch: Batch, rng: random.Random) -> dict[str, Counter[str]]:
    """What each kind of victim was at when it was killed, in its order: each moment as often as another."""
    victims = [name for name, count in VICTIMS.items() for _ in range(count)]
    rng.shuffle(victims)
    hit: dict[str, Counter[str]] = defaultdict(Counter)
    moments = {"worker": cycle(MOMENTS), "postgres": cycle(MOMENTS), "parser": cycle(["scanned"])}
    sight = Sight(mesh)
    for victim in victims:
        moment = next(moments[victim])
        if moment == BUILD:
            batch.rebuild()
        pid, under_way = _meet(mesh, batch, sight, victim, moment)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        met = [one for one in (moment, *MOMENTS) if under_way[one]]
        hit[victim][met[0] if met else "nothing"] += 1
        if victim == "worker":
            now = time.time()
            look_after(mesh, lambda now=now: sight.let_leases_run_out(now), "the leases of the one that was killed")
    sight.close()
    return hit


def _meet(mesh: Supervisor, batch: Batch, sight: Sight, victim: str, moment: str) -> tuple[int, Counter[str]]:
    """A victim and what is under way, once that is of this kind, or has not come for long."""
    began = time.monotonic()
    while True:
        mesh.look_after()
        pids, under_way = mesh.pids, sight.under_way()
        batch.unfinished(under_way["unfinished"])
        if {"worker", "postgres"} <= pids.keys() and (under_way[moment] or time.monotonic() > began + _LONG_SECONDS):
            for pid in parsers_of(pids["worker"]) if victim == "parser" else [pids[victim]]:
                return pid, under_way
        assert time.monotonic() < began + _MOST_SECONDS, f"no {victim} at {moment}"
        threading.Event().wait(0.01)


def _answers(mesh: Supervisor, query: str) -> bool:
    """Whether the database is there, and has no such row."""
    try:
        return not rows(mesh, query)
    except psycopg.OperationalError:
        return False


def _collect(mesh: Supervisor, folder: Path, settings: Any) -> None:
    """A day later, what lies in the store is what somebody wants, and nothing else."""
    yesterday = time.time() - 25 * 3600
    for path in _files(folder):
        os.utime(folder / path, (yesterday, yesterday))
    with psycopg.connect(mesh.migrate_database_url, autocommit=True) as connection:
        connection.execute("update documents.blobs set create_time = create_time - interval '25 hours'")
    with open_runtime(settings, "test", lets_in=False) as runtime:
        store = store_of(runtime.settings, runtime.keyring)
        build_documents(runtime.resources, runtime.settings, runtime.pager, store).housekeeping.sweep(lambda: None)
    wanted = {key for (key,) in rows(mesh, _WANTED)}
    assert dict(rows(mesh, _BLOBS)) == dict.fromkeys(wanted, "live")
    assert _files(folder) == wanted


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
