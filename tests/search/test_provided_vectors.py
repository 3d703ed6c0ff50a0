"""Vectors by a provider: what is paid for and when, and how an index goes over to it and away from it."""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from plinth.search.v1.events_pb2 import IndexSwapped
from services.kernel.clock import FrozenClock
from services.kernel.errors import Unavailable
from services.kernel.ids import new_id
from services.kernel.jobs import Attempt, JobState
from services.kernel.jobs.attempt import Hold
from services.kernel.jobs.run import run
from services.runtime import Runtime
from services.search.embedders import openai
from services.search.errors import EmbedderNotConfigured, EmbedderRefused, EmbedderUnavailable
from services.search.model.index import EmbedderKind
from services.search.service import SearchServices, build_search, vector_builds, vectors
from services.search.service.model_lifecycle import BUILD, DROP
from services.search.subscribers import job_handlers
from tests.search.embedders.provider import DIMENSIONS, KEY, Provider, embedding, failing, running
from tests.search.library import NOON
from tests.search.shelf import Shelf

BATCH = 2
FOX, WOLF, BEAR, HARE = "a red fox", "one grey wolf there", "the brown bear sleeps", "every white hare leaps here"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as provider:
        yield provider


def services_of(runtime: Runtime, provider: Provider, **more: object) -> SearchServices:
    """The use cases of an instance with this provider."""
    given = {
        "embedder_url": provider.url,
        "embedder_key": KEY,
        "embedder_model": "test-model",
        "embedder_dimensions": DIMENSIONS,
        "embedder_batch": BATCH,
        **more,
    }
    return build_search(runtime.resources, type(runtime.settings)(**runtime.settings.model_dump() | given))


@pytest.fixture
def shelf(runtime: Runtime, provider: Provider, owner_database: "psycopg.Connection[Any]") -> Shelf:
    """A workspace of an instance that has a provider."""
    return Shelf(services_of(runtime, provider), owner_database)


@pytest.fixture
def provided(shelf: Shelf) -> Shelf:
    """One that uses the provider."""
    shelf.use(EmbedderKind.OPENAI)
    shelf.work()
    return shelf


@pytest.fixture
def impatient() -> Iterator[None]:
    """Who asks the provider gives up at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai, "_ATTEMPTS", 1)
        yield


def asked(provider: Provider) -> list[str]:
    return [text for one in provider.asked for text in one.texts]


def once(work: Callable[[], None]) -> Callable[[], None]:
    """Does it when it is called first."""
    calls = iter([work])

    def check() -> None:
        for call in calls:
            call()

    return check


class TestEmbed:
    def test_asks_for_each_new_passage_once(self, provided: Shelf, provider: Provider) -> None:
        document = provided.put([FOX, WOLF, BEAR])
        assert asked(provider) == [FOX, WOLF, BEAR]
        provided.put([WOLF, HARE, FOX], document, version=2)
        assert asked(provider) == [FOX, WOLF, BEAR, HARE]
        assert provided.complete()
        assert provided.near(HARE, 1) == [HARE]
        assert provided.rows("staged_vectors", "chunk_id") == []

    @pytest.mark.usefixtures("impatient")
    def test_keeps_what_came_before_the_provider_went_away(self, provided: Shelf, provider: Provider) -> None:
        document = new_id()
        provided.stage([FOX, WOLF, BEAR], document)
        provider.manners += [embedding(), failing(503, retry_after="7")]
        with pytest.raises(EmbedderUnavailable) as refusal:
            provided.embed(document)
        assert refusal.value.retry_after is not None
        assert refusal.value.retry_after.total_seconds() == 7
        assert len(provided.rows("staged_vectors", "chunk_id")) == BATCH
        provider.asked.clear()
        provided.embed(document)
        assert asked(provider) == [BEAR]

    def test_says_what_the_provider_refuses(self, provided: Shelf, provider: Provider) -> None:
        document = new_id()
        provided.stage([FOX], document)
        provider.manners += [failing(401)]
        with pytest.raises(EmbedderRefused) as refusal:
            provided.embed(document)
        assert refusal.value.metadata == {"problem": "The provider does not accept the key.", "scope": "provider"}


class TestLongDocuments:
    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Three passages are many."""
        for module in (vectors, vector_builds):
            monkeypatch.setattr(module, "AT_ONCE", 2)

    def test_are_published_without_vectors_which_a_job_moves_a_few_at_a_time(
        self, provided: Shelf, provider: Provider
    ) -> None:
        texts = [f"{'z' * 40 * number}{FOX}" for number in range(7)]
        document = provided.put(texts)
        assert provided.rows("vectors", "chunk_no") == []
        assert len(provided.rows("staged_vectors", "chunk_id")) == len(texts)
        provider.asked.clear()
        commits: list[int] = []
        provided.work(lambda: commits.append(len(provided.rows("vectors", "chunk_no"))))
        assert commits[:5] == [0, 2, 4, 6, 7]
        assert provided.complete()
        # What was paid for is not asked for again.
        assert asked(provider) == []
        assert provided.rows("staged_vectors", "chunk_id") == []
        live = provided.view().live
        assert live is not None
        assert live.vector_count == len(texts)
        assert provided.near(texts[3], 1, only=[document]) == [texts[3]]

    def test_that_change_before_the_job_comes_keep_what_stays(self, provided: Shelf, provider: Provider) -> None:
        document = provided.put([FOX, WOLF, BEAR])
        provided.put([BEAR, FOX, HARE], document, version=2)
        assert len(provided.rows("staged_vectors", "chunk_id")) == 2
        provider.asked.clear()
        provided.work()
        assert asked(provider) == []
        assert provided.complete()

    def test_that_are_deleted_before_the_job_comes_leave_nothing(self, provided: Shelf) -> None:
        document = provided.put([FOX, WOLF, BEAR])
        provided.put([], document, version=2)
        assert provided.rows("staged_vectors", "chunk_id") == []
        provided.work()
        assert provided.rows("vectors", "chunk_no") == []


