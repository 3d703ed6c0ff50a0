"""Segments of postings, and which of them are merged when: a log-structured merge tree, tiered.

A segment of level n has at least as much in it as sixteen of level n - 1, roughly. As segments are merged with their
neighbours only, their numbers never overlap, and one term's postings are joined by putting them one behind the other.
O'Neil, Cheng, Gawlick, O'Neil: "The log-structured merge-tree" (1996); the tiers are those of Lucene.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

FANOUT = 16
# What has fewer passages is of level 0.
_SMALL = 64
# From this share of dead passages on, a segment is written anew without them.
_DEAD_SHARE = 1 / 3


class SegmentState(StrEnum):
    """Whether readers look at a segment: not yet, now, or no more."""

    STAGED = "staged"
    """It is whole, without a place: a publish gives it its numbers."""
    BUILDING = "building"
    """Its postings are being written."""
    BUILT = "built"
    """It is whole, and waits for the rest of what is built anew."""
    LIVE = "live"
    """Readers look at it."""
    RETIRED = "retired"
    """It is to be deleted."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings of passages from `first_no` to `last_no`: of so many that it has (`chunk_count`), `dead` are gone."""

    segment_id: int
    level: int
    first_no: int
    last_no: int
    chunk_count: int
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Merge:
    """Neighbours, in order, that become one segment of this level."""

    segments: Sequence[Segment]
    level: int


def level_of(chunk_count: int) -> int:
    """The level of a new segment with so many passages."""
    level = 0
    while chunk_count >= _SMALL * FANOUT**level:
        level += 1
    return level


def next_merge(segments: Sequence[Segment], overdue: Collection[int] = ()) -> Merge | None:
    """What to merge next of these, which are in the order of their numbers; None: nothing.

    In `overdue` are the ids of those in which something is dead for so long that it has to go.
    """
    for segment in segments:
        if segment.dead > segment.chunk_count * _DEAD_SHARE or segment.segment_id in overdue:
            return Merge([segment], min(segment.level, level_of(segment.chunk_count - segment.dead)))
    for level in sorted({segment.level for segment in segments}):
        for run in _runs(segments, level):
            whole = [at for at, segment in enumerate(run) if segment.level == level]
            if len(whole) >= FANOUT:
                return Merge(run[whole[0] : whole[FANOUT - 1] + 1], level + 1)
    return None


def _runs(segments: Sequence[Segment], level: int) -> Iterator[list[Segment]]:
    """Neighbours of this level and of those below, as many as stand together."""
    run: list[Segment] = []
    for segment in segments:
        if segment.level <= level:
            run.append(segment)
        else:
            yield run
            run = []
    yield run
