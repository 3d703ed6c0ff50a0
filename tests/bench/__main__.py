"""`make bench`: measures, prints, draws. Exit code 0 also where an aim is missed; 1 where it could not be measured."""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from services.kernel.config import Settings
from services.mesh.errors import MeshError
from tests.bench import chart, measure, startup, streams
from tests.bench.cores import choose_cores, running_on
from tests.bench.h2load import BenchError, Load, require_h2load, run
from tests.bench.measure import Case, Point
from tests.bench.report import Aim, print_aims, print_breakdown, print_cases
from tests.bench.rig import FULL, SAMPLED, Rig
from tests.bench.stages import Breakdown
from tests.bench.world import World, settle

OUTPUT = Path(__file__).resolve().parents[2] / ".build" / "bench"
CHART, RESULTS = OUTPUT / "latency.png", OUTPUT / "results.json"
_MAX_SECONDS = 460
_STAGE_CALLS, _STAGE_CALLS_AT_ONCE = 4000, 4
_SWEEP_SECONDS = 2.0
_SIGN_IN_CALLS = 120
_SIGN_IN_CONNECTIONS = 8

SAMPLED_CASE, FULL_CASE = "Plinth, gRPC, 1 span in 10", "Plinth, gRPC, every span"
BARE_CASE, PEER_CASE = "bare servicer, gRPC", "peer, HTTP/1.1"
REST_CASE, PEER_REST_CASE = "Plinth, REST through Envoy", "peer, REST through Envoy"


def main(argv: Sequence[str] | None = None) -> int:
    """Run it all. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each case runs in each round")
    parser.add_argument("--rounds", type=int, default=15, help="of which the median counts")
    arguments = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 140)
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
    console.print(_weather(), highlight=False)
    with tempfile.TemporaryDirectory(prefix="plinth-bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        aims = _starting(console, folder)
        with running_on(cores.load), Rig(folder, cores) as rig:
            sampled, address = rig.plinth(SAMPLED)
            world = settle(address, rig.app_url)
            aims += _sign_in(console, world, address)
            breakdown = _stages(rig, world)
            full, full_address = rig.plinth(FULL)
            bare, bare_address = rig.bare(world)
            peer, peer_address = rig.peer(world)
            sampled_target, peer_target = world.over_grpc(address), world.over_rest(peer_address)
            cases = [
                grpc := Case(SAMPLED_CASE, sampled_target, _pid(sampled.pid)),
                Case(FULL_CASE, world.over_grpc(full_address), _pid(full.pid)),
                bare_grpc := Case(BARE_CASE, world.over_grpc(bare_address), _pid(bare.pid)),
                peer_http := Case(PEER_CASE, peer_target, _pid(peer.pid)),
                rest := Case(REST_CASE, world.over_rest(rig.edge_of_plinth(address)), _pid(sampled.pid)),
                peer_rest := Case(PEER_REST_CASE, world.over_rest(rig.edge_of_peer(peer_address)), _pid(peer.pid)),
            ]
            console.print(f"\nThroughput: {rounds} rounds of {seconds:g} s, 32 calls under way …", highlight=False)
            measure.measure(cases, rounds=rounds, seconds=seconds)
            print_cases(console, cases)
            console.print("Latency against load …", highlight=False)
            curves = {
                "Plinth (gRPC)": measure.sweep(sampled_target, grpc.rate, seconds=_SWEEP_SECONDS),
                "peer (HTTP/1.1)": measure.sweep(peer_target, peer_http.rate, seconds=_SWEEP_SECONDS),
            }
            console.print("Streams and the event log …", highlight=False)
            aims += _streams(rig, world, address)
    chart.draw(curves, CHART)
    print_breakdown(console, breakdown)
    chain = 1e6 / grpc.rate - 1e6 / bare_grpc.rate
    console.print(f"Under full load a call costs {chain:.0f} µs more than on the bare servicer.", highlight=False)
    aims = [
        Aim("GetWorkspace over gRPC, against the peer", grpc.times(peer_http), 2.2, "×"),
        Aim("GetWorkspace over gRPC, of the bare servicer", 100 * grpc.times(bare_grpc), 75, "%"),
        Aim("through Envoy as REST, against the peer", rest.times(peer_rest), 1.8, "×"),
        Aim("permission check with a warm grant", breakdown.stages["access"], 20, "µs", at_least=False),
        *aims,
    ]
    print_aims(console, aims)
    _keep(cases, curves, breakdown, aims)
    console.print(f"Chart: {CHART}\nFigures: {RESULTS}\n{time.monotonic() - began:.0f} s in all.", highlight=False)


def _starting(console: Console, folder: Path) -> list[Aim]:
    console.print("Coming up …", highlight=False)
    empty, imported = startup.import_seconds("pass"), startup.import_seconds(startup.IMPORT)
    first, again = startup.up_seconds(folder)
    console.print(
        f"`python -c '{startup.IMPORT}'` {imported:.2f} s, of which the interpreter {empty:.2f} s;"
        f" `plinth up` {first:.1f} s on an empty data directory, {again:.1f} s on the same again",
        highlight=False,
    )
    return [
        Aim("`plinth up` on existing data until the edge answers", again, 8, "s", at_least=False),
        Aim(f"`python -c '{startup.IMPORT}'`", imported, 0.4, "s", at_least=False),
    ]


def _sign_in(console: Console, world: World, address: str) -> list[Aim]:
    """A login's figure means nothing without what one password costs to hash."""
    target, settings = world.signing_in(address), Settings()
    sample = run(target, Load(_SIGN_IN_CALLS, _SIGN_IN_CONNECTIONS))
    console.print(
        f"SignIn: {sample.rate:.0f}/s on one core, p50 {sample.percentile(50) * 1e3:.0f} ms with"
        f" {_SIGN_IN_CONNECTIONS} at once, each with an Argon2id hash of m = {settings.argon2_memory_kib} KiB,"
        f" t = {settings.argon2_time}, p = {settings.argon2_parallelism}",
        highlight=False,
    )
    return []