class TestChangeOfEmbedder:
    def test_builds_beside_and_swaps(self, shelf: Shelf, provider: Provider) -> None:
        shelf.put([FOX, WOLF, BEAR])
        shelf.use(EmbedderKind.OPENAI)
        assert shelf.view().live is None
        assert shelf.view().building is not None
        shelf.work()
        assert sorted(asked(provider)) == sorted([FOX, WOLF, BEAR])
        live = shelf.view().live
        assert live is not None
        assert (live.model, live.dimensions, live.vector_count) == ("test-model", DIMENSIONS, 3)
        assert shelf.near(FOX, 1) == [FOX]

    def test_needs_one_that_there_is(self, shelf: Shelf) -> None:
        with pytest.raises(EmbedderNotConfigured):
            shelf.use(EmbedderKind.LOCAL)

    def test_to_none_drops_all_vectors(self, provided: Shelf) -> None:
        provided.put([FOX])
        provided.use(EmbedderKind.NONE)
        assert provided.view().live is None
        provided.work()
        assert (provided.models(), provided.rows("vectors", "chunk_no")) == ([], [])
        assert provided.told(IndexSwapped)[-1] == IndexSwapped(index=provided.view().index.name)
        provided.put([WOLF])
        assert provided.models() == []

    def test_in_the_settings_is_followed_with_the_next_publish(
        self, provided: Shelf, provider: Provider, runtime: Runtime
    ) -> None:
        provided.put([FOX, WOLF])
        other = replace(provided, services=services_of(runtime, provider, embedder_model="other-model"))
        with pytest.raises(EmbedderNotConfigured):
            other.near(FOX)
        other.put([BEAR])
        other.work()
        live = other.view().live
        assert live is not None
        assert (live.model, live.vector_count) == ("other-model", 3)

    def test_leaves_no_passage_out_that_is_published_meanwhile(self, shelf: Shelf) -> None:
        shelf.put([FOX, WOLF, BEAR])
        shelf.use(EmbedderKind.OPENAI)
        document = new_id()
        shelf.stage([HARE], document)
        shelf.embed(document)

        def publish() -> None:
            shelf.publish([HARE], document)
            shelf.put(["an owl"])

        shelf.work(once(publish))
        assert shelf.models() == ["live"]
        assert shelf.complete()

    def test_makes_up_for_passages_that_were_embedded_before_it(self, shelf: Shelf) -> None:
        document = new_id()
        shelf.stage([FOX, WOLF], document)
        shelf.embed(document)
        shelf.use(EmbedderKind.OPENAI)
        shelf.work()
        shelf.publish([FOX, WOLF], document)
        assert not shelf.complete()
        shelf.work()
        assert shelf.complete()

    @pytest.mark.usefixtures("impatient")
    def test_goes_on_where_it_was_when_the_provider_comes_back(self, shelf: Shelf, provider: Provider) -> None:
        shelf.put([FOX, WOLF, BEAR])
        shelf.use(EmbedderKind.OPENAI)
        provider.manners += [embedding(), failing(429, retry_after="30")]
        with pytest.raises(Unavailable) as refusal:
            shelf.work()
        assert refusal.value.retry_after is not None
        assert refusal.value.retry_after.total_seconds() == 30
        # What does not serve yet keeps nobody from publishing.
        provider.manners += [failing(503)]
        shelf.put([HARE])
        provider.asked.clear()
        shelf.work()
        assert asked(provider) == [BEAR, HARE]
        assert shelf.complete()

    def test_back_to_the_own_words_of_a_small_workspace_leaves_words_alone(self, provided: Shelf) -> None:
        provided.put([FOX])
        provided.use(EmbedderKind.LSA)
        assert provided.view().live is None


