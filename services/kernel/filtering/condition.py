"""From the tree of a filter to a condition in SQL.

No text of a request ever becomes SQL. Names are looked up among the declared fields, values travel as parameters, and
the SQL depends on the shape of the filter alone.

A field that is not set equals nothing: `due_time = …` and `due_time < …` leave it out; `due_time != …` and `NOT …` let
it through. So a negation is pushed down to the comparisons: SQL's own would keep no unset field.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, any_, bindparam, func, literal_column, or_
from sqlalchemy.dialects.postgresql import JSONB

from services.kernel.errors import FilterInvalid
from services.kernel.filtering.kinds import TEXT, Field, Kind
from services.kernel.filtering.syntax import And, Comparator, Node, Not, Or, Restriction, Value

_OPERATORS: Mapping[Comparator, Callable[[Any, Any], Any]] = {
    Comparator.EQ: operator.eq,
    Comparator.NE: operator.ne,
    Comparator.LT: operator.lt,
    Comparator.LE: operator.le,
    Comparator.GT: operator.gt,
    Comparator.GE: operator.ge,
}
_OPPOSITES = {
    Comparator.EQ: Comparator.NE,
    Comparator.NE: Comparator.EQ,
    Comparator.LT: Comparator.GE,
    Comparator.LE: Comparator.GT,
    Comparator.GT: Comparator.LE,
    Comparator.GE: Comparator.LT,
}
_LIKE_SPECIAL = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_"})


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a comparison is about: a field, or what a map holds at a key. `name` says it without the key."""

    name: str
    column: ColumnElement[Any]
    kind: Kind
    nullable: bool


class Condition:
    """The condition of one filter: `sql`, the `values` of its parameters, and its `shape`.

    Two of the same shape differ in values only. Raises FilterInvalid.
    """

    def __init__(self, tree: Node, fields: Mapping[str, Field]) -> None:
        self._fields = fields
        self._shape: list[str] = []
        self.values: dict[str, object] = {}
        self.sql = self._build(tree, negated=False)

    @property
    def shape(self) -> tuple[str, ...]:
        """What the SQL depends on."""
        return tuple(self._shape)

    def _build(self, node: Node, *, negated: bool) -> ColumnElement[bool]:
        match node:
            case Restriction():
                return self._compare(node, negated=negated)
            case Not(part):
                return self._build(part, negated=not negated)
            case And(parts) | Or(parts):
                join = and_ if isinstance(node, And) is not negated else or_
                self._shape.append(f"{join.__name__}{len(parts)}")
                return join(*[self._build(part, negated=negated) for part in parts])

    def _compare(self, node: Restriction, *, negated: bool) -> ColumnElement[bool]:
        field, comparator = self._subject(node), node.comparator
        if comparator is Comparator.HAS and node.value.anything:
            self._shape.append(f"{field.name} {'unset' if negated else 'set'}")
            return _is_set(field, negated=negated)
        if comparator not in field.kind.comparators:
            other = " but with `*`, which asks whether it is set" if comparator is Comparator.HAS else ""
            raise FilterInvalid(node.name_at, f"{field.name} is not compared by `{comparator}`{other}")
        if comparator is Comparator.NE:
            comparator, negated = Comparator.EQ, not negated
        wild = field.kind.wildcards and (comparator is Comparator.HAS or node.value.text is None)
        if wild and comparator not in (Comparator.HAS, Comparator.EQ):
            raise FilterInvalid(node.value_at, "a wildcard stands in a value of `=`, `!=` or `:` only")
        parameter = bindparam(f"filter_{len(self.values)}", type_=field.kind.type)
        self.values[parameter.key] = (
            _pattern(node.value, inside=comparator is Comparator.HAS) if wild else _read(field, node)
        )
        self._shape.append(f"{'not ' if negated else ''}{field.name} {comparator}{'~' if wild else ''}")
        if field.kind.repeated or field.kind.keyed:
            found: ColumnElement[bool] = (
                func.jsonb_exists(field.column, parameter) if field.kind.keyed else parameter == any_(field.column)
            )
            return ~found if negated else found
        if wild:
            like = field.column.ilike if comparator is Comparator.HAS else field.column.like
            found = like(parameter, escape="\\")
            return _or_unset(field, ~found) if negated else found
        if negated:
            return _or_unset(field, _OPERATORS[_OPPOSITES[comparator]](field.column, parameter))
        compared: ColumnElement[bool] = _OPERATORS[comparator](field.column, parameter)
        return compared

    def _subject(self, node: Restriction) -> _Subject:
        field, key = self._fields.get(node.name), ""
        if field is None:
            name, _, key = node.name.partition(".")
            field = self._fields.get(name)
        if field is None or (key and not field.kind.keyed):
            raise FilterInvalid(node.name_at, f"there is no such field; there are {', '.join(sorted(self._fields))}")
        if not key:
            return _Subject(field.name, field.column, field.kind, bool(field.column.nullable))
        parameter = bindparam(f"filter_key_{len(self.values)}", type_=Text())
        self.values[parameter.key] = key
        return _Subject(f"{field.name}.", field.column.op("->>", return_type=Text())(parameter), TEXT, nullable=True)


def _is_set(field: _Subject, *, negated: bool) -> ColumnElement[bool]:
    if field.kind.repeated:
        size = func.cardinality(field.column)
        return size == 0 if negated else size > 0
    if field.kind.keyed:
        empty = literal_column("'{}'", JSONB())
        return field.column == empty if negated else field.column != empty
    return field.column.is_(None) if negated else field.column.is_not(None)


def _or_unset(field: _Subject, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(condition, field.column.is_(None)) if field.nullable else condition


def _read(field: _Subject, restriction: Restriction) -> object:
    try:
        # A `*` means nothing to a kind without wildcards, and is none of its values.
        return field.kind.read("*".join(restriction.value.parts))
    except ValueError:
        raise FilterInvalid(restriction.value_at, f"{field.name} is compared with {field.kind.says}") from None


def _pattern(value: Value, *, inside: bool) -> str:
    """As LIKE reads it; `inside`: anywhere in the text."""
    pattern = "%".join(part.translate(_LIKE_SPECIAL) for part in value.parts)
    return f"%{pattern}%" if inside else pattern
