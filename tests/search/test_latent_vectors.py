"""Latent semantic vectors: when there are any, what they find, and that a killed worker leaves none out."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from plinth.search.v1 import events_pb2
from services.kernel.ids import new_id
from services.search.model import lsa
from services.search.model.index import EmbedderKind, Index
from services.search.model.lsa import Projection
from services.search.repository import models
from services.search.repository.indexes import IndexRepository
from services.search.service import preparing
from services.search.service.model_lifecycle import PRUNE
from tests.search.checks import Killed
from tests.search.library import Library
from tests.search.topics import TOPICS, about


@pytest.fixture(scope="module")
def library(new_library: Callable[[], Library]) -> Library:
    """A workspace with as many passages as a model needs, and its first model."""
    library = new_library()
    for topic in TOPICS:
        library.put(about(topic, 75))
    library.make_vectors()
    return library


def learnt(library: Library) -> Projection:
    """By the one model there is."""
    return Projection.from_parts([data for _, data in library.rows("model_parts", "part", "data")])


def prunings(library: Library) -> list[UUID]:
    """The models that a worker is to go through."""
    query = "select payload from jobs.jobs where workspace_id = %s and kind = %s"
    return [UUID(bytes=payload) for (payload,) in library.database.execute(query, [library.workspace_id, PRUNE])]


class TestFirstModel:
    def test_waits_for_enough_passages(self, library: Library) -> None:
        small = library.beside()
        small.put(about("cars", 100))
        small.make_vectors()
        assert small.models() == []

    def test_finds_what_says_it_in_other_words(self, library: Library) -> None:
        sea = set(about("sea", 75))
        assert sea.issuperset(found := library.near("vessel", 50))
        assert any("vessel" not in text for text in found)

    def test_serves_every_passage(self, library: Library) -> None:
        view = library.view()
        assert view.building is None
        assert view.live is not None
        assert (view.live.embedder, view.live.approximate) == (EmbedderKind.LSA, False)
        assert view.live.model == f"lsa-{view.live.dimensions}"
        assert library.complete()

    def test_is_told_of(self, library: Library) -> None:
        assert [event.live.vector_count for event in library.events(events_pb2.IndexSwapped)] == [300]

    def test_of_text_that_is_all_the_same_is_not_tried_again_and_again(self, library: Library) -> None:
        alike = library.beside()
        for _ in range(3):
            alike.put(["one and the same"] * 100)
        alike.make_vectors()
        assert alike.models() == ["void"]
        alike.put(["one and the same"])
        assert alike.models() == ["void"]
        for _ in range(2):
            alike.put(["one and the same"] * 75)
        assert alike.models() == ["building"]


class TestPublish:
    def test_brings_vectors_along_and_takes_them_away(self, library: Library) -> None:
        document = library.put(["car engine brake road gear", "ship harbour wave anchor"])
        assert library.near("automobile", 1, only=[document]) == ["car engine brake road gear"]
        library.put(["court judge jury oath", "ship harbour wave anchor"], document, version=2)
        assert "car engine brake road gear" not in library.near("automobile", 400)
        assert library.near("lawyer", 1, only=[document]) == ["court judge jury oath"]
        assert library.complete()

    def test_gives_no_vector_to_words_that_nobody_knows(self, library: Library) -> None:
        count = len(library.rows("vectors", "chunk_no"))
        document = library.put(["qwertz uiop"])
        assert len(library.rows("vectors", "chunk_no")) == count
        assert library.near("qwertz") == []
        library.put([], document, version=2)


class TestWordsThatNobodyHas:
    def test_are_forgotten_by_the_model_within_a_week(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lsa, "PART_BYTES", 4_000)
        monkeypatch.setattr(models, "_PARTS_AT_ONCE", 2)
        own = library.beside()
        for topic in TOPICS:
            own.put(about(topic, 75, seed=3))
        secret = own.put([f"zebra okapi {text}" for text in about("sea", 5, seed=4)])
        own.make_vectors()
        assert {"zebra", "okapi", "ship"} <= learnt(own).rows.keys()
        assert own.near("zebra")
        meant = learnt(own).fold({"vessel": 1, "ship": 2})
        own.put([], secret, version=2)
        own.maintain()
        own.services.lifecycle.ask_where_due()
        assert prunings(own) == []
        own.age("models", "prune_time", timedelta(days=8))
        own.services.lifecycle.ask_where_due()
        own.services.lifecycle.ask_where_due()
        (model_id,) = prunings(own)
        lock = IndexRepository.lock

        def published_meanwhile(self: IndexRepository, *given: Any) -> Index:  # whatever `lock` takes
            monkeypatch.setattr(IndexRepository, "lock", lock)
            with ThreadPoolExecutor() as others:
                others.submit(own.put, ["the okapi is back"]).result()
            return lock(self, *given)

        monkeypatch.setattr(IndexRepository, "lock", published_meanwhile)
        with own.acting():
            own.services.vector_builds.prune(own.workspace_id, model_id, lambda: None)
        assert "okapi" in learnt(own).rows
        assert "zebra" not in learnt(own).rows
        # Nor does a process that had it in memory know it any more.
        assert own.near("zebra") == []
        assert len(own.rows("model_parts", "part")) > 2
        assert np.allclose(learnt(own).fold({"vessel": 1, "ship": 2}), meant)
        own.lose_jobs()
        own.services.lifecycle.ask_where_due()
        assert prunings(own) == []


class TestLongDocuments:
    def test_get_their_vectors_from_a_job(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preparing, "SEGMENT", 4)
        texts = about("sea", 11, seed=9)
        document = library.put(texts)
        assert not library.complete()
        library.make_vectors()
        assert library.complete()
        library.put(texts[:3], document, version=2)
        live = library.view().live
        assert live is not None
        assert live.vector_count == len(library.rows("vectors", "chunk_no"))


class TestNextModel:
    def test_comes_when_the_index_has_grown_by_half_however_often_its_worker_is_killed(self, library: Library) -> None:
        library.put(about("cars", 140, seed=1))
        assert library.models() == ["live"]
        library.put(about("food", 20, seed=1))
        assert library.models() == ["building", "live"]
        before, _ = library.rows("models", "model_id", "state")[0]
        killed = 0
        for count in (0, 2, 5, 9, 14, 20, 1000):
            steps = iter(range(count))

            def check(steps: Any = steps) -> None:
                if next(steps, None) is None:
                    # Somebody publishes as it happens, under the model that serves and the one that is being made.
                    library.put([f"ship harbour wave anchor n{new_id()}"])
                    raise Killed

            try:
                library.make_vectors(check)
            except Killed:
                killed += 1
                assert library.complete()
                assert library.models() in (["building", "live"], ["live", "retired"])
        assert killed > 3
        assert library.models() == ["live"]
        assert library.rows("models", "model_id")[0][0] != before
        assert library.complete()
        assert {model for (model,) in library.rows("vectors", "model_id")} == {library.rows("models", "model_id")[0][0]}

    def test_is_given_up_where_too_little_is_left(self, library: Library) -> None:
        small = library.beside()
        documents = [small.put(about(topic, 75, seed=2)) for topic in TOPICS]
        small.make_vectors()
        assert small.view().live is not None
        for document in documents[:2]:
            small.put([], document, version=2)
        assert small.view().live is None
        small.make_vectors()
        assert (small.models(), small.rows("vectors", "chunk_no")) == ([], [])
