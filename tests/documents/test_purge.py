"""What is left of a purged workspace: nothing, in the end, also of what comes late."""

import threading
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import func, select

from plinth.tenancy.v1 import events_pb2 as tenancy_pb2
from services.documents.service import DocumentsServices
from services.documents.subscribers import subscriptions
from services.kernel.events import Event
from services.kernel.ids import new_id
from services.kernel.outbox import event_type
from tests.documents.shelf import TABLES, Shelf
from tests.support.waiting import until

# A sweep takes what is left of every workspace: two at once would see each other's.
pytestmark = pytest.mark.xdist_group("documents-sweep")


def purge(shelf: Shelf, services: DocumentsServices) -> None:
    """As tenancy does, once the workspace's time is over."""
    with services.units(shelf.workspace_id) as uow:
        services.housekeeping.forget_workspace(uow, shelf.workspace_id)
        uow.commit()


def test_it_leaves_neither_rows_nor_bytes(shelf: Shelf, other_shelf: Shelf, services: DocumentsServices) -> None:
    shelf.create()
    shelf.begin()
    theirs = other_shelf.create(b"theirs")
    blobs = list(shelf.blobs())
    purge(shelf, services)
    services.housekeeping.sweep(lambda: None)
    assert shelf.rows() == dict.fromkeys(TABLES, 0)
    assert not any(map(shelf.has_bytes, blobs))
    assert other_shelf.read(theirs) == b"theirs"


def test_what_is_kept_while_it_begins_goes_as_well(shelf: Shelf, services: DocumentsServices, as_owner: None) -> None:
    upload_id = UUID(shelf.start(10).name.rpartition("/")[2])
    content = services.storage.write(shelf.workspace_id, [b"0123456789"])
    purge(shelf, services)
    sweeping = threading.Thread(target=services.housekeeping.sweep, args=[lambda: None])
    with services.units() as uow:
        # As the last part of an upload comes, but for the moment before its commit.
        upload = uow.repo.uploads.lock(shelf.workspace_id, upload_id)
        assert upload is not None
        uow.repo.blobs.keep(shelf.workspace_id, content.blob_id)
        uow.repo.uploads.receive(upload.with_part(0, 10), upload.part(0, content))
        [pid] = uow.session.all(select(func.pg_backend_pid().label("pid")), lambda pid: pid)
        sweeping.start()
        until(lambda: shelf.waits_for(pid), "the sweep, which waits")
        uow.commit()
    sweeping.join(60)
    assert shelf.rows() == dict.fromkeys(TABLES, 0)
    assert not shelf.has_bytes(content.blob_id)


def test_the_last_trace_of_it_goes_a_day_later(shelf: Shelf, services: DocumentsServices) -> None:
    shelf.create()
    purge(shelf, services)
    services.housekeeping.sweep(lambda: None)
    assert shelf.rows("usage") == {"usage": 1}
    shelf.team.database.execute(
        "update documents.usage set purge_time = purge_time - interval '25 hours' where workspace_id = %s",
        [shelf.workspace_id],
    )
    services.housekeeping.sweep(lambda: None)
    assert shelf.rows("usage") == {"usage": 0}


def test_it_hears_that_a_workspace_was_purged(shelf: Shelf, services: DocumentsServices) -> None:
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
    with subscription.units(shelf.workspace_id) as uow:
        for _ in range(2):
            subscription.handle(uow, event)
        uow.commit()
    # What collects belongs to no workspace, so that there is one of it.
    assert [kind for _, kind, _ in shelf.jobs()] == ["documents.ingest"]
    services.housekeeping.sweep(lambda: None)
    assert shelf.rows() == dict.fromkeys(TABLES, 0)
