"""Every SQL statement of documents, one class a table, and one for what is asked of all together."""

from services.documents.repository.blobs import BlobRepository
from services.documents.repository.documents import DocumentRepository
from services.documents.repository.ingestions import IngestionRepository
from services.documents.repository.totals import TotalsRepository
from services.documents.repository.uploads import UploadRepository
from services.documents.repository.usage import UsageRepository
from services.documents.repository.versions import VersionRepository
from services.documents.repository.workspaces import WorkspaceRepository
from services.kernel.db import Session


class DocumentsRepositories:
    """What a unit of work of documents has in `repo`."""

    def __init__(self, session: Session) -> None:
        self.documents = DocumentRepository(session)
        self.versions = VersionRepository(session)
        self.uploads = UploadRepository(session)
        self.ingestions = IngestionRepository(session)
        self.blobs = BlobRepository(session)
        self.usage = UsageRepository(session)
        self.workspaces = WorkspaceRepository(session)
        self.totals = TotalsRepository(session)


__all__ = ["DocumentsRepositories"]
