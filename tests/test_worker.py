"""What a worker does of its own accord."""

import threading
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from services import worker
from services.kernel.config import ConfigError
from services.kernel.ids import new_id
from services.runtime import Runtime
from services.wiring import Mesh
from services.worker import ended_by_a_dead_thread, sweeper, working


@pytest.fixture
def owner(owner_url: str) -> Any:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


def test_all_jobs_that_are_kept_no_longer_go(
    runtime: Runtime, owner: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_SWEPT_AT_ONCE", 2)
    now, kept, gone = runtime.clock.now(), new_id(), [new_id() for _ in range(5)]
    untils = {kept: now + timedelta(hours=1), **dict.fromkeys(gone, now - timedelta(hours=1))}
    for job_id, until in untils.items():
        owner.execute(
            "insert into jobs.jobs (id, queue, kind, subject, payload, rank, state, max_attempts, actor, traceparent,"
            " create_time, run_time, end_time, expire_time)"
            " values (%s, 'q', 'test.kept', '', '', 0, 'succeeded', 1, '', '', %s, %s, %s, %s)",
            [job_id, now, now, now, until],
        )
    attempt: Any = SimpleNamespace(check=lambda: None)
    sweeper(runtime).run(attempt)
    left = owner.execute("select id from jobs.jobs where id = any(%s)", [[*gone, kept]]).fetchall()
    assert left == [(kept,)]


def test_a_queue_that_nobody_knows_is_refused_with_those_that_exist(runtime: Runtime, mesh: Mesh) -> None:
    with (
        pytest.raises(ConfigError, match="typo; there are documents, events, index, ingest, kernel"),
        working(runtime, mesh, ["typo", "kernel"]),
    ):
        pass


def test_what_runs_at_a_stop_may_go_on_for_as_long_as_the_settings_say(
    runtime: Runtime, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    class Told(Exception):
        pass

    def tell(*_: object, drain: timedelta, **__: object) -> None:
        told.append(drain)
        raise Told

    monkeypatch.setattr(worker, "Worker", tell)
    patient = replace(runtime, settings=runtime.settings.model_copy(update={"drain_seconds": 45.0}))
    with pytest.raises(Told), working(patient, mesh):
        pass
    assert told == [timedelta(seconds=45)]


class TestADeadThread:
    def test_it_ends_the_process_so_that_another_is_started(self) -> None:
        stopping = threading.Event()

        def work() -> None:
            with ended_by_a_dead_thread(stopping):
                threading.Thread(target=lambda: 1 / 0).start()
                assert stopping.wait(30)

        with pytest.raises(SystemExit) as ended:
            work()
        assert ended.value.code == 1

    def test_one_that_is_done_ends_nothing(self) -> None:
        stopping = threading.Event()
        with ended_by_a_dead_thread(stopping):
            done = threading.Thread(target=lambda: None)
            done.start()
            done.join(30)
        assert not stopping.is_set()
