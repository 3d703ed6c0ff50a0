"""What search knows of a document: told with each publish, and by documents' events."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may see a document: who has one of the roles, and these users. Both sorted; neither: everyone."""

    roles: tuple[str, ...] = ()
    members: tuple[UUID, ...] = ()

    @classmethod
    def of(cls, author_id: UUID, *, everyone: bool, roles: Iterable[str], members: Iterable[UUID]) -> "Audience":
        """The audience of a document of this author, who always sees it."""
        if everyone:
            return EVERYONE
        return cls(tuple(sorted(set(roles))), tuple(sorted({author_id, *members})))


EVERYONE = Audience()
EVERYONE_ID = 0


@dataclass(frozen=True, slots=True)
class Telling:
    """What people change of a document: its name, its tags, its metadata, and who sees it."""

    display_name: str
    tags: tuple[str, ...]
    metadata: dict[str, str]
    everyone: bool
    roles: tuple[str, ...]
    members: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class News:
    """What was heard of a document that is not here, and when; `telling` is None where it was deleted."""

    time: datetime
    telling: Telling | None


@dataclass(frozen=True, slots=True)
class Facts:
    """A document's version and what is known of it, as of `update_time`."""

    document_id: UUID
    version: int
    display_name: str
    media_type: str
    language: str
    tags: tuple[str, ...]
    metadata: dict[str, str]
    author_id: UUID
    audience: Audience
    page_count: int
    create_time: datetime
    update_time: datetime

    def told(self, telling: Telling, time: datetime) -> "Facts":
        """After what was heard at `time`; the same where what is known is newer."""
        if time < self.update_time:
            return self
        return replace(
            self,
            display_name=telling.display_name,
            tags=telling.tags,
            metadata=telling.metadata,
            audience=Audience.of(
                self.author_id, everyone=telling.everyone, roles=telling.roles, members=telling.members
            ),
            update_time=time,
        )

    def onto(self, known: "Facts") -> "Facts":
        """These, but with what people change as it is known already, where that is newer."""
        if known.update_time <= self.update_time:
            return self
        return replace(
            self,
            display_name=known.display_name,
            tags=known.tags,
            metadata=known.metadata,
            audience=known.audience,
            update_time=known.update_time,
        )


@dataclass(frozen=True, slots=True)
class Document:
    """A published document: its facts under its numbers, and how many passages it has."""

    facts: Facts
    doc_no: int
    audience_id: int
    chunk_count: int
