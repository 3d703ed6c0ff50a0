"""A process that fits and folds: `python -m …embedders.lsa_child`. Orders come by standard input, results go out.

Fitting takes seconds of a core and hundreds of megabytes, and reading postings holds the interpreter's lock as long: in
the worker both would be felt by all of its other work. Whoever hangs up ends it.
"""

import os
import pickle
import resource
import sys
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from services.search.embedders.lsa import Add, Begin, Fit, Fold, Load, Order, Result
from services.search.model import lsa
from services.search.model.postings import Postings

_MEMORY_BYTES = 4 * 1024**3
_CPU_SECONDS = 1800
_NICENESS = 10


def main(orders: BinaryIO, results: BinaryIO) -> None:
    """Do what is ordered, until there are no more orders."""
    occurrences = lsa.Occurrences(np.empty(0, np.int32))
    projection: lsa.Projection | None = None
    while True:
        try:
            order: Order = pickle.load(orders)  # noqa: S301  # of the worker that has started us
        except EOFError:
            return
        match order:
            case Begin(chunk_nos):
                occurrences = lsa.Occurrences(chunk_nos)
            case Add(terms):
                _add(occurrences, terms, projection)
            case Load(parts):
                projection = lsa.Projection.from_parts(parts)
            case Fit():
                try:
                    projection = lsa.fit(occurrences)
                except lsa.TooLittleText:
                    _answer(results, None)
                else:
                    _answer(results, projection.to_parts())
            case Fold():
                _answer(results, projection.fold_all(occurrences) if projection is not None else None)


def _add(occurrences: lsa.Occurrences, terms: Mapping[str, bytes], projection: lsa.Projection | None) -> None:
    for term, data in terms.items():
        # The words that a projection does not know are most of them.
        if projection is None or term in projection.rows:
            decoded = Postings.decode(data)
            occurrences.add(term, decoded.chunk_nos, decoded.tfs)


def _answer(results: BinaryIO, result: Result) -> None:
    pickle.dump(result, results, pickle.HIGHEST_PROTOCOL)
    results.flush()


if __name__ == "__main__":
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    main(sys.stdin.buffer, sys.stdout.buffer)
