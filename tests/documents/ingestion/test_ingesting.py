"""The whole way, as a worker goes it: from an uploaded file to what can be found."""

import argparse
import tarfile
import typing
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from plinth.search.v1 import hit_pb2, search_service_pb2
from services.documents.model.parsed import BlockKind, Draft, Parsed
from services.documents.parsing.limits import Limits
from services.documents.parsing.pool import ParserPool
from services.kernel.event_log import PostgresEventLog
from services.runtime import Runtime
from services.search.service import preparing
from services.wiring import Mesh
from services.worker import working
from tests.documents.ingestion.workspace import (
    IngestionWorkspace,
    Reason,
    State,
    killed_parsers,
    long_file,
    stopped_parser,
)
from tests.documents.parsing import files
from tests.documents.parsing.files import encrypted, pdf
from tests.documents.parsing.test_cases import CASES, EXPECTED, UNIQUE
from tests.documents.shelf import text
from tests.support.waiting import until, until_gone

pytestmark = [pytest.mark.xdist_group("ingestion"), pytest.mark.usefixtures("worker")]

LEXICAL, HYBRID = hit_pb2.SEARCH_MODE_LEXICAL, hit_pb2.SEARCH_MODE_HYBRID
STAGES = ["RECEIVED", "SCANNED", "PARSED", "CHUNKED", "EMBEDDED", "INDEXED"]


def long_text(pages: int) -> Parsed:
    """What parsing makes of a file of so many pages, each with a word of its own."""
    said = "The old harbour was quiet in the morning, and nobody on the pier spoke of the ship that had left. " * 3
    drafts = [Draft(BlockKind.PARAGRAPH, f"page{page} {said}", page=page) for page in range(1, pages + 1)]
    return Parsed.of(drafts, page_count=pages)


