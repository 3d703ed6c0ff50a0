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
from tests.faults.chaos import CALL_SECONDS, insist
from tests.support.people import Person

_TEXTS = 6
_PARAGRAPHS, _WORDS = 120, 60
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
    for number in range(_TEXTS):
        word = f"own{_word(rng)}"
        paragraphs = (" ".join([word, *rng.choices(common, k=_WORDS)]) for _ in range(_PARAGRAPHS))
        path = folder / f"{number}.txt"
        path.write_text("\n\n".join(paragraphs))
        made.append(Text(path.read_bytes(), word, pool.parse(path, _TYPE)))
    pool.close()
    return made


def _word(rng: random.Random) -> str:
    return "".join(rng.choices("bdfglmnprst", k=3) + rng.choices("aeiou", k=2))


@dataclass
class _Shelf:
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
        self._shelves = [_Shelf(person, parent) for person, parent in people]
        self._until = time.monotonic() + seconds
        self._stop, self._wanted = threading.Event(), threading.Event()
        self._threads = ThreadPoolExecutor(len(self._shelves))
        self._work: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._work = [self._threads.submit(self._upload, shelf, seed) for seed, shelf in enumerate(self._shelves)]
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
        shelf = max(self._shelves, key=lambda shelf: shelf.uploads)
        request = index_service_pb2.RebuildIndexRequest(name=f"{shelf.parent}/index")
        with suppress(grpc.RpcError):
            shelf.person.stubs.index.RebuildIndex(request, timeout=CALL_SECONDS)

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
        return sum(shelf.uploads for shelf in self._shelves)

    def differences(self, dead: set[str]) -> list[str]:
        """Where search finds other passages than the newest versions have, but for documents that are dead."""
        found = []
        for shelf in self._shelves:
            wanted = defaultdict[int, set[tuple[str, UUID]]](set)
            for name, number in shelf.newest.items():
                document = shelf.names[name]
                chunks = chunk(self._texts[number].parsed, UUID(document.rpartition("/")[2]))
                wanted[number] |= {(document, one.chunk_id) for one in chunks}
            for number, text in enumerate(self._texts):
                hits = _found(shelf, text.word)
                wrong = {hit for hit in set(hits) ^ wanted[number] if hit[0] not in dead}
                found += [f"{text.word} in {document}: {chunk_id}" for document, chunk_id in wrong]
                found += [f"{text.word} twice in {shelf.parent}"] * (len(hits) - len(set(hits)))
        return found

    def _upload(self, shelf: _Shelf, seed: int) -> None:
        rng = random.Random(seed)
        while self._wanted.wait() and not self._stop.is_set():
            number, name = rng.randrange(_TEXTS), f"{uuid4()}.txt"
            older = [known for known, had in shelf.newest.items() if had != number]
            if older and rng.random() < 0.3:
                name = rng.choice(older)
            document = document_pb2.Document(display_name=name, content=self._texts[number].content)
            request = document_service_pb2.CreateDocumentRequest(
                parent=shelf.parent, document=document, request_id=str(uuid4())
            )
            call = shelf.person.stubs.documents.CreateDocument
            answer = insist(lambda call=call, request=request: call(request, timeout=CALL_SECONDS), self._until)  # type: ignore[misc]  # bound now
            shelf.newest[name], shelf.names[name] = number, answer.document.name
            shelf.uploads += 1
            # The others come first.
            self._stop.wait(0.05)


def _found(shelf: _Shelf, word: str) -> list[tuple[str, UUID]]:
    """Document and id of each passage that has a word."""
    hits: list[tuple[str, UUID]] = []
    request = search_service_pb2.SearchRequest(
        parent=shelf.parent, query=word, mode=hit_pb2.SearchMode.SEARCH_MODE_LEXICAL, page_size=100
    )
    while True:
        answer = shelf.person.stubs.search.Search(request)
        hits += [(hit.document, UUID(hit.chunk)) for hit in answer.hits]
        request.page_token = answer.next_page_token
        if not request.page_token:
            return hits
