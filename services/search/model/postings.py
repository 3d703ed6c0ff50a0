"""Where a term stands: in which chunks, how often, and how long they are. As arrays, as bytes, built and merged."""

import struct
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

# Chunks are bounded far below it; what is above counts as this much.
MAX_COUNT = 0xFFFF
_MAX_NUMBER = 2**31 - 1

# Format, number of postings, first chunk_no, and the bytes of one gap, one tf and one length.
_HEAD = struct.Struct("<BIIBBB")
_FORMAT = 1
# Most terms of a small segment are in a few chunks; up to so many, plain lists are several times as fast as arrays.
_FEW = 32
_CODES = {1: "B", 2: "H", 4: "I"}
_WIDTHS: dict[int, np.dtype[np.unsignedinteger]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4")}
_NOT_IN_ORDER = "the postings do not ascend, or hold a term no times"


class PostingsCorrupt(ValueError):
    """The bytes are not what `Postings.encode` has made."""


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """One term's chunks: three read-only arrays of one length, of which `chunk_nos` ascends strictly.

    `tfs` says how often the term is in the chunk, at least once; `lengths` of how many terms the chunk is.
    """

    chunk_nos: NDArray[np.int32]
    tfs: NDArray[np.uint16]
    lengths: NDArray[np.uint16]

    def __post_init__(self) -> None:
        for column in (self.chunk_nos, self.tfs, self.lengths):
            column.flags.writeable = False

    def __len__(self) -> int:
        return len(self.chunk_nos)

    @property
    def nbytes(self) -> int:
        """What the arrays take in memory, in bytes."""
        return self.chunk_nos.nbytes + self.tfs.nbytes + self.lengths.nbytes

    def without(self, dead: NDArray[np.int32]) -> "Postings":
        """Those of other chunks; `dead` ascends."""
        found = positions(self.chunk_nos, dead)
        if not len(found):
            return self
        return Postings(np.delete(self.chunk_nos, found), np.delete(self.tfs, found), np.delete(self.lengths, found))

    def encode(self) -> bytes:
        """As bytes: each column as narrow as its largest value, the chunk_nos as gaps."""
        if not len(self):
            return _HEAD.pack(_FORMAT, 0, 0, 1, 1, 1)
        if len(self) <= _FEW:
            return _pack(self.chunk_nos.tolist(), self.tfs.tolist(), self.lengths.tolist())
        gaps = np.diff(self.chunk_nos)
        columns = [_narrow(gaps), _narrow(self.tfs), _narrow(self.lengths)]
        head = _HEAD.pack(_FORMAT, len(self), int(self.chunk_nos[0]), *(column.itemsize for column in columns))
        return head + b"".join(column.tobytes() for column in columns)

    @classmethod
    def decode(cls, data: bytes) -> "Postings":
        """What was encoded. Raises PostingsCorrupt."""
        try:
            version, count, first, *widths = _HEAD.unpack_from(data)
            dtypes = [_WIDTHS[width] for width in widths]
        except (struct.error, KeyError) as error:
            raise PostingsCorrupt("the head of the postings is broken") from error
        counts = [max(count - 1, 0), count, count]
        if version != _FORMAT or len(data) != _HEAD.size + counts[0] * widths[0] + count * (widths[1] + widths[2]):
            raise PostingsCorrupt("the postings are cut off, or of another format")
        if 0 < count <= _FEW:
            return _unpack(data, count, first, widths)
        columns, offset = [], _HEAD.size
        for dtype, length in zip(dtypes, counts, strict=True):
            columns.append(np.frombuffer(data, dtype, length, offset))
            offset += dtype.itemsize * length
        gaps, tfs, lengths = columns
        numbers = np.cumsum(np.concatenate([[first] if count else [], gaps]), dtype=np.int64)
        if count and (numbers[-1] > _MAX_NUMBER or not (gaps.all() and tfs.all())):
            raise PostingsCorrupt(_NOT_IN_ORDER)
        return cls(numbers.astype(np.int32), tfs.astype(np.uint16), lengths.astype(np.uint16))


EMPTY = Postings(np.empty(0, np.int32), np.empty(0, np.uint16), np.empty(0, np.uint16))


def build(first_no: int, chunks: Iterable[Mapping[str, int]]) -> dict[str, Postings]:
    """A segment: the postings of each term of these chunks, which are numbered from `first_no`.

    A chunk is its terms and how often it has each (`analysis.terms`).
    """
    # Flat columns of all postings, eight bytes for each, which are sorted by term at the end.
    rows: dict[str, int] = {}
    terms, tfs, sizes, lengths = array("I"), array("H"), array("I"), array("H")
    for chunk in chunks:
        terms.extend([rows.setdefault(term, len(rows)) for term in chunk])
        tfs.extend([min(count, MAX_COUNT) for count in chunk.values()])
        sizes.append(len(chunk))
        lengths.append(chunk_length(chunk))
    order = np.argsort(np.array(terms, np.uint32), kind="stable")
    numbers = np.arange(first_no, first_no + len(sizes), dtype=np.int32)
    chunk_nos = np.repeat(numbers, sizes)[order]
    counts = np.array(tfs, np.uint16)[order]
    totals = np.repeat(np.array(lengths, np.uint16), sizes)[order]
    ends = np.cumsum(np.bincount(np.array(terms, np.intp), minlength=len(rows))).tolist()
    return {
        term: Postings(chunk_nos[start:end], counts[start:end], totals[start:end])
        for term, start, end in zip(rows, [0, *ends], ends, strict=False)
    }


def encoded(segment: Mapping[str, Postings], first_no: int) -> dict[str, bytes]:
    """A segment as it is kept: its numbers count from `first_no`, so one can be written before it is given a place."""
    return {term: shifted(found.encode(), -first_no) for term, found in segment.items()}


def decoded(segment: Mapping[str, bytes]) -> dict[str, Postings]:
    """A segment, or some terms of one, out of what was encoded. Raises PostingsCorrupt."""
    return {term: Postings.decode(data) for term, data in segment.items()}


def shifted(data: bytes, by: int) -> bytes:
    """Encoded postings, of chunks whose numbers are so much higher."""
    if not by:
        return data
    version, count, first, *widths = _HEAD.unpack_from(data)
    return _HEAD.pack(version, count, first + by, *widths) + data[_HEAD.size :]


def chunk_length(terms: Mapping[str, int]) -> int:
    """Of how many terms a chunk is, as postings say it."""
    return min(sum(terms.values()), MAX_COUNT)


def join(parts: Sequence[Postings]) -> Postings:
    """One term's postings in neighbouring segments as one. Raises ValueError where they are not given in order."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return EMPTY
    if len(parts) == 1:
        return parts[0]
    if any(before.chunk_nos[-1] >= after.chunk_nos[0] for before, after in pairwise(parts)):
        raise ValueError("segments are joined in the order of their chunk_nos")
    return Postings(
        np.concatenate([part.chunk_nos for part in parts]),
        np.concatenate([part.tfs for part in parts]),
        np.concatenate([part.lengths for part in parts]),
    )


def merge(segments: Sequence[Mapping[str, Postings]], dead: NDArray[np.int32]) -> dict[str, Postings]:
    """Neighbouring segments, in order, as one; without the dead chunks (ascending), and terms that only they had."""
    found: defaultdict[str, list[Postings]] = defaultdict(list)
    for segment in segments:
        for term, part in segment.items():
            found[term].append(part.without(dead))
    return {term: joined for term, parts in found.items() if len(joined := join(parts))}


def unite(terms: Sequence[Postings]) -> Postings:
    """Several terms' postings as if they were one term: where a chunk has more than one, their tfs are summed."""
    terms = [postings for postings in terms if len(postings)]
    if len(terms) <= 1:
        return terms[0] if terms else EMPTY
    first = min(postings.chunk_nos[0] for postings in terms)
    end = max(postings.chunk_nos[-1] for postings in terms) + 1
    tfs, lengths = np.zeros(end - first, np.uint32), np.zeros(end - first, np.uint16)
    for postings in terms:
        at = postings.chunk_nos - first
        tfs[at] += postings.tfs
        lengths[at] = postings.lengths
    found = np.flatnonzero(tfs)
    return Postings(
        (found + first).astype(np.int32), np.minimum(tfs[found], MAX_COUNT).astype(np.uint16), lengths[found]
    )


def positions(haystack: NDArray[np.int32], needles: NDArray[np.int32]) -> NDArray[np.intp]:
    """Where those needles stand that are in the haystack; both ascend strictly."""
    if not len(haystack) or not len(needles):
        return np.empty(0, np.intp)
    # The fewer are looked for among the more.
    if len(haystack) < len(needles):
        return np.flatnonzero(needles[np.minimum(np.searchsorted(needles, haystack), len(needles) - 1)] == haystack)
    at = np.minimum(np.searchsorted(haystack, needles), len(haystack) - 1)
    found: NDArray[np.intp] = at[haystack[at] == needles]
    return found


def _pack(numbers: list[int], tfs: list[int], lengths: list[int]) -> bytes:
    gaps = [after - before for before, after in pairwise(numbers)]
    widths = [_width(max(column, default=0)) for column in (gaps, tfs, lengths)]
    codes = "".join(f"{len(column)}{_CODES[width]}" for column, width in zip((gaps, tfs, lengths), widths, strict=True))
    return _HEAD.pack(_FORMAT, len(numbers), numbers[0], *widths) + struct.pack(f"<{codes}", *gaps, *tfs, *lengths)


def _unpack(data: bytes, count: int, first: int, widths: Sequence[int]) -> Postings:
    gaps, tfs, lengths = (_CODES[width] for width in widths)
    values = struct.unpack_from(f"<{count - 1}{gaps}{count}{tfs}{count}{lengths}", data, _HEAD.size)
    numbers = list(accumulate(values[: count - 1], initial=first))
    if numbers[-1] > _MAX_NUMBER or 0 in values[: 2 * count - 1]:
        raise PostingsCorrupt(_NOT_IN_ORDER)
    return Postings(
        np.array(numbers, np.int32),
        np.array(values[count - 1 : 2 * count - 1], np.uint16),
        np.array(values[2 * count - 1 :], np.uint16),
    )


def _width(largest: int) -> int:
    return 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4


def _narrow(values: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    largest = int(values.max(initial=0))
    return values.astype(_WIDTHS[_width(largest)])
