"""How much may come: refused as soon as it is known, whichever way it comes, and however many come at once."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import count
from uuid import UUID

import grpc
import pytest

from plinth.documents.v1 import document_service_pb2 as pb
from services.documents.blobs.port import BlobStore
from services.documents.errors import (
    DocumentLimitReached,
    DocumentTooLarge,
    StorageLimitReached,
    VersionLimitReached,
)
from services.documents.model.allowance import Allowance
from services.documents.model.documents import Document, Facts
from services.documents.model.uploads import MIN_PART_BYTES
from services.documents.model.usage import Usage
from services.documents.service import DocumentsServices, allowance_of, build_documents
from services.kernel.caller import Caller, Grant
from services.kernel.errors import PlinthError, ResourceNotFound
from services.runtime import Runtime
from tests.documents.shelf import Shelf, part
from tests.support.acting import acting, at_once
from tests.support.errors import refused

ZIP = b"PK\x03\x04" + bytes(50_000)


@dataclass
class Plans:
    """What each workspace has bought."""

    of_all: dict[UUID, Allowance]

    def of(self, workspace_id: UUID) -> Allowance:
        return self.of_all[workspace_id]


@pytest.fixture
def plan(runtime: Runtime) -> Allowance:
    """A small one."""
    return replace(allowance_of(runtime.settings), file_bytes=1_000_000, packed_bytes=200_000, documents=2, versions=3)


@pytest.fixture
def plans(shelf: Shelf, plan: Allowance) -> Plans:
    return Plans({shelf.workspace_id: plan})


@pytest.fixture
def small(runtime: Runtime, store: BlobStore, plans: Plans) -> DocumentsServices:
    """The use cases under these plans."""
    return build_documents(runtime.resources, runtime.settings, runtime.pager, store, plans)


def as_owner(shelf: Shelf) -> AbstractContextManager[Caller]:
    """What the test does inside it does as the owner."""
    grant = Grant(shelf.workspace_id, shelf.owner.user_id, "owner", frozenset())
    return acting(Caller(user_id=shelf.owner.user_id, workspace_id=shelf.workspace_id, grant=grant))


@pytest.fixture
def owner(shelf: Shelf) -> Iterator[None]:
    with as_owner(shelf):
        yield


@pytest.mark.usefixtures("owner")
class TestSize:
    @pytest.mark.parametrize(("first", "limit"), [(b"words", 1_000_000), (ZIP, 200_000)])
    def test_a_stream_ends_where_its_kind_may_not_go_on(
        self, shelf: Shelf, small: DocumentsServices, first: bytes, limit: int
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

    def test_an_archive_in_parts_is_refused_with_its_first(self, shelf: Shelf, small: DocumentsServices) -> None:
        first = ZIP + bytes(MIN_PART_BYTES)
        upload = small.uploads.start(shelf.workspace_id, Facts("big.zip"), 500_000)
        with pytest.raises(DocumentTooLarge):
            small.uploads.append(shelf.workspace_id, upload.upload_id, 0, first)
        text = small.uploads.start(shelf.workspace_id, Facts("big.txt"), 500_000)
        assert small.uploads.append(shelf.workspace_id, text.upload_id, 0, part(b"a")).received_bytes == MIN_PART_BYTES


@pytest.mark.usefixtures("owner")
class TestCount:
    def test_a_full_workspace_takes_new_versions_and_no_new_documents(
        self, shelf: Shelf, small: DocumentsServices
    ) -> None:
        for name in ("one", "two"):
            small.documents.create(shelf.workspace_id, Facts(name), [name.encode()])
        with pytest.raises(DocumentLimitReached):
            small.documents.create(shelf.workspace_id, Facts("three"), [b"three"])
        with pytest.raises(DocumentLimitReached):
            small.uploads.start(shelf.workspace_id, Facts("three"), 5)
        assert small.documents.create(shelf.workspace_id, Facts("two"), [b"new"]).current_version == 2

    def test_a_document_has_so_many_versions(self, shelf: Shelf, small: DocumentsServices) -> None:
        for number in range(3):
            small.documents.create(shelf.workspace_id, Facts("plan"), [b"%d" % number])
        for attempt in (
            lambda: small.documents.create(shelf.workspace_id, Facts("plan"), [b"3"]),
            lambda: small.uploads.start(shelf.workspace_id, Facts("plan"), 1),
        ):
            with pytest.raises(VersionLimitReached):
                attempt()

    def test_of_many_at_once_as_many_pass_as_there_is_room_for(self, shelf: Shelf, small: DocumentsServices) -> None:
        create = small.documents.create
        created = made_at_once(shelf, lambda name, chunks: create(shelf.workspace_id, Facts(name), chunks), 4)
        assert sorted(created) == ["", ""] + ["DOCUMENT_LIMIT_REACHED"] * 6
        assert shelf.counted() == Usage(documents=2, version_bytes=8)
        # Nor do the bytes of the others wait for a day.
        assert "writing" not in shelf.states()

    def test_of_many_versions_at_once_too(self, shelf: Shelf, small: DocumentsServices) -> None:
        create = small.documents.create
        created = made_at_once(shelf, lambda _, chunks: create(shelf.workspace_id, Facts("plan"), chunks), 1)
        assert sorted(created) == ["", "", ""] + ["VERSION_LIMIT_REACHED"] * 5
        assert shelf.counted() == Usage(documents=1, version_bytes=3)


def made_at_once(shelf: Shelf, make: Callable[[str, Iterable[bytes]], Document], size: int) -> list[str]:
    """What eight calls are refused with that make something at once, each out of other bytes; nothing where they pass.

    None brings its bytes before all of them have been let in.
    """
    numbers, let_in = count(), threading.Barrier(8)

    def content(name: str) -> Iterator[bytes]:
        let_in.wait(30)
        yield name.encode() * size

    def attempt() -> str:
        name = str(next(numbers))
        with as_owner(shelf):
            try:
                make(name, content(name))
            except PlinthError as error:
                return error.reason
        return ""

    return at_once(8, attempt)


@pytest.mark.usefixtures("owner")
class TestStorage:
    @pytest.fixture
    def plan(self, runtime: Runtime) -> Allowance:
        return replace(allowance_of(runtime.settings), total_bytes=1_000_000)

    def test_all_versions_count_and_a_stream_ends_where_the_room_does(
        self, shelf: Shelf, small: DocumentsServices
    ) -> None:
        for letter in (b"a", b"b"):
            small.documents.create(shelf.workspace_id, Facts("plan"), [letter * 300_000])
        sent = 0

        def endless() -> Iterator[bytes]:
            nonlocal sent
            while True:
                sent += 50_000
                yield bytes(50_000)

        with pytest.raises(StorageLimitReached) as refusal:
            small.documents.create(shelf.workspace_id, Facts("more"), endless())
        assert refusal.value.metadata == {"limit_bytes": "1000000"}
        assert sent == 450_000
        small.documents.create(shelf.workspace_id, Facts("more"), [bytes(400_000)])
        with pytest.raises(StorageLimitReached):
            small.documents.create(shelf.workspace_id, Facts("no more"), [b"1"])

    def test_what_an_upload_announces_counts_until_it_ends(self, shelf: Shelf, small: DocumentsServices) -> None:
        first, second = (small.uploads.start(shelf.workspace_id, Facts(name), 500_000) for name in ("one", "two"))
        assert shelf.counted() == Usage(upload_bytes=1_000_000)
        for full in (
            lambda: small.uploads.start(shelf.workspace_id, Facts("three"), 1),
            lambda: small.documents.create(shelf.workspace_id, Facts("three"), [b"1"]),
        ):
            with pytest.raises(StorageLimitReached):
                full()
        small.uploads.append(shelf.workspace_id, first.upload_id, 0, bytes(500_000))
        document = small.uploads.finish(shelf.workspace_id, first.upload_id, "")
        assert shelf.counted() == Usage(documents=1, version_bytes=500_000, upload_bytes=500_000)
        # The same bytes again are no version, and take no room.
        small.uploads.cancel(shelf.workspace_id, second.upload_id)
        again = small.uploads.start(shelf.workspace_id, Facts("one"), 500_000)
        small.uploads.append(shelf.workspace_id, again.upload_id, 0, bytes(500_000))
        assert small.uploads.finish(shelf.workspace_id, again.upload_id, "") == document
        assert shelf.counted() == Usage(documents=1, version_bytes=500_000)
        small.documents.delete(shelf.workspace_id, document.document_id, f"{document.version}")
        assert shelf.counted() == Usage()

    def test_of_many_at_once_as_many_pass_as_there_is_room_for(self, shelf: Shelf, small: DocumentsServices) -> None:
        create = small.documents.create
        created = made_at_once(shelf, lambda name, chunks: create(shelf.workspace_id, Facts(name), chunks), 300_000)
        assert sorted(created) == ["", "", ""] + ["STORAGE_LIMIT_REACHED"] * 5
        assert shelf.counted() == Usage(documents=3, version_bytes=900_000)

    def test_a_plan_that_shrinks_takes_nothing_away(
        self, shelf: Shelf, small: DocumentsServices, plans: Plans, plan: Allowance
    ) -> None:
        document = small.documents.create(shelf.workspace_id, Facts("old"), [bytes(400_000)])
        upload = small.uploads.start(shelf.workspace_id, Facts("begun"), 300_000)
        small.uploads.append(shelf.workspace_id, upload.upload_id, 0, bytes(300_000))
        plans.of_all[shelf.workspace_id] = replace(plan, total_bytes=500_000)
        assert small.uploads.finish(shelf.workspace_id, upload.upload_id, "").size_bytes == 300_000
        with pytest.raises(StorageLimitReached):
            small.documents.create(shelf.workspace_id, Facts("new"), [b"1"])
        small.documents.delete(shelf.workspace_id, document.document_id, f"{document.version}")
        small.documents.create(shelf.workspace_id, Facts("new"), [b"1"])


class TestPlans:
    def test_each_workspace_has_what_it_bought(
        self, shelf: Shelf, other_shelf: Shelf, small: DocumentsServices, plans: Plans, plan: Allowance
    ) -> None:
        plans.of_all[shelf.workspace_id] = replace(plan, file_bytes=10, documents=1)
        plans.of_all[other_shelf.workspace_id] = replace(plan, file_bytes=20, documents=2)
        with as_owner(shelf):
            with pytest.raises(DocumentTooLarge):
                small.documents.create(shelf.workspace_id, Facts("large"), [bytes(15)])
            small.documents.create(shelf.workspace_id, Facts("one"), [bytes(10)])
            with pytest.raises(DocumentLimitReached):
                small.documents.create(shelf.workspace_id, Facts("two"), [bytes(10)])
        with as_owner(other_shelf):
            for name in ("one", "two"):
                small.documents.create(other_shelf.workspace_id, Facts(name), [bytes(15)])
        assert shelf.counted() == Usage(documents=1, version_bytes=10)
        assert other_shelf.counted() == Usage(documents=2, version_bytes=30)


class TestUsage:
    def test_who_manages_documents_is_told_what_there_is_also_of_what_they_cannot_see(
        self, shelf: Shelf, runtime: Runtime
    ) -> None:
        shelf.create(b"12345", shelf.team.member, visibility=shelf.visible(shelf.team.member))
        shelf.start(7)
        request = pb.GetDocumentUsageRequest(name=f"{shelf.workspace}/documentUsage")
        told = shelf.team.admin.stubs.documents.GetDocumentUsage(request).document_usage
        assert (told.name, told.document_count, told.version_bytes, told.upload_bytes) == (request.name, 1, 5, 7)
        settings = runtime.settings
        assert (told.max_documents, told.max_versions) == (settings.max_documents, settings.max_document_versions)
        assert (told.max_bytes, told.max_file_bytes) == (settings.max_stored_bytes, settings.max_upload_bytes)
        assert told.max_packed_file_bytes == settings.max_packed_upload_bytes
        with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            shelf.team.member.stubs.documents.GetDocumentUsage(request)

    @pytest.mark.usefixtures("owner")
    def test_a_purged_workspace_takes_nothing_any_more(self, shelf: Shelf, services: DocumentsServices) -> None:
        upload = services.uploads.start(shelf.workspace_id, Facts("begun"), 4)
        services.uploads.append(shelf.workspace_id, upload.upload_id, 0, b"here")

        def purged_meanwhile() -> Iterator[bytes]:
            yield b"begun"
            with services.units(shelf.workspace_id) as uow:
                services.housekeeping.forget_workspace(uow, shelf.workspace_id)
                uow.commit()

        for late in (
            lambda: services.documents.create(shelf.workspace_id, Facts("late"), purged_meanwhile()),
            lambda: services.uploads.finish(shelf.workspace_id, upload.upload_id, ""),
            lambda: services.uploads.start(shelf.workspace_id, Facts("late"), 4),
        ):
            with pytest.raises(ResourceNotFound):
                late()
        assert "writing" not in shelf.states()
