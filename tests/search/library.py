"""A workspace with passages in its index, as the tests of search use it."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import psycopg

from plinth.search.v1 import index_service_pb2 as pb
from services.kernel.caller import Caller, Grant
from services.kernel.ids import new_id
from services.search.model.facts import EVERYONE_ID, News, Telling
from services.search.model.names import DOCUMENT
from services.search.model.query import parse
from services.search.service import SearchServices
from services.search.service.lexical import Matches, lexical
from services.search.service.snapshots import Snapshot
from services.search.service.vocabulary import COUNT
from tests.support.acting import acting
from tests.support.stubs import Stubs

AUTHOR = UUID(int=7)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOLD = Telling("File", (), {}, everyone=True, roles=(), members=())


def chunk_id(document_id: UUID, text: str, number: int = 0) -> UUID:
    """As documents gives them out: the same for the same text."""
    return uuid5(document_id, f"{number} {text}")


@dataclass
class Library:
    """What documents does to the index of one workspace, each in a line, and what is found there then."""

    stubs: Stubs
    services: SearchServices
    database: "psycopg.Connection[Any]"
    workspace_id: UUID = field(default_factory=new_id)

    @property
    def workspace(self) -> str:
        """The name of the workspace."""
        return f"workspaces/{self.workspace_id}"

    def acting(self) -> AbstractContextManager[Caller]:
        """What runs inside runs in this workspace, as documents' worker does, or somebody who owns it."""
        grant = Grant(self.workspace_id, AUTHOR, "owner", frozenset())
        return acting(Caller(service="documents", workspace_id=self.workspace_id, grant=grant))

    def stage(
        self,
        document_id: UUID,
        texts: Sequence[str],
        *,
        version: int = 1,
        language: str = "en",
        headings: Sequence[str] = (),
        languages: Sequence[str] = (),
    ) -> None:
        """Stage passages with these texts, which stand one behind the other; some in `languages` of their own."""
        request = pb.StageChunksRequest(
            parent=self.workspace, document=self.name_of(document_id), version=version, language=language
        )
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
        self.stubs.index.StageChunks(request)

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
            self.stage(document_id, texts, version=version, language=language)
        request = self.publishing(document_id, len(texts), version, language=language, **facts)
        return self.stubs.index.PublishDocument(request)

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

    def hear(self, document_id: UUID, telling: Telling | None, *, hours: int = 1, revision: int | None = None) -> None:
        """What became of a document, so many hours after noon; that was its so-manieth change, too, unless stated."""
        with self.acting(), self.services.units() as uow:
            news = News(NOON + timedelta(hours=hours), hours if revision is None else revision, telling)
            self.services.publishing.hear(uow, self.workspace_id, document_id, news)
            uow.commit()

    def delete(self, document_id: UUID) -> None:
        """Delete a document."""
        self.hear(document_id, None)

    def maintain(self) -> None:
        """Do what the job does."""
        with self.acting():
            self.services.maintenance.maintain(self.workspace_id, lambda: None)

    def jobs(self, kind: str) -> int:
        """How many jobs of a kind wait."""
        query = "select count(*) from jobs.jobs where workspace_id = %s and kind = %s"
        row = self.database.execute(query, [self.workspace_id, kind]).fetchone()
        return int(row[0]) if row else 0

    def settle(self) -> None:
        """Do the jobs that count words."""
        query = "select id, payload from jobs.jobs where workspace_id = %s and kind = %s"
        for job_id, payload in self.database.execute(query, [self.workspace_id, COUNT]).fetchall():
            with self.acting():
                self.services.vocabulary.count(self.workspace_id, UUID(bytes=payload), lambda: None)
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

    def snapshot(self) -> Snapshot:
        """The index as it is now."""
        with self.acting(), self.services.units() as uow:
            return self.services.snapshots.current(uow, self.workspace_id)

    def texts(self, chunk_nos: Iterable[int]) -> list[str]:
        """The texts of passages by their numbers."""
        rows = self.rows("chunks", "chunk_no", "text")
        by_number = {int(chunk_no): str(text) for chunk_no, text in rows}
        return [by_number[chunk_no] for chunk_no in chunk_nos]

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """What a table really holds of the workspace."""
        query = f"select {', '.join(columns)} from search.{table} where workspace_id = %s order by 1, 2"  # noqa: S608
        return self.database.execute(query, [self.workspace_id]).fetchall()

    def age(self, table: str, column: str, by: timedelta) -> None:
        """Let what a table holds of the workspace be older than it is."""
        query = f"update search.{table} set {column} = {column} - %s where workspace_id = %s"  # noqa: S608
        self.database.execute(query, [by, self.workspace_id])

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

    def name_of(self, document_id: UUID) -> str:
        """The resource name of a document."""
        return DOCUMENT.format(workspace=self.workspace_id, document=document_id)
