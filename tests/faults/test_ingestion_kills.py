"""Fifty kills of worker, parsers and PostgreSQL while files are ingested: each comes to its end, once."""

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest

from plinth.documents.v1 import document_pb2, document_service_pb2
from services.administration import read_mail
from services.documents.blobs.build import store_of
from services.documents.service import build_documents
from services.kernel import migrations
from services.mesh import children
from services.mesh.supervisor import Supervisor
from services.runtime import open_runtime
from tests.faults.chaos import CALL_SECONDS, insist
from tests.faults.test_chaos import look_after, rows
from tests.support.fleet import ENVIRONMENT
from tests.support.people import People, Person
from tests.support.settings import settings_for_tests
from tests.support.waiting import descendants

pytestmark = [pytest.mark.xdist_group("chaos"), pytest.mark.e2e]

KILLS = 50
WORKSPACES = 4
# A worker takes as long to come back as it takes to ingest a few files, PostgreSQL even longer.
VICTIMS = {"parser": 60, "worker": 24, "postgres": 16}
_MOST_SECONDS = 600.0
# How long a parser is waited for.
_PARSER_SECONDS = 8.0
_UNFINISHED = "select from documents.ingestions where end_time is null"
_UNHEARD = "select from kernel.outbox"
_FOUND_TWICE = "select from search.chunks group by workspace_id, chunk_id having count(*) > 1"
# Said to be found, and not there; or there in part.
_NOT_FOUND = """
    select from documents.documents d where indexed_version > 0 and not exists (
        select from search.documents s where s.workspace_id = d.workspace_id and s.document_id = d.document_id
        and s.document_version = d.indexed_version
    )
"""
_FOUND_IN_PART = """
    select from search.documents d where chunk_count <> (
        select count(*) from search.chunks c where c.workspace_id = d.workspace_id and c.document_id = d.document_id
    )
"""
_STATES = "select state, reason, count(*) from documents.ingestions group by state, reason order by 3 desc"
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
    }
    with Supervisor.ephemeral(
        migrations.migrate, env=environment, fast=False, drain_seconds=2.0, start_seconds=180.0
    ) as mesh:
        yield mesh


def upload(person: Person, parent: str) -> None:
    """A file that takes a moment to parse, however often that takes."""
    words = " ".join(secrets.token_hex(3) for _ in range(50))
    content = "\n\n".join(f"{number} {words}" for number in range(400)).encode()
    document = document_pb2.Document(display_name=f"{secrets.token_hex(6)}.txt", content=content)
    request = document_service_pb2.CreateDocumentRequest(parent=parent, document=document, request_id=str(uuid4()))
    call = person.stubs.documents.CreateDocument
    insist(lambda: call(request, timeout=CALL_SECONDS), time.monotonic() + _MOST_SECONDS)


def parsers(worker: int | None) -> list[int]:
    """What parses a file at this moment: the children of the children of the worker."""
    if worker is None:
        return []
    nurseries = [pid for pid in descendants(worker) if b"parsing.nursery" in _command(pid)]
    return [child for pid in nurseries for child in descendants(pid)]


def _command(pid: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@pytest.mark.timeout(2 * _MOST_SECONDS)
def test_fifty_kills_leave_no_file_half_done_and_nothing_twice(mesh: Supervisor, tmp_path: Path) -> None:
    rng = random.Random(20261122)
    began = time.monotonic()
    settings = settings_for_tests(database_url=mesh.database_url, blob_url=(tmp_path / "blobs").as_uri())
    with ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(mesh.edge_address))
        people = People(channel, lambda email: [mail.text for mail in read_mail(settings, recipient=email)])
        owners = [people.new("owner") for _ in range(WORKSPACES)]
        parents = [people.workspace_of(owner).name for owner in owners]
        stop = threading.Event()
        threads = stack.enter_context(ThreadPoolExecutor(WORKSPACES))
        stack.callback(stop.set)
        uploading = [
            threads.submit(_keep_uploading, owner, parent, stop) for owner, parent in zip(owners, parents, strict=True)
        ]

        kills: dict[str, int] = dict.fromkeys(VICTIMS, 0)
        while sum(kills.values()) < KILLS:
            assert time.monotonic() < began + _MOST_SECONDS, f"only {kills}"
            [victim] = rng.choices(list(VICTIMS), list(VICTIMS.values()))
            pause = time.monotonic() + rng.uniform(0.1, 0.6)
            look_after(mesh, lambda pause=pause: time.monotonic() > pause, "a pause")
            if _kill(mesh, victim):
                kills[victim] += 1
        stop.set()
        killed = time.monotonic()
        look_after(mesh, lambda: all(done.done() for done in uploading), "every upload is answered")
        files = sum(done.result() for done in uploading)
        look_after(mesh, lambda: _answers(mesh, _UNFINISHED), "every ingestion has come to its end")
        look_after(mesh, lambda: _answers(mesh, _UNHEARD), "every event has its position")

        assert rows(mesh, _FOUND_TWICE) == []
        assert rows(mesh, _NOT_FOUND) == []
        assert rows(mesh, _FOUND_IN_PART) == []
        states = rows(mesh, _STATES)
        assert sum(count for *_, count in states) == files
        assert {state for state, *_ in states} <= {"indexed", "dead"}
        _collect(mesh, tmp_path / "blobs", settings)
        seconds = f"{killed - began:.0f} s and {time.monotonic() - killed:.0f} s until the end"
        print(f"\n{kills}, {files} files {states} in {seconds}")


def _keep_uploading(person: Person, parent: str, stop: threading.Event) -> int:
    """Upload one file after the other; how many."""
    files = 0
    while not stop.is_set():
        upload(person, parent)
        files += 1
        stop.wait(4.0)
    return files


def _kill(mesh: Supervisor, victim: str) -> bool:
    """Whether there was one: parsers come and go."""
    until = time.monotonic() + _PARSER_SECONDS
    pid = _pid(mesh, victim)
    while pid is None and victim == "parser" and time.monotonic() < until:
        mesh.look_after()
        threading.Event().wait(0.005)
        pid = _pid(mesh, victim)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _pid(mesh: Supervisor, victim: str) -> int | None:
    if victim == "parser":
        return next(iter(parsers(mesh.pids.get("worker"))), None)
    return mesh.pids.get(victim)


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
        build_documents(runtime.resources, runtime.settings, runtime.pager, store).housekeeping.sweep()
    wanted = {key for (key,) in rows(mesh, _WANTED)}
    assert dict(rows(mesh, _BLOBS)) == dict.fromkeys(wanted, "live")
    assert _files(folder) == wanted


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
