"""Documents and their versions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from uuid import UUID

from services.documents.model.ingestions import Ingestion, IngestionState
from services.documents.model.names import DOCUMENT
from services.documents.model.visibility import EVERYONE, Visibility, VisibilityKind
from services.kernel.errors import FieldsInvalid, FieldViolation

_CHANGEABLE = ("display_name", "tags", "metadata", "visibility")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a document besides its bytes. Without a visibility everyone may see it."""

    display_name: str
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None
    visibility: Visibility | None = None


@dataclass(frozen=True, slots=True)
class DocumentPatch:
    """New values of a document; None leaves as it is."""

    display_name: str | None = None
    tags: tuple[str, ...] | None = None
    metadata: Mapping[str, str] | None = None
    visibility: Visibility | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that lie in the blob store: where, how many, and their SHA-256 in hexadecimal digits; and what they are.

    The latter is empty where nobody has looked.
    """

    blob_id: UUID
    size_bytes: int
    sha256: str
    media_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentVersion:
    """What a document was from one upload until the next."""

    workspace_id: UUID
    document_id: UUID
    version: int
    blob_id: UUID
    media_type: str
    size_bytes: int
    sha256: str
    author_id: UUID
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document. `version` counts its changes, `current_version` is the number of its newest version.

    `indexed_version`, `language`, `page_count` and `ingestion_state` follow the ingestion, and are no change of it.
    """

    workspace_id: UUID
    document_id: UUID
    display_name: str
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    visibility: Visibility
    author_id: UUID
    media_type: str
    size_bytes: int
    sha256: str
    current_version: int
    indexed_version: int
    language: str
    page_count: int
    ingestion_id: UUID | None
    ingestion_state: IngestionState
    version: int
    create_time: datetime
    update_time: datetime

    @classmethod
    def begun(
        cls, workspace_id: UUID, facts: Facts, content: Content, author_id: UUID, now: datetime, *, document_id: UUID
    ) -> Self:
        """A new one, with its first version."""
        return cls(
            workspace_id=workspace_id,
            document_id=document_id,
            display_name=facts.display_name,
            tags=facts.tags,
            metadata=facts.metadata or {},
            visibility=facts.visibility or EVERYONE,
            author_id=author_id,
            media_type=content.media_type,
            size_bytes=content.size_bytes,
            sha256=content.sha256,
            current_version=1,
            indexed_version=0,
            language="",
            page_count=0,
            ingestion_id=None,
            ingestion_state=IngestionState.RECEIVED,
            version=1,
            create_time=now,
            update_time=now,
        )

    @property
    def name(self) -> str:
        """The resource name."""
        return DOCUMENT.format(workspace=self.workspace_id, document=self.document_id)

    @property
    def hidden(self) -> bool:
        """Whether it is not for everyone: nor are events about it then."""
        return self.visibility.kind is not VisibilityKind.EVERYONE

    def holds(self, content: Content) -> bool:
        """Whether its newest version is made of these very bytes."""
        return (self.sha256, self.size_bytes) == (content.sha256, content.size_bytes)

    def with_content(self, content: Content, now: datetime) -> Self:
        """With one more version. What search finds stays that of an older one until this one is indexed."""
        return replace(
            self,
            media_type=content.media_type,
            size_bytes=content.size_bytes,
            sha256=content.sha256,
            current_version=self.current_version + 1,
            version=self.version + 1,
            update_time=now,
        )

    def followed_by(self, ingestion: Ingestion) -> Self:
        """With a newer ingestion."""
        return replace(self, ingestion_id=ingestion.ingestion_id, ingestion_state=ingestion.state)

    def newest(self, content: Content, author_id: UUID, now: datetime) -> DocumentVersion:
        """Its newest version, which is made of this content."""
        return DocumentVersion(
            workspace_id=self.workspace_id,
            document_id=self.document_id,
            version=self.current_version,
            blob_id=content.blob_id,
            media_type=content.media_type,
            size_bytes=content.size_bytes,
            sha256=content.sha256,
            author_id=author_id,
            create_time=now,
        )

    def changed(self, patch: DocumentPatch, now: datetime) -> Self:
        """The document after the patch; the same one when nothing differs. Raises FieldsInvalid."""
        if patch.display_name == "":
            raise FieldsInvalid(FieldViolation("document.display_name", "must not be empty"))
        after = replace(
            self,
            display_name=self.display_name if patch.display_name is None else patch.display_name,
            tags=self.tags if patch.tags is None else patch.tags,
            metadata=self.metadata if patch.metadata is None else patch.metadata,
            visibility=patch.visibility or self.visibility,
        )
        return self if after == self else replace(after, version=self.version + 1, update_time=now)

    def changed_fields(self, before: Self) -> list[str]:
        """What an event tells of the change."""
        return [field for field in _CHANGEABLE if getattr(before, field) != getattr(self, field)]
