"""What an operator sees of the queues."""

from datetime import timedelta

import pytest

from services import jobs_top
from services.kernel.caller import Caller
from services.kernel.config import Settings
from services.kernel.db import Database
from services.kernel.ids import new_id
from services.kernel.jobs import NewJob, enqueue
from services.kernel.jobs.gate import SYSTEM
from services.runtime import Runtime


class TestTop:
    def test_each_queue_has_a_line(
        self, runtime: Runtime, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        queue, now = f"queue-{new_id().hex[-6:]}", runtime.clock.now()
        new = [NewJob(queue, "test.job") for _ in range(3)]
        new.append(NewJob(queue, "test.job", run_at=now + timedelta(hours=1)))
        with runtime.database.transaction(SYSTEM) as session:
            enqueue(session, new, workspace_id=None, caller=Caller(), now=now - timedelta(seconds=90))
            session.commit()
        jobs_top.top(settings, every=1.0, once=True)
        [line] = [line for line in capsys.readouterr().out.splitlines() if queue in line]
        name, ready, running, scheduled, dead, waits = (cell.strip() for cell in line.strip("│ ").split("│"))
        assert (name, ready, running, scheduled, dead) == (queue, "3", "0", "1", "0")
        assert waits.startswith("9")
        assert waits.endswith(" s")

    def test_while_the_database_is_away_it_says_so_and_looks_again(self, runtime: Runtime, settings: Settings) -> None:
        gone = Database(settings.database_url, pool_size=1)
        gone.close()
        assert "does not answer" in str(jobs_top._look(gone, runtime.clock.now()))
