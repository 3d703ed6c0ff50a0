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
    """What was heard of a document, and when; `telling` is None where it was deleted.

    `revision` says which change of the document it is: clocks of two machines may tell another order.
    """

    time: datetime
    revision: int
    telling: Telling | None


@dataclass(frozen=True, slots=True)
class Facts:
    """A document's version and what is known of it, as of a `revision`, which was made at `update_time`."""

    document_id: UUID
    version: int
    revision: int
    display_name: str
    media_type: str
    language: str
    tags: tuple[str, ...]
    metadata: dict[str, str]
    author_id: UUID
    audience: Audience
    create_time: datetime
    update_time: datetime

    def told(self, news: News) -> "Facts":
        """After what was heard; the same where what is known is newer."""
        telling = news.telling
        if telling is None or news.revision < self.revision:
            return self
        return replace(
            self,
            revision=news.revision,
            display_name=telling.display_name,
            tags=telling.tags,
            metadata=telling.metadata,
            audience=Audience.of(
                self.author_id, everyone=telling.everyone, roles=telling.roles, members=telling.members
            ),
            update_time=news.time,
        )

    def onto(self, known: "Facts") -> "Facts":
        """These, but with what people change as it is known already, where that is newer."""
        if known.revision <= self.revision:
            return self
        return replace(
            self,
            revision=known.revision,
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
