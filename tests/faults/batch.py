"""Files that people keep uploading while things break, and what search has to hold of them in the end."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

import grpc

from plinth.documents.v1 import document_pb2, document_service_pb2
from plinth.search.v1 import hit_pb2, index_service_pb2, search_service_pb2
from services.documents.model.chunking import chunk
from services.documents.model.parsed import Parsed
from services.documents.parsing.pool import ParserPool
from services.search.model.hits import MAX_HITS
from tests.faults.chaos import CALL_SECONDS, insist
from tests.support.people import Person

_PARAGRAPHS, _WORDS = 120, 60
# The last has more passages than one segment takes.
_LENGTHS = (*[_PARAGRAPHS] * 6, 46 * _PARAGRAPHS)
_SHORT, _LONG = range(len(_LENGTHS) - 1), len(_LENGTHS) - 1
# Of the uploads of a workspace, these are long.
_LONG_ONES = (3, 9)
# So many are under way or wait: always some, and no more than are soon done.
_UNFINISHED = 10
_TYPE = "text/plain"


@dataclass(frozen=True)
class Text:
    """A file's bytes, the word that each of its passages has and no other text, and what parsing makes of it."""

    content: bytes
    word: str
    parsed: Parsed


def texts(rng: random.Random, folder: Path) -> list[Text]:
    """Texts of common words, each with one of its own in every paragraph."""
    common = [_word(rng) for _ in range(400)]
    pool, made = ParserPool(), []
    for number, paragraphs in enumerate(_LENGTHS):
        word = f"own{_word(rng)}"
        written = (" ".join([word, *rng.choices(common, k=_WORDS)]) for _ in range(paragraphs))
        path = folder / f"{number}.txt"
        path.write_text("\n\n".join(written))
        made.append(Text(path.read_bytes(), word, pool.parse(path, _TYPE)))
    pool.close()
    return made


def _word(rng: random.Random) -> str:
    return "".join(rng.choices("bdfglmnprst", k=3) + rng.choices("aeiou", k=2))


@dataclass
class _Workspace:
    """One workspace: its documents by display name, the text of each one's newest version, and its name."""

    person: Person
    parent: str
    newest: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    uploads: int = 0


class Batch:
    """Uploads new documents and new versions into each workspace, one after the other, until it is told to stop.

    It pauses while enough is under way, of which `unfinished` is told. Leaving it ends it.
    """

    def __init__(self, people: Sequence[tuple[Person, str]], texts: Sequence[Text], seconds: float) -> None:
        self._texts = texts
        self._workspaces = [_Workspace(person, parent) for person, parent in people]
        self._until = time.monotonic() + seconds
        self._stop, self._wanted = threading.Event(), threading.Event()
        self._threads = ThreadPoolExecutor(len(self._workspaces))
        self._work: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._work = [
            self._threads.submit(self._upload, workspace, seed) for seed, workspace in enumerate(self._workspaces)
        ]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        self._threads.shutdown()

    def unfinished(self, count: int) -> None:
        """So many files are not done yet."""
        if count < _UNFINISHED:
            self._wanted.set()
        else:
            self._wanted.clear()

    def stop(self) -> None:
        """Begin no other upload."""
        self._stop.set()
        self._wanted.set()

    def rebuild(self) -> None:
        """Have the largest index made anew, if it can be asked for now."""
        workspace = max(self._workspaces, key=lambda workspace: workspace.uploads)
        request = index_service_pb2.RebuildIndexRequest(name=f"{workspace.parent}/index")
        with suppress(grpc.RpcError):
            workspace.person.stubs.index.RebuildIndex(request, timeout=CALL_SECONDS)

    @property
    def answered(self) -> bool:
        """Whether no upload is under way any more. Raises what one was refused with."""
        if not all(work.done() for work in self._work):
            return False
        for work in self._work:
            work.result()
        return True

    @property
    def uploads(self) -> int:
        """How many versions of documents there are."""
        return sum(workspace.uploads for workspace in self._workspaces)

    def differences(self, dead: set[str]) -> list[str]:
        """Where search finds other passages than the newest versions have, but for documents that are dead."""
        found = []
        for workspace in self._workspaces:
            wanted = defaultdict[int, set[tuple[str, UUID]]](set)
            for name, number in workspace.newest.items():
                document = workspace.names[name]
                chunks = chunk(self._texts[number].parsed, UUID(document.rpartition("/")[2]))
                wanted[number] |= {(document, one.chunk_id) for one in chunks}
            for number, text in enumerate(self._texts):
                hits = _found(workspace, text.word)
                # Of more, a search shows the best.
                missing = wanted[number] - set(hits) if len(wanted[number]) <= MAX_HITS else set()
                wrong = {hit for hit in (set(hits) - wanted[number]) | missing if hit[0] not in dead}
                found += [f"{text.word} in {document}: {chunk_id}" for document, chunk_id in wrong]
                found += [f"{text.word} twice in {workspace.parent}"] * (len(hits) - len(set(hits)))
        return found

    def _upload(self, workspace: _Workspace, seed: int) -> None:
        rng = random.Random(seed)
        while self._wanted.wait() and not self._stop.is_set():
            number, name = rng.choice(_SHORT), f"{uuid4()}.txt"
            if seed == 0 and workspace.uploads in _LONG_ONES:
                number = _LONG
            older = [known for known, had in workspace.newest.items() if had != number]
            if older and rng.random() < 0.3:
                name = rng.choice(older)
            document = document_pb2.Document(display_name=name, content=self._texts[number].content)
            request = document_service_pb2.CreateDocumentRequest(
                parent=workspace.parent, document=document, request_id=str(uuid4())
            )
            call = workspace.person.stubs.documents.CreateDocument
            answer = insist(lambda call=call, request=request: call(request, timeout=CALL_SECONDS), self._until)  # type: ignore[misc]  # bound now
            workspace.newest[name], workspace.names[name] = number, answer.document.name
            workspace.uploads += 1
            # The others come first.
            self._stop.wait(0.05)


def _found(workspace: _Workspace, word: str) -> list[tuple[str, UUID]]:
    """Document and id of each passage that has a word."""
    hits: list[tuple[str, UUID]] = []
    request = search_service_pb2.SearchRequest(
        parent=workspace.parent, query=word, mode=hit_pb2.SearchMode.SEARCH_MODE_LEXICAL, page_size=100
    )
    while True:
        answer = workspace.person.stubs.search.Search(request)
        hits += [(hit.document, UUID(hit.chunk)) for hit in answer.hits]
        request.page_token = answer.next_page_token
        if not request.page_token:
            return hits
