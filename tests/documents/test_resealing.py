"""Documents that are encrypted at rest, after the master key was changed."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from services.documents.blobs.local import LocalBlobs
from services.documents.blobs.port import BlobStore, blob_key
from services.documents.blobs.sealed import Sealed
from services.documents.model.documents import Facts
from services.documents.model.usage import Usage
from services.documents.service import DocumentsServices, Resealing, build_documents, build_resealing
from services.kernel.caller import Caller, Grant
from services.kernel.secrets import Keyring, MasterKey
from services.runtime import Runtime
from tests.documents.shelf import Shelf, part
from tests.support.acting import acting
from tests.support.waiting import until

OLD, NEW = MasterKey("old", b"o" * 32), MasterKey("new", b"n" * 32)


@dataclass
class Vault:
    """Documents of one workspace that are sealed, and who opens them with which keys."""

    shelf: Shelf
    runtime: Runtime
    inner: LocalBlobs

    def store(self, *keys: MasterKey) -> Sealed:
        return Sealed(self.inner, Keyring(keys))

    def services(self, store: BlobStore) -> DocumentsServices:
        return build_documents(self.runtime.resources, self.runtime.settings, self.runtime.pager, store)

    def resealing(self, store: Sealed) -> Resealing:
        clock = self.runtime.resources.clock
        return build_resealing(self.services(store), clock, Keyring([NEW, OLD]), store)

    def acting(self) -> AbstractContextManager[Caller]:
        """What the test does inside it does as the owner."""
        shelf = self.shelf
        grant = Grant(shelf.workspace_id, shelf.owner.user_id, "owner", frozenset())
        return acting(Caller(user_id=shelf.owner.user_id, workspace_id=shelf.workspace_id, grant=grant))


@pytest.fixture
def vault(shelf: Shelf, runtime: Runtime, tmp_path: Path) -> Iterator[Vault]:
    inner = LocalBlobs(tmp_path)
    built = Vault(replace(shelf, store=inner), runtime, inner)
    with built.acting():
        yield built


@pytest.mark.parametrize("versions", [1, 3])
def test_the_former_key_is_needed_no_longer(vault: Vault, versions: int) -> None:
    workspace_id = vault.shelf.workspace_id
    before, contents = vault.services(vault.store(OLD)), [f"version {number}".encode() for number in range(versions)]
    documents = [before.documents.create(workspace_id, Facts("secret.txt"), [one]) for one in contents]
    whole = part(b"a") + b"rest"
    upload = before.uploads.start(workspace_id, Facts("parts.txt"), len(whole))
    before.uploads.append(workspace_id, upload.upload_id, 0, part(b"a"))
    resealing = vault.resealing(vault.store(NEW, OLD))
    assert [resealing.reseal(lambda: None), resealing.reseal(lambda: None)] == [versions + 1, 0]
    after = vault.services(vault.store(NEW))
    for number, content in enumerate(contents, start=1):
        found = after.documents.download(workspace_id, documents[0].document_id, number)
        assert b"".join(found.chunks) == content
    after.uploads.append(workspace_id, upload.upload_id, len(part(b"a")), b"rest")
    made = after.uploads.finish(workspace_id, upload.upload_id, "")
    assert b"".join(after.documents.download(workspace_id, made.document_id, 0).chunks) == whole
    live = [blob for blob, state in vault.shelf.blobs().items() if state == "live"]
    assert all(vault.store(NEW).is_current(blob_key(workspace_id, blob)) for blob in live)


def _delete(services: DocumentsServices, shelf: Shelf) -> Callable[[], None]:
    document = services.documents.create(shelf.workspace_id, Facts("secret.txt"), [b"secret"])
    return lambda: services.documents.delete(shelf.workspace_id, document.document_id, "1")


def _cancel(services: DocumentsServices, shelf: Shelf) -> Callable[[], None]:
    upload = services.uploads.start(shelf.workspace_id, Facts("secret.txt"), 6)
    services.uploads.append(shelf.workspace_id, upload.upload_id, 0, b"secret")
    return lambda: services.uploads.cancel(shelf.workspace_id, upload.upload_id)


@pytest.mark.parametrize("prepare", [_delete, _cancel])
def test_what_is_deleted_meanwhile_leaves_nothing_under_the_new_key(
    vault: Vault, prepare: Callable[[DocumentsServices, Shelf], Callable[[], None]]
) -> None:
    shelf, services = vault.shelf, vault.services(vault.store(NEW))
    end = prepare(services, shelf)
    [blob] = shelf.blobs()
    content = services.storage.write(shelf.workspace_id, [b"secret"])

    def end_it() -> None:
        with vault.acting():
            end()

    ending = threading.Thread(target=end_it)
    with services.units() as uow:
        # As resealing does, but for the moment before its commit.
        assert uow.repo.blobs.replace(shelf.workspace_id, blob, content.blob_id)
        uow.repo.blobs.keep(shelf.workspace_id, content.blob_id)
        [pid] = uow.session.all(select(func.pg_backend_pid().label("pid")), lambda pid: pid)
        ending.start()
        until(lambda: shelf.waits_for(pid), "somebody who waits for it")
        uow.commit()
    ending.join(30)
    assert shelf.states() == {"doomed": 2}
    assert shelf.counted() == Usage()


def test_what_was_deleted_while_it_was_written_anew_is_not_kept(vault: Vault) -> None:
    delete = _delete(vault.services(vault.store(OLD)), vault.shelf)

    class Slow(Sealed):
        """By the time that a blob is read, it is deleted."""

        def read(self, key: str, start: int = 0, end: int | None = None) -> Generator[bytes]:
            yield from super().read(key, start, end)
            with vault.acting():
                delete()

    resealing = vault.resealing(Slow(vault.inner, Keyring([NEW, OLD])))
    assert resealing.reseal(lambda: None) == 0
    assert vault.shelf.states() == {"doomed": 2}
