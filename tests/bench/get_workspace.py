"""GetWorkspace: Plinth against the bare servicer and the peer; latency against load; where a call's time goes."""

import json
from dataclasses import dataclass

from rich.console import Console

from tests.bench.h2load import Load, run
from tests.bench.measure import Case, Point, full_load, measure, sweep
from tests.bench.report import Aim, print_breakdown, print_cases
from tests.bench.rig import FULL, Rig, Server
from tests.bench.stages import Breakdown
from tests.bench.world import World

_STAGE_CALLS, _STAGE_CALLS_AT_ONCE = 4000, 4
_SWEEP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured."""

    cases: list[Case]
    curves: dict[str, list[Point]]
    breakdown: Breakdown
    aims: list[Aim]


def measured(
    console: Console, rig: Rig, world: World, plinth: Server, peer: Server, *, rounds: int, seconds: float
) -> Measured:
    """All of it. Raises BenchError."""
    breakdown = _stages(rig, world)
    full, bare, tuned = rig.plinth(FULL), rig.bare(world), rig.bare(world, tuned=True)
    ours, theirs = world.over_grpc(plinth.address), world.over_rest(peer.address)
    our_edge, their_edge = rig.edge_of_plinth(plinth.address), rig.edge_of_peer(peer.address)
    cases = [
        grpc := Case("Plinth, gRPC, 1 span in 10", full_load(ours), plinth.pid),
        Case("Plinth, gRPC, every span", full_load(world.over_grpc(full.address)), full.pid),
        bare_grpc := Case("bare servicer, gRPC", full_load(world.over_grpc(bare.address)), bare.pid),
        tuned_grpc := Case("bare servicer, tuned as Plinth is", full_load(world.over_grpc(tuned.address)), tuned.pid),
        peer_http := Case("peer, HTTP/1.1", full_load(theirs), peer.pid),
        rest := Case("Plinth, REST through Envoy", full_load(world.over_rest(our_edge)), plinth.pid),
        peer_rest := Case("peer, REST through Envoy", full_load(world.over_rest(their_edge)), peer.pid),
    ]
    console.print(f"\nGetWorkspace: {rounds} rounds of {seconds:g} s, 32 calls under way …", highlight=False)
    measure(cases, rounds=rounds, seconds=seconds)
    print_cases(console, cases)
    chain = 1e6 / grpc.rate - 1e6 / tuned_grpc.rate
    console.print(
        f"Under full load a call costs {chain:.0f} µs more than on the tuned bare servicer, or"
        f" {100 * grpc.times(tuned_grpc):.0f} % of its rate.",
        highlight=False,
    )
    print_breakdown(console, breakdown)
    console.print("Latency against load …", highlight=False)
    curves = {
        "Plinth (gRPC)": sweep(ours, grpc.rate, seconds=_SWEEP_SECONDS),
        "peer (HTTP/1.1)": sweep(theirs, peer_http.rate, seconds=_SWEEP_SECONDS),
    }
    aims = [
        Aim("GetWorkspace over gRPC, against the peer", grpc.times(peer_http), 2.2, "×"),
        Aim("GetWorkspace over gRPC, of the bare servicer", 100 * grpc.times(bare_grpc), 75, "%"),
        Aim("through Envoy as REST, against the peer", rest.times(peer_rest), 1.8, "×"),
        Aim("permission check with a warm grant", breakdown.stages["access"], 20, "µs", at_least=False),
    ]
    full.stop()
    bare.stop()
    tuned.stop()
    return Measured(cases, curves, breakdown, aims)


def _stages(rig: Rig, world: World) -> Breakdown:
    result = rig.folder / "stages.json"
    staged = rig.staged(result)
    run(world.over_grpc(staged.address), Load(_STAGE_CALLS, 1, _STAGE_CALLS_AT_ONCE))
    staged.stop()
    return Breakdown(**json.loads(result.read_text()))
