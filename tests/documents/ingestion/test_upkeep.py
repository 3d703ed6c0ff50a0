"""What workers do about blobs when a server asks for it."""

import pytest

from services.documents.blobs.sealed import Sealed
from services.documents.service import build_documents, build_resealing
from services.domains import DOMAINS
from services.kernel.secrets import Keyring, MasterKey
from services.runtime import Runtime
from services.wiring import Mesh
from services.worker import working
from tests.documents.ingestion.workspace import IngestionWorkspace
from tests.support.waiting import until

pytestmark = pytest.mark.xdist_group("ingestion")

OLD, NEW = MasterKey("old", b"o" * 32), MasterKey("new", b"n" * 32)


def test_bytes_of_a_deleted_document_go_once_a_server_sweeps(
    works: IngestionWorkspace, runtime: Runtime, mesh: Mesh
) -> None:
    shelf = works.shelf
    shelf.delete(shelf.create())
    [blob] = shelf.blobs()
    [documents] = [domain for domain in mesh.served if isinstance(domain, DOMAINS["documents"])]
    documents.sweep()
    assert shelf.has_bytes(blob)
    with working(runtime, mesh, ["documents"]):
        until(lambda: not shelf.blobs(), "the end of the blob")
    assert not shelf.has_bytes(blob)


def test_resealing_is_asked_for_once_and_only_while_there_is_a_former_key(
    works: IngestionWorkspace, runtime: Runtime
) -> None:
    def asked(*keys: MasterKey) -> list[tuple[str]]:
        """The jobs, once two processes of these keys have asked again and again."""
        store = Sealed(works.shelf.store, Keyring(keys))
        services = build_documents(runtime.resources, runtime.settings, runtime.pager, store)
        for _ in range(2):
            resealing = build_resealing(services, runtime.resources.clock, Keyring(keys), store)
            for _ in range(2):
                resealing.ask()
        find = "select state from jobs.jobs where kind = 'documents.reseal'"
        return works.shelf.team.database.execute(find).fetchall()

    assert asked(NEW) == []
    assert len(asked(NEW, OLD)) == 1
