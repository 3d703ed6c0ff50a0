"""Which events somebody wants, by type and otherwise.

Types are exact, or end in `.*` and stand for every type below; no types at all stand for every event.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_LIKE_SIGNS = str.maketrans({"\\": "\\\\", "_": "\\_", "%": "\\%"})


def matches(types: Sequence[str], event_type: str) -> bool:
    """Whether the type of an event is among those wanted."""
    return not types or any(
        event_type.startswith(name[:-1]) if _is_group(name) else event_type == name for name in types
    )


def like_patterns(types: Sequence[str]) -> list[str]:
    """The types as patterns of SQL's LIKE."""
    return [
        name[:-1].translate(_LIKE_SIGNS) + "%" if _is_group(name) else name.translate(_LIKE_SIGNS) for name in types
    ]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to show: what is empty or None does not restrict. `start_time` is included, `end_time` is not."""

    types: tuple[str, ...] = ()
    subject: str = ""
    actor: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """As text, for a page token to be bound to."""
        times = (time.isoformat() if time else "" for time in (self.start_time, self.end_time))
        return (",".join(self.types), self.subject, self.actor, *times)


def _is_group(name: str) -> bool:
    return name.endswith(".*")
