"""What is left of uploads that died, of deleted documents and of purged workspaces: nothing, in the end."""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from services.documents.blobs.port import BlobStore, BlobStoreUnavailable, Written, blob_key
from services.documents.model.documents import Facts
from services.documents.model.uploads import MIN_PART_BYTES
from services.documents.model.usage import Usage
from services.documents.repository.blobs import _IN, BlobState
from services.documents.service import DocumentsServices, build_documents
from services.kernel.errors import ConcurrentUpdate, DependencyUnavailable, ResourceNotFound
from services.kernel.unit_of_work import StubCallInUnitOfWork
from services.runtime import Runtime
from tests.documents.shelf import TABLES, Shelf
from tests.support.errors import refused

# A sweep takes what is left of every workspace: two at once would see each other's.
pytestmark = pytest.mark.xdist_group("documents-sweep")


class Killed(BaseException):
    """The process is gone: nothing that would clean up behind it runs in the store."""


@dataclass
class Faulty:
    """The store, until something is wrong with it: `wrong` raises, by what is asked of it and before or after that.

    `before_read` happens once, before the next read; `stuck` are keys that cannot be deleted, `tidied` counts.
    """

    inner: BlobStore
    wrong: dict[str, BaseException] = field(default_factory=dict)
    before_read: Callable[[], None] | None = None
    stuck: set[str] = field(default_factory=set)
    tidied: int = 0

    def _at(self, step: str) -> None:
        if step in self.wrong:
            raise self.wrong[step]

    def write(self, key: str, chunks: Iterable[bytes]) -> Written:
        self._at("before write")
        written = self.inner.write(key, chunks)
        self._at("after write")
        return written

    def read(self, key: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
        self._at("before read")
        if self.before_read is not None:
            first, self.before_read = self.before_read, None
            first()
        yield from self.inner.read(key, start, end)

    def delete(self, key: str) -> None:
        self._at("before delete")
        if key in self.stuck:
            raise BlobStoreUnavailable(f"blob {key}: the bucket answered AccessDenied")
        self.inner.delete(key)
        self._at("after delete")

    def tidy(self, older_than: timedelta) -> int:
        self.tidied += 1
        return self.inner.tidy(older_than)


@pytest.fixture
def faulty(store: BlobStore) -> Faulty:
    return Faulty(store)


@pytest.fixture
def failing(runtime: Runtime, faulty: Faulty) -> DocumentsServices:
    """The use cases on the faulty store."""
    return build_documents(runtime.resources, runtime.settings, runtime.pager, faulty)


def agrees(shelf: Shelf) -> bool:
    """Whether every live blob has its bytes, and there is no other."""
    return all(state == "live" and shelf.has_bytes(blob) for blob, state in shelf.blobs().items())


class TestInterruptions:
    @pytest.mark.parametrize("step", ["before write", "after write"])
    def test_an_upload_that_is_killed_leaves_nothing(
        self, shelf: Shelf, faulty: Faulty, failing: DocumentsServices, as_owner: None, step: str
    ) -> None:
        kept = shelf.create(b"kept", name="kept.txt")
        faulty.wrong[step] = Killed()
        for name in ("new.txt", "kept.txt"):
            with pytest.raises(Killed):
                failing.documents.create(shelf.workspace_id, Facts(name), [b"killed"])
        faulty.wrong.clear()
        left = [blob for blob, state in shelf.blobs().items() if state == "writing"]
        assert len(left) == 2
        failing.housekeeping.sweep(lambda: None)
        assert shelf.states() == {"live": 1, "writing": 2}
        shelf.grow_old()
        failing.housekeeping.sweep(lambda: None)
        assert shelf.states() == {"live": 1}
        assert not any(shelf.has_bytes(blob) for blob in left)
        assert (shelf.read(kept), shelf.listed()) == (b"kept", ["kept.txt"])

    def test_a_part_that_is_killed_can_come_again(
        self, shelf: Shelf, faulty: Faulty, failing: DocumentsServices, as_owner: None
    ) -> None:
        upload = shelf.start(4)
        upload_id = failing.uploads.start(shelf.workspace_id, Facts("b.txt"), 4).upload_id
        faulty.wrong["after write"] = Killed()
        with pytest.raises(Killed):
            failing.uploads.append(shelf.workspace_id, upload_id, 0, b"part")
        faulty.wrong.clear()
        failing.uploads.append(shelf.workspace_id, upload_id, 0, b"part")
        faulty.wrong["after write"] = Killed()
        with pytest.raises(Killed):
            failing.uploads.finish(shelf.workspace_id, upload_id, "")
        faulty.wrong.clear()
        failing.uploads.finish(shelf.workspace_id, upload_id, "")
        shelf.grow_old()
        failing.housekeeping.sweep(lambda: None)
        assert upload.received_bytes == 0
        assert shelf.states() == {"live": 1}
        assert agrees(shelf)

    @pytest.mark.parametrize("step", ["before delete", "after delete"])
    def test_a_collector_that_is_killed_does_it_again(
        self, shelf: Shelf, faulty: Faulty, failing: DocumentsServices, step: str
    ) -> None:
        for name in ("a.txt", "b.txt"):
            shelf.delete(shelf.create(name=name))
        doomed = list(shelf.blobs())
        faulty.wrong[step] = Killed()
        with pytest.raises(Killed):
            failing.housekeeping.sweep(lambda: None)
        faulty.wrong.clear()
        failing.housekeeping.sweep(lambda: None)
        assert shelf.states() == {}
        assert not any(shelf.has_bytes(blob) for blob in doomed)

    def test_who_wrote_for_more_than_a_day_is_refused_and_not_left_without_bytes(
        self, shelf: Shelf, failing: DocumentsServices, as_owner: None
    ) -> None:
        def slow() -> Iterator[bytes]:
            yield b"begun"
            shelf.grow_old()
            failing.housekeeping.sweep(lambda: None)
            yield b" and ended"

        with pytest.raises(ConcurrentUpdate):
            failing.documents.create(shelf.workspace_id, Facts("slow.txt"), slow())
        assert shelf.listed() == []


class TestOutage:
    def test_a_store_that_is_away_is_said_to_be_and_loses_nothing(
        self, shelf: Shelf, faulty: Faulty, failing: DocumentsServices, as_owner: None
    ) -> None:
        document = shelf.create(b"here")
        shelf.delete(shelf.create())
        away = BlobStoreUnavailable("it is away")
        faulty.wrong |= {"before write": away, "before read": away, "before delete": away}
        document_id = failing.documents.list_documents(shelf.workspace_id, 0, "", "", "")[0][0].document_id
        for attempt in (
            lambda: failing.documents.create(shelf.workspace_id, Facts("new.txt"), [b"x"]),
            lambda: failing.documents.download(shelf.workspace_id, document_id, 0),
        ):
            with pytest.raises(DependencyUnavailable):
                attempt()
        for number in range(3):
            shelf.delete(shelf.create(name=f"{number}.txt"))
        with pytest.raises(DependencyUnavailable):
            failing.housekeeping.sweep(lambda: None)
        faulty.wrong.clear()
        failing.housekeeping.sweep(lambda: None)
        shelf.grow_old()
        failing.housekeeping.sweep(lambda: None)
        assert shelf.read(document) == b"here"
        assert agrees(shelf)

    def test_of_what_was_deleted_before_it_went_away_no_row_is_left(
        self, shelf: Shelf, faulty: Faulty, failing: DocumentsServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            shelf.delete(shelf.create(name=f"{number}.txt"))
        away = BlobStoreUnavailable("it is away")

        def delete_and_go(key: str) -> None:
            Faulty.delete(faulty, key)
            faulty.wrong |= {"before write": away, "before delete": away}

        monkeypatch.setattr(faulty, "delete", delete_and_go)
        with pytest.raises(DependencyUnavailable):
            failing.housekeeping.sweep(lambda: None)
        assert shelf.states() == {"doomed": 2}
        assert all(map(shelf.has_bytes, shelf.blobs()))

    def test_nobody_waits_for_the_store_with_a_connection_in_hand(
        self, shelf: Shelf, services: DocumentsServices, as_owner: None
    ) -> None:
        def asks_the_database() -> Iterator[bytes]:
            yield b"a unit of work can be opened while bytes arrive: "
            yield services.documents.list_documents(shelf.workspace_id, 0, "", "", "")[1].encode()

        services.documents.create(shelf.workspace_id, Facts("open.txt"), asks_the_database())
        with services.units(), pytest.raises(StubCallInUnitOfWork):
            services.storage.delete(shelf.workspace_id, shelf.workspace_id)


class TestMeanwhile:
    """What is deleted and collected between a call's look at its row and at its bytes is not found, and no fault."""

    def test_a_download(self, shelf: Shelf, faulty: Faulty, failing: DocumentsServices, as_owner: None) -> None:
        made = shelf.create()

        def gone() -> None:
            shelf.delete(made)
            failing.housekeeping.sweep(lambda: None)

        faulty.before_read = gone
        with pytest.raises(ResourceNotFound):
            failing.documents.download(shelf.workspace_id, UUID(made.name.rpartition("/")[2]), 0)

    def test_the_end_of_an_upload(
        self, shelf: Shelf, faulty: Faulty, failing: DocumentsServices, as_owner: None
    ) -> None:
        upload_id = failing.uploads.start(shelf.workspace_id, Facts("a.txt"), 4).upload_id
        failing.uploads.append(shelf.workspace_id, upload_id, 0, b"part")

        def gone() -> None:
            failing.uploads.cancel(shelf.workspace_id, upload_id)
            failing.housekeeping.sweep(lambda: None)

        faulty.before_read = gone
        with pytest.raises(ResourceNotFound):
            failing.uploads.finish(shelf.workspace_id, upload_id, "")

    def test_bytes_that_nobody_deleted_are_a_fault(
        self, shelf: Shelf, services: DocumentsServices, as_owner: None
    ) -> None:
        made = shelf.create()
        upload = shelf.append(shelf.start(4), 0, b"part")
        for blob in shelf.blobs():
            services.storage.delete(shelf.workspace_id, blob)
        with refused(StatusCode.INTERNAL, "INTERNAL"):
            shelf.read(made)
        with refused(StatusCode.INTERNAL, "INTERNAL"):
            shelf.finish(upload)


class TestCollection:
    def test_bytes_of_a_deleted_document_go_and_of_others_stay(
        self, shelf: Shelf, other_shelf: Shelf, services: DocumentsServices
    ) -> None:
        gone, kept, theirs = shelf.create(b"one"), shelf.create(b"one"), other_shelf.create(b"one")
        shelf.create(b"two", name=gone.display_name)
        shelf.delete(gone)
        doomed = [blob for blob, state in shelf.blobs().items() if state == "doomed"]
        assert len(doomed) == 2
        assert all(map(shelf.has_bytes, doomed))
        services.housekeeping.sweep(lambda: None)
        assert not any(map(shelf.has_bytes, doomed))
        assert (shelf.read(kept), other_shelf.read(theirs)) == (b"one", b"one")
        assert shelf.states() == {"live": 1}

    def test_blobs_that_cannot_be_deleted_stand_in_nobodys_way(
        self, shelf: Shelf, faulty: Faulty, failing: DocumentsServices
    ) -> None:
        for number in range(6):
            shelf.delete(shelf.create(name=f"{number}.txt"))
        *bad, good = sorted(shelf.blobs())
        faulty.stuck = {blob_key(shelf.workspace_id, blob) for blob in bad}
        with capture_logs() as logs:
            failing.housekeeping.sweep(lambda: None)
        assert list(shelf.blobs()) == bad
        assert not shelf.has_bytes(good)
        assert faulty.tidied == 1
        assert {log["blob"] for log in logs if log["event"] == "blob.not_deleted"} == faulty.stuck
        faulty.stuck.clear()
        failing.housekeeping.sweep(lambda: None)
        assert shelf.states() == {}

    def test_an_upload_whose_week_is_over_goes_with_its_parts(self, shelf: Shelf, services: DocumentsServices) -> None:
        old, young = shelf.begin(name="old.txt"), shelf.begin(name="young.txt")
        shelf.team.database.execute(
            "update documents.uploads set expire_time = now() where upload_id = %s", [old.name.rpartition("/")[2]]
        )
        services.housekeeping.sweep(lambda: None)
        assert shelf.rows() == dict.fromkeys(TABLES, 0) | {"uploads": 1, "upload_parts": 1, "blobs": 1}
        assert agrees(shelf)
        assert shelf.counted() == Usage(upload_bytes=young.size_bytes)
        assert shelf.append(young, MIN_PART_BYTES, b"56789").received_bytes == young.size_bytes

    def test_it_sorts_no_million_blobs_for_each_hundred_of_them(self, shelf: Shelf) -> None:
        with shelf.team.database.transaction(force_rollback=True):
            shelf.team.database.execute(
                "insert into documents.blobs select gen_random_uuid(), gen_random_uuid(), 'doomed', now()"
                " from generate_series(1, 20000)"
            )
            shelf.team.database.execute("analyze documents.blobs")
            shelf.team.database.execute("set local plan_cache_mode = force_generic_plan")
            before = {"after_workspace": shelf.workspace_id, "after_blob": shelf.workspace_id, "count": 100}
            question = f"explain {_IN[BlobState.DOOMED].sql}"
            plan = str(shelf.team.database.execute(question, before, prepare=True).fetchall())
        assert "Index Only Scan using blobs_workspace_id_blob_id_idx" in plan
        assert "Sort" not in plan

    def test_what_nothing_refers_to_although_it_was_kept_is_found_a_day_later(
        self, shelf: Shelf, services: DocumentsServices, as_owner: None
    ) -> None:
        shelf.create()
        shelf.begin()
        shelf.team.database.execute(
            "update documents.ingestions set parsed_blob_id = (select blob_id from documents.blobs"
            " where workspace_id = %(id)s limit 1) where workspace_id = %(id)s",
            {"id": shelf.workspace_id},
        )
        content = services.storage.write(shelf.workspace_id, [b"nobody's"])
        with services.units() as uow:
            uow.repo.blobs.keep(shelf.workspace_id, content.blob_id)
            uow.commit()
        services.housekeeping.doom_lost(lambda: None)
        assert shelf.states() == {"live": 3}
        shelf.grow_old()
        with capture_logs() as logs:
            services.housekeeping.doom_lost(lambda: None)
        assert shelf.blobs()[content.blob_id] == "doomed"
        assert shelf.states() == {"live": 2, "doomed": 1}
        assert {"event": "blob.lost", "log_level": "warning", "blob": f"{shelf.workspace_id}/{content.blob_id}"} in logs

    def test_what_is_doomed_although_something_refers_to_it_is_spared(
        self, shelf: Shelf, services: DocumentsServices, as_owner: None
    ) -> None:
        document = shelf.create()
        [blob] = shelf.blobs()
        doom = "update documents.blobs set state = 'doomed' where workspace_id = %s"
        shelf.team.database.execute(doom, [shelf.workspace_id])
        with capture_logs() as logs:
            services.housekeeping.sweep(lambda: None)
        assert shelf.blobs() == {blob: "live"}
        assert shelf.read(document)
        assert {"event": "blob.needed", "log_level": "warning", "blob": f"{shelf.workspace_id}/{blob}"} in logs
