"""A workspace with documents, as the tests of documents use it."""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody
from psycopg import sql

from plinth.documents.v1 import document_pb2, upload_pb2
from plinth.documents.v1 import document_service_pb2 as pb
from services.documents.blobs.port import BlobStore, blob_key
from services.documents.model.uploads import MIN_PART_BYTES
from services.documents.model.usage import Usage
from tests.documents.blobs.stores import is_there
from tests.support.people import Person
from tests.tenancy.team import Team

# All that holds rows of a workspace, but for the one that counts them.
TABLES = ("documents", "versions", "uploads", "upload_parts", "ingestions", "blobs")

Kind = document_pb2.Visibility.Kind


def text(words: str = "") -> bytes:
    """Words that no other file has."""
    return f"{words} {secrets.token_hex(8)}".encode()


def part(letter: bytes) -> bytes:
    """As much as any part of an upload but the last must have."""
    return letter * MIN_PART_BYTES


@dataclass
class Shelf:
    """What people do with documents in one workspace, each in a line. Without anybody named, it is the owner."""

    team: Team
    store: BlobStore

    @property
    def workspace(self) -> str:
        """The name of the workspace."""
        return self.team.workspace

    @property
    def workspace_id(self) -> UUID:
        """Its id."""
        return UUID(self.workspace.removeprefix("workspaces/"))

    @property
    def owner(self) -> Person:
        """Who founded it."""
        return self.team.owner

    def visible(self, *who: Person | str) -> document_pb2.Visibility:
        """A visibility for these people, or for those who have these roles."""
        members = [one.name for one in who if isinstance(one, Person)]
        roles = [self.team.role(one) for one in who if isinstance(one, str)]
        return document_pb2.Visibility(
            kind=Kind.KIND_ROLES if roles else Kind.KIND_MEMBERS, roles=roles, members=members
        )

    def create(
        self,
        content: bytes | None = None,
        person: Person | None = None,
        *,
        name: str = "",
        request_id: str = "",
        **fields: Any,  # the fields of a document
    ) -> document_pb2.Document:
        """A document, or its next version, out of one request."""
        document = document_pb2.Document(
            display_name=name or f"{secrets.token_hex(4)}.txt", content=text() if content is None else content, **fields
        )
        request = pb.CreateDocumentRequest(parent=self.workspace, document=document, request_id=request_id)
        return (person or self.owner).stubs.documents.CreateDocument(request).document

    def upload(
        self,
        chunks: Iterable[bytes],
        person: Person | None = None,
        *,
        name: str = "",
        **fields: Any,  # the fields of the first message
    ) -> document_pb2.Document:
        """The same out of a stream."""

        def requests() -> Iterator[pb.UploadDocumentRequest]:
            wanted = name or f"{secrets.token_hex(4)}.txt"
            yield pb.UploadDocumentRequest(parent=self.workspace, display_name=wanted, **fields)
            for chunk in chunks:
                yield pb.UploadDocumentRequest(content=HttpBody(data=chunk))

        return (person or self.owner).stubs.documents.UploadDocument(requests()).document

    def start(
        self, size: int, person: Person | None = None, *, name: str = "large.txt", **fields: Any
    ) -> upload_pb2.Upload:
        """A new upload in parts."""
        upload = upload_pb2.Upload(display_name=name, size_bytes=size, **fields)
        request = pb.StartUploadRequest(parent=self.workspace, upload=upload)
        return (person or self.owner).stubs.documents.StartUpload(request).upload

    def append(
        self, upload: upload_pb2.Upload, offset: int, data: bytes, person: Person | None = None
    ) -> upload_pb2.Upload:
        """One more part."""
        request = pb.AppendUploadRequest(name=upload.name, offset=offset, content=HttpBody(data=data))
        return (person or self.owner).stubs.documents.AppendUpload(request).upload

    def begin(self, rest: int = 5, person: Person | None = None, *, name: str = "large.txt") -> upload_pb2.Upload:
        """A new upload whose first part, of the letter a, has arrived; `rest` bytes have not."""
        upload = self.start(MIN_PART_BYTES + rest, person, name=name)
        return self.append(upload, 0, part(b"a"), person)

    def finish(
        self, upload: upload_pb2.Upload, person: Person | None = None, *, sha256: str = "", request_id: str = ""
    ) -> document_pb2.Document:
        """The document that an upload becomes."""
        request = pb.FinishUploadRequest(name=upload.name, sha256=sha256, request_id=request_id)
        return (person or self.owner).stubs.documents.FinishUpload(request).document

    def get(self, document: document_pb2.Document, person: Person | None = None) -> document_pb2.Document:
        """The document as it is now."""
        return (person or self.owner).stubs.documents.GetDocument(pb.GetDocumentRequest(name=document.name)).document

    def read(self, document: document_pb2.Document, person: Person | None = None, version: int = 0) -> bytes:
        """Its bytes."""
        request = pb.DownloadDocumentRequest(name=document.name, version=version)
        return b"".join(body.data for body in (person or self.owner).stubs.documents.DownloadDocument(request))

    def update(
        self, document: document_pb2.Document, *mask: str, person: Person | None = None
    ) -> document_pb2.Document:
        """Write a document's new values."""
        request = pb.UpdateDocumentRequest(document=document)
        request.update_mask.paths.extend(mask)
        return (person or self.owner).stubs.documents.UpdateDocument(request).document

    def delete(self, document: document_pb2.Document, person: Person | None = None) -> None:
        """Delete a document as it is now."""
        request = pb.DeleteDocumentRequest(name=document.name, etag=self.get(document).etag)
        (person or self.owner).stubs.documents.DeleteDocument(request)

    def listed(self, person: Person | None = None, filter: str = "", order_by: str = "") -> list[str]:
        """The display names of all pages, two documents a page."""
        names, token = [], ""
        while True:
            request = pb.ListDocumentsRequest(
                parent=self.workspace, page_size=2, page_token=token, filter=filter, order_by=order_by
            )
            answer = (person or self.owner).stubs.documents.ListDocuments(request)
            names += [document.display_name for document in answer.documents]
            token = answer.next_page_token
            if not token:
                return names

    def versions(self, document: document_pb2.Document, person: Person | None = None) -> list[int]:
        """The numbers of its versions, one a page."""
        numbers, token = [], ""
        while True:
            request = pb.ListDocumentVersionsRequest(parent=document.name, page_size=1, page_token=token)
            answer = (person or self.owner).stubs.documents.ListDocumentVersions(request)
            numbers += [version.version for version in answer.versions]
            token = answer.next_page_token
            if not token:
                return numbers

    def told(self) -> list[str]:
        """What people did with documents, as the audit log has it: oldest first, without package and version."""
        found = self.team.database.execute(
            "select action from kernel.audit where workspace_id = %s and action like 'plinth.documents.%%' order by id",
            [self.workspace_id],
        ).fetchall()
        return [action.removeprefix("plinth.documents.").removesuffix(".v1") for (action,) in found]

    def ingestions(self) -> list[tuple[int, str]]:
        """Version and state of every ingestion, in the order that they began."""
        find = "select document_version, state from documents.ingestions where workspace_id = %s order by ingestion_id"
        return [(version, state) for version, state in self.team.database.execute(find, [self.workspace_id])]

    def jobs(self) -> list[tuple[str, str, str]]:
        """Queue, kind and subject of every job, oldest first."""
        find = "select queue, kind, subject from jobs.jobs where workspace_id = %s order by id"
        return self.team.database.execute(find, [self.workspace_id]).fetchall()

    def blobs(self) -> dict[UUID, str]:
        """The state of every blob."""
        find = "select blob_id, state from documents.blobs where workspace_id = %s"
        return dict(self.team.database.execute(find, [self.workspace_id]).fetchall())

    def states(self) -> Counter[str]:
        """How many blobs are in which state."""
        return Counter(self.blobs().values())

    def has_bytes(self, blob_id: UUID) -> bool:
        """Whether they lie in the store."""
        return is_there(self.store, blob_key(self.workspace_id, blob_id))

    def counted(self) -> Usage:
        """What is told of the workspace, which is what there really is."""
        told = self.owner.stubs.documents.GetDocumentUsage(
            pb.GetDocumentUsageRequest(name=f"{self.workspace}/documentUsage")
        ).document_usage
        [row] = self.team.database.execute(
            "select (select count(*) from documents.documents where workspace_id = %(id)s),"
            " (select coalesce(sum(size_bytes), 0)::bigint from documents.versions where workspace_id = %(id)s),"
            " (select coalesce(sum(size_bytes), 0)::bigint from documents.uploads where workspace_id = %(id)s)",
            {"id": self.workspace_id},
        )
        assert (told.document_count, told.version_bytes, told.upload_bytes) == row
        return Usage(documents=row[0], version_bytes=row[1], upload_bytes=row[2])

    def rows(self, *tables: str) -> dict[str, int]:
        """How many rows the workspace has in each table, or in these."""
        counting = sql.SQL("select count(*) from documents.{} where workspace_id = %s")
        found = {
            table: self.team.database.execute(counting.format(sql.Identifier(table)), [self.workspace_id]).fetchall()
            for table in tables or TABLES
        }
        return {table: count for table, [(count,)] in found.items()}

    def waits_for(self, pid: int) -> bool:
        """Whether some connection to the database waits for this one."""
        find = "select exists (select from pg_stat_activity where %s = any (pg_blocking_pids(pid)))"
        [(waits,)] = self.team.database.execute(find, [pid])
        return bool(waits)

    def grow_old(self) -> None:
        """Let a day pass for all blobs that are here."""
        self.team.database.execute(
            "update documents.blobs set create_time = create_time - interval '25 hours' where workspace_id = %s",
            [self.workspace_id],
        )

    def end_ingestions(self) -> None:
        """Have all that is under way given up, as a worker does in the end."""
        for statement in (
            "update documents.ingestions set state = 'dead', end_time = now() where workspace_id = %s",
            "update documents.documents set ingestion_state = 'dead' where workspace_id = %s",
        ):
            self.team.database.execute(statement, [self.workspace_id])
