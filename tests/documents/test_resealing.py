"""Documents that are encrypted at rest, after the master key was changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.documents.blobs.local import LocalBlobs
from services.documents.blobs.port import blob_key
from services.documents.blobs.sealed import Sealed
from services.documents.model.documents import Facts
from services.documents.service import DocumentsServices, build_documents, build_resealing
from services.kernel.caller import Caller, Grant
from services.kernel.secrets import Keyring, MasterKey
from services.runtime import Runtime
from tests.documents.shelf import Shelf
from tests.support.acting import acting

OLD, NEW = MasterKey("old", b"o" * 32), MasterKey("new", b"n" * 32)


@pytest.mark.parametrize("versions", [1, 3])
def test_the_former_key_is_needed_no_longer(shelf: Shelf, runtime: Runtime, tmp_path: Path, versions: int) -> None:
    inner = LocalBlobs(tmp_path)
    shelf = replace(shelf, store=inner)

    def services_under(*keys: MasterKey) -> DocumentsServices:
        return build_documents(runtime.resources, runtime.settings, runtime.pager, Sealed(inner, Keyring(keys)))

    grant = Grant(shelf.workspace_id, shelf.owner.user_id, "owner", frozenset())
    with acting(Caller(user_id=shelf.owner.user_id, workspace_id=shelf.workspace_id, grant=grant)):
        before, contents = services_under(OLD), [f"version {number}".encode() for number in range(versions)]
        documents = [before.documents.create(shelf.workspace_id, Facts("secret.txt"), [one]) for one in contents]
        upload = before.uploads.start(shelf.workspace_id, Facts("parts.txt"), 8)
        before.uploads.append(shelf.workspace_id, upload.upload_id, 0, b"half")
        keyring = Keyring([NEW, OLD])
        for count in (versions + 1, 0):
            assert build_resealing(runtime.resources, keyring, Sealed(inner, keyring)).reseal() == count
        after = services_under(NEW)
        for number, content in enumerate(contents, start=1):
            found = after.documents.download(shelf.workspace_id, documents[0].document_id, number)
            assert b"".join(found.chunks) == content
        after.uploads.append(shelf.workspace_id, upload.upload_id, 4, b"half")
        made = after.uploads.finish(shelf.workspace_id, upload.upload_id, "")
        assert b"".join(after.documents.download(shelf.workspace_id, made.document_id, 0).chunks) == b"halfhalf"
        live = [blob for blob, state in shelf.blobs().items() if state == "live"]
        assert all(Sealed(inner, Keyring([NEW])).is_current(blob_key(shelf.workspace_id, blob)) for blob in live)
