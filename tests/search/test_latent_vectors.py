"""Latent semantic vectors: when there are any, what they find, and that a killed worker leaves none out."""

from typing import Any

import psycopg
import pytest

from plinth.search.v1 import events_pb2
from services.kernel.ids import new_id
from services.search.model.index import EmbedderKind
from services.search.service import SearchServices
from tests.search.shelf import TOPICS, Shelf, about


@pytest.fixture(scope="module")
def shelf(services: SearchServices, owner_database: "psycopg.Connection[Any]") -> Shelf:
    """A workspace with as many passages as a model needs, and its first model."""
    shelf = Shelf(services, owner_database)
    for topic in TOPICS:
        shelf.put(about(topic, 75))
    shelf.work()
    return shelf


class Stop(Exception):
    """The worker is killed."""


class TestFirstModel:
    def test_waits_for_enough_passages(self, shelf: Shelf) -> None:
        small = shelf.beside()
        small.put(about("cars", 100))
        small.work()
        assert small.models() == []

    def test_finds_what_says_it_in_other_words(self, shelf: Shelf) -> None:
        sea = set(about("sea", 75))
        assert sea.issuperset(found := shelf.near("vessel", 50))
        assert any("vessel" not in text for text in found)

    def test_serves_every_passage(self, shelf: Shelf) -> None:
        view = shelf.view()
        assert view.building is None
        assert view.live is not None
        assert (view.live.embedder, view.live.approximate) == (EmbedderKind.LSA, False)
        assert view.live.model == f"lsa-{view.live.dimensions}"
        assert shelf.complete()

    def test_is_told_of(self, shelf: Shelf) -> None:
        tables = [f"select data from kernel.{table} where workspace_id = %s" for table in ("outbox", "event_log")]  # noqa: S608
        query = " union all ".join(tables)
        told = [
            events_pb2.IndexSwapped.FromString(data)
            for (data,) in shelf.database.execute(query, [shelf.workspace_id] * 2)
        ]
        assert [event.live.vector_count for event in told] == [300]

    def test_of_text_that_is_all_the_same_is_not_tried_again_and_again(self, shelf: Shelf) -> None:
        alike = shelf.beside()
        for _ in range(3):
            alike.put(["one and the same"] * 100)
        alike.work()
        assert alike.models() == ["void"]
        alike.put(["one and the same"])
        assert alike.models() == ["void"]
        for _ in range(2):
            alike.put(["one and the same"] * 75)
        assert alike.models() == ["building"]


class TestPublish:
    def test_brings_vectors_along_and_takes_them_away(self, shelf: Shelf) -> None:
        document = shelf.put(["car engine brake road gear", "ship harbour wave anchor"])
        assert shelf.near("automobile", 1, only=[document]) == ["car engine brake road gear"]
        shelf.put(["court judge jury oath", "ship harbour wave anchor"], document, version=2)
        assert "car engine brake road gear" not in shelf.near("automobile", 400)
        assert shelf.near("lawyer", 1, only=[document]) == ["court judge jury oath"]
        assert shelf.complete()

    def test_gives_no_vector_to_words_that_nobody_knows(self, shelf: Shelf) -> None:
        count = len(shelf.rows("vectors", "chunk_no"))
        document = shelf.put(["qwertz uiop"])
        assert len(shelf.rows("vectors", "chunk_no")) == count
        assert shelf.near("qwertz") == []
        shelf.put([], document, version=2)


class TestNextModel:
    def test_comes_when_the_index_has_grown_by_half_however_often_its_worker_is_killed(self, shelf: Shelf) -> None:
        shelf.put(about("cars", 140, seed=1))
        assert shelf.models() == ["live"]
        shelf.put(about("food", 20, seed=1))
        assert shelf.models() == ["building", "live"]
        (before,) = shelf.rows("models", "model_id, state")[0][:1]
        killed = 0
        for count in (0, 2, 5, 9, 14, 20, 1000):
            steps = iter(range(count))

            def check(steps: Any = steps) -> None:
                if next(steps, None) is None:
                    # Somebody publishes as it happens, under the model that serves and the one that is being made.
                    shelf.put([f"ship harbour wave anchor n{new_id()}"])
                    raise Stop

            try:
                shelf.work(check)
            except Stop:
                killed += 1
                assert shelf.complete()
                assert shelf.models() in (["building", "live"], ["live", "retired"])
        assert killed > 3
        assert shelf.models() == ["live"]
        assert shelf.rows("models", "model_id")[0][0] != before
        assert shelf.complete()
        assert {model for (model,) in shelf.rows("vectors", "model_id")} == {shelf.rows("models", "model_id")[0][0]}

    def test_is_given_up_where_too_little_is_left(self, shelf: Shelf) -> None:
        small = shelf.beside()
        documents = [small.put(about(topic, 75, seed=2)) for topic in TOPICS]
        small.work()
        assert small.view().live is not None
        for document in documents[:2]:
            small.put([], document, version=2)
        assert small.view().live is None
        small.work()
        assert (small.models(), small.rows("vectors", "chunk_no")) == ([], [])
