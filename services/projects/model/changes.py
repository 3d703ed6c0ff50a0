"""What changed: the values that an update sets, and how events tell of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from services.kernel.clock import format_time
from services.kernel.names import USER

_SHOWN = 200
_CUT = "…"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class To(Generic[T]):
    """A new value in a patch, where None is a value too."""

    value: T


@dataclass(frozen=True, slots=True)
class FieldChange:
    """How one field changed, in words."""

    field: str
    old_value: str
    new_value: str


def in_words(value: object) -> str:
    """A value as events show it: moments in RFC 3339, users by name, lists joined by `, `; long texts are cut."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case datetime():
            return format_time(value)
        case UUID():
            return USER.format(user=value)
        case str():
            return value if len(value) <= _SHOWN else value[: _SHOWN - 1] + _CUT
        case Iterable():
            return in_words(", ".join(map(in_words, value)))
        case _:
            return str(value)


def changes_of(before: object, after: object, fields: Iterable[str]) -> list[FieldChange]:
    """How `after` differs from `before` in these attributes. `assignee_id` is told as the field `assignee`."""
    return [
        FieldChange(field.removesuffix("_id"), in_words(old), in_words(new))
        for field, old, new in ((field, getattr(before, field), getattr(after, field)) for field in fields)
        if old != new
    ]
