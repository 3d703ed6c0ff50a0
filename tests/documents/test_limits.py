"""How much may come: refused as soon as it is known, whichever way it comes."""

from collections.abc import Iterator

import pytest

from services.documents.blobs.port import BlobStore
from services.documents.errors import DocumentLimitReached, DocumentTooLarge
from services.documents.model.documents import Facts
from services.documents.service import DocumentsServices, build_documents
from services.kernel.caller import Caller, Grant
from services.runtime import Runtime
from tests.documents.shelf import Shelf
from tests.support.acting import acting

LIMITS = {"max_upload_bytes": 1_000_000, "max_packed_upload_bytes": 200_000, "max_documents": 2}
ZIP = b"PK\x03\x04" + bytes(50_000)


@pytest.fixture
def small(runtime: Runtime, store: BlobStore, shelf: Shelf) -> Iterator[DocumentsServices]:
    """The use cases under small limits, as the owner."""
    settings = runtime.settings.model_copy(update=LIMITS)
    grant = Grant(shelf.workspace_id, shelf.owner.user_id, "owner", frozenset())
    with acting(Caller(user_id=shelf.owner.user_id, workspace_id=shelf.workspace_id, grant=grant)):
        yield build_documents(runtime.resources, settings, runtime.pager, store)


@pytest.mark.parametrize(("first", "limit"), [(b"words", 1_000_000), (ZIP, 200_000)])
def test_a_stream_ends_where_its_kind_may_not_go_on(
    shelf: Shelf, small: DocumentsServices, first: bytes, limit: int
) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        chunk = first
        while True:
            sent += len(chunk)
            yield chunk
            chunk = bytes(50_000)

    with pytest.raises(DocumentTooLarge) as refusal:
        small.documents.create(shelf.workspace_id, Facts("endless"), endless())
    assert refusal.value.metadata == {"limit_bytes": str(limit)}
    assert limit < sent <= limit + 50_000
    assert not any(map(shelf.has_bytes, shelf.blobs()))


def test_an_archive_in_parts_is_refused_with_its_first(shelf: Shelf, small: DocumentsServices) -> None:
    upload = small.uploads.start(shelf.workspace_id, Facts("big.zip"), 300_000)
    with pytest.raises(DocumentTooLarge):
        small.uploads.append(shelf.workspace_id, upload.upload_id, 0, ZIP)
    text = small.uploads.start(shelf.workspace_id, Facts("big.txt"), 300_000)
    assert small.uploads.append(shelf.workspace_id, text.upload_id, 0, b"words").received_bytes == 5


def test_a_full_workspace_takes_new_versions_and_no_new_documents(shelf: Shelf, small: DocumentsServices) -> None:
    for name in ("one", "two"):
        small.documents.create(shelf.workspace_id, Facts(name), [name.encode()])
    with pytest.raises(DocumentLimitReached):
        small.documents.create(shelf.workspace_id, Facts("three"), [b"three"])
    with pytest.raises(DocumentLimitReached):
        small.uploads.start(shelf.workspace_id, Facts("three"), 5)
    assert small.documents.create(shelf.workspace_id, Facts("two"), [b"new"]).current_version == 2
