"""BM25, exactly: which chunks a query's words rank first, and why.

Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), in the form of Lucene: idf = log(1 + (N - df +
0.5) / (df + 0.5)), times tf / (tf + k1 * (1 - b + b * length / average length)).
"""

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from math import log1p

import numpy as np
from numpy.typing import NDArray

from services.search.model.postings import Postings, positions
from services.search.model.ranking import Ranking, best

K1 = 1.2
B = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """What is searched, as far as scores depend on it: live chunks and their terms, counted.

    `end` is above each chunk_no; `dead` are those that postings still name; `live` says of each whether it is not, and
    `intact` whether none is.
    """

    chunk_count: int
    token_count: int
    end: int
    dead: InitVar[NDArray[np.int32] | None] = None
    live: NDArray[np.bool_] = field(init=False)
    intact: bool = field(init=False)

    def __post_init__(self, dead: NDArray[np.int32] | None) -> None:
        live = np.ones(self.end, np.bool_)
        if dead is not None:
            live[dead] = False
        live.flags.writeable = False
        object.__setattr__(self, "live", live)
        object.__setattr__(self, "intact", dead is None or not len(dead))

    @property
    def average_length(self) -> float:
        """Terms per chunk; 1 where there are no chunks."""
        return self.token_count / self.chunk_count if self.token_count else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A word of the query, and the postings of all its terms in all segments (`join`, `unite`)."""

    word: str
    postings: Postings
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one word gives to one chunk's score: idf * tf / (tf + norm) * weight; `tf` 0 where it is not in it."""

    word: str
    tf: int
    df: int
    idf: float
    score: float


def rank(corpus: Corpus, words: Sequence[Scored], limit: int, allowed: NDArray[np.bool_] | None = None) -> Ranking:
    """The best `limit` chunks; `allowed` says for each chunk_no below `corpus.end` whether it may be found.

    What is not allowed still counts in df, N and the average: a filter does not change scores.
    """
    scores = np.zeros(corpus.end)
    for word in words:
        scores[word.postings.chunk_nos] += _contributions(corpus, word)
    if not corpus.intact:
        scores *= corpus.live
    if allowed is not None:
        scores *= allowed
    found = np.flatnonzero(scores).astype(np.int32)
    return best(found, scores[found], limit)


def containing(corpus: Corpus, word: Scored) -> NDArray[np.bool_]:
    """For each chunk_no below `corpus.end` whether that chunk has the word."""
    found = np.zeros(corpus.end, np.bool_)
    found[word.postings.chunk_nos] = True
    found &= corpus.live
    return found


def in_view(corpus: Corpus, postings: Postings) -> bool:
    """Whether some live chunk has the term."""
    return bool(corpus.live[postings.chunk_nos].any())


def holding(
    corpus: Corpus, required: Sequence[Scored], excluded: Sequence[Scored], mask: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """For each chunk_no whether the mask lets it through, it has all of these words and none of those; None: any may.

    A mask of None lets all through.
    """
    for word in required:
        mask = _both(mask, containing(corpus, word))
    for word in excluded:
        mask = _both(mask, ~containing(corpus, word))
    return mask


def explain(corpus: Corpus, words: Sequence[Scored], chunk_no: int) -> list[Contribution]:
    """How a chunk's score comes about, word by word. Their scores sum up to that of `rank`."""
    found = []
    for word in words:
        df = _df(corpus, word.postings)
        tf, score = 0, 0.0
        for at in positions(word.postings.chunk_nos, np.array([chunk_no], np.int32)):
            tf = int(word.postings.tfs[at])
            score = float(_contributions(corpus, word)[at])
        found.append(Contribution(word.word, tf, df, _idf(corpus, df), score))
    return found


def _contributions(corpus: Corpus, word: Scored) -> NDArray[np.float64]:
    tfs = word.postings.tfs.astype(np.float64)
    norms = word.postings.lengths * (K1 * B / corpus.average_length)
    norms += K1 * (1 - B)
    norms += tfs
    tfs /= norms
    tfs *= word.weight * _idf(corpus, _df(corpus, word.postings))
    return tfs


def _df(corpus: Corpus, postings: Postings) -> int:
    return len(postings) if corpus.intact else int(np.count_nonzero(corpus.live[postings.chunk_nos]))


def _both(mask: NDArray[np.bool_] | None, other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return other if mask is None else mask & other


def _idf(corpus: Corpus, df: int) -> float:
    return log1p((corpus.chunk_count - df + 0.5) / (df + 0.5))
