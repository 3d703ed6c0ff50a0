"""How much a workspace may store."""

from dataclasses import dataclass

from services.documents.errors import DocumentLimitReached, DocumentTooLarge, StorageLimitReached, VersionLimitReached
from services.documents.model.media_types import PACKED
from services.documents.model.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The bounds of one workspace.

    `file_bytes` of a file, `packed_bytes` of one that unpacks to more, `documents` in all, `versions` of a document,
    and `total_bytes` of all versions and of what uploads under way have announced.
    """

    file_bytes: int
    packed_bytes: int
    documents: int
    versions: int
    total_bytes: int

    def bytes_of(self, media_type: str) -> int:
        """How large a file of this type may be; of the empty one, any."""
        return min(self.packed_bytes, self.file_bytes) if media_type in PACKED else self.file_bytes

    def check_size(self, size: int, media_type: str = "", *, field: str = "content") -> None:
        """Raises DocumentTooLarge, which blames `field`."""
        limit = self.bytes_of(media_type)
        if size > limit:
            raise DocumentTooLarge(limit, field)

    def check_versions(self, versions: int) -> None:
        """Let a document have so many. Raises VersionLimitReached."""
        if versions > self.versions:
            raise VersionLimitReached(self.versions)

    def check_room(self, before: Usage, size: int) -> None:
        """Let so many bytes more in. Raises StorageLimitReached."""
        if before.total_bytes + size > self.total_bytes:
            raise StorageLimitReached(self.total_bytes)

    def check_usage(self, after: Usage, more: Usage) -> None:
        """Let a change pass that leaves so much. What takes up no more passes always, also where there is too much.

        Raises DocumentLimitReached or StorageLimitReached.
        """
        if more.documents > 0 and after.documents > self.documents:
            raise DocumentLimitReached(self.documents)
        if more.total_bytes > 0:
            self.check_room(after, 0)
