"""A list of notes to filter and sort: its fields, its rows, and what a filter means, told a second time in Python."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cmp_to_key
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Column, Double, MetaData, Table, Text
from sqlalchemy.dialects import postgresql

from services.kernel.filtering import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    TEXT,
    TEXT_MAP,
    TEXTS,
    TIMESTAMP,
    Field,
    Fields,
    one_of,
    resource,
)
from services.kernel.filtering.syntax import And, Comparator, Node, Not, Or, Restriction, Value
from services.kernel.names import USER

NOTES = Table(
    "filtered_notes",
    MetaData(),
    Column("note_id", postgresql.UUID, primary_key=True),
    Column("title", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("score", Double),
    Column("pinned", Boolean),
    Column("due_time", postgresql.TIMESTAMP(timezone=True)),
    Column("owner_id", postgresql.UUID),
    Column("labels", postgresql.ARRAY(Text), nullable=False),
    Column("facts", postgresql.JSONB, nullable=False),
    prefixes=["temporary"],
)
STATES = {"STATE_OPEN": "open", "STATE_SHUT": "shut"}
FIELDS = Fields(
    Field("title", NOTES.c.title, TEXT, sortable=True),
    Field("state", NOTES.c.state, one_of(STATES), sortable=True),
    Field("note.size", NOTES.c.size, INTEGER, sortable=True),
    Field("score", NOTES.c.score, NUMBER),
    Field("pinned", NOTES.c.pinned, BOOLEAN),
    Field("due_time", NOTES.c.due_time, TIMESTAMP, sortable=True),
    Field("owner", NOTES.c.owner_id, resource(USER)),
    Field("labels", NOTES.c.labels, TEXTS),
    Field("facts", NOTES.c.facts, TEXT_MAP),
    id=NOTES.c.note_id,
    default_order="note.size desc",
)
ALICE, BOB = UUID(int=1), UUID(int=2)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Note:
    """A row of the list under test."""

    note_id: UUID
    title: str
    state: str
    size: int
    score: float | None
    pinned: bool | None
    due_time: datetime | None
    owner_id: UUID | None
    labels: list[str]
    facts: dict[str, str]


TITLES = ("plan", "Plan B", "100%", "a_b", "a*b", "back\\slash", "it's", 'say "hi"', "", "naïve", "a\nb")
ROWS = [
    Note(
        UUID(int=100 + number),
        TITLES[number % len(TITLES)],
        ("open", "shut")[number % 2],
        (-5, 0, 7, 7, 2**62)[number % 5],
        (None, -1.5, 0.0, 2.25)[number % 4],
        (None, True, False)[number % 3],
        (None, NOON, NOON + timedelta(microseconds=1), NOON - timedelta(days=400))[number // 2 % 4],
        (ALICE, None, BOB)[number // 3 % 3],
        [[], ["red"], ["red", "a*b"], ["Red"]][number % 4],
        [{}, {"year": "2024"}, {"year": "2025", "it": "a*b"}, {"it": ""}, {"year": ""}][number % 5],
    )
    for number in range(66)
]


# What a filter means, told a second time: in Python, field by field.

ATTRIBUTES: dict[str, Callable[[Note], Any]] = {
    "title": lambda note: note.title,
    "state": lambda note: {stored: name for name, stored in STATES.items()}[note.state],
    "note.size": lambda note: note.size,
    "score": lambda note: note.score,
    "pinned": lambda note: note.pinned,
    "due_time": lambda note: note.due_time,
    "owner": lambda note: USER.format(user=note.owner_id) if note.owner_id else None,
    "labels": lambda note: note.labels or None,
    "facts": lambda note: list(note.facts) or None,
    "facts.year": lambda note: note.facts.get("year"),
    "facts.none": lambda note: note.facts.get("none"),
}
READERS: dict[str, Callable[[str], Any]] = {
    "note.size": int,
    "score": float,
    "pinned": lambda text: text == "true",
    "due_time": datetime.fromisoformat,
}
COMPARISONS: dict[Comparator, Callable[[Any, Any], bool]] = {
    Comparator.EQ: lambda left, right: left == right,
    Comparator.LT: lambda left, right: left < right,
    Comparator.LE: lambda left, right: left <= right,
    Comparator.GT: lambda left, right: left > right,
    Comparator.GE: lambda left, right: left >= right,
}


def passes(node: Node, note: Note) -> bool:
    match node:
        case Not(part):
            return not passes(part, note)
        case And(parts):
            return all(passes(part, note) for part in parts)
        case Or(parts):
            return any(passes(part, note) for part in parts)
        case Restriction(name, Comparator.NE, value):
            return not passes(Restriction(name, Comparator.EQ, value), note)
        case Restriction(name, comparator, value):
            held = ATTRIBUTES[name](note)
            if held is None:
                return False
            if name in ("labels", "facts"):
                return value.anything or "*".join(value.parts) in held
            if comparator is Comparator.HAS:
                pattern = ".*".join(map(re.escape, value.parts))
                return value.anything or re.search(pattern, held, re.DOTALL | re.IGNORECASE) is not None
            if len(value.parts) > 1:
                return re.fullmatch(".*".join(map(re.escape, value.parts)), held, re.DOTALL) is not None
            return COMPARISONS[comparator](held, READERS.get(name, str)(value.parts[0]))


def trees(restrictions: st.SearchStrategy[Restriction]) -> st.SearchStrategy[Node]:
    def grow(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        several = st.lists(inner, min_size=2, max_size=3).map(tuple)
        return st.one_of(st.builds(Not, inner), st.builds(And, several), st.builds(Or, several))

    return st.recursive(restrictions, grow, max_leaves=8)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}(\.[a-z_]{1,3})?", fullmatch=True)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ANY_VALUE = st.builds(lambda parts: Value(tuple(parts)), st.lists(ANY_TEXT, min_size=1, max_size=3))
ANY_TREE = trees(
    st.builds(
        Restriction, NAMES.filter(lambda n: n not in ("AND", "OR", "NOT")), st.sampled_from(Comparator), ANY_VALUE
    )
)

SCRAPS = st.one_of(
    st.sampled_from(TITLES), st.text("abPnB %_*\\'\"ï\n-", max_size=3), st.sampled_from(TITLES).map(lambda t: t[1:3])
)
PATTERNS = st.lists(SCRAPS, min_size=1, max_size=3).map(lambda parts: Value(tuple(parts)))
ORDERED = st.sampled_from([c for c in Comparator if c is not Comparator.HAS])
SAME = st.sampled_from([Comparator.EQ, Comparator.NE])
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.tuples(st.sampled_from([row.due_time for row in ROWS if row.due_time]), ZONES)

YEARS = st.sampled_from(["2024", "2025", ""])


def plain(values: st.SearchStrategy[str]) -> st.SearchStrategy[Value]:
    return values.map(lambda text: Value((text,)))


KNOWN_TREE = trees(
    st.one_of(
        st.builds(Restriction, st.just("title"), SAME | st.just(Comparator.HAS), PATTERNS),
        st.builds(Restriction, st.just("title"), ORDERED, plain(SCRAPS)),
        st.builds(Restriction, st.just("state"), SAME, plain(st.sampled_from(list(STATES)))),
        st.builds(Restriction, st.just("note.size"), ORDERED, plain(st.sampled_from(["-5", "0", "7", str(2**62)]))),
        st.builds(Restriction, st.just("score"), ORDERED, plain(st.sampled_from(["-1.5", "0", "2.25e0", "1e308"]))),
        st.builds(Restriction, st.just("pinned"), SAME, plain(st.sampled_from(["true", "false"]))),
        st.builds(
            Restriction, st.just("due_time"), ORDERED, plain(MOMENTS.map(lambda m: m[0].astimezone(m[1]).isoformat()))
        ),
        st.builds(Restriction, st.just("owner"), SAME, plain(st.sampled_from([f"users/{ALICE}", f"users/{BOB}"]))),
        st.builds(
            Restriction, st.just("labels"), st.just(Comparator.HAS), plain(st.sampled_from(["red", "Red", "a*b"]))
        ),
        st.builds(Restriction, st.just("facts"), st.just(Comparator.HAS), plain(st.sampled_from(["year", "it", "x"]))),
        st.builds(Restriction, st.sampled_from(["facts.year", "facts.none"]), ORDERED, plain(YEARS)),
        st.builds(Restriction, st.just("facts.year"), st.just(Comparator.HAS), PATTERNS),
        st.builds(Restriction, st.sampled_from(list(ATTRIBUTES)), st.just(Comparator.HAS), st.just(Value(("", "")))),
    )
)
ORDERS = st.lists(
    st.tuples(st.sampled_from(["title", "state", "note.size", "due_time"]), st.booleans()),
    unique_by=lambda term: term[0],
    max_size=4,
)


def sorted_by(terms: list[tuple[str, bool]]) -> list[Note]:
    """The rows in an order, told a second time: each term and its direction, and at last the id."""
    last_descends = terms[-1][1] if terms else True
    keys = [*(terms or [("note.size", True)]), ("id", last_descends)]

    def value(note: Note, name: str) -> Any:
        return note.note_id if name == "id" else note.state if name == "state" else ATTRIBUTES[name](note)

    def compare(left: Note, right: Note) -> int:
        for name, descending in keys:
            a, b = value(left, name), value(right, name)
            if a != b:
                greater = b is not None and (a is None or a > b)
                return 1 if greater is not descending else -1
        return 0

    return sorted(ROWS, key=cmp_to_key(compare))
