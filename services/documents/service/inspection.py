"""What is found out about a file while its bytes pass by."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from uuid import UUID

from services.documents.errors import DocumentEmpty
from services.documents.model.allowance import Allowance
from services.documents.model.documents import Content
from services.documents.model.media_types import PACKED
from services.documents.model.usage import Usage
from services.documents.parsing.sniff import HEAD_BYTES, sniff
from services.documents.service.storage import Storage
from services.kernel.deadline import check_deadline


class Inspection:
    """One file that arrives, how large it may be, and what was stored when it began."""

    def __init__(self, storage: Storage, allowance: Allowance, usage: Usage, display_name: str) -> None:
        self._storage = storage
        self._allowance = allowance
        self._usage = usage
        self._display_name = display_name
        self._head = bytearray()
        self._media_type = ""
        self._size = 0

    def store(self, workspace_id: UUID, chunks: Iterable[bytes]) -> Content:
        """Store the file as it comes.

        Raises DocumentEmpty, DocumentTooLarge or StorageLimitReached as soon as it is, CallDeadlineExceeded or
        DependencyUnavailable.
        """
        content = self._storage.write(workspace_id, self._checked(chunks))
        if self._media_type in PACKED:
            with self._storage.open(workspace_id, content) as file:
                self._media_type = sniff(file, self._display_name)
        return replace(content, media_type=self._media_type)

    def _checked(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            check_deadline()
            self._look_at(chunk)
            yield chunk
        if not self._size:
            raise DocumentEmpty
        if not self._media_type:
            self._detect()

    def _look_at(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if not self._media_type:
            self._head += chunk[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                self._detect()
        self._allowance.check_size(self._size, self._media_type)
        self._allowance.check_room(self._usage, self._size)

    def _detect(self) -> None:
        self._media_type = kind_of(bytes(self._head), self._display_name)
        self._allowance.check_size(self._size, self._media_type)


def kind_of(head: bytes, display_name: str) -> str:
    """The type of a file that begins so; of an archive no more than that it is one."""
    return sniff(io.BytesIO(head[:HEAD_BYTES]), display_name)
