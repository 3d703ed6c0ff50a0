"""Every SQL statement of search, one class a table or two that go together."""

from services.kernel.db import Session
from services.search.repository.audiences import AudienceRepository
from services.search.repository.changes import ChangeRepository
from services.search.repository.chunks import ChunkRepository
from services.search.repository.documents import DocumentRepository
from services.search.repository.found import FoundRepository
from services.search.repository.indexes import IndexRepository
from services.search.repository.models import ModelRepository
from services.search.repository.nearest import NearestRepository
from services.search.repository.postings import PostingRepository
from services.search.repository.queries import QueryRepository
from services.search.repository.recounts import RecountRepository
from services.search.repository.removed import RemovedRepository
from services.search.repository.segments import SegmentRepository
from services.search.repository.staged import StagedRepository
from services.search.repository.staged_segments import StagedSegmentRepository
from services.search.repository.vectors import VectorRepository
from services.search.repository.vocabulary import VocabularyRepository
from services.search.repository.words import WordRepository
from services.search.repository.workspaces import WorkspaceRepository


class SearchRepositories:
    """What a unit of work of search has in `repo`."""

    def __init__(self, session: Session) -> None:
        self.indexes = IndexRepository(session)
        self.documents = DocumentRepository(session)
        self.audiences = AudienceRepository(session)
        self.changes = ChangeRepository(session)
        self.staged = StagedRepository(session)
        self.chunks = ChunkRepository(session)
        self.removed = RemovedRepository(session)
        self.recounts = RecountRepository(session)
        self.segments = SegmentRepository(session)
        self.staged_segments = StagedSegmentRepository(session)
        self.postings = PostingRepository(session)
        self.vocabulary = VocabularyRepository(session)
        self.models = ModelRepository(session)
        self.vectors = VectorRepository(session)
        self.nearest = NearestRepository(session)
        self.found = FoundRepository(session)
        self.words = WordRepository(session)
        self.queries = QueryRepository(session)
        self.workspaces = WorkspaceRepository(session)


__all__ = ["SearchRepositories"]
