"""Parts that are away for a while, or for good: no file is given up for that."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest

from interceptors.local import LocalMesh, LocalRpcError
from plinth.documents.v1 import document_pb2
from services.documents.model import ingestions
from services.documents.model.chunking import Chunk, chunk
from services.documents.model.ingestions import MOST_TRIES, Ingestion, IngestionState
from services.documents.model.parsed import Parsed
from services.documents.parsing.pool import ParserPool
from services.documents.service import Ingester, pipeline
from services.documents.service.storage import Storage
from services.documents.service.tenure import Change, Tenure
from services.kernel.errors import CallDeadlineExceeded, DependencyUnavailable
from services.search.errors import EmbedderNotConfigured, EmbedderRefused, EmbedderUnavailable
from services.search.model.facts import Facts
from services.search.service.publishing import Publishing
from services.search.service.vectors import Vectors
from tests.documents.ingestion.workspace import IngestionWorkspace, Reason, State
from tests.documents.shelf import text
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("ingestion"), pytest.mark.usefixtures("worker")]

# Patches a method of search's: so many calls meet what this does first.
Meet = Callable[..., list[int]]


@pytest.fixture
def meet(monkeypatch: pytest.MonkeyPatch) -> Meet:
    """The first calls of a method raise; those that did. `before` is done before each of them."""

    def meet(
        owner: type, method: str, error: Exception | None, times: int = 1, before: Callable[[], object] = lambda: None
    ) -> list[int]:
        true: Any = getattr(owner, method)
        met: list[int] = []

        def first(*args: Any, **options: Any) -> Any:
            if len(met) < times:
                met.append(len(met))
                before()
                if error is not None:
                    raise error
            return true(*args, **options)

        monkeypatch.setattr(owner, method, first)
        return met

    return meet


class Counted:
    """As what documents were parsed, and how often they were cut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cut = 0
        self.media_types: list[str] = []
        parse = ParserPool.parse

        def counted_parse(pool: ParserPool, path: Path, media_type: str, *args: Any, **options: Any) -> Parsed:
            self.media_types.append(media_type)
            return parse(pool, path, media_type, *args, **options)

        def counted_chunk(*args: Any) -> list[Chunk]:
            self.cut += 1
            return chunk(*args)

        monkeypatch.setattr(ParserPool, "parse", counted_parse)
        monkeypatch.setattr(pipeline, "chunk", counted_chunk)

    @property
    def parsed(self) -> int:
        """How often they were parsed."""
        return len(self.media_types)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Whoever counts."""
    return Counted(monkeypatch)


class TestOutage:
    def test_search_that_is_away_for_ten_attempts_is_waited_for(
        self, works: IngestionWorkspace, meet: Meet, counted: Counted
    ) -> None:
        met = meet(Publishing, "stage", DependencyUnavailable("database"), 10)
        found = works.ended(works.shelf.create(text()))
        assert len(met) == 10
        assert found.state == State.INGESTION_STATE_INDEXED
        reasons = [one.reason for one in found.attempts]
        assert reasons == [Reason.INGESTION_REASON_DEPENDENCY_UNAVAILABLE] * 10 + [Reason.INGESTION_REASON_UNSPECIFIED]
        assert counted.parsed == 1

    def test_one_that_lasts_too_long_is_the_end_and_says_what_was_away(
        self, works: IngestionWorkspace, meet: Meet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ingestions, "PATIENCE", timedelta(milliseconds=1))
        meet(Vectors, "embed", EmbedderUnavailable("EMBEDDER_KIND_OPENAI", timedelta(0)), 1_000)
        found = works.ended(works.shelf.create(text()))
        assert (found.state, found.reason) == (
            State.INGESTION_STATE_DEAD,
            Reason.INGESTION_REASON_PROVIDER_UNAVAILABLE,
        )
        assert len(found.attempts) > 1

    def test_search_whose_process_is_away_is_waited_for(
        self, works: IngestionWorkspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call, met = LocalMesh.call, list[str]()

        def call_in_vain(mesh: LocalMesh, path: str, *args: Any) -> Any:
            # Each attempt asks twice: for what it wants, and whether search is there.
            if "IndexService" in path and len(met) < 20:
                met.append(path)
                raise LocalRpcError(grpc.StatusCode.UNAVAILABLE, "Connection refused", ())
            return call(mesh, path, *args)

        monkeypatch.setattr(LocalMesh, "call", call_in_vain)
        found = works.ended(works.shelf.create(text()))
        assert found.state == State.INGESTION_STATE_INDEXED
        reasons = [one.reason for one in found.attempts]
        assert reasons == [Reason.INGESTION_REASON_DEPENDENCY_UNAVAILABLE] * 10 + [Reason.INGESTION_REASON_UNSPECIFIED]

    def test_a_store_that_is_away_is_waited_for(self, works: IngestionWorkspace, meet: Meet) -> None:
        meet(Storage, "read", DependencyUnavailable("blob store"), 7)
        found = works.ended(works.shelf.create(text()))
        assert (found.state, len(found.attempts)) == (State.INGESTION_STATE_INDEXED, 8)

    def test_a_provider_comes_back(self, works: IngestionWorkspace, meet: Meet) -> None:
        meet(Vectors, "embed", EmbedderUnavailable("EMBEDDER_KIND_OPENAI", timedelta(milliseconds=10)), 6)
        found = works.ended(works.shelf.create(text()))
        assert found.state == State.INGESTION_STATE_INDEXED
        assert {one.reason for one in found.attempts[:-1]} == {Reason.INGESTION_REASON_PROVIDER_UNAVAILABLE}

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (EmbedderRefused("the key is not valid."), "The embedder's provider refuses: the key is not valid."),
            (EmbedderNotConfigured("EMBEDDER_KIND_OPENAI"), "The embedder is not configured."),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_a_provider_that_refuses_all_is_for_people_to_mend_and_no_file_is_given_up_for_it(
        self, works: IngestionWorkspace, meet: Meet, error: Exception, message: str
    ) -> None:
        meet(Vectors, "embed", error, 7)
        found = works.ended(works.shelf.create(text()))
        assert found.state == State.INGESTION_STATE_INDEXED
        refused = [(Reason.INGESTION_REASON_PROVIDER_REFUSED, message)] * 7
        assert [(one.reason, one.message) for one in found.attempts[:-1]] == refused

    def test_a_provider_that_refuses_this_text_is_not_asked_again(self, works: IngestionWorkspace, meet: Meet) -> None:
        meet(Vectors, "embed", EmbedderRefused("the text is too long.", of_text=True))
        document = works.shelf.create(text())
        found = works.ended(document)
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_PROVIDER_REFUSED)
        assert (found.message, len(found.attempts)) == ("The embedder's provider refuses: the text is too long.", 1)
        works.retry(found.name)
        assert works.ended(document).state == State.INGESTION_STATE_INDEXED


class TestTooMuch:
    """A file that search cannot take in, while it takes in all others."""

    def test_one_that_takes_it_too_long_is_given_up_and_holds_nobody_up(
        self, works: IngestionWorkspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish = Publishing.publish

        def publish_in_time(publishing: Publishing, workspace_id: UUID, facts: Facts, *args: Any) -> Any:
            if facts.display_name == "poison.txt":
                assert works.ended(works.shelf.create(text())).state == State.INGESTION_STATE_INDEXED
                raise CallDeadlineExceeded
            return publish(publishing, workspace_id, facts, *args)

        monkeypatch.setattr(Publishing, "publish", publish_in_time)
        found = works.ended(works.shelf.create(text(), name="poison.txt"))
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_TIMEOUT)
        assert [one.reason for one in found.attempts] == [Reason.INGESTION_REASON_TIMEOUT] * MOST_TRIES

    def test_one_that_ends_its_process_is_given_up(
        self, works: IngestionWorkspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call = LocalMesh.call

        def call_and_end(mesh: LocalMesh, path: str, *args: Any) -> Any:
            if path.endswith("/PublishDocument"):
                raise LocalRpcError(grpc.StatusCode.UNAVAILABLE, "Socket closed", ())
            return call(mesh, path, *args)

        monkeypatch.setattr(LocalMesh, "call", call_and_end)
        found = works.ended(works.shelf.create(text()))
        assert (found.state, found.reason) == (State.INGESTION_STATE_DEAD, Reason.INGESTION_REASON_INTERNAL)
        assert len(found.attempts) == MOST_TRIES


class TestResuming:
    @pytest.mark.parametrize(
        ("owner", "method", "stage"),
        [
            (Publishing, "stage", State.INGESTION_STATE_PARSED),
            (Vectors, "embed", State.INGESTION_STATE_CHUNKED),
            (Publishing, "publish", State.INGESTION_STATE_EMBEDDED),
        ],
    )
    def test_goes_on_behind_the_last_stage_that_it_passed(
        self, works: IngestionWorkspace, meet: Meet, counted: Counted, owner: type, method: str, stage: int
    ) -> None:
        meet(owner, method, ZeroDivisionError())
        document = works.shelf.create(
            text("# Moon\n\nThe eagle has landed on the surface of the moon."), name="moon.md"
        )
        found = works.ended(document)
        assert [(one.stage, one.reason) for one in found.attempts] == [
            (stage, Reason.INGESTION_REASON_INTERNAL),
            (State.INGESTION_STATE_INDEXED, Reason.INGESTION_REASON_UNSPECIFIED),
        ]
        # Nothing is read twice but what was not staged.
        assert counted.cut == (2 if stage == State.INGESTION_STATE_PARSED else 1)
        assert works.shelf.get(document).language == "en"
        assert works.index().passage_count == 1

    def test_passages_that_got_lost_are_staged_again_out_of_what_was_parsed(
        self, works: IngestionWorkspace, meet: Meet, counted: Counted
    ) -> None:
        meet(Publishing, "publish", None, before=lambda: lose_staged(works))
        found = works.ended(works.shelf.create(text()))
        assert found.state == State.INGESTION_STATE_INDEXED
        assert [one.reason for one in found.attempts] == [
            Reason.INGESTION_REASON_INTERNAL,
            Reason.INGESTION_REASON_UNSPECIFIED,
        ]
        assert (counted.parsed, counted.cut) == (1, 2)

    @pytest.mark.parametrize("left", [None, b"of another release"])
    def test_what_was_parsed_and_cannot_be_read_any_more_is_parsed_again(
        self, works: IngestionWorkspace, meet: Meet, counted: Counted, left: bytes | None
    ) -> None:
        def lose() -> None:
            lose_staged(works)
            [(blob_id,)] = works.shelf.team.database.execute(
                "select parsed_blob_id from documents.ingestions where workspace_id = %s", [works.shelf.workspace_id]
            )
            key = f"{works.shelf.workspace_id}/{blob_id}"
            works.shelf.store.delete(key)
            if left is not None:
                works.shelf.store.write(key, [left])

        meet(Publishing, "publish", None, before=lose)
        found = works.ended(works.shelf.create(text()))
        assert found.state == State.INGESTION_STATE_INDEXED
        assert counted.parsed == 2
        # The file, and nothing of what was parsed.
        assert works.shelf.states()["live"] == 1

    def test_a_new_name_makes_it_no_other_kind_of_file(self, works: IngestionWorkspace, counted: Counted) -> None:
        document = works.shelf.create(b"# Moon\n\nThe eagle has landed.", name="moon.md")
        works.ended(document)
        document.display_name = "moon.txt"
        works.shelf.update(document, "display_name")
        works.reprocess(document)
        assert works.ended(document).state == State.INGESTION_STATE_INDEXED
        assert counted.media_types == ["text/markdown", "text/markdown"]


class TestCancel:
    @pytest.mark.parametrize(("owner", "method"), [(Publishing, "stage"), (Vectors, "embed")])
    def test_holds_while_search_is_at_it(self, works: IngestionWorkspace, meet: Meet, owner: type, method: str) -> None:
        meet(owner, method, None, before=lambda: works.cancel(works.listed()[0].name))
        document = works.shelf.create(text())
        until(lambda: not works.shelf.jobs(), "the end of the job")
        found = works.get(document.ingestion)
        assert found.state == State.INGESTION_STATE_CANCELLED
        assert [one.message for one in found.attempts] == ["It was cancelled."]
        assert works.shelf.get(document).indexed_version == 0
        assert works.index().document_count == 0

    @pytest.mark.parametrize("lost", [None, DependencyUnavailable("database")], ids=["answered", "unanswered"])
    def test_that_comes_when_search_has_it_already_leaves_it_found(
        self, works: IngestionWorkspace, monkeypatch: pytest.MonkeyPatch, lost: Exception | None
    ) -> None:
        """As after a worker that is killed, nobody who knows of the publish is left where its answer is lost."""
        publish = Publishing.publish

        def publish_and_cancel(*args: Any) -> Any:
            outcome = publish(*args)
            works.cancel(works.listed()[0].name)
            if lost is not None:
                raise lost
            return outcome

        monkeypatch.setattr(Publishing, "publish", publish_and_cancel)
        document = works.shelf.create(text())
        until(lambda: not works.shelf.jobs(), "the end of the job")
        assert works.get(document.ingestion).state == State.INGESTION_STATE_CANCELLED
        assert works.index().document_count == 1
        indexed_is_told(works, document)

    def test_of_one_whose_worker_was_killed_then_leaves_it_found(
        self, works: IngestionWorkspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What a killed worker leaves: an attempt that never ends, and a job that comes back.
        monkeypatch.setattr(Ingester, "_fail", lambda *_: works.cancel(works.listed()[0].name))
        advance = Tenure.advance

        def advance_or_die(tenure: Tenure, change: Change) -> Ingestion:
            if tenure.ingestion.stage is IngestionState.EMBEDDED:
                raise ZeroDivisionError
            return advance(tenure, change)

        monkeypatch.setattr(Tenure, "advance", advance_or_die)
        document = works.shelf.create(text())
        until(lambda: not works.shelf.jobs(), "the end of the job")
        assert works.get(document.ingestion).state == State.INGESTION_STATE_CANCELLED
        indexed_is_told(works, document)

    def test_before_search_has_it_tells_nothing(self, works: IngestionWorkspace, meet: Meet) -> None:
        met = meet(
            Publishing,
            "publish",
            DependencyUnavailable("database"),
            before=lambda: works.cancel(works.listed()[0].name),
        )
        document = works.shelf.create(text())
        until(lambda: not works.shelf.jobs(), "the end of the job")
        assert len(met) == 1
        assert works.shelf.get(document).indexed_version == 0


class TestGivenUp:
    def test_one_that_search_has_all_the_same_is_found(
        self, works: IngestionWorkspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish = Publishing.publish

        def publish_late(*args: Any) -> Any:
            publish(*args)
            raise CallDeadlineExceeded

        monkeypatch.setattr(Publishing, "publish", publish_late)
        document = works.shelf.create(text())
        assert works.ended(document).state == State.INGESTION_STATE_DEAD
        until(lambda: not works.shelf.jobs(), "the end of the job")
        indexed_is_told(works, document)


def indexed_is_told(works: IngestionWorkspace, document: document_pb2.Document) -> None:
    """The document says that its version can be found, and so does an event."""
    assert works.shelf.get(document).indexed_version == 1
    told = "select 1 from kernel.event_log where subject = %s and type = 'plinth.documents.document.indexed.v1'"
    until(lambda: works.shelf.team.database.execute(told, [document.name]).fetchone(), "the event of it")


def lose_staged(works: IngestionWorkspace) -> None:
    """Whatever search had of passages that are not published."""
    works.shelf.team.database.execute(
        "delete from search.staged_chunks where workspace_id = %s", [works.shelf.workspace_id]
    )
