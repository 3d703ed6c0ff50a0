"""A worker to be killed: takes what is in its queue, does the effect of each job, and never ends any.

python -m tests.kernel.jobs.crashing DATABASE_URL QUEUE
"""

import os
import sys
import threading
from datetime import timedelta

from sqlalchemy import text

from services.kernel.db import Database, Scope
from services.kernel.jobs import Attempt, JobHandler, Worker

EFFECT = text(
    "insert into public.effects (key, workspace, fence) values (:key, :workspace, :fence) on conflict (key) do nothing"
)


def effect(database: Database, attempt: Attempt) -> None:
    """An effect that happens once: its key is the job's."""
    with database.transaction(Scope("plinth_jobs_system")) as session:
        session.run(EFFECT, key=attempt.idempotency_key, workspace=str(attempt.workspace_id or ""), fence=attempt.fence)
        session.commit()


def main(url: str, queue: str) -> None:
    """Work until killed."""
    database = Database(url, pool_size=4)

    def run(attempt: Attempt) -> None:
        effect(database, attempt)
        # In one piece, whichever threads speak at once.
        os.write(1, f"{attempt.job_id}\n".encode())
        threading.Event().wait()

    worker = Worker(database, [JobHandler("test.job", queue, run)], threads=3, lease=timedelta(seconds=2))
    worker.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
