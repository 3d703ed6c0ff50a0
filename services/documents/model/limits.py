"""How much a workspace may store."""

from dataclasses import dataclass

from services.documents.errors import DocumentLimitReached, DocumentTooLarge

_OFFICE = "application/vnd.openxmlformats-officedocument."
_PACKED = frozenset(
    {
        "application/zip",
        "application/x-ole-storage",
        "application/gzip",
        "application/x-tar",
        "application/x-7z-compressed",
        "application/vnd.rar",
    }
)


def is_packed(media_type: str) -> bool:
    """Whether files of the type unpack to more than they are: archives, and what offices write."""
    return media_type in _PACKED or media_type.startswith(_OFFICE)


@dataclass(frozen=True, slots=True)
class Allowance:
    """The bounds of one workspace: bytes of a file, bytes of one that unpacks to more, and documents in all."""

    file_bytes: int
    packed_bytes: int
    documents: int

    def bytes_of(self, media_type: str) -> int:
        """How large a file of this type may be; of the empty one, any."""
        return min(self.packed_bytes, self.file_bytes) if is_packed(media_type) else self.file_bytes

    def check_size(self, size: int, media_type: str = "", *, field: str = "content") -> None:
        """Raises DocumentTooLarge, which blames `field`."""
        limit = self.bytes_of(media_type)
        if size > limit:
            raise DocumentTooLarge(limit, field)

    def check_count(self, documents: int) -> None:
        """Let one more document in, where there are so many. Raises DocumentLimitReached."""
        if documents >= self.documents:
            raise DocumentLimitReached(self.documents)
