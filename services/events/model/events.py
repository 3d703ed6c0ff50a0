"""Which events of the log somebody wants."""

from dataclasses import dataclass
from datetime import datetime

_LIKE_SIGNS = str.maketrans({"\\": "\\\\", "_": "\\_", "%": "\\%"})


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to show: what is empty or None does not restrict. `start_time` is included, `end_time` is not.

    A type that ends in `.*` stands for every type below it.
    """

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


def like_patterns(types: tuple[str, ...]) -> list[str]:
    """Types as patterns of SQL's LIKE."""
    return [
        (name.removesuffix("*") if name.endswith(".*") else name).translate(_LIKE_SIGNS) + "%" * name.endswith(".*")
        for name in types
    ]
