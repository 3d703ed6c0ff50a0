"""Who sees which documents: as the index knows it while it reads, and as documents says it before anything is shown."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Self
from uuid import UUID

from plinth.documents.v1 import document_service_pb2, document_service_pb2_grpc
from services.kernel.caller import Grant
from services.kernel.names import USER, WORKSPACE
from services.search.model.names import DOCUMENT, ROLE
from services.search.service.snapshots import Snapshot, Snapshots
from services.search.service.units import SearchUnitOfWork


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a user, with the role that they have now. An API key sees what its creator sees."""

    workspace_id: UUID
    user_id: UUID
    role: str
    sees_all: bool

    @classmethod
    def of(cls, grant: Grant) -> Self:
        """Who has the grant."""
        return cls(grant.workspace_id, grant.user_id, grant.role, grant.owner)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An index as somebody sees it: what is hidden from them is counted nowhere in the snapshot's corpus.

    `audiences` are those that they belong to, None: all that there are.
    """

    snapshot: Snapshot
    audiences: tuple[int, ...] | None

    @classmethod
    def of(cls, snapshots: Snapshots, uow: SearchUnitOfWork, snapshot: Snapshot, viewer: Viewer) -> Self:
        """The snapshot as a viewer sees it. It has to be older than what is asked here."""
        audiences = audiences_of(uow, viewer)
        return cls(replace(snapshot, corpus=snapshots.seen(uow, snapshot, audiences)), audiences)

    def sees(self, chunk_no: int) -> bool:
        """Whether the passage is in view."""
        corpus = self.snapshot.corpus
        return chunk_no < corpus.end and bool(corpus.live[chunk_no])


class DocumentsClient:
    """Documents, as the domain that owns them tells of them. No unit of work may be open."""

    def __init__(self, documents: document_service_pb2_grpc.DocumentServiceStub) -> None:
        self._documents = documents

    def names(self, viewer: Viewer, document_ids: Collection[UUID]) -> dict[UUID, str]:
        """Of at most 500 documents those that the viewer may see now, and what they are called now."""
        if not document_ids:
            return {}
        workspace_id = viewer.workspace_id
        answer = self._documents.ResolveDocuments(
            document_service_pb2.ResolveDocumentsRequest(
                parent=WORKSPACE.format(workspace=workspace_id),
                documents=[DOCUMENT.format(workspace=workspace_id, document=one) for one in document_ids],
                user=USER.format(user=viewer.user_id),
                role=ROLE.format(workspace=workspace_id, role=viewer.role),
                sees_all=viewer.sees_all,
            )
        )
        return {DOCUMENT.ids(one.name)[1]: one.display_name for one in answer.documents}


def audiences_of(uow: SearchUnitOfWork, viewer: Viewer) -> tuple[int, ...] | None:
    """The audiences that a viewer belongs to; None: all that there are."""
    if viewer.sees_all:
        return None
    return uow.repo.audiences.seen_by(viewer.workspace_id, viewer.user_id, viewer.role)