class TestFiles:
    @pytest.mark.skipif(not CASES.is_dir(), reason=f"the files are not in {CASES}: set PLINTH_CASES")
    def test_every_file_is_found_by_what_it_alone_says_or_says_why_not(
        self, works: IngestionWorkspace, other_works: IngestionWorkspace, runtime: Runtime, mesh: Mesh
    ) -> None:
        paths = [path for path in sorted(CASES.iterdir()) if path.is_file()]
        # With text enough for vectors. What is expected of others says the same as they do, so it lies elsewhere.
        paths += map(Path, (argparse.__file__, tarfile.__file__, typing.__file__))
        documents = {
            path.name: works.shelf.create(path.read_bytes(), name=path.name)
            for path in paths
            if path.name not in EXPECTED
        }
        expected = [
            other_works.shelf.create(path.read_bytes(), name=path.name) for path in paths if path.name in EXPECTED
        ]
        with working(runtime, mesh, ["index"]):
            assert {other_works.ended(document).state for document in expected} == {State.INGESTION_STATE_INDEXED}
            ended = {name: works.ended(document) for name, document in documents.items()}
            random = ended.pop("random.bin")
            assert (random.state, random.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_UNSUPPORTED)
            assert "cannot be read" in random.message
            states = {name: State.Name(one.state).removeprefix("INGESTION_STATE_") for name, one in ended.items()}
            assert set(states.values()) == {"INDEXED"}, states
            until(lambda: works.index().HasField("live"), "vectors")
        for document in documents.values():
            now = works.shelf.get(document)
            assert now.indexed_version == (0 if document.display_name == "random.bin" else 1)
        assert works.shelf.get(documents["REPAIR-2022-INV-001_multipage.pdf"]).page_count > 1
        assert works.shelf.get(documents["test.docx"]).language == "en"
        assert works.index().document_count == len(ended)
        assert works.staged() == 0
        # Of what was parsed nothing is kept but of what may be tried again.
        assert works.shelf.states()["live"] == len(documents)
        asked = [
            (name, query, mode)
            for name, sentences in UNIQUE.items()
            for sentence in sentences
            for query in (sentence, f'"{sentence}"')
            for mode in (LEXICAL, HYBRID)
        ]
        assert [(*one, found) for one in asked if (found := works.first_hit(*one[1:])) != one[0]] == []

    def test_goes_through_every_stage_and_tells_of_each(self, works: IngestionWorkspace, runtime: Runtime) -> None:
        document = works.shelf.create(b"# Moon\n\nThe eagle has landed.", name="moon.md")
        found = works.ended(document)
        assert found.state == State.INGESTION_STATE_INDEXED
        assert found.stage == State.INGESTION_STATE_INDEXED
        assert [(one.number, one.reason, one.stage) for one in found.attempts] == [
            (1, Reason.INGESTION_REASON_UNSPECIFIED, State.INGESTION_STATE_INDEXED)
        ]
        assert found.attempts[0].start_time.ToDatetime() <= found.end_time.ToDatetime()
        log = PostgresEventLog(runtime.database, runtime.database.connect)

        def told() -> list[Any]:
            events = log.read(0, 1_000, workspace_id=works.shelf.workspace_id)
            return [event.message() for event in events if event.type.startswith("plinth.documents.")]

        def names() -> list[str]:
            return [message.DESCRIPTOR.name for message in told()]

        until(lambda: "DocumentIndexed" in names(), "the last event in the log")
        log.close()
        moves = [message.ingestion for message in told() if message.DESCRIPTOR.name == "IngestionAdvanced"]
        # Of a stage that takes long, it is told how far it is.
        states = [
            State.Name(state).removeprefix("INGESTION_STATE_") for state, _ in groupby(move.state for move in moves)
        ]
        assert states == STAGES[1:]
        [indexed] = [message for message in told() if message.DESCRIPTOR.name == "DocumentIndexed"]
        assert (indexed.document, indexed.version, indexed.chunk_count) == (document.name, 1, 1)
        assert works.index().passage_count == 1

    def test_a_hit_says_on_which_page_and_where_in_the_text_it_stands(self, works: IngestionWorkspace) -> None:
        pages = [["Herons", "A heron stands in shallow water."], ["Otters", "An otter swims in deep water."]]
        content = files.pdf([[(24, heading), (10, body)] for heading, body in pages])
        works.ended(works.shelf.create(content, name="water.pdf"))
        request = search_service_pb2.SearchRequest(parent=works.shelf.workspace, query="otter heron")
        hits = works.shelf.owner.stubs.search.Search(request).hits
        passages = ["\n\n".join(blocks) for blocks in pages]
        plain = "\n\n".join(passages)
        places = sorted((hit.position.page, plain[hit.position.start : hit.position.end]) for hit in hits)
        assert places == [(1, passages[0]), (2, passages[1])]

    def test_a_file_without_text_is_done_and_says_so(self, works: IngestionWorkspace) -> None:
        found = works.ended(works.shelf.create(b" \n\n ", name="empty.txt"))
        assert found.state == State.INGESTION_STATE_COMPLETED_WITH_WARNINGS
        assert list(found.warnings) == ["The document holds no text."]
        assert works.index().document_count == 1
        assert works.index().passage_count == 0

    def test_bytes_that_were_damaged_in_the_store_are_not_read(self, works: IngestionWorkspace) -> None:
        document = works.shelf.create(text())
        works.ended(document)
        [blob_id] = [blob_id for blob_id, state in works.shelf.blobs().items() if state == "live"]
        works.shelf.store.write(f"{works.shelf.workspace_id}/{blob_id}", [b"other bytes"])
        ingestion = works.reprocess(document)
        found = works.ended(document)
        assert found.name == ingestion.name
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_CORRUPT)
        assert works.shelf.get(document).indexed_version == 1

    def test_one_of_ten_thousand_pages_is_found_as_a_whole(
        self, works: IngestionWorkspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Parsing so many is tried where parsers are.
        monkeypatch.setattr(ParserPool, "parse", lambda *_, **__: long_text(10_000))
        document = works.shelf.create(text())
        found = works.ended(document)
        assert found.state == State.INGESTION_STATE_INDEXED
        assert works.shelf.get(document).page_count == 10_000
        # More than one segment takes: all but the place of these is written before they are published.
        assert works.index().passage_count > preparing.SEGMENT
        assert works.staged() == 0
        whole = long_text(10_000).text
        for page in (1, 5_000, 10_000):
            [hit] = works.hits(f"page{page}")
            start, end = hit.position.start, hit.position.end
            assert f"page{page} " in whole[start:end]
            assert hit.position.page == whole.count("page", 0, start + len("page"))

    def test_a_new_version_takes_the_place_of_the_one_that_is_found(self, works: IngestionWorkspace) -> None:
        works.ended(works.shelf.create(b"Old words about cats.", name="pets.txt"))
        document = works.shelf.create(b"New words about dogs.", name="pets.txt")
        assert works.ended(document).version == 2
        assert works.shelf.get(document).indexed_version == 2
        assert (works.index().document_count, works.index().passage_count) == (1, 1)


class TestFailures:
    @pytest.mark.parametrize(
        ("content", "limits", "reason", "message", "attempts"),
        [
            (encrypted(pdf([[(10, "text")]])), Limits(), "ENCRYPTED", "password", 1),
            (pdf([[(10, "one")], [(10, "two")]]), Limits(pages=1), "TOO_LARGE", "1 pages", 1),
            (long_file(), Limits(seconds=0.1), "TIMEOUT", "not read within 0.1 seconds", 5),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_file_that_cannot_be_read_says_why(
        self,
        works: IngestionWorkspace,
        monkeypatch: pytest.MonkeyPatch,
        content: bytes,
        limits: Limits,
        reason: str,
        message: str,
        attempts: int,
    ) -> None:
        parse = ParserPool.parse

        def parse_within(pool: ParserPool, path: Path, media_type: str, _: Limits, **options: Any) -> Parsed:
            return parse(pool, path, media_type, limits, **options)

        monkeypatch.setattr(ParserPool, "parse", parse_within)
        found = works.ended(works.shelf.create(content, name="file.pdf"))
        assert found.state == State.INGESTION_STATE_DEAD
        assert Reason.Name(found.reason) == f"INGESTION_REASON_{reason}"
        assert message in found.message
        assert len(found.attempts) == attempts

    def test_a_parser_that_dies_once_is_tried_again(self, works: IngestionWorkspace) -> None:
        with killed_parsers(only=1) as killed:
            document = works.shelf.create(long_file())
            found = works.ended(document)
        assert len(killed) == 1
        assert found.state == State.INGESTION_STATE_INDEXED
        first, second = found.attempts
        assert (first.reason, first.stage) == (
            Reason.INGESTION_REASON_PARSER_CRASHED,
            State.INGESTION_STATE_SCANNED,
        )
        assert second.reason == Reason.INGESTION_REASON_UNSPECIFIED

    def test_a_file_that_kills_every_parser_is_given_up_and_holds_nobody_up(self, works: IngestionWorkspace) -> None:
        with killed_parsers() as killed:
            poison = works.shelf.create(long_file(), name="poison.txt")
            found = works.ended(poison)
        assert len(killed) == 5
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_PARSER_CRASHED)
        assert [one.number for one in found.attempts] == [1, 2, 3, 4, 5]
        assert works.ended(works.shelf.create(text())).state == State.INGESTION_STATE_INDEXED
        # And when somebody tries again, it goes on where it had come to.
        again = works.retry(found.name)
        assert (again.state, again.stage) == (State.INGESTION_STATE_SCANNED, State.INGESTION_STATE_SCANNED)
        good = works.ended(poison)
        assert good.state == State.INGESTION_STATE_INDEXED
        assert [one.number for one in good.attempts] == [1, 2, 3, 4, 5, 6]

    def test_dead_ones_are_begun_again_by_reason_and_time(self, works: IngestionWorkspace) -> None:
        dead = works.ended(works.shelf.create(bytes(range(256)) * 8, name="odd.bin"))
        assert dead.reason == Reason.INGESTION_REASON_UNSUPPORTED
        assert works.retry_dead(Reason.INGESTION_REASON_CORRUPT) == (0, False)
        assert works.retry_dead(since=dead.end_time.ToDatetime().timestamp() + 60) == (0, False)
        assert works.retry_dead(Reason.INGESTION_REASON_UNSUPPORTED) == (1, False)
        until(lambda: len(works.get(dead.name).attempts) == 2, "another attempt")
        assert works.get(dead.name).state == State.INGESTION_STATE_DEAD


class TestCancel:
    def test_ends_what_is_parsed_at_that_moment(self, works: IngestionWorkspace) -> None:
        document = works.shelf.create(long_file())
        with stopped_parser() as pid:
            cancelled = works.cancel(document.ingestion)
            assert cancelled.state == State.INGESTION_STATE_CANCELLED
            until_gone([pid])
        until(lambda: not works.shelf.jobs(), "the end of the job")
        assert works.get(document.ingestion).state == State.INGESTION_STATE_CANCELLED
        assert works.shelf.get(document).indexed_version == 0
        works.retry(document.ingestion)
        assert works.ended(document).state == State.INGESTION_STATE_INDEXED

    def test_a_retry_at_once_is_not_lost_to_the_attempt_that_still_ends(self, works: IngestionWorkspace) -> None:
        document = works.shelf.create(long_file())
        with stopped_parser() as pid:
            works.cancel(document.ingestion)
            works.retry(document.ingestion)
            until_gone([pid])
        assert works.ended(document).state == State.INGESTION_STATE_INDEXED

    def test_a_newer_version_ends_the_ingestion_of_the_older(self, works: IngestionWorkspace) -> None:
        old = works.shelf.create(long_file(), name="same.txt")
        with stopped_parser() as pid:
            new = works.shelf.create(text(), name="same.txt")
            until_gone([pid])
        assert works.get(old.ingestion).state == State.INGESTION_STATE_CANCELLED
        assert works.ended(new).version == 2

    def test_a_document_that_is_deleted_ends_it_and_leaves_nothing(self, works: IngestionWorkspace) -> None:
        document = works.shelf.create(long_file())
        with stopped_parser() as pid:
            works.shelf.delete(document)
            until_gone([pid])
        until(lambda: not works.shelf.jobs(), "the end of the job")
        assert works.listed() == []
        assert works.staged() == 0
        assert works.index().document_count == 0
        assert "live" not in works.shelf.states()

    def test_a_document_that_was_found_is_found_no_more(self, works: IngestionWorkspace) -> None:
        document = works.shelf.create(text())
        works.ended(document)
        works.shelf.delete(document)
        until(lambda: works.index().passage_count == 0, "search to hear of it")
