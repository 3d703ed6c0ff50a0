"""The order of a list (AIP-132): `create_time desc, display_name`, and what comes after a row in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, bindparam, false, or_, tuple_

from services.kernel.errors import OrderByInvalid

MAX_LENGTH = 500
MAX_TERMS = 5

_TERM = re.compile(r" *(?P<name>[A-Za-z_][A-Za-z0-9_.]*)(?: +(?P<direction>[A-Za-z]+))? *")


@dataclass(frozen=True, slots=True)
class Term:
    """A column that rows are sorted by."""

    name: str
    column: Column[Any]
    descending: bool

    @property
    def sql(self) -> ColumnElement[Any]:
        """As in ORDER BY. PostgreSQL puts what is not set last, and first where it is descending."""
        return self.column.desc() if self.descending else self.column.asc()

    def __str__(self) -> str:
        return f"{self.name} desc" if self.descending else self.name


def parse_order(text: str, sortable: Mapping[str, Column[Any]]) -> tuple[Term, ...]:
    """The terms of an `order_by`; none for an empty one. Raises OrderByInvalid."""
    if len(text) > MAX_LENGTH:
        raise OrderByInvalid(MAX_LENGTH + 1, f"an order has at most {MAX_LENGTH} characters")
    if not text.strip(" "):
        return ()
    terms: list[Term] = []
    at = 0
    for piece in text.split(","):
        match = _TERM.fullmatch(piece)
        if match is None:
            raise OrderByInvalid(at + 1, "a field is expected, alone or with `desc`")
        name, direction = match["name"], match["direction"]
        name_at = at + match.start("name") + 1
        if name not in sortable:
            raise OrderByInvalid(name_at, f"rows are not sorted by this; they are by {', '.join(sorted(sortable))}")
        if direction not in (None, "asc", "desc"):
            raise OrderByInvalid(at + match.start("direction") + 1, "`desc` is expected, or nothing")
        if any(term.name == name for term in terms):
            raise OrderByInvalid(name_at, "a field is named once only")
        if len(terms) == MAX_TERMS:
            raise OrderByInvalid(name_at, f"an order has at most {MAX_TERMS} fields")
        terms.append(Term(name, sortable[name], direction == "desc"))
        at += len(piece) + 1
    return tuple(terms)


def after(terms: Sequence[Term], unset: Sequence[bool]) -> ColumnElement[bool]:
    """What comes after a row whose values are the parameters `after_0`, `after_1`, …; `unset` says which it lacks."""
    values = [bindparam(f"after_{n}", type_=term.column.type) for n, term in enumerate(terms)]
    descending = terms[0].descending
    if all(term.descending is descending and not term.column.nullable for term in terms):
        # One comparison of rows, which an index on the columns answers from its middle.
        row, key = tuple_(*[term.column for term in terms]), tuple_(*values)
        return row < key if descending else row > key
    alternatives = []
    same: list[ColumnElement[bool]] = []
    for term, value, lacks in zip(terms, values, unset, strict=True):
        alternatives.append(and_(*same, _beyond(term, value, lacks=lacks)))
        same.append(term.column.is_(None) if lacks else term.column == value)
    first, value = terms[0], values[0]
    if first.column.nullable:
        return or_(*alternatives)
    # Says no more than the alternatives do, but in a form that an index can begin from.
    return and_(first.column <= value if descending else first.column >= value, or_(*alternatives))


def _beyond(term: Term, value: ColumnElement[Any], *, lacks: bool) -> ColumnElement[bool]:
    if term.descending:
        return term.column.is_not(None) if lacks else term.column < value
    if lacks:
        return false()
    return or_(term.column > value, term.column.is_(None)) if term.column.nullable else term.column > value
