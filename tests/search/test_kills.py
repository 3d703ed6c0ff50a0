"""Workers that die by SIGKILL while they merge, read anew and make graphs: nothing is lost, and nothing left behind."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from services.kernel.ids import new_id
from services.mesh.children import own_environment
from services.search.model import segments
from services.search.model.index import EmbedderKind
from tests.search import killable
from tests.search.library import Library
from tests.search.topics import TOPICS, about
from tests.support.waiting import until

pytestmark = pytest.mark.xdist_group("graphs")

KILLS = 10
_ORPHANS = """
    select from search.postings p where workspace_id = %s and not exists (
        select from search.segments s where s.workspace_id = p.workspace_id and s.segment_id = p.segment_id
    )
"""
_BUILDERS = "select from pg_stat_activity where application_name = 'plinth-graphs' and state <> 'idle'"
_VALID = "select indisvalid from pg_index where indexrelid = to_regclass(%s)"


class Worker:
    """The program, to whom one order at a time is given."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def order(self, *words: object) -> int:
        """The id of the process that does it."""
        pid = self._answer(" ".join(map(str, words)))
        # 0 would be all of us.
        assert pid > 1
        return pid

    def ended(self) -> int:
        """How it ended, once it has."""
        return self._answer("end")

    def _answer(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def _working(app_url: str) -> Iterator[Worker]:
    argv = [sys.executable, "-m", killable.__name__, app_url]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own_environment()
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@pytest.fixture
def worker(app_url: str) -> Iterator[Worker]:
    with _working(app_url) as worker:
        yield worker


@pytest.fixture(autouse=True)
def _early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FANOUT", killable.FANOUT)


def test_merging_and_reading_anew_that_are_killed_leave_the_index_as_it_was(library: Library, worker: Worker) -> None:
    draw, killed = random.Random(4), 0
    documents = [new_id() for _ in range(9)]
    for number, document in enumerate(documents):
        library.publish([f"red fox {number}", f"grey wolf {number}", f"hare {number}"], document)
    for number in range(KILLS):
        if number % 4 == 0:
            library.rebuild()
        library.publish([f"owl {number}", f"red newt {number}"], documents[number % 9], version=2 + number)
        worker.order("maintain", library.workspace_id, draw.randrange(6), draw.uniform(0, 0.02))
        ended = worker.ended()
        assert ended in (0, -signal.SIGKILL)
        killed += ended != 0
    assert killed > KILLS / 2
    before = library.find("red fox owl")
    worker.order("maintain", library.workspace_id)
    assert worker.ended() == 0
    assert library.find("red fox owl") == before
    assert {state for _, state in library.rows("segments", "segment_id", "state")} == {"live"}
    assert library.rows("indexes", "rebuilding", "rebuilt_no = rebuild_end") == [(False, True)]
    assert library.database.execute(_ORPHANS, [library.workspace_id]).fetchall() == []
    # An index of its own that was never tended has the same words.
    fresh = library.beside()
    for text in library.texts(number for (number, _) in library.rows("chunks", "chunk_no", "text")):
        fresh.publish([text])
    assert fresh.words() == library.words()
    assert fresh.find("red fox owl") == pytest.approx(before)


def test_a_graph_whose_worker_is_killed_is_made_by_the_next(
    library: Library, owner_database: "psycopg.Connection[Any]", owner_url: str, worker: Worker
) -> None:
    for topic in TOPICS:
        library.put(about(topic, 75))
    ((model_id,),) = library.rows("models", "model_id")
    graph = f"search.graph_{model_id.hex}"
    with psycopg.connect(owner_url) as other:
        # The worker waits for it, half done.
        other.execute("lock table search.vectors in row exclusive mode")
        pid = worker.order("build", library.workspace_id, model_id)
        until(lambda: owner_database.execute(_VALID, [graph]).fetchone(), "the graph is begun")
        os.kill(pid, signal.SIGKILL)
        assert worker.ended() == -signal.SIGKILL
        until(lambda: not owner_database.execute(_BUILDERS).fetchall(), "the database has heard of it")
    assert owner_database.execute(_VALID, [graph]).fetchone() == (False,)
    assert library.view().live is None
    worker.order("build", library.workspace_id, model_id)
    assert worker.ended() == 0
    assert owner_database.execute(_VALID, [graph]).fetchone() == (True,)
    live = library.view().live
    assert live is not None
    assert (live.embedder, live.approximate) == (EmbedderKind.LSA, True)
    assert library.complete()
