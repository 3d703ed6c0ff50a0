"""A workspace with documents that people search, each thing they do in a line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from plinth.documents.v1 import document_pb2, document_service_pb2
from plinth.search.v1 import hit_pb2
from plinth.search.v1 import search_service_pb2 as pb
from services.kernel.names import uuid_in
from services.search.model.names import DOCUMENT
from tests.search.library import Library, chunk_id
from tests.support.people import Person
from tests.tenancy.team import Team

HYBRID, LEXICAL, SEMANTIC = hit_pb2.SEARCH_MODE_HYBRID, hit_pb2.SEARCH_MODE_LEXICAL, hit_pb2.SEARCH_MODE_SEMANTIC


@dataclass
class Archive:
    """A team's documents, and the index that they are in. Without anybody named, it is the owner who asks."""

    team: Team
    library: Library
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> str:
        """The name of the workspace."""
        return self.team.workspace

    def put(
        self,
        name: str,
        texts: Sequence[str],
        person: Person | None = None,
        *,
        only: Sequence[Person] = (),
        language: str = "en",
        headings: Sequence[str] = (),
        **facts: Any,  # the fields of DocumentFacts
    ) -> document_pb2.Document:
        """A document with these passages, for these people alone, or for everyone, as its ingestion would leave it."""
        author = person or self.team.owner
        kinds = document_pb2.Visibility
        members = [one.name for one in only]
        visibility = kinds(kind=kinds.KIND_MEMBERS, members=members) if only else kinds(kind=kinds.KIND_EVERYONE)
        content = "\n\n".join(texts).encode()
        request = document_service_pb2.CreateDocumentRequest(
            parent=self.workspace,
            document=document_pb2.Document(display_name=name, content=content, visibility=visibility),
        )
        document = author.stubs.documents.CreateDocument(request).document
        document_id = self.id_of(document)
        self.library.stage(texts, document_id, language=language, headings=headings)
        stated: dict[str, Any] = {"display_name": name, "author": author.name, "everyone": not only, "members": members}
        self.library.publish(texts, document_id, stage=False, language=language, **(stated | facts))
        self.texts |= {str(chunk_id(document_id, text, texts[:at].count(text))): text for at, text in enumerate(texts)}
        return document

    def id_of(self, document: document_pb2.Document) -> UUID:
        """The id of a document."""
        return DOCUMENT.ids(document.name)[1]

    def search(self, query: str, person: Person | None = None, **fields: Any) -> pb.SearchResponse:
        """A page of hits; `fields` are those of the request."""
        request = pb.SearchRequest(parent=self.workspace, query=query, **fields)
        return (person or self.team.owner).stubs.search.Search(request)

    def find(self, query: str, person: Person | None = None, **fields: Any) -> list[str]:
        """The texts of a page of hits."""
        return [self.texts[hit.chunk] for hit in self.search(query, person, **fields).hits]

    def pages(self, query: str, person: Person | None = None, **fields: Any) -> list[list[str]]:
        """The texts of all pages."""
        pages, token = [], ""
        while True:
            answer = self.search(query, person, page_token=token, **fields)
            pages.append([self.texts[hit.chunk] for hit in answer.hits])
            token = answer.next_page_token
            if not token:
                return pages

    def suggest(self, typed: str, person: Person | None = None, count: int = 0) -> list[str]:
        """What typing may become."""
        request = pb.SuggestRequest(parent=self.workspace, query=typed, page_size=count)
        return [one.text for one in (person or self.team.owner).stubs.search.Suggest(request).suggestions]

    def explain(self, query: str, text: str, person: Person | None = None, **fields: Any) -> pb.ExplainHitResponse:
        """Why the passage with this text has its place."""
        [chunk] = [chunk for chunk, other in self.texts.items() if other == text]
        request = pb.ExplainHitRequest(parent=self.workspace, query=query, chunk=chunk, **fields)
        return (person or self.team.owner).stubs.search.ExplainHit(request)

    def logged(self) -> list[tuple[Any, ...]]:
        """The log: query, mode, filter, correction, hits, and whose it was."""
        return [
            row[1:]
            for row in self.library.rows(
                "queries", "create_time", "query", "mode", "filter", "corrected_query", "hit_count", "user_id"
            )
        ]


def workspace_id_of(name: str) -> UUID:
    """The id in a workspace's name."""
    return uuid_in(name.removeprefix("workspaces/"))
