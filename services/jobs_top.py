"""`plinth jobs top`: how full the queues are, live."""

import time
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

from services.administration import open_database
from services.kernel.clock import SystemClock
from services.kernel.config import Settings
from services.kernel.db import Database
from services.kernel.errors import PlinthError
from services.kernel.jobs import repository
from services.kernel.jobs.gate import SYSTEM
from services.kernel.jobs.repository import QueueCounts


def top(settings: Settings, *, every: float, once: bool) -> None:
    """Show the table until Ctrl-C, drawn anew every so many seconds; or once. Raises PlinthError for the first look."""
    console, clock = Console(), SystemClock()
    with open_database(settings) as database:
        table = _table(_counts(database, clock.now()), clock.now())
        if once:
            console.print(table)
            return
        with Live(table, console=console, screen=console.is_terminal) as live:
            try:
                while True:
                    time.sleep(every)
                    live.update(_look(database, clock.now()))
            except KeyboardInterrupt:
                return


def _look(database: Database, now: datetime) -> Table | str:
    try:
        return _table(_counts(database, now), now)
    except PlinthError as error:
        return f"The database does not answer: {error}"


def _counts(database: Database, now: datetime) -> list[QueueCounts]:
    with database.transaction(SYSTEM) as session:
        return repository.counts(session, now)


def _table(counts: list[QueueCounts], now: datetime) -> Table:
    columns = ("ready", "running", "scheduled", "dead", "oldest waits")
    table = Table(
        "queue",
        *(Column(name, justify="right") for name in columns),
        title=f"{now:%Y-%m-%d %H:%M:%S} UTC",
        caption="" if counts else "No queue holds a job.",
    )
    for one in sorted(counts, key=lambda one: one.queue):
        waits = f"{(now - one.oldest).total_seconds():.1f} s" if one.oldest is not None else "–"
        dead = f"[red]{one.dead:,}[/]" if one.dead else "0"
        table.add_row(one.queue, f"{one.ready:,}", f"{one.running:,}", f"{one.scheduled:,}", dead, waits)
    return table
