"""What is left of uploads that died, of deleted documents and of purged workspaces: nothing, in the end."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import sql

from plinth.tenancy.v1 import events_pb2 as tenancy_pb2
from services.documents.blobs.port import BlobStore, BlobStoreUnavailable, Written
from services.documents.model.documents import Facts
from services.documents.service import DocumentsServices, build_documents
from services.documents.subscribers import subscriptions
from services.kernel.caller import Caller, Grant
from services.kernel.errors import ConcurrentUpdate, DependencyUnavailable
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.outbox import event_type
from services.kernel.unit_of_work import StubCallInUnitOfWork
from services.runtime import Runtime
from tests.documents.shelf import Shelf
from tests.support.acting import acting

# A sweep takes what is left of every workspace: two at once would see each other's.
pytestmark = pytest.mark.xdist_group("documents-sweep")

TABLES = ("documents", "versions", "uploads", "upload_parts", "ingestions", "blobs")


class Killed(BaseException):
    """The process is gone: nothing that would clean up behind it runs in the store."""


@dataclass
class Faulty:
    """The store, until something is wrong with it: `wrong` raises, by what is asked of it and before or after that."""

    inner: BlobStore
    wrong: dict[str, BaseException] = field(default_factory=dict)

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
        yield from self.inner.read(key, start, end)

    def delete(self, key: str) -> None:
        self._at("before delete")
        self.inner.delete(key)
        self._at("after delete")

    def exists(self, key: str) -> bool:
        return self.inner.exists(key)

    def tidy(self, older_than: timedelta) -> int:
        return self.inner.tidy(older_than)


@pytest.fixture
def faulty(store: BlobStore) -> Faulty:
    return Faulty(store)


@pytest.fixture
def failing(runtime: Runtime, faulty: Faulty) -> DocumentsServices:
    """The use cases on the faulty store."""
    return build_documents(runtime.resources, runtime.settings, runtime.pager, faulty)


@pytest.fixture
def as_owner(shelf: Shelf) -> Iterator[None]:
    """What the test does itself it does as the owner."""
    owner, workspace_id = shelf.owner.user_id, shelf.workspace_id
    grant = Grant(workspace_id, owner, "owner", frozenset())
    with acting(Caller(user_id=owner, workspace_id=workspace_id, grant=grant)):
        yield


def rows(shelf: Shelf) -> dict[str, int]:
    """How many rows the workspace has in each table."""
    counting = sql.SQL("select count(*) from documents.{} where workspace_id = %s")
    found = {
        table: shelf.team.database.execute(counting.format(sql.Identifier(table)), [shelf.workspace_id]).fetchall()
        for table in TABLES
    }
    return {table: count for table, [(count,)] in found.items()}


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
        failing.housekeeping.sweep()
        assert shelf.states() == {"live": 1, "writing": 2}
        shelf.grow_old()
        failing.housekeeping.sweep()
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
        failing.housekeeping.sweep()
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
            failing.housekeeping.sweep()
        faulty.wrong.clear()
        failing.housekeeping.sweep()
        assert shelf.states() == {}
        assert not any(shelf.has_bytes(blob) for blob in doomed)

    def test_who_wrote_for_more_than_a_day_is_refused_and_not_left_without_bytes(
        self, shelf: Shelf, failing: DocumentsServices, as_owner: None
    ) -> None:
        def slow() -> Iterator[bytes]:
            yield b"begun"
            shelf.grow_old()
            failing.housekeeping.sweep()
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
            failing.housekeeping.sweep()
        faulty.wrong.clear()
        failing.housekeeping.sweep()
        shelf.grow_old()
        failing.housekeeping.sweep()
        assert shelf.read(document) == b"here"
        assert agrees(shelf)

    def test_nobody_waits_for_the_store_with_a_connection_in_hand(
        self, shelf: Shelf, services: DocumentsServices, as_owner: None
    ) -> None:
        def asks_the_database() -> Iterator[bytes]:
            yield b"a unit of work can be opened while bytes arrive: "
            yield services.documents.list_documents(shelf.workspace_id, 0, "", "", "")[1].encode()

        services.documents.create(shelf.workspace_id, Facts("open.txt"), asks_the_database())
        with services.units(), pytest.raises(StubCallInUnitOfWork):
            services.documents._storage.delete(shelf.workspace_id, shelf.workspace_id)


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
        services.housekeeping.sweep()
        assert not any(map(shelf.has_bytes, doomed))
        assert (shelf.read(kept), other_shelf.read(theirs)) == (b"one", b"one")
        assert shelf.states() == {"live": 1}

    def test_an_upload_whose_week_is_over_goes_with_its_parts(self, shelf: Shelf, services: DocumentsServices) -> None:
        old, young = shelf.start(10, name="old.txt"), shelf.start(10, name="young.txt")
        shelf.append(old, 0, b"01234")
        shelf.append(young, 0, b"01234")
        shelf.team.database.execute(
            "update documents.uploads set expire_time = now() where upload_id = %s", [old.name.rpartition("/")[2]]
        )
        services.housekeeping.sweep()
        assert rows(shelf) | {"blobs": 1} == dict.fromkeys(TABLES, 0) | {"uploads": 1, "upload_parts": 1, "blobs": 1}
        assert agrees(shelf)
        assert shelf.append(young, 5, b"56789").received_bytes == 10

    def test_a_purged_workspace_leaves_neither_rows_nor_bytes(
        self, shelf: Shelf, other_shelf: Shelf, services: DocumentsServices
    ) -> None:
        shelf.create()
        shelf.append(shelf.start(10), 0, b"01234")
        theirs = other_shelf.create(b"theirs")
        blobs = list(shelf.blobs())
        with services.units(shelf.workspace_id) as uow:
            services.housekeeping.forget_workspace(uow, shelf.workspace_id)
            uow.commit()
        services.housekeeping.sweep()
        assert rows(shelf) == dict.fromkeys(TABLES, 0)
        assert not any(map(shelf.has_bytes, blobs))
        assert other_shelf.read(theirs) == b"theirs"

    def test_it_hears_that_a_workspace_was_purged(self, shelf: Shelf, services: DocumentsServices) -> None:
        shelf.create()
        purged = tenancy_pb2.WorkspacePurged(workspace=shelf.workspace)
        [subscription] = [one for one in subscriptions(services) if event_type(purged.DESCRIPTOR) in one.types]
        event = Event(
            position=1,
            id=new_id(),
            workspace_id=shelf.workspace_id,
            type=event_type(purged.DESCRIPTOR),
            source="//plinth/tenancy",
            subject=shelf.workspace,
            time=datetime.now(UTC),
            data_schema=purged.DESCRIPTOR.full_name,
            data=purged.SerializeToString(),
            actor="services/tenancy",
            traceparent="",
        )
        for _ in range(2):
            with subscription.units(shelf.workspace_id) as uow:
                subscription.handle(uow, event)
                uow.commit()
        assert shelf.states() == {"doomed": 1}