def _streams(rig: Rig, world: World, server: str) -> list[Aim]:
    following, address = rig.beside("streams")
    rig.beside("worker")
    late = streams.delay(rig.app_url, world.workspace)
    return streams.aims(streams.idle(server, address, _pid(following.pid), world), late)


def _stages(rig: Rig, world: World) -> Breakdown:
    result = rig.folder / "stages.json"
    child, address = rig.staged(result)
    run(world.over_grpc(address), Load(_STAGE_CALLS, 1, _STAGE_CALLS_AT_ONCE))
    child.stop(10.0)
    return Breakdown(**json.loads(result.read_text()))


def _pid(pid: int | None) -> int:
    if pid is None:
        raise BenchError("a server under test has died")
    return pid


def _weather() -> str:
    cores = choose_cores()
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    parser = "httptools" if find_spec("httptools") else "h11"
    where = f"server on core {cores.server}, all else on core {cores.load}" if cores.apart else "one core for all"
    return (
        f"Python {platform.python_version()}, {len(cores.all)} cores: {where}; load average {os.getloadavg()[0]:.1f}."
        f" The peer: uvicorn with {loop} and {parser}, one worker."
    )


def _keep(cases: Sequence[Case], curves: dict[str, list[Point]], breakdown: Breakdown, aims: Sequence[Aim]) -> None:
    figures = {
        "machine": _weather(),
        "cases": {
            case.name: {
                "calls_per_second": case.rate,
                "cpu_microseconds": case.cpu * 1e6,
                "rounds": [one.sample.rate for one in case.rounds],
                "p50_ms": case.percentile(50) * 1e3,
                "p99_ms": case.percentile(99) * 1e3,
            }
            for case in cases
        },
        "latency": {name: [asdict(point) for point in points] for name, points in curves.items()},
        "stages_microseconds": asdict(breakdown),
        "aims": [asdict(aim) | {"met": aim.met} for aim in aims],
    }
    OUTPUT.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    sys.exit(main())