class TestRebuild:
    def test_makes_all_vectors_anew_and_serves_meanwhile(self, provided: Shelf, provider: Provider) -> None:
        document = provided.put([FOX, WOLF])
        (before,) = provided.rows("models", "model_id")
        provider.asked.clear()
        provided.rebuild()
        provided.rebuild()
        assert provided.models() == ["building", "live"]
        assert provided.near(FOX, 1, only=[document]) == [FOX]
        provided.work()
        assert sorted(asked(provider)) == sorted([FOX, WOLF, FOX])
        (after,) = provided.rows("models", "model_id")
        assert after != before
        assert provided.complete()


class TestJob:
    @pytest.mark.usefixtures("impatient")
    def test_waits_as_long_as_the_provider_says_and_does_not_give_up_what_it_refuses(
        self, shelf: Shelf, provider: Provider
    ) -> None:
        shelf.put([FOX])
        shelf.use(EmbedderKind.OPENAI)
        ((model_id,),) = shelf.rows("models", "model_id")
        (handler,) = (one for one in job_handlers(shelf.services) if one.kind == BUILD)
        hold = Hold(math.inf, math.inf, threading.Condition())
        attempt = Attempt(
            job_id=new_id(),
            kind=BUILD,
            queue=handler.queue,
            workspace_id=shelf.workspace_id,
            subject=shelf.view().index.name,
            payload=model_id.bytes,
            number=1,
            max_attempts=3,
            fence=1,
            run_time=NOON,
            create_time=NOON,
            actor="",
            traceparent="",
            unique_key=None,
            hold=hold,
        )
        provider.manners += [failing(503, retry_after="60"), failing(401)]
        with shelf.acting():
            settlement = run(attempt, handler, FrozenClock(NOON), None).settlement
            assert settlement is not None
            assert settlement.run_time == NOON + timedelta(seconds=60)
            settlement = run(attempt, handler, FrozenClock(NOON), None).settlement
        assert settlement is not None
        # Somebody may mend the key.
        assert settlement.state is JobState.ARRIVED
        assert "does not accept the key" in settlement.error
        assert KEY not in settlement.error

    def test_leaves_out_a_passage_that_the_provider_refuses(self, shelf: Shelf, provider: Provider) -> None:
        shelf.put([FOX, WOLF, BEAR])
        shelf.use(EmbedderKind.OPENAI)
        provider.manners += [failing(400, "content_filter"), failing(400, "content_filter")]
        shelf.work()
        assert shelf.models() == ["live"]
        assert asked(provider) == [FOX, WOLF, FOX, WOLF, BEAR]
        assert set(shelf.near(FOX)) == {WOLF, BEAR}
        live = shelf.view().live
        assert live is not None
        assert live.vector_count == 2

    def test_waits_while_the_provider_takes_no_text_at_all(self, shelf: Shelf, provider: Provider) -> None:
        shelf.put([FOX, WOLF])
        shelf.use(EmbedderKind.OPENAI)
        provider.manners += [failing(400)] * 3
        with pytest.raises(EmbedderRefused):
            shelf.work()
        assert shelf.models() == ["building"]


def jobs(shelf: Shelf, kind: str) -> int:
    query = "select count(*) from jobs.jobs where workspace_id = %s and kind = %s and state = 'arrived'"
    row = shelf.database.execute(query, [shelf.workspace_id, kind]).fetchone()
    return int(row[0]) if row else 0


class TestJobsThatWereGivenUp:
    """By an admin, or after too many attempts."""

    @staticmethod
    def given_up(shelf: Shelf) -> None:
        shelf.database.execute("delete from jobs.jobs where workspace_id = %s", [shelf.workspace_id])

    def test_of_a_model_that_is_made_are_asked_for_again(self, shelf: Shelf) -> None:
        shelf.put([FOX])
        shelf.use(EmbedderKind.OPENAI)
        self.given_up(shelf)
        for _ in range(2):
            shelf.services.lifecycle.ask_where_due()
        assert jobs(shelf, BUILD) == 1
        shelf.work()
        assert shelf.complete()
        shelf.services.lifecycle.ask_where_due()
        assert jobs(shelf, BUILD) == 0

    def test_of_a_model_that_goes_are_asked_for_again(self, provided: Shelf) -> None:
        provided.put([FOX])
        provided.use(EmbedderKind.NONE)
        self.given_up(provided)
        provided.services.lifecycle.ask_where_due()
        assert jobs(provided, DROP) == 1
        provided.work()
        assert provided.models() == []

    def test_of_passages_that_lack_their_vectors_are_asked_for_again(self, provided: Shelf) -> None:
        provided.put([FOX], embed=False)
        self.given_up(provided)
        provided.services.lifecycle.ask_where_due()
        assert jobs(provided, BUILD) == 1
        provided.work()
        assert provided.complete()
