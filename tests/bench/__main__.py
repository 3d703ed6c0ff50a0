"""`make bench`: measures, prints, draws. Exit code 0 also where an aim is missed; 1 where it could not be measured."""

import argparse
import logging
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import structlog
from rich.console import Console

from services.kernel.config import Settings
from services.mesh.errors import MeshError
from tests.bench import (
    alone,
    chart,
    event_log,
    get_workspace,
    ingestion,
    jobs,
    lists,
    search,
    startup,
    streams,
    transitions,
)
from tests.bench.cores import Cores, choose_cores, running_on
from tests.bench.h2load import BenchError, Load, require_h2load, run
from tests.bench.report import OUTPUT, WIDTH, keep, print_aims
from tests.bench.rig import SAMPLED, Rig
from tests.bench.world import World, settle

CHART, RESULTS = OUTPUT / "latency.png", OUTPUT / "results.json"
_MAX_SECONDS = 2400
_SIGN_IN_CALLS = 120
_SIGN_IN_CONNECTIONS = 8


def main(argv: Sequence[str] | None = None) -> int:
    """Run it all. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each case runs in each round")
    parser.add_argument("--rounds", type=int, default=15, help="of which the median counts; fewer where it is steady")
    arguments = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    # The event log's parts run in this process too, and tell of every start.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(_MAX_SECONDS)
    try:
        require_h2load()
        _bench(console, rounds=arguments.rounds, seconds=arguments.seconds)
    except (BenchError, MeshError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", markup=True, highlight=False)
        return 1
    return 0


def _give_up(*_: object) -> None:
    raise BenchError(f"the run was not done after {_MAX_SECONDS} s")


def _bench(console: Console, *, rounds: int, seconds: float) -> None:
    began, cores = time.monotonic(), choose_cores()
    weather = _weather(cores)
    console.print(weather, highlight=False)
    with tempfile.TemporaryDirectory(prefix="plinth-bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        coming_up = startup.measured(console, folder)
        with running_on(cores.load), Rig(folder, cores) as rig:
            plinth = rig.plinth(SAMPLED)
            world = settle(plinth.address, rig.app_url)
            peer = rig.peer(world)
            _sign_in(console, world, plinth.address)
            found = get_workspace.measured(console, rig, world, plinth, peer, rounds=rounds, seconds=seconds)
            console.print("\nStreams and the event log …", highlight=False)
            following = streams.measured(rig, world, plinth)
            # From here on no worker runs, and a backlog of events grows.
            moved, moving = transitions.measured(console, world, plinth, peer, rounds=rounds, seconds=seconds)
            relaying = event_log.relay(rig, world)
            working = jobs.measured(console, rig)
            # Last, for a million rows are in the way of everything else.
            other = settle(plinth.address, rig.app_url)
            listed, listing = lists.measured(console, rig, other, plinth, rounds=rounds, seconds=seconds)
        # Each with a PostgreSQL of its own, which has nobody's rows but theirs.
        with alone.opened(folder / "search") as rig:
            timings, searching = search.measured(console, rig)
        with alone.opened(folder / "ingestion", on_all_cores=True) as rig:
            ingesting = ingestion.measured(console, rig)
    aims = [*found.aims, *coming_up, *moving, *listing, *following, *relaying, *working, *searching, *ingesting]
    chart.draw(found.curves, CHART)
    print_aims(console, aims)
    keep(RESULTS, weather, [*found.cases, *moved, *listed], found.curves, found.breakdown, timings, aims)
    console.print(f"Chart: {CHART}\nFigures: {RESULTS}\n{time.monotonic() - began:.0f} s in all.", highlight=False)


def _sign_in(console: Console, world: World, address: str) -> None:
    """A login's figure means nothing without what one password costs to hash."""
    target, settings = world.signing_in(address), Settings()
    sample = run(target, Load(_SIGN_IN_CALLS, _SIGN_IN_CONNECTIONS))
    console.print(
        f"SignIn: {sample.rate:.0f}/s on one core, p50 {sample.percentile(50) * 1e3:.0f} ms with"
        f" {_SIGN_IN_CONNECTIONS} at once, each with an Argon2id hash of m = {settings.argon2_memory_kib} KiB,"
        f" t = {settings.argon2_time}, p = {settings.argon2_parallelism}",
        highlight=False,
    )


def _weather(cores: Cores) -> str:
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    parser = "httptools" if find_spec("httptools") else "h11"
    where = f"server on core {cores.server}, all else on core {cores.load}" if cores.apart else "one core for all"
    return (
        f"Python {platform.python_version()}, {len(cores.all)} cores: {where}; load average {os.getloadavg()[0]:.1f}."
        f" The peer: uvicorn with {loop} and {parser}, one worker."
    )


if __name__ == "__main__":
    sys.exit(main())
