"""The units of work of documents, and who looks at them."""

from uuid import UUID

from services.documents.model.documents import Document
from services.documents.model.names import DOCUMENT
from services.documents.model.visibility import Viewer
from services.documents.repository import DocumentsRepositories
from services.kernel.caller import current_caller
from services.kernel.errors import ResourceNotFound
from services.kernel.unit_of_work import UnitOfWork, Units

DocumentsUnitOfWork = UnitOfWork[DocumentsRepositories]
DocumentsUnits = Units[DocumentsRepositories]
SERVICE = "documents"


def current_viewer() -> Viewer:
    """The caller, as far as documents may be seen."""
    return Viewer.of(current_caller().require_grant())


def seen(document: Document | None, workspace_id: UUID, document_id: UUID, viewer: Viewer) -> Document:
    """The document. Raises ResourceNotFound where there is none that the viewer may see."""
    if document is None or not viewer.sees(document.visibility, document.author_id):
        raise ResourceNotFound(DOCUMENT.format(workspace=workspace_id, document=document_id))
    return document
