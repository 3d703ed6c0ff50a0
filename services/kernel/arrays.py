"""Columns of many rows, as PostgreSQL takes them: arrays in its binary format.

psycopg writes lists element by element, each through an object of its own; for a batch of rows that costs more than all
the rest. The format: `array_recv` in PostgreSQL's src/backend/utils/adt/arrayfuncs.c. What is too large for its type
raises OverflowError.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from psycopg import adapters
from psycopg.adapt import Dumper
from psycopg.pq import Format

_BOOL, _BYTEA, _INT2, _INT4, _INT8, _FLOAT4 = 16, 17, 21, 23, 20, 700
_TEXT, _TIMESTAMPTZ, _UUID = 25, 1184, 2950
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NULL = (-1).to_bytes(4, signed=True)
_16, _8, _4, _2, _1 = (size.to_bytes(4) for size in (16, 8, 4, 2, 1))


class Column:
    """One column of many rows, ready to be sent."""

    __slots__ = ("data",)

    def __init__(self, element: int, count: int, elements: Iterable[bytes]) -> None:
        # Dimensions, whether there are nulls, the type of an element; the size and the lower bound of the dimension.
        head = b"".join(number.to_bytes(4) for number in ((1, 1, element, count, 1) if count else (0, 0, element)))
        self.data = head + b"".join(elements)


class _ColumnDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Column) -> bytes:
        return obj.data


adapters.register_dumper(Column, _ColumnDumper)


def uuids(values: Sequence[UUID | None]) -> Column:
    """A uuid[]."""
    return Column(_UUID, len(values), [_NULL if value is None else _16 + value.int.to_bytes(16) for value in values])


def texts(values: Sequence[str]) -> Column:
    """A text[]."""
    return _of_any_length(_TEXT, [value.encode() for value in values])


def blobs(values: Sequence[bytes]) -> Column:
    """A bytea[]."""
    return _of_any_length(_BYTEA, values)


def booleans(values: Sequence[bool]) -> Column:
    """A boolean[]."""
    return Column(_BOOL, len(values), [_1 + value.to_bytes() for value in values])


def smallints(values: Sequence[int]) -> Column:
    """A smallint[]."""
    return Column(_INT2, len(values), [_2 + value.to_bytes(2, signed=True) for value in values])


def integers(values: Sequence[int]) -> Column:
    """An integer[]."""
    return Column(_INT4, len(values), [_4 + value.to_bytes(4, signed=True) for value in values])


def bigints(values: Sequence[int]) -> Column:
    """A bigint[]."""
    return Column(_INT8, len(values), [_8 + value.to_bytes(8, signed=True) for value in values])


def reals(values: bytes) -> Column:
    """A real[] of big-endian floats of four bytes, one behind the other."""
    count = len(values) // 4
    items = bytearray((_4 + bytes(4)) * count)
    for at in range(4):
        items[4 + at :: 8] = values[at::4]
    return Column(_FLOAT4, count, [bytes(items)])


def moments(values: Sequence[datetime]) -> Column:
    """A timestamptz[]: microseconds since 2000."""
    since = [value - _EPOCH for value in values]
    return Column(
        _TIMESTAMPTZ,
        len(values),
        [
            _8 + ((one.days * 86_400 + one.seconds) * 1_000_000 + one.microseconds).to_bytes(8, signed=True)
            for one in since
        ],
    )


def _of_any_length(element: int, values: Sequence[bytes]) -> Column:
    return Column(element, len(values), [len(value).to_bytes(4) + value for value in values])
