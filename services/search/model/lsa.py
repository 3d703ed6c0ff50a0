"""Latent semantic vectors: what chunks and queries are about, learnt from a workspace's own words.

Terms that keep the same company point the same way, so a query finds chunks that say it in other words: the truncated
SVD of the chunks' tf-idf (Deerwester and others 1990, "Indexing by latent semantic analysis"). Chunks and queries that
were not there when it was fitted are folded in.
"""

import hashlib
import struct
from array import array
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import isqrt, log
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackError, svds

# Below, a corpus says too little about its words.
MIN_CHUNKS = 300
MAX_DIMENSIONS = 200
# A connection keeps as much memory as the largest row that it ever read.
PART_BYTES = 64 * 1024

# Bounds of the fit: at both of them it takes some 15 s of one core and half a gigabyte.
MAX_FITTED_CHUNKS = 30_000
MAX_TERMS = 60_000
_MIN_CHUNKS_OF_TERM = 2
# The power of the singular values that stays in a vector's dimensions: 0 makes all of them equal, 1 is the textbook's.
# Chosen on Cranfield (`make bench-search`); see also Caron 2001, "Experiments with LSA scoring".
_POWER = 0.5
# A smaller share of the first singular value is noise of float32.
_NOISE = 1e-3
_TOLERANCE = 1e-3
_SEED = 20

_HEADER = struct.Struct("<4sIIQ")
_FORMAT = b"LSA1"
# No term has it: PostgreSQL's text cannot hold it.
_BETWEEN_TERMS = "\0"


class TooLittleText(Exception):
    """The chunks are too few, or too much alike, to learn anything from."""


class ProjectionDamaged(Exception):
    """The bytes are not those of a projection: a part is missing, changed or out of order."""


class Occurrences:
    """How often which term is in which of `chunk_nos` (ascending), gathered posting by posting."""

    def __init__(self, chunk_nos: NDArray[np.int32]) -> None:
        self.chunk_nos = chunk_nos
        self._term_nos: dict[str, int] = {}
        # Flat and growing: a corpus has millions of postings, and an object for each would be most of the memory.
        self._rows = array("i")
        self._columns = array("i")
        self._counts = array("i")

    def add(self, term: str, chunk_nos: NDArray[np.int32], counts: NDArray[np.uint16]) -> None:
        """Take a posting's part that is of these chunks. A term may come in several postings of different chunks."""
        rows = np.searchsorted(self.chunk_nos, chunk_nos).astype(np.int32)
        rows[rows == len(self.chunk_nos)] = 0
        known = self.chunk_nos[rows] == chunk_nos if len(self.chunk_nos) else np.zeros(len(chunk_nos), bool)
        rows = rows[known]
        term_no = self._term_nos.setdefault(term, len(self._term_nos))
        self._rows.frombytes(rows.tobytes())
        self._columns.frombytes(np.full(len(rows), term_no, np.int32).tobytes())
        self._counts.frombytes(counts[known].astype(np.int32).tobytes())

    @property
    def terms(self) -> list[str]:
        """The terms, as the weights' columns are ordered."""
        return list(self._term_nos)

    def weights(self) -> Any:  # scipy has no types
        """Chunks × terms, float32 CSR: 1 + ln(count), so that the tenth time a word comes says less than the first."""
        weights = 1 + np.log(np.frombuffer(self._counts, np.int32), dtype=np.float32)
        places = np.frombuffer(self._rows, np.int32), np.frombuffer(self._columns, np.int32)
        return sparse.csr_array((weights, places), shape=(len(self.chunk_nos), len(self._term_nos)))


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """From words to a vector: one row of `matrix` (terms × dimensions, float16, idf multiplied in) for each term."""

    rows: Mapping[str, int]
    matrix: NDArray[np.float16]

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        return int(self.matrix.shape[1])

    def fold(self, counts: Mapping[str, int]) -> NDArray[np.float32]:
        """The vector of a chunk or query with these terms: of length 1, or 0 where it has no term that is known."""
        known = [(self.rows[term], 1 + log(count)) for term, count in counts.items() if term in self.rows]
        rows, weights = [row for row, _ in known], np.array([weight for _, weight in known], np.float32)
        vector: NDArray[np.float32] = weights @ self.matrix[rows].astype(np.float32)
        return _of_length_one(vector)

    def fold_all(self, occurrences: Occurrences) -> NDArray[np.float32]:
        """The vectors of the chunks, chunks × dimensions in the order of their numbers, as `fold` makes them."""
        known = [(column, self.rows[term]) for column, term in enumerate(occurrences.terms) if term in self.rows]
        columns, rows = [column for column, _ in known], [row for _, row in known]
        vectors: NDArray[np.float32] = occurrences.weights()[:, columns] @ self.matrix[rows].astype(np.float32)
        return _of_length_one(vectors)

    def to_parts(self) -> list[bytes]:
        """As bytes, in parts of at most PART_BYTES."""
        terms = _BETWEEN_TERMS.join(sorted(self.rows, key=self.rows.__getitem__)).encode()
        content = _HEADER.pack(_FORMAT, *self.matrix.shape, len(terms)) + terms + self.matrix.astype("<f2").tobytes()
        whole = hashlib.sha256(content).digest() + content
        return [whole[start : start + PART_BYTES] for start in range(0, len(whole), PART_BYTES)]

    def without(self, terms: Set[str]) -> "Projection":
        """What it is for whoever does not know these terms."""
        kept = [term for term in self.rows if term not in terms]
        return Projection({term: row for row, term in enumerate(kept)}, self.matrix[[self.rows[term] for term in kept]])

    @classmethod
    def from_parts(cls, parts: Sequence[bytes]) -> Self:
        """What `to_parts` made. Raises ProjectionDamaged."""
        whole = b"".join(parts)
        digest, content = whole[: hashlib.sha256().digest_size], memoryview(whole)[hashlib.sha256().digest_size :]
        if hashlib.sha256(content).digest() != digest or bytes(content[: len(_FORMAT)]) != _FORMAT:
            raise ProjectionDamaged
        _, count, dimensions, length = _HEADER.unpack_from(content)
        terms = str(content[_HEADER.size : _HEADER.size + length], "utf-8").split(_BETWEEN_TERMS)
        matrix = np.frombuffer(content, "<f2", offset=_HEADER.size + length).reshape(count, dimensions)
        return cls({term: row for row, term in enumerate(terms)}, matrix)


