"""A file that crashes whatever parses it, while others come and go."""

import os
import signal

import pytest

from services.runtime import Runtime
from services.wiring import Mesh
from services.worker import working
from tests.documents.ingestion.workspace import IngestionWorkspace, Reason, State, long_file, parsers
from tests.documents.shelf import text
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("ingestion"), pytest.mark.usefixtures("idle")]


def test_it_dies_after_its_attempts_and_others_pass_it_at_each(
    works: IngestionWorkspace, runtime: Runtime, mesh: Mesh
) -> None:
    poison = works.shelf.create(long_file(), name="poison.pdf")
    killed: set[int] = set()

    def fresh() -> list[int]:
        return [pid for pid in parsers() if pid not in killed]

    with working(runtime, mesh, ["ingest"]):
        for attempt in range(1, 6):
            until(fresh, f"attempt {attempt} at its parser")
            [pid] = fresh()
            # It is at this moment for as long as we like.
            os.kill(pid, signal.SIGSTOP)
            other = works.ended(works.shelf.create(text()))
            assert other.state == State.INGESTION_STATE_INDEXED
            assert len(other.attempts) == 1
            assert works.get(poison.ingestion).state == State.INGESTION_STATE_SCANNED
            assert works.attempts(poison) == attempt
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        dead = works.ended(poison)
        assert (dead.state, dead.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_PARSER_CRASHED)
        assert [one.reason for one in dead.attempts] == [Reason.INGESTION_REASON_PARSER_CRASHED] * 5
        assert works.ended(works.shelf.create(text())).state == State.INGESTION_STATE_INDEXED
    assert not fresh()
    assert works.staged() == 0
