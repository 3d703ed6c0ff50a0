"""What a worker does of its own accord."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from services import worker
from services.kernel.ids import new_id
from services.runtime import Runtime
from services.worker import sweeper


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
