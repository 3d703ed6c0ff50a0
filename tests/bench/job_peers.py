"""Other job queues for Python, each doing no-op jobs: run by a Python of its own, where they are installed.

    python job_peers.py {pgqueuer|procrastinate} DATABASE_URL JOBS BATCH

It fills the queue, works until it is empty, and prints how many jobs a second. It imports nothing of Plinth.
"""

import asyncio
import sys
import time

PINNED = (
    "pgqueuer==1.6.0",
    "asyncpg==0.32.0",
    "uvloop==0.23.0",
    "procrastinate==3.10.0",
    "psycopg[binary,pool]==3.3.9",
)
_PAYLOAD = b"x" * 20
_FILL = 1000
_PROCRASTINATE_AT_ONCE = 10


async def _pgqueuer(url: str, jobs: int, batch: int) -> float:
    """As tools/benchmark.py of its repository has it: two managers; batches of 10, unless it is told otherwise."""
    import asyncpg
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.qm import QueueManager
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))
    if not await queries.has_table("pgqueuer"):
        await queries.install()
    for _ in range(jobs // _FILL):
        await queries.enqueue(["noop"] * _FILL, [_PAYLOAD] * _FILL, [0] * _FILL)
    done = 0
    managers = []
    for _ in range(2):
        manager = QueueManager(Queries(AsyncpgDriver(await asyncpg.connect(url))))

        @manager.entrypoint("noop")  # type: ignore[untyped-decorator]  # installed elsewhere
        async def noop(job: object) -> None:
            nonlocal done
            done += 1

        managers.append(manager)
    began = time.perf_counter()
    await asyncio.gather(*(one.run(batch_size=batch, mode=QueueExecutionMode.drain) for one in managers))
    return done / (time.perf_counter() - began)


async def _procrastinate(url: str, jobs: int, _: int) -> float:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    done = 0

    @app.task(queue="noop", name="noop")  # type: ignore[untyped-decorator]  # installed elsewhere
    async def noop() -> None:
        nonlocal done
        done += 1

    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        await noop.batch_defer_async(*({} for _ in range(jobs)))
        began = time.perf_counter()
        await app.run_worker_async(
            wait=False,
            concurrency=_PROCRASTINATE_AT_ONCE,
            listen_notify=False,
            delete_jobs="successful",
            install_signal_handlers=False,
        )
        return done / (time.perf_counter() - began)


def main(peer: str, url: str, jobs: str, batch: str) -> None:
    """One run."""
    import uvloop

    run = {"pgqueuer": _pgqueuer, "procrastinate": _procrastinate}[peer]
    print(uvloop.run(run(url, int(jobs), int(batch))))


if __name__ == "__main__":
    main(*sys.argv[1:])
