"""What fields of a list hold, and how a filter's text is read as such a value."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Double, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP as TIMESTAMPTZ
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.types import TypeEngine

from services.kernel.errors import NameInvalid
from services.kernel.filtering.syntax import Comparator
from services.kernel.names import ResourceName

_SAME = frozenset({Comparator.EQ, Comparator.NE})
_ORDERED = _SAME | {Comparator.LT, Comparator.LE, Comparator.GT, Comparator.GE}

_INT64 = range(-(2**63), 2**63)
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")
# RFC 3339 §5.6, where `datetime.fromisoformat` alone would take any date of ISO 8601.
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How the values of a field are told, read and compared.

    `read` makes the value that PostgreSQL compares with, of `type`, and raises ValueError for a text that is none.
    `wildcards` says whether a `*` in it stands for any characters, `repeated` whether a field holds an array of them,
    `keyed` whether it is a map: then the values are its keys, and what it has at `key` is the field `NAME.key`, a text.
    """

    says: str
    read: Callable[[str], object]
    type: TypeEngine[Any]
    comparators: frozenset[Comparator]
    wildcards: bool = False
    repeated: bool = False
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a list: its name in requests, the column behind it, and what it holds.

    A sortable one can be in an order too; the list's rows are then objects with an attribute called as the column.
    """

    name: str
    column: Column[Any]
    kind: Kind
    sortable: bool = False


def one_of(stored: Mapping[str, str]) -> Kind:
    """An enum: from the names of its values, as clients know them, to the texts that the column holds."""

    def read(text: str) -> str:
        try:
            return stored[text]
        except KeyError:
            raise ValueError(text) from None

    return Kind(f"one of {', '.join(stored)}", read, Text(), _SAME)


def resource(*names: ResourceName) -> Kind:
    """A reference to a resource: from its name, of one of these forms, to the last id in it, which the column holds."""

    def read(text: str) -> object:
        for name in names:
            try:
                return name.ids(text)[-1]
            except NameInvalid:
                continue
        raise ValueError(text)

    return Kind(f"a name of the form {' or '.join(name.pattern for name in names)}", read, UUID(), _SAME)


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text) or (value := int(text)) not in _INT64:
        raise ValueError(text)
    return value


def _number(text: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    if math.isinf(value):
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _timestamp(text: str) -> datetime:
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError(text)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError(text) from None


TEXT = Kind("a text", str, Text(), _ORDERED | {Comparator.HAS}, wildcards=True)
TEXT_MAP = Kind("one of its keys, whole", str, Text(), frozenset({Comparator.HAS}), keyed=True)
TEXTS = Kind("one of its texts, whole", str, Text(), frozenset({Comparator.HAS}), repeated=True)
INTEGER = Kind("a whole number", _integer, BigInteger(), _ORDERED)
NUMBER = Kind("a number", _number, Double(), _ORDERED)
BOOLEAN = Kind("true or false", _boolean, Boolean(), _SAME)
TIMESTAMP = Kind("a moment like 2026-03-01T12:00:00Z", _timestamp, TIMESTAMPTZ(timezone=True), _ORDERED)
