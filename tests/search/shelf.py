"""A workspace whose passages have vectors: what documents and workers do there, each in a line."""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import psycopg
from google.protobuf.message import Message

from services.kernel.caller import Caller, Grant
from services.kernel.etags import etag_of
from services.kernel.ids import new_id
from services.kernel.outbox import event_type
from services.search.model import analysis
from services.search.model.facts import EVERYONE, Facts
from services.search.model.index import EmbedderKind, IndexPatch, IndexView
from services.search.model.passages import Passage, Place
from services.search.service import SearchServices
from services.search.service.model_lifecycle import BUILD, DROP
from services.search.service.snapshots import Snapshot
from tests.search.library import AUTHOR, NOON, chunk_id
from tests.support.acting import acting

E = TypeVar("E", bound=Message)

TOPICS = {
    "cars": ("car automobile engine wheel driver road brake fuel gear tyre", "vehicle"),
    "sea": ("ship boat harbour sailor wave anchor deck captain cargo tide", "vessel"),
    "law": ("court judge trial verdict jury appeal statute lawyer witness oath", "tribunal"),
    "food": ("bread flour oven baker dough yeast crust butter sugar salt", "loaf"),
}


def about(topic: str, count: int, *, seed: int = 0) -> list[str]:
    """Passages that have words of a topic; each is another one."""
    words, rare = TOPICS[topic]
    draw = random.Random(f"{topic} {seed}")
    return [
        " ".join([*draw.sample(words.split(), 6), *([rare] if number % 3 == 0 else []), f"n{seed}x{number}"])
        for number in range(count)
    ]


@dataclass
class Shelf:
    """A workspace, through these services."""

    services: SearchServices
    database: "psycopg.Connection[Any]"
    workspace_id: UUID = field(default_factory=new_id)

    def put(
        self, texts: Sequence[str], document_id: UUID | None = None, *, version: int = 1, embed: bool = True
    ) -> UUID:
        """Stage, embed and publish a version of a document, as the ingestion does."""
        document_id = document_id or new_id()
        self.stage(texts, document_id, version)
        if embed:
            self.embed(document_id, version)
        self.publish(texts, document_id, version)
        return document_id

    def stage(self, texts: Sequence[str], document_id: UUID, version: int = 1) -> None:
        passages = [
            Passage(chunk_id(document_id, text, texts[:at].count(text)), Place(at, 0, at, at + 1), (), text, "en")
            for at, text in enumerate(texts)
        ]
        with self.acting():
            self.services.publishing.stage(self.workspace_id, document_id, version, passages)

    def embed(self, document_id: UUID, version: int = 1) -> None:
        with self.acting():
            while self.services.vectors.embed(self.workspace_id, document_id, version):
                pass

    def publish(self, texts: Sequence[str], document_id: UUID, version: int = 1) -> None:
        facts = Facts(
            document_id=document_id,
            version=version,
            display_name="File",
            media_type="text/plain",
            language="en",
            tags=(),
            metadata={},
            author_id=AUTHOR,
            audience=EVERYONE,
            revision=1,
            create_time=NOON,
            update_time=NOON,
        )
        with self.acting():
            self.services.publishing.publish(self.workspace_id, facts, len(texts))

    def use(self, embedder: EmbedderKind) -> None:
        """Change the embedder."""
        view = self.view()
        with self.acting():
            self.services.index.update(self.workspace_id, etag_of(view.index.version), IndexPatch(embedder=embedder))

    def rebuild(self) -> None:
        with self.acting():
            self.services.index.rebuild(self.workspace_id)

    def view(self) -> IndexView:
        with self.acting():
            return self.services.index.get(self.workspace_id)

    def work(self, check: Callable[[], None] = lambda: None) -> None:
        """Do the jobs that wait, and those that these enqueue."""
        query = "select id, kind, payload from jobs.jobs where workspace_id = %s and kind = any(%s) order by id"
        while rows := self.database.execute(query, [self.workspace_id, [BUILD, DROP]]).fetchall():
            for job_id, kind, payload in rows:
                builds = self.services.vector_builds
                run = builds.build if kind == BUILD else builds.drop
                with self.acting():
                    run(self.workspace_id, UUID(bytes=payload), check, lambda _: None)
                self.database.execute("delete from jobs.jobs where id = %s", [job_id])

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
                    numbers = dict(self.rows("documents", "document_id, doc_no"))
                    allowed[[numbers[document_id] for document_id in only]] = True
                found = semantic.nearest(uow, snapshot, model, vector, allowed, limit)
                return [int(number) for number in found.chunk_nos]

            found = self.services.snapshots.read(uow, self.workspace_id, work)
        texts = dict(self.rows("chunks", "chunk_no, text"))
        return [texts[number] for number in found]

    def rows(self, table: str, columns: str) -> list[Any]:
        """What a table really holds of the workspace."""
        query = f"select {columns} from search.{table} where workspace_id = %s order by 1"  # noqa: S608
        return self.database.execute(query, [self.workspace_id]).fetchall()

    def told(self, event: type[E]) -> list[E]:
        """The events of this kind of which the workspace was told."""
        query = """select data from (
                select workspace_id, type, time, data from kernel.outbox
                union all select workspace_id, type, time, data from kernel.event_log
            ) told where workspace_id = %s and type = %s order by time"""
        rows = self.database.execute(query, [self.workspace_id, event_type(event.DESCRIPTOR)])
        return [event.FromString(data) for (data,) in rows]

    def models(self) -> list[str]:
        """The states of the models."""
        return sorted(state for (state,) in self.rows("models", "state"))

    def complete(self) -> bool:
        """Whether each passage has its vector under the model that serves, and none has one without a passage."""
        live = "(select model_id from search.models where state = 'live' and workspace_id = vectors.workspace_id)"
        return [number for (number,) in self.rows("chunks", "chunk_no")] == [
            number
            for (number,) in self.database.execute(
                f"select chunk_no from search.vectors where workspace_id = %s and model_id = {live} order by 1",  # noqa: S608
                [self.workspace_id],
            )
        ]

    def beside(self) -> "Shelf":
        """Another workspace of the same instance."""
        return replace(self, workspace_id=new_id())

    def acting(self) -> AbstractContextManager[Caller]:
        """What runs inside runs in this workspace, for somebody who owns it."""
        grant = Grant(self.workspace_id, AUTHOR, "owner", frozenset())
        return acting(Caller(service="documents", workspace_id=self.workspace_id, grant=grant))
