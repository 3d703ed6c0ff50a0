"""`make bench-search`: how good the answers are, beside bm25s. Without a collection of yours, on Cranfield.

Exit code 0 also where an aim is missed; 1 where it could not be measured.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from services.search.model.bm25 import K1
from services.search.model.fusion import BLEND
from services.search.model.languages import STEMMERS, UNKNOWN
from tests.bench_search import peers
from tests.bench_search.collection import Collection, CollectionError, read_cranfield, read_trec
from tests.bench_search.hybrid import PLAIN, WITHOUT_FEEDBACK, Hybrid, cross_validated
from tests.bench_search.judging import Judged, interval, judge
from tests.bench_search.library import Library, build

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("PLINTH_CASES", ROOT.parent / "shared" / "data"))
_ENOUGH = 0.42


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench_search", description=__doc__)
    parser.add_argument("--docs", type=Path, help="JSON Lines or TREC's SGML, a file or a folder of them")
    parser.add_argument("--queries", type=Path, help="TSV, JSON Lines or TREC topics")
    parser.add_argument("--qrels", type=Path, help="TREC's judgements")
    parser.add_argument(
        "--language", default="en", choices=sorted(STEMMERS), help="of all documents and queries, ISO 639"
    )
    arguments = parser.parse_args(argv)
    given = [arguments.docs, arguments.queries, arguments.qrels]
    if any(given) and not all(given):
        parser.error("--docs, --queries and --qrels go together")
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        collection = read_trec(*given) if all(given) else read_cranfield(CASES / "cranfield")
    except CollectionError as error:
        console.print(f"[red]Not measured:[/] {error}", highlight=False)
        return 1
    library = build(collection, arguments.language)
    _report(console, collection, library, arguments.language, default=not all(given))
    return 0


def _report(console: Console, collection: Collection, library: Library, language: str, *, default: bool) -> None:
    console.print(
        f"{collection.name}: {len(collection.documents):,} documents, {len(collection.queries):,} queries,"
        f" {sum(map(len, collection.gains.values())):,} judgements",
        highlight=False,
    )
    lexical = judge("lexical", collection, library.lexical)
    theirs = [
        judge(f"bm25s: its words, our stemmer, k1 = {k1}", collection, peers.own_words(collection, language, k1))
        for k1 in (peers.THEIR_K1, K1)
    ]
    theirs.append(judge("bm25s: our words", collection, peers.our_words(collection, library)))
    rows = [
        *theirs,
        lexical,
        judge("lexical, stop words count", collection, library.lexical_of_all_words),
        judge("lexical, unstemmed", collection, build(collection, UNKNOWN, meaning=False).lexical),
    ]
    aims = [("lexical is at least bm25s with the same stemming", _at_least(lexical, *theirs))]
    if library.meaning is not None:
        arm = Hybrid(library)
        semantic = judge("semantic: LSA", collection, library.semantic)
        crossed = cross_validated("hybrid, cross-validated", collection, arm)
        rows += [
            semantic,
            judge("plain reciprocal-rank fusion", collection, arm.searcher(PLAIN)),
            judge("hybrid without feedback", collection, arm.searcher(WITHOUT_FEEDBACK)),
            judge("hybrid", collection, arm.searcher(BLEND)),
            crossed,
        ]
        aims.append(("hybrid, cross-validated, is at least either arm", _at_least(crossed, lexical, semantic)))
        if default:
            aims.append((f"and at least {_ENOUGH}", bool(crossed.ndcg.mean() >= _ENOUGH)))
    _print_table(console, rows, lexical)
    for aim, met in aims:
        console.print(f"{'[green]met[/]   ' if met else '[red]missed[/]'} {aim}", highlight=False)


def _at_least(judged: Judged, *others: Judged) -> bool:
    return all(judged.ndcg.mean() >= other.ndcg.mean() for other in others)


def _print_table(console: Console, rows: Sequence[Judged], base: Judged) -> None:
    table = Table(
        "",
        *(Column(name, justify="right") for name in ("nDCG@10", "against lexical", "graded", "R@100", "MAP", "MRR")),
        caption="nDCG@10 by binary gains, then by graded ones; differences at 95 %, by a paired bootstrap over queries",
    )
    for row in rows:
        low, high = interval(row.ndcg, base.ndcg)
        table.add_row(
            row.name,
            f"{row.ndcg.mean():.4f}",
            "" if row is base else f"{low:+.3f} … {high:+.3f}",
            *(f"{figures.mean():.4f}" for figures in (row.graded_ndcg, row.recall, row.precision, row.reciprocal_rank)),
        )
    console.print(table, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
