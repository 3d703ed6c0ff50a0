"""Uploads: large files on their way, part by part."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from services.documents.errors import DocumentEmpty, UploadIncomplete, UploadOffsetMismatch
from services.documents.model.documents import Content, Facts
from services.documents.model.names import UPLOAD
from services.documents.model.visibility import Visibility
from services.kernel.errors import FieldsInvalid, FieldViolation

KEPT = timedelta(days=7)
MAX_UPLOADS = 100
MAX_PART_BYTES = 8 * 1024 * 1024
# Each part is a row, a blob and a file. The last may be shorter.
MIN_PART_BYTES = 256 * 1024
MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload under way. Its author alone knows of it."""

    workspace_id: UUID
    upload_id: UUID
    display_name: str
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    visibility: Visibility | None
    size_bytes: int
    received_bytes: int
    author_id: UUID
    create_time: datetime
    expire_time: datetime

    @classmethod
    def begun(
        cls, workspace_id: UUID, facts: Facts, size_bytes: int, author_id: UUID, now: datetime, *, upload_id: UUID
    ) -> Self:
        """A new one. Raises DocumentEmpty."""
        if size_bytes == 0:
            raise DocumentEmpty("upload.size_bytes")
        return cls(
            workspace_id=workspace_id,
            upload_id=upload_id,
            display_name=facts.display_name,
            tags=facts.tags,
            metadata=facts.metadata or {},
            visibility=facts.visibility,
            size_bytes=size_bytes,
            received_bytes=0,
            author_id=author_id,
            create_time=now,
            expire_time=now + KEPT,
        )

    @property
    def name(self) -> str:
        """The resource name."""
        return UPLOAD.format(workspace=self.workspace_id, upload=self.upload_id)

    @property
    def facts(self) -> Facts:
        """What the document will begin with."""
        return Facts(self.display_name, self.tags, self.metadata, self.visibility)

    @property
    def least_part(self) -> int:
        """How many bytes any part but the last must have: so there are few, and no more than MAX_PARTS."""
        return max(MIN_PART_BYTES, -(-self.size_bytes // MAX_PARTS))

    def open_for(self, user_id: UUID, now: datetime) -> bool:
        """Whether this user can go on with it."""
        return user_id == self.author_id and now < self.expire_time

    def check_part(self, offset: int, size: int) -> None:
        """Let pass a part that may come now, or may have come before.

        Raises FieldsInvalid or UploadOffsetMismatch.
        """
        if not 0 < size <= MAX_PART_BYTES:
            raise FieldsInvalid(FieldViolation("content.data", f"must have 1 to {MAX_PART_BYTES} bytes"))
        if offset > self.received_bytes:
            raise UploadOffsetMismatch(self.received_bytes)
        if offset + size > self.size_bytes:
            problem = f"must not go beyond the {self.size_bytes} bytes that were announced"
            raise FieldsInvalid(FieldViolation("content.data", problem))
        if offset + size < self.size_bytes and size < self.least_part:
            raise FieldsInvalid(
                FieldViolation("content.data", f"must have {self.least_part} bytes at least, or all that are left")
            )

    def with_part(self, offset: int, size: int) -> Self:
        """With one more part. Raises UploadOffsetMismatch."""
        if offset != self.received_bytes:
            raise UploadOffsetMismatch(self.received_bytes)
        return replace(self, received_bytes=offset + size)

    def part(self, offset: int, content: Content) -> "Part":
        """The part that these bytes are, from there on."""
        return Part(
            workspace_id=self.workspace_id,
            upload_id=self.upload_id,
            start_byte=offset,
            sha256=content.sha256,
            blob_id=content.blob_id,
        )

    def require_complete(self) -> None:
        """Raises UploadIncomplete."""
        if self.received_bytes < self.size_bytes:
            raise UploadIncomplete(self.received_bytes, self.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part that has arrived, of the bytes from `start_byte` on."""

    workspace_id: UUID
    upload_id: UUID
    start_byte: int
    sha256: str
    blob_id: UUID
