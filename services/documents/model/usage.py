"""What a workspace stores, in numbers."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Documents, the bytes of all their versions, and the bytes that uploads under way have announced.

    Or by how much these change.
    """

    documents: int = 0
    version_bytes: int = 0
    upload_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """What counts as stored."""
        return self.version_bytes + self.upload_bytes

    def plus(self, more: Self) -> Self:
        """With so much more."""
        return replace(
            self,
            documents=self.documents + more.documents,
            version_bytes=self.version_bytes + more.version_bytes,
            upload_bytes=self.upload_bytes + more.upload_bytes,
        )
