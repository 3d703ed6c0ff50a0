"""What search knows of a document: stated with each publish, and changed by documents' events."""

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
class DocumentUpdate:
    """What people change of a document: its name, its tags, its metadata, and who sees it."""

    display_name: str
    tags: tuple[str, ...]
    metadata: dict[str, str]
    everyone: bool
    roles: tuple[str, ...]
    members: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """What became of a document, and when; `update` is None where it was deleted.

    `revision` says which change of the document it is: clocks of two machines may tell another order.
    """

    time: datetime
    revision: int
    update: DocumentUpdate | None


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

    def updated_by(self, change: DocumentChange) -> "Facts":
        """After a change; the same where what is known is newer. Of the same revision, the change wins."""
        update = change.update
        if update is None or change.revision < self.revision:
            return self
        return replace(
            self,
            revision=change.revision,
            display_name=update.display_name,
            tags=update.tags,
            metadata=update.metadata,
            audience=Audience.of(self.author_id, everyone=update.everyone, roles=update.roles, members=update.members),
            update_time=change.time,
        )

    def merged_onto(self, known: "Facts") -> "Facts":
        """These, but with what people change as it is known already, where that is newer; as old, these win."""
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
