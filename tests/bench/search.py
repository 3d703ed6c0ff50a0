"""Search in a large workspace beside others: how long it takes, and what the vectors' graph misses.

`python -m tests.bench.search` runs this alone; `--passages` and `--beside` make it smaller.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain

import grpc
import numpy as np
import psycopg
from numpy.typing import NDArray
from rich.console import Console

from plinth.search.v1 import hit_pb2, search_service_pb2
from services.kernel.names import WORKSPACE
from services.search.model.query import parse
from tests.bench import alone, corpus, search_peers
from tests.bench.cores import running_on
from tests.bench.h2load import BenchError
from tests.bench.report import Aim, Timing, print_timings
from tests.bench.rig import SAMPLED, Rig
from tests.bench.search_index import SHARES, Filled, copy, fill, opened, settle_down
from tests.bench.world import World, settle
from tests.support.stubs import Stubs, with_token

PASSAGES, BESIDE, OTHERS = 100_000, 900_000, 9
_WORDS = 3
_QUERIES, _WARM_UP, _RECALLED = 500, 200, 100
_QUERIES_SEED, _WARM_UP_SEED = 20, 21
_LIMIT = 10
# float32 summed in another order.
_ALIKE = 1e-6
_AIMS = {"LEXICAL": 15.0, "HYBRID": 30.0}
_MODES = {
    "LEXICAL": hit_pb2.SEARCH_MODE_LEXICAL,
    "SEMANTIC": hit_pb2.SEARCH_MODE_SEMANTIC,
    "HYBRID": hit_pb2.SEARCH_MODE_HYBRID,
}


def measured(
    console: Console, rig: Rig, *, passages: int = PASSAGES, beside: int = BESIDE
) -> tuple[list[Timing], list[Aim]]:
    """All of it, on a rig where nothing was searched yet. Raises BenchError."""
    console.print(f"\nSearch among {passages:,} passages beside {beside:,} of {OTHERS} others …", highlight=False)
    begun = time.monotonic()
    library = corpus.documents(passages)
    plinth = rig.plinth(SAMPLED)
    world = settle(plinth.address, rig.app_url)
    [workspace_id] = WORKSPACE.ids(world.workspace)
    with opened(rig.app_url) as services, psycopg.connect(rig.owner_url, autocommit=True) as owner:
        # Nobody else is at work yet.
        with running_on(*rig.cores.all):
            filled = fill(services, owner, workspace_id, library)
        copy(owner, workspace_id, beside // OTHERS, OTHERS)
        settle_down(owner)
        found_by = "a graph" if filled.model.approximate else "comparing all"
        console.print(
            f"Filled in {time.monotonic() - begun:.0f} s; {filled.model.name}, nearest vectors by {found_by}.",
            highlight=False,
        )
        asked = corpus.queries(library, _QUERIES, _WORDS, _QUERIES_SEED)
        warming = corpus.queries(library, _WARM_UP, _WORDS, _WARM_UP_SEED)
        ours = {mode: _timed(mode, _over_grpc(plinth.address, world, mode), warming, asked) for mode in _MODES}
        recalled = _recalled(filled, asked[:_RECALLED])
        plinth.stop()
    texts = list(chain.from_iterable(library))
    timings = [
        *(Timing(f"Plinth over gRPC, {mode}", timing.milliseconds) for mode, timing in ours.items()),
        _timed("bm25s, in process", search_peers.with_bm25s(texts), warming, asked),
        _timed("tantivy, in process", search_peers.with_tantivy(texts), warming, asked),
    ]
    print_timings(console, timings)
    return timings, [*_aims(ours), *recalled]


def _aims(ours: dict[str, Timing]) -> list[Aim]:
    found: list[Aim] = []
    for mode, most in _AIMS.items():
        half, nearly_all = ours[mode].percentile(50), ours[mode].percentile(99)
        found.append(Aim(f"search, {mode}, p50", half, most, "ms", at_least=False))
        found.append(Aim(f"search, {mode}, p99 against p50", nearly_all / half, 4, "×", at_least=False))
    return found


def _timed(what: str, search: Callable[[str], int], warming: Sequence[str], asked: Sequence[str]) -> Timing:
    found = sum(search(query) for query in warming)
    if found < len(warming):
        raise BenchError(f"{what} finds {found} passages for {len(warming)} queries")
    took: list[float] = []
    for query in asked:
        begun = time.perf_counter()
        search(query)
        took.append((time.perf_counter() - begun) * 1e3)
    return Timing(what, took)


def _over_grpc(address: str, world: World, mode: str) -> Callable[[str], int]:
    stubs = Stubs(with_token(grpc.insecure_channel(address), world.token))

    def search(query: str) -> int:
        answer = stubs.search.Search(
            search_service_pb2.SearchRequest(parent=world.workspace, query=query, mode=_MODES[mode], page_size=_LIMIT)
        )
        if answer.mode != _MODES[mode]:
            raise BenchError(f"{mode} was answered as {hit_pb2.SearchMode.Name(answer.mode)}")
        return len(answer.hits)

    return search


def _recalled(filled: Filled, asked: Sequence[str]) -> list[Aim]:
    """Of the ten nearest passages, how many are found: of all, and of what filters leave."""
    filters = {"all passages": "", **{f"1 in {step}": f'tags:"{tag}"' for tag, step in SHARES.items()}}
    shares: dict[str, list[float]] = {name: [] for name in filters}
    semantic, snapshots, model = filled.services.semantic, filled.services.snapshots, filled.model
    with filled.services.units(filled.workspace_id) as uow:
        snapshot = snapshots.current(uow, filled.workspace_id)
        for query in asked:
            terms = Counter(term for group in parse(query, {"en"}).groups for term in group.terms)
            vector = semantic.of_terms(uow, model, terms)
            if vector is None:
                continue
            for name, filter in filters.items():
                allowed = snapshots.allowed(uow, snapshot, filter, None)
                doc_nos = None if allowed is None else np.flatnonzero(allowed).astype(np.int32)
                truth = np.array([one for _, one in uow.repo.nearest.exact(model, vector, _LIMIT, doc_nos)])
                found = semantic.nearest(uow, snapshot, model, vector, allowed, _LIMIT)
                shares[name].append(_share(truth[truth > 0], found.scores))
    return [
        Aim(f"nearest vectors found, recall@{_LIMIT}, {name}", float(np.mean(found)), 0.98, "")
        for name, found in shares.items()
    ]


def _share(truth: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """How many of the truth were found; one that is as near as the last of them is as good."""
    if not len(truth):
        return 1.0
    return min(int(np.count_nonzero(found >= truth[-1] - _ALIKE)) / len(truth), 1.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Only this. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search", description=__doc__)
    parser.add_argument("--passages", type=int, default=PASSAGES, help="of the workspace that is searched")
    parser.add_argument("--beside", type=int, default=BESIDE, help=f"of {OTHERS} others together")
    arguments = parser.parse_args(argv)
    if arguments.beside > OTHERS * arguments.passages:
        parser.error(f"the {OTHERS} others have copies of the {arguments.passages:,} passages, so at most as many")

    def measure(console: Console, rig: Rig) -> Sequence[Aim]:
        return measured(console, rig, passages=arguments.passages, beside=arguments.beside)[1]

    return alone.run("search", measure)


if __name__ == "__main__":
    sys.exit(main())
