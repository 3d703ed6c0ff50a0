"""Vectors by a provider: what is paid for and when, and how an index goes over to it and away from it."""

import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

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
from tests.search.checks import once
from tests.search.embedders.provider import DIMENSIONS, KEY, Provider, embedding, failing
from tests.search.library import NOON, Library

BATCH = 2
FOX, WOLF, BEAR, HARE = "a red fox", "one grey wolf there", "the brown bear sleeps", "every white hare leaps here"


def services_of(runtime: Runtime, provider: Provider, **more: object) -> SearchServices:
    """The use cases of an instance with this provider."""
    return build_search(runtime.resources, provider.settings(runtime.settings, embedder_batch=BATCH, **more))


@pytest.fixture
def library(library: Library, runtime: Runtime, provider: Provider) -> Library:
    """A workspace of an instance that has a provider."""
    return replace(library, services=services_of(runtime, provider))


@pytest.fixture
def provided(library: Library) -> Library:
    """One that uses the provider."""
    library.use(EmbedderKind.OPENAI)
    library.make_vectors()
    return library


@pytest.fixture
def impatient() -> Iterator[None]:
    """Who asks the provider gives up at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai, "_ATTEMPTS", 1)
        yield


def asked(provider: Provider) -> list[str]:
    return [text for one in provider.asked for text in one.texts]


class TestEmbed:
    def test_asks_for_each_new_passage_once(self, provided: Library, provider: Provider) -> None:
        document = provided.put([FOX, WOLF, BEAR])
        assert asked(provider) == [FOX, WOLF, BEAR]
        provided.put([WOLF, HARE, FOX], document, version=2)
        assert asked(provider) == [FOX, WOLF, BEAR, HARE]
        assert provided.complete()
        assert provided.near(HARE, 1) == [HARE]
        assert provided.rows("staged_vectors", "chunk_id") == []

    @pytest.mark.usefixtures("impatient")
    def test_keeps_what_came_before_the_provider_went_away(self, provided: Library, provider: Provider) -> None:
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

    def test_says_what_the_provider_refuses(self, provided: Library, provider: Provider) -> None:
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
        self, provided: Library, provider: Provider
    ) -> None:
        texts = [f"{'z' * 40 * number}{FOX}" for number in range(7)]
        document = provided.put(texts)
        assert provided.rows("vectors", "chunk_no") == []
        assert len(provided.rows("staged_vectors", "chunk_id")) == len(texts)
        provider.asked.clear()
        commits: list[int] = []
        provided.make_vectors(lambda: commits.append(len(provided.rows("vectors", "chunk_no"))))
        assert commits[:5] == [0, 2, 4, 6, 7]
        assert provided.complete()
        # What was paid for is not asked for again.
        assert asked(provider) == []
        assert provided.rows("staged_vectors", "chunk_id") == []
        live = provided.view().live
        assert live is not None
        assert live.vector_count == len(texts)
        assert provided.near(texts[3], 1, only=[document]) == [texts[3]]

    def test_that_change_before_the_job_comes_keep_what_stays(self, provided: Library, provider: Provider) -> None:
        document = provided.put([FOX, WOLF, BEAR])
        provided.put([BEAR, FOX, HARE], document, version=2)
        assert len(provided.rows("staged_vectors", "chunk_id")) == 2
        provider.asked.clear()
        provided.make_vectors()
        assert asked(provider) == []
        assert provided.complete()

    def test_that_are_deleted_before_the_job_comes_leave_nothing(self, provided: Library) -> None:
        document = provided.put([FOX, WOLF, BEAR])
        provided.put([], document, version=2)
        assert provided.rows("staged_vectors", "chunk_id") == []
        provided.make_vectors()
        assert provided.rows("vectors", "chunk_no") == []


class TestChangeOfEmbedder:
    def test_builds_beside_and_swaps(self, library: Library, provider: Provider) -> None:
        library.put([FOX, WOLF, BEAR])
        library.use(EmbedderKind.OPENAI)
        assert library.view().live is None
        assert library.view().building is not None
        library.make_vectors()
        assert sorted(asked(provider)) == sorted([FOX, WOLF, BEAR])
        live = library.view().live
        assert live is not None
        assert (live.model, live.dimensions, live.vector_count) == ("test-model", DIMENSIONS, 3)
        assert library.near(FOX, 1) == [FOX]

    def test_needs_one_that_there_is(self, library: Library) -> None:
        with pytest.raises(EmbedderNotConfigured):
            library.use(EmbedderKind.LOCAL)

    def test_to_none_drops_all_vectors(self, provided: Library) -> None:
        provided.put([FOX])
        provided.use(EmbedderKind.NONE)
        assert provided.view().live is None
        provided.make_vectors()
        assert (provided.models(), provided.rows("vectors", "chunk_no")) == ([], [])
        assert provided.events(IndexSwapped)[-1] == IndexSwapped(index=provided.view().index.name)
        provided.put([WOLF])
        assert provided.models() == []

    def test_in_the_settings_is_followed_with_the_next_publish(
        self, provided: Library, provider: Provider, runtime: Runtime
    ) -> None:
        provided.put([FOX, WOLF])
        other = replace(provided, services=services_of(runtime, provider, embedder_model="other-model"))
        with pytest.raises(EmbedderNotConfigured):
            other.near(FOX)
        other.put([BEAR])
        other.make_vectors()
        live = other.view().live
        assert live is not None
        assert (live.model, live.vector_count) == ("other-model", 3)

    def test_leaves_no_passage_out_that_is_published_meanwhile(self, library: Library) -> None:
        library.put([FOX, WOLF, BEAR])
        library.use(EmbedderKind.OPENAI)
        document = new_id()
        library.stage([HARE], document)
        library.embed(document)

        def publish() -> None:
            library.publish([HARE], document, stage=False)
            library.put(["an owl"])

        library.make_vectors(once(publish))
        assert library.models() == ["live"]
        assert library.complete()

    def test_makes_up_for_passages_that_were_embedded_before_it(self, library: Library) -> None:
        document = new_id()
        library.stage([FOX, WOLF], document)
        library.embed(document)
        library.use(EmbedderKind.OPENAI)
        library.make_vectors()
        library.publish([FOX, WOLF], document, stage=False)
        assert not library.complete()
        library.make_vectors()
        assert library.complete()

    @pytest.mark.usefixtures("impatient")
    def test_goes_on_where_it_was_when_the_provider_comes_back(self, library: Library, provider: Provider) -> None:
        library.put([FOX, WOLF, BEAR])
        library.use(EmbedderKind.OPENAI)
        provider.manners += [embedding(), failing(429, retry_after="30")]
        with pytest.raises(Unavailable) as refusal:
            library.make_vectors()
        assert refusal.value.retry_after is not None
        assert refusal.value.retry_after.total_seconds() == 30
        # What does not serve yet keeps nobody from publishing.
        provider.manners += [failing(503)]
        library.put([HARE])
        provider.asked.clear()
        library.make_vectors()
        assert asked(provider) == [BEAR, HARE]
        assert library.complete()

    def test_back_to_the_own_words_of_a_small_workspace_leaves_words_alone(self, provided: Library) -> None:
        provided.put([FOX])
        provided.use(EmbedderKind.LSA)
        assert provided.view().live is None


class TestRebuild:
    def test_makes_all_vectors_anew_and_serves_meanwhile(self, provided: Library, provider: Provider) -> None:
        document = provided.put([FOX, WOLF])
        (before,) = provided.rows("models", "model_id")
        provider.asked.clear()
        provided.rebuild()
        provided.rebuild()
        assert provided.models() == ["building", "live"]
        assert provided.near(FOX, 1, only=[document]) == [FOX]
        provided.make_vectors()
        assert sorted(asked(provider)) == sorted([FOX, WOLF, FOX])
        (after,) = provided.rows("models", "model_id")
        assert after != before
        assert provided.complete()


class TestJob:
    @pytest.mark.usefixtures("impatient")
    def test_waits_as_long_as_the_provider_says_and_does_not_give_up_what_it_refuses(
        self, library: Library, provider: Provider
    ) -> None:
        library.put([FOX])
        library.use(EmbedderKind.OPENAI)
        ((model_id,),) = library.rows("models", "model_id")
        (handler,) = (one for one in job_handlers(library.services) if one.kind == BUILD)
        hold = Hold(math.inf, math.inf, threading.Condition())
        attempt = Attempt(
            job_id=new_id(),
            kind=BUILD,
            queue=handler.queue,
            workspace_id=library.workspace_id,
            subject=library.view().index.name,
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
        with library.acting():
            settlement = run(attempt, handler, FrozenClock(NOON), None).settlement
            assert settlement is not None
            assert settlement.run_time == NOON + timedelta(seconds=60)
            settlement = run(attempt, handler, FrozenClock(NOON), None).settlement
        assert settlement is not None
        # Somebody may mend the key.
        assert settlement.state is JobState.ARRIVED
        assert "does not accept the key" in settlement.error
        assert KEY not in settlement.error

    def test_leaves_out_a_passage_that_the_provider_refuses(self, library: Library, provider: Provider) -> None:
        library.put([FOX, WOLF, BEAR])
        library.use(EmbedderKind.OPENAI)
        provider.manners += [failing(400, "content_filter"), failing(400, "content_filter")]
        library.make_vectors()
        assert library.models() == ["live"]
        assert asked(provider) == [FOX, WOLF, FOX, WOLF, BEAR]
        assert set(library.near(FOX)) == {WOLF, BEAR}
        live = library.view().live
        assert live is not None
        assert live.vector_count == 2

    def test_waits_while_the_provider_takes_no_text_at_all(self, library: Library, provider: Provider) -> None:
        library.put([FOX, WOLF])
        library.use(EmbedderKind.OPENAI)
        provider.manners += [failing(400)] * 3
        with pytest.raises(EmbedderRefused):
            library.make_vectors()
        assert library.models() == ["building"]


class TestJobsThatWereGivenUp:
    """By an admin, or after too many attempts."""

    def test_of_a_model_that_is_made_are_asked_for_again(self, library: Library) -> None:
        library.put([FOX])
        library.use(EmbedderKind.OPENAI)
        library.lose_jobs()
        for _ in range(2):
            library.services.lifecycle.ask_where_due()
        assert library.jobs(BUILD) == 1
        library.make_vectors()
        assert library.complete()
        library.services.lifecycle.ask_where_due()
        assert library.jobs(BUILD) == 0

    def test_of_a_model_that_goes_are_asked_for_again(self, provided: Library) -> None:
        provided.put([FOX])
        provided.use(EmbedderKind.NONE)
        provided.lose_jobs()
        provided.services.lifecycle.ask_where_due()
        assert provided.jobs(DROP) == 1
        provided.make_vectors()
        assert provided.models() == []

    def test_of_passages_that_lack_their_vectors_are_asked_for_again(self, provided: Library) -> None:
        provided.put([FOX], embed=False)
        provided.lose_jobs()
        provided.services.lifecycle.ask_where_due()
        assert provided.jobs(BUILD) == 1
        provided.make_vectors()
        assert provided.complete()