def dimensions_of(parts: Sequence[bytes]) -> int:
    """How long the vectors are, of a projection in parts, which need not be read for it."""
    _, _, dimensions, _ = _HEADER.unpack_from(parts[0], hashlib.sha256().digest_size)
    return int(dimensions)


def sample(chunk_nos: NDArray[np.int32]) -> NDArray[np.int32]:
    """Those of a corpus's chunks (ascending) that it is fitted on: all of them, or a fair choice, ascending.

    The same for the same chunks. Not each n-th one: documents made from one template would always show the same part.
    """
    if len(chunk_nos) <= MAX_FITTED_CHUNKS:
        return chunk_nos
    return np.sort(np.random.default_rng(_SEED).choice(chunk_nos, MAX_FITTED_CHUNKS, replace=False))


def fit(occurrences: Occurrences) -> Projection:
    """Learn from these chunks, which `sample` chose. The same for the same occurrences in the same order.

    Raises TooLittleText.
    """
    chunks = len(occurrences.chunk_nos)
    if chunks < MIN_CHUNKS:
        raise TooLittleText
    weights = occurrences.weights()
    chunks_of_term = np.bincount(weights.indices, minlength=weights.shape[1])
    kept = np.argsort(-chunks_of_term, kind="stable")[:MAX_TERMS]
    # What is in every chunk tells none from another.
    kept = kept[(chunks_of_term[kept] >= _MIN_CHUNKS_OF_TERM) & (chunks_of_term[kept] < chunks)]
    idf = np.log(chunks / chunks_of_term[kept]).astype(np.float32)
    dimensions = min(MAX_DIMENSIONS, 5 * isqrt(chunks), len(kept) - 1)
    if dimensions < 1:
        raise TooLittleText
    weighted = weights[:, kept] * idf
    lengths = sparse.linalg.norm(weighted, axis=1)
    normal = sparse.diags_array(1 / np.where(lengths > 0, lengths, 1).astype(np.float32)) @ weighted
    values, directions = _svd(normal.tocsr(), dimensions)
    matrix = idf[:, np.newaxis] * directions * values**_POWER
    terms = occurrences.terms
    rows = {terms[column]: row for row, column in enumerate(kept.tolist())}
    # The scale does not matter, since vectors are made of length 1; in this one float16 loses least.
    return Projection(rows, (matrix / np.abs(matrix).max()).astype(np.float16))


def _svd(matrix: Any, dimensions: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The largest singular values, descending, and terms × their directions; fewer where the chunks say less."""
    start = np.random.default_rng(_SEED).standard_normal(min(matrix.shape)).astype(np.float32)
    try:
        _, values, directions = svds(matrix, dimensions, v0=start, tol=_TOLERANCE, return_singular_vectors="vh")
    except ArpackError as error:
        raise TooLittleText from error
    order = np.argsort(-values)
    order = order[values[order] > _NOISE * values[order[0]]]
    return values[order], directions[order].T


def _of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return result
