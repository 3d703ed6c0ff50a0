"""A workspace with passages in its index, as the tests of search use it."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid5

import numpy as np
import psycopg
from google.protobuf.message import Message

from plinth.search.v1 import index_service_pb2 as pb
from services.kernel.caller import Caller, Grant
from services.kernel.etags import etag_of
from services.kernel.ids import new_id
from services.kernel.jobs import Check
from services.kernel.outbox import event_type
from services.search.model import analysis
from services.search.model.facts import EVERYONE_ID, DocumentChange, DocumentUpdate
from services.search.model.index import EmbedderKind, IndexPatch, IndexView
from services.search.model.names import DOCUMENT
from services.search.model.query import parse
from services.search.service import SearchServices
from services.search.service.lexical import Matches, lexical
from services.search.service.model_lifecycle import BUILD, DROP
from services.search.service.snapshots import Snapshot
from services.search.service.vocabulary import COUNT
from services.search.servicer.index import IndexServicer
from tests.support.acting import acting
from tests.support.stubs import Stubs

E = TypeVar("E", bound=Message)

AUTHOR = UUID(int=7)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# What may become of a document: everyone sees it, or administrators and its author alone.
SHOWN = DocumentUpdate("File", (), {}, everyone=True, roles=(), members=())
HIDDEN = replace(SHOWN, everyone=False, roles=("admin",))


def chunk_id(document_id: UUID, text: str, number: int = 0) -> UUID:
    """As documents gives them out: the same for the same text."""
    return uuid5(document_id, f"{number} {text}")


@dataclass
class Library:
    """What documents and workers do to the index of one workspace, each in a line, and what is found there then.

    All is asked of `services`, which may have settings of their own; `stubs` ask the server, through the whole chain.
    """

    stubs: Stubs
    services: SearchServices
    database: "psycopg.Connection[Any]"
    workspace_id: UUID = field(default_factory=new_id)

    @property
    def workspace(self) -> str:
        """The name of the workspace."""
        return f"workspaces/{self.workspace_id}"

    def name_of(self, document_id: UUID) -> str:
        """The resource name of a document."""
        return DOCUMENT.format(workspace=self.workspace_id, document=document_id)

    def beside(self) -> "Library":
        """Another workspace of the same instance, with an empty index."""
        return replace(self, workspace_id=new_id())

    def acting(self) -> AbstractContextManager[Caller]:
        """What runs inside runs in this workspace, as documents' worker does, or somebody who owns it."""
        grant = Grant(self.workspace_id, AUTHOR, "owner", frozenset())
        return acting(Caller(service="documents", workspace_id=self.workspace_id, grant=grant))

    def put(
        self, texts: Sequence[str], document_id: UUID | None = None, *, version: int = 1, embed: bool = True
    ) -> UUID:
        """Stage, embed and publish a version of a document, as its ingestion does: the document."""
        document_id = document_id or new_id()
        self.stage(texts, document_id, version=version)
        if embed:
            self.embed(document_id, version)
        self.publish(texts, document_id, version=version, stage=False)
        return document_id

    def stage(
        self,
        texts: Sequence[str],
        document_id: UUID,
        *,
        version: int = 1,
        language: str = "en",
        headings: Sequence[str] = (),
        languages: Sequence[str] = (),
    ) -> None:
        """Stage passages with these texts, which stand one behind the other; some in `languages` of their own."""
        request = self.staging(document_id, version, language=language)
        for ordinal, text in enumerate(texts):
            request.passages.add(
                chunk=str(chunk_id(document_id, text, texts[:ordinal].count(text))),
                ordinal=ordinal,
                text=text,
                headings=headings,
                language=languages[ordinal] if languages else "",
                start=ordinal,
                end=ordinal + 1,
            )
        with self.acting():
            IndexServicer(self.services).StageChunks(request, None)

    def embed(self, document_id: UUID, version: int = 1) -> None:
        """Make the vectors of what is staged."""
        request = pb.EmbedChunksRequest(parent=self.workspace, document=self.name_of(document_id), version=version)
        with self.acting():
            while IndexServicer(self.services).EmbedChunks(request, None).remaining:
                pass

    def publish(
        self,
        texts: Sequence[str],
        document_id: UUID | None = None,
        *,
        version: int = 1,
        stage: bool = True,
        language: str = "en",
        **facts: Any,  # the fields of DocumentFacts
    ) -> pb.PublishDocumentResponse:
        """Stage and publish a version of a document."""
        document_id = document_id or new_id()
        if stage:
            self.stage(texts, document_id, version=version, language=language)
        request = self.publishing(document_id, len(texts), version, language=language, **facts)
        with self.acting():
            return IndexServicer(self.services).PublishDocument(request, None)

    def staging(self, document_id: UUID, version: int = 1, *, language: str = "en") -> pb.StageChunksRequest:
        """The request that stages passages, without any."""
        return pb.StageChunksRequest(
            parent=self.workspace, document=self.name_of(document_id), version=version, language=language
        )

    def publishing(self, document_id: UUID, count: int, version: int = 1, **facts: Any) -> pb.PublishDocumentRequest:
        """The request that publishes what is staged."""
        request = pb.PublishDocumentRequest(parent=self.workspace, passage_count=count)
        moment = facts.pop("update_time", NOON)
        # Any: they are the fields of the message.
        stated: dict[str, Any] = {"display_name": "File", "media_type": "text/plain", "everyone": True}
        stated |= {"author": f"users/{AUTHOR}"} | facts
        request.facts.MergeFrom(pb.DocumentFacts(document=self.name_of(document_id), version=version, **stated))
        request.facts.create_time.FromDatetime(NOON)
        request.facts.update_time.FromDatetime(moment)
        return request

    def change(
        self, document_id: UUID, update: DocumentUpdate | None, *, hours: int = 1, revision: int | None = None
    ) -> None:
        """Change a document, or delete it, so many hours after noon; its so-manieth change, too, unless stated."""
        with self.acting(), self.services.units() as uow:
            change = DocumentChange(NOON + timedelta(hours=hours), hours if revision is None else revision, update)
            self.services.publishing.follow(uow, self.workspace_id, document_id, change)
            uow.commit()

    def delete(self, document_id: UUID) -> None:
        """Delete a document."""
        self.change(document_id, None)

    def use(self, embedder: EmbedderKind) -> None:
        """Change the embedder."""
        etag = etag_of(self.view().index.version)
        with self.acting():
            self.services.index.update(self.workspace_id, etag, IndexPatch(embedder=embedder))

    def rebuild(self) -> None:
        """Have all of the index made anew, which is a worker's job."""
        with self.acting():
            self.services.index.rebuild(self.workspace_id)

    def view(self) -> IndexView:
        """The index as its owner sees it."""
        with self.acting():
            return self.services.index.get(self.workspace_id)

    def maintain(self, check: Check = lambda: None) -> None:
        """Do what the job does that looks after segments."""
        with self.acting():
            self.services.maintenance.maintain(self.workspace_id, check)

    def count_words(self) -> None:
        """Do the jobs that count words."""
        for job_id, payload in self._waiting([COUNT], "id, payload"):
            with self.acting():
                self.services.vocabulary.count(self.workspace_id, UUID(bytes=payload), lambda: None)
            self._done(job_id)

    def make_vectors(self, check: Check = lambda: None) -> None:
        """Do the jobs that make and drop models and their vectors, and those that these enqueue."""
        builds = self.services.vector_builds
        while rows := self._waiting([BUILD, DROP], "id, kind, payload"):
            for job_id, kind, payload in rows:
                run = builds.build if kind == BUILD else builds.drop
                with self.acting():
                    run(self.workspace_id, UUID(bytes=payload), check, lambda _: None)
                self._done(job_id)

    def jobs(self, kind: str) -> int:
        """How many jobs of a kind there are."""
        return len(self._waiting([kind], "id"))

    def lose_jobs(self) -> None:
        """Delete all jobs of the workspace, so that nobody does them."""
        self.database.execute("delete from jobs.jobs where workspace_id = %s", [self.workspace_id])

    def _waiting(self, kinds: Sequence[str], columns: str) -> list[tuple[Any, ...]]:
        query = f"select {columns} from jobs.jobs where workspace_id = %s and kind = any(%s) order by id"  # noqa: S608
        return self.database.execute(query, [self.workspace_id, kinds]).fetchall()

    def _done(self, job_id: UUID) -> None:
        self.database.execute("delete from jobs.jobs where id = %s", [job_id])

    def find(
        self, query: str, *, filter: str = "", audiences: Sequence[int] | None = None, limit: int = 1000
    ) -> dict[str, float]:
        """The scores of what has words of the query, by text, the best first; without what is deleted meanwhile."""
        ranking = self.match(query, filter=filter, audiences=audiences, limit=limit).ranking
        texts = dict(self.rows("chunks", "chunk_no", "text"))
        scores = zip(map(int, ranking.chunk_nos), map(float, ranking.scores), strict=True)
        return {texts[chunk_no]: score for chunk_no, score in scores if chunk_no in texts}

    def match(
        self, query: str, *, filter: str = "", audiences: Sequence[int] | None = None, limit: int = 1000
    ) -> Matches:
        """What has words of the query."""
        snapshots = self.services.snapshots
        with self.acting(), self.services.units() as uow:

            def work(snapshot: Snapshot) -> Matches:
                allowed = snapshots.allowed(uow, snapshot, filter, audiences)
                return lexical(snapshots, uow, snapshot, parse(query, ["en"]), allowed, limit)

            return snapshots.read(uow, self.workspace_id, work)

    def near(self, text: str, limit: int = 10, *, only: Sequence[UUID] | None = None) -> list[str]:
        """The texts of the passages nearest to a query, in all documents or some."""
        semantic = self.services.semantic
        with self.acting(), self.services.units() as uow:
            model = uow.repo.models.live(self.workspace_id)
            assert model is not None
            latent = model.embedder is EmbedderKind.LSA
            vector = semantic.of_terms(uow, model, analysis.terms(text, "en")) if latent else None
        if not latent:
            vector = semantic.of_text(model, text)
        if vector is None:
            return []
        with self.acting(), self.services.units() as uow:

            def work(snapshot: Snapshot) -> list[int]:
                allowed = None
                if only is not None:
                    allowed = np.zeros(snapshot.doc_end + 1, np.bool_)
                    numbers = dict(self.rows("documents", "document_id", "doc_no"))
                    allowed[[numbers[document_id] for document_id in only]] = True
                found = semantic.nearest(uow, snapshot, model, vector, allowed, limit)
                return [int(number) for number in found.chunk_nos]

            found = self.services.snapshots.read(uow, self.workspace_id, work)
        return self.texts(found)

    def snapshot(self) -> Snapshot:
        """The index as it is now."""
        with self.acting(), self.services.units() as uow:
            return self.services.snapshots.current(uow, self.workspace_id)

    def texts(self, chunk_nos: Iterable[int]) -> list[str]:
        """The texts of passages by their numbers."""
        by_number = dict(self.rows("chunks", "chunk_no", "text"))
        return [by_number[chunk_no] for chunk_no in chunk_nos]

    def words(self) -> dict[tuple[str, int], int]:
        """The vocabulary: in how many passages of which audience each word is."""
        return {
            (word, audience): count
            for word, audience, count in self.rows("vocabulary", "word", "audience_id", "passages")
        }

    def audience_of(self, document_id: UUID) -> int:
        """The number of the document's audience."""
        found = dict(self.rows("documents", "document_id", "audience_id"))
        return int(found.get(document_id, EVERYONE_ID))

    def models(self) -> list[str]:
        """The states of the models."""
        return sorted(state for (state,) in self.rows("models", "state"))

    def complete(self) -> bool:
        """Whether each passage has its vector under the model that serves, and none has one without a passage."""
        live = [model_id for model_id, state in self.rows("models", "model_id", "state") if state == "live"]
        vectors = [number for number, model_id in self.rows("vectors", "chunk_no", "model_id") if model_id in live]
        return bool(live) and [number for (number,) in self.rows("chunks", "chunk_no")] == vectors

    def events(self, kind: type[E]) -> list[E]:
        """The events of this kind that were emitted in the workspace."""
        query = """select data from (
                select workspace_id, type, time, data from kernel.outbox
                union all select workspace_id, type, time, data from kernel.event_log
            ) emitted where workspace_id = %s and type = %s order by time"""
        rows = self.database.execute(query, [self.workspace_id, event_type(kind.DESCRIPTOR)])
        return [kind.FromString(data) for (data,) in rows]

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """What a table really holds of the workspace, by the first of the columns."""
        query = f"select {', '.join(columns)} from search.{table} where workspace_id = %s order by 1"  # noqa: S608
        return self.database.execute(query, [self.workspace_id]).fetchall()

    def age(self, table: str, column: str, by: timedelta) -> None:
        """Let what a table holds of the workspace be older than it is."""
        query = f"update search.{table} set {column} = {column} - %s where workspace_id = %s"  # noqa: S608
        self.database.execute(query, [by, self.workspace_id])
