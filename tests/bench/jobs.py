"""Durable jobs against other queues for Python, on the same PostgreSQL: `python -m tests.bench.jobs` runs this alone.

The peers are installed into a virtual environment of their own under .build/bench, by this program only.
"""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psycopg
from rich.console import Console
from rich.table import Table

from services.mesh.children import own_environment
from tests.bench import alone, job_peers, job_worker
from tests.bench.cores import Cores, running_on
from tests.bench.h2load import BenchError
from tests.bench.measure import median_ratio
from tests.bench.report import OUTPUT, Aim
from tests.bench.rig import Rig

_PEERS = OUTPUT / "peers"
_ROUNDS = 3
_SECONDS = 300
_PEER_CASES = {
    "pgqueuer, batches of 10": ("pgqueuer", 10_000, 10),
    "pgqueuer, batches of 100": ("pgqueuer", 20_000, 100),
    "procrastinate": ("procrastinate", 2_000, 0),
}
_PEER_DATABASE = "peers"


def measured(console: Console, rig: Rig) -> list[Aim]:
    """All of it, while no worker runs; the figures beside their aims. Raises BenchError."""
    python = _install(console)
    peers_url = _peers_database(rig.owner_url)
    console.print(f"\nNo-op jobs on one core: {_ROUNDS} rounds, medians …", highlight=False)
    ours: dict[str, list[float]] = {name: [] for name in ("drained", "enqueued", "enqueued_single")}
    theirs: dict[str, list[float]] = {name: [] for name in _PEER_CASES}
    for _ in range(_ROUNDS):
        for name, figure in _ours(rig, "drain").items():
            ours[name].append(figure)
        _empty(rig.owner_url)
        for name, (peer, jobs, batch) in _PEER_CASES.items():
            argv = [str(python), job_peers.__file__, peer, peers_url, str(jobs), str(batch)]
            theirs[name].append(float(_run(argv, rig.cores)))
    held = _ours(rig, "held")
    _empty(rig.owner_url)
    queries = _ours(rig, "idle")["queries"]
    table = Table("case", "jobs/s", "rounds")
    for name, rates in {"Plinth": ours["drained"], **theirs}.items():
        table.add_row(name, f"{median(rates):,.0f}", "  ".join(f"{rate:,.0f}" for rate in rates))
    console.print(table)
    drained = ours["drained"]
    return [
        Aim("no-op jobs, against procrastinate", median_ratio(drained, theirs["procrastinate"]), 10, "×"),
        Aim(
            "no-op jobs, against pgqueuer in batches of 10",
            median_ratio(drained, theirs["pgqueuer, batches of 10"]),
            1,
            "×",
        ),
        Aim(
            "no-op jobs, against pgqueuer in batches of 100",
            median_ratio(drained, theirs["pgqueuer, batches of 100"]),
            1,
            "×",
        ),
        Aim("enqueued, a thousand a commit", median(ours["enqueued"]), 50_000, "jobs/s"),
        Aim("enqueued, one a commit", median(ours["enqueued_single"]), 3_000, "jobs/s"),
        Aim(
            f"no-op jobs past {job_worker.DEAD_ROWS:,} dead rows, of those without",
            100 * held["held"] / held["free"],
            70,
            "%",
        ),
        Aim("an idle worker", queries, 1, "queries/s", at_least=False),
    ]


def _ours(rig: Rig, what: str) -> dict[str, float]:
    argv = [sys.executable, "-m", job_worker.__name__, rig.app_url, what]
    figures: dict[str, float] = json.loads(_run(argv, rig.cores))
    return figures


def _run(argv: Sequence[str], cores: Cores) -> str:
    with running_on(cores.server):
        try:
            done = subprocess.run(
                argv, check=True, capture_output=True, text=True, timeout=_SECONDS, env=own_environment()
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise BenchError(f"{error}\n{error.stderr!r}") from None
    return done.stdout


def _install(console: Console) -> Path:
    python = _PEERS / "bin" / "python"
    wanted, installed = "\n".join(job_peers.PINNED), _PEERS / "installed"
    if not installed.exists() or installed.read_text() != wanted:
        console.print("Installing the peers of the job queue …", highlight=False)
        venv.create(_PEERS, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *job_peers.PINNED]
        try:
            subprocess.run(pip, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise BenchError(f"the peers cannot be installed: {error.stderr}") from None
        installed.write_text(wanted)
    return python


def _peers_database(owner_url: str) -> str:
    """A database beside ours, on the same server."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute(f"create database {_PEER_DATABASE}")
    return urlsplit(owner_url)._replace(path=f"/{_PEER_DATABASE}").geturl()


def _empty(owner_url: str) -> None:
    """What was enqueued to be counted only goes, so that nobody's round has more to carry than the first."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        connection.execute("truncate jobs.jobs")


def main() -> int:
    """Only this. The exit code."""
    return alone.run("jobs", measured)


if __name__ == "__main__":
    sys.exit(main())
