"""HNSW graphs: when there is one, that it answers under row-level security, and how much of the truth it finds."""

import ast
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from services.kernel.caller import Caller
from services.kernel.config import Settings
from services.kernel.ids import new_id
from services.runtime import Runtime
from services.search.model import analysis, bm25, lsa, postings
from services.search.model.hits import MAX_HITS
from services.search.model.index import EmbedderKind
from services.search.model.vectors import Model, ModelState
from services.search.repository import nearest
from services.search.repository.graphs import Graphs
from services.search.service import SearchServices, build_search, semantic
from services.search.service.model_lifecycle import BUILD
from services.search.service.snapshots import Snapshot
from services.search.service.units import SearchUnitOfWork
from tests.search.embedders.provider import DIMENSIONS, Provider
from tests.search.library import NOON, Library
from tests.support.acting import acting

# While one makes a graph, another one's ANALYZE would wait for it, and it for that.
pytestmark = pytest.mark.xdist_group("graphs")

COUNT, FEW = 2_000, 500
# Each document has as many passages.
OF_DOCUMENT = 5
LIMIT = 10
MANY = 1_000


def passages(count: int) -> list[Counter[str]]:
    """Terms of real text: what Python's library says of itself, 40 words at a time."""
    found: list[Counter[str]] = []
    for path in sorted(Path(ast.__file__).parent.rglob("*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                words = text.split()
                found += [analysis.terms(" ".join(words[at : at + 40]), "en") for at in range(0, len(words) - 15, 40)]
        if len(found) >= count:
            return found[:count]
    raise AssertionError("Python's library says too little")


@dataclass(frozen=True)
class VectorSpace:
    """Vectors of one model, in the database and here."""

    services: SearchServices
    graphs: Graphs
    model: Model
    snapshot: Snapshot
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]

    @contextmanager
    def reading(self) -> Iterator[SearchUnitOfWork]:
        with acting(Caller(workspace_id=self.model.workspace_id)), self.services.units() as uow:
            yield uow

    def near(self, query: NDArray[np.float32], allowed: NDArray[np.bool_] | None, limit: int = LIMIT) -> list[int]:
        with self.reading() as uow:
            found = self.services.semantic.nearest(uow, self.snapshot, self.model, query, allowed, limit)
        return [int(number) for number in found.chunk_nos]

    def recall(self, allowed: NDArray[np.bool_] | None, limit: int = LIMIT) -> float:
        """Which share of the nearest is found; what is as near as the last of them, but for rounding, is as good."""
        shares = []
        for query in self.queries:
            cosines = self.vectors @ query
            if allowed is not None:
                cosines[~allowed[self.snapshot.doc_nos]] = -1
            last = max(np.sort(cosines)[-limit], 0)
            wanted = min(limit, int(np.count_nonzero(cosines > 0)))
            found = np.count_nonzero(cosines[self.near(query, allowed, limit)] >= last - 2e-4)
            shares.append(min(found / wanted, 1))
        return float(np.mean(shares))


@pytest.fixture(scope="module")
def space(runtime: Runtime, owner_database: "psycopg.Connection[Any]") -> VectorSpace:
    """Vectors of real text, with a graph."""
    return space_of(passages(COUNT), runtime, owner_database)


def space_of(
    texts: Sequence[Counter[str]], runtime: Runtime, owner_database: "psycopg.Connection[Any]", asked_of: int = COUNT
) -> VectorSpace:
    """Vectors of texts, with a graph, and queries for the first of them."""
    count = len(texts)
    occurrences = lsa.Occurrences(np.arange(count, dtype=np.int32))
    for term, found in postings.build(0, texts).items():
        occurrences.add(term, found.chunk_nos, found.tfs)
    projection = lsa.fit(occurrences)
    folded = projection.fold_all(occurrences).astype(np.float16).astype(np.float32)
    draw = random.Random(20)
    long = draw.sample([text for text in texts[:asked_of] if len(text) > 9], 60)
    asked = [dict.fromkeys(draw.sample(sorted(text), 3), 1) for text in long]
    doc_nos = np.arange(count, dtype=np.int32) // OF_DOCUMENT
    model = Model(
        new_id(),
        new_id(),
        EmbedderKind.LSA,
        "lsa",
        projection.dimensions,
        ModelState.LIVE,
        count,
        count,
        count,
        True,
        count,
        NOON,
        NOON,
    )
    services = build_search(runtime.resources, runtime.settings)
    snapshot = Snapshot(model.workspace_id, 1, bm25.Corpus(count, count * 10, count), (), doc_nos, int(doc_nos[-1]) + 1)
    graphs = Graphs(lambda: runtime.database.connect("graphs"), MANY)
    made = VectorSpace(
        services, graphs, model, snapshot, folded, np.array([v for v in map(projection.fold, asked) if v.any()])
    )
    with made.reading() as uow:
        uow.repo.models.add(model)
        uow.commit()
    with owner_database.cursor().copy("copy search.vectors from stdin") as copy:
        for number, vector in enumerate(folded):
            copy.write_row((model.workspace_id, model.model_id, int(doc_nos[number]), number, str(vector.tolist())))
    owner_database.execute("analyze search.vectors")
    graphs.make(model.workspace_id, model.model_id, model.dimensions, lambda _: None)
    return made


def every(share: float) -> NDArray[np.bool_]:
    """A filter that keeps about this share of the documents."""
    allowed = np.random.default_rng(3).random(COUNT // OF_DOCUMENT + 1) < share
    allowed[-1] = False
    return allowed


def valid(database: "psycopg.Connection[Any]", model_id: UUID) -> bool | None:
    query = "select indisvalid from pg_index where indexrelid = to_regclass(%s)"
    row = database.execute(query, [f"search.graph_{model_id.hex}"]).fetchone()
    return row[0] if row else None


class TestNearest:
    @pytest.mark.parametrize("share", [None, 0.5, 0.1, 0.01])
    def test_finds_98_of_100_along_the_graph_whatever_a_filter_keeps(
        self, space: VectorSpace, share: float | None
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            # So small an index is compared as a whole otherwise.
            patch.setattr(semantic, "few", lambda left, total, limit: False)
            assert space.recall(None if share is None else every(share)) >= 0.98

    def test_finds_its_way_past_very_many_passages_that_are_alike(
        self, runtime: Runtime, owner_database: "psycopg.Connection[Any]"
    ) -> None:
        alike = [Counter({"same": 9, "again": 8})] * (12 * FEW)
        space = space_of([*passages(FEW), *alike], runtime, owner_database, FEW)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(semantic, "few", lambda left, total, limit: False)
            assert space.recall(None) >= 0.98

    def test_finds_nearly_all_that_can_be_paged_through(self, space: VectorSpace) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(semantic, "few", lambda left, total, limit: False)
            assert space.recall(None, MAX_HITS) >= 0.95

    def test_finds_all_where_a_filter_keeps_few(self, space: VectorSpace) -> None:
        assert space.recall(every(0.1)) == 1

    def test_asks_the_graph(self, space: VectorSpace) -> None:
        for masked in (False, True):
            with space.reading() as uow:
                uow.session.run(nearest.ALONG_GRAPHS)
                query = nearest.graph_query(space.model.dimensions, masked=masked)
                values = {
                    "workspace": space.model.workspace_id,
                    "model": space.model.model_id,
                    "vector": space.queries[0].tolist(),
                    "limit": LIMIT,
                    "bits": b"\xff" * 100,
                }
                plan = uow.session._connection.execute(f"explain {query.sql}", query.defaults | values).fetchall()
            assert f"Index Scan using graph_{space.model.model_id.hex}" in str(plan)

    def test_leaves_out_what_was_published_since_and_what_is_filtered(self, space: VectorSpace) -> None:
        query = space.queries[0]
        everything = space.near(query, None)
        early = replace(space, snapshot=replace(space.snapshot, corpus=bm25.Corpus(COUNT, COUNT, everything[0])))
        assert everything[0] not in early.near(query, None)
        allowed = np.ones(COUNT // OF_DOCUMENT + 1, np.bool_)
        first = everything[0] // OF_DOCUMENT
        allowed[first] = False
        assert first not in {number // OF_DOCUMENT for number in space.near(query, allowed)}
        assert space.near(query, np.zeros_like(allowed)) == []

    def test_shows_one_workspace_nothing_of_another(self, space: VectorSpace) -> None:
        with acting(Caller(workspace_id=new_id())), space.services.units() as uow:
            assert uow.repo.nearest.along_graph(space.model, space.queries[0], LIMIT, None, 400) == []
            assert uow.repo.nearest.exact(space.model, space.queries[0], LIMIT, None) == []


def purge(library: Library) -> None:
    """Delete all that the workspace has."""
    with library.acting(), library.services.units() as uow:
        library.services.purging.begin(uow, library.workspace_id)
        uow.commit()
    with library.acting():
        library.services.purging.purge(library.workspace_id, lambda: None, lambda _: None)


class TestGraph:
    """From five passages on, in a workspace with a provider."""

    @pytest.fixture
    def provided(self, runtime: Runtime, provider: Provider) -> Settings:
        return provider.settings(runtime.settings, search_graph_from=5)

    @pytest.fixture
    def library(self, library: Library, runtime: Runtime, provided: Settings) -> Library:
        library = replace(library, services=build_search(runtime.resources, provided))
        library.use(EmbedderKind.OPENAI)
        library.make_vectors()
        return library

    def test_is_made_when_there_are_enough_passages_and_goes_with_its_model(
        self, library: Library, owner_database: "psycopg.Connection[Any]"
    ) -> None:
        ((model_id,),) = library.rows("models", "model_id")
        library.put(["a fox", "one wolf", "the bear"])
        library.make_vectors()
        assert valid(owner_database, model_id) is None
        document = library.put(["every hare", "many owls and more"])
        library.make_vectors()
        live = library.view().live
        assert live is not None
        assert live.approximate
        assert valid(owner_database, model_id)
        library.put(["seven newts in a pond"])
        assert library.near("seven newts in a pond", 1) == ["seven newts in a pond"]
        assert len(library.near("a fox", only=[document])) == 2
        library.rebuild()
        library.make_vectors()
        assert valid(owner_database, model_id) is None
        ((next_id,),) = library.rows("models", "model_id")
        assert valid(owner_database, next_id)
        library.use(EmbedderKind.NONE)
        library.make_vectors()
        assert valid(owner_database, next_id) is None

    def test_that_there_is_no_room_for_is_done_without(
        self, library: Library, runtime: Runtime, provided: Settings, owner_database: "psycopg.Connection[Any]"
    ) -> None:
        ((model_id,),) = library.rows("models", "model_id")
        no_room = provided.model_copy(update={"search_most_graphs": 0})
        full = replace(library, services=build_search(runtime.resources, no_room))
        full.put(["a fox", "one wolf", "the bear", "every hare", "many owls"])
        full.make_vectors()
        live = full.view().live
        assert live is not None
        assert not live.approximate
        assert valid(owner_database, model_id) is None
        assert len(full.near("a fox")) == 5
        # Not every publish asks for it in vain.
        library.put(["seven newts"])
        assert library.jobs(BUILD) == 0
        library.age("models", "graph_time", timedelta(hours=1))
        library.put(["eight otters"])
        assert library.jobs(BUILD) == 1
        library.make_vectors()
        assert valid(owner_database, model_id)
        assert library.rows("models", "graph_time") == [(None,)]

    def test_that_is_made_while_the_workspace_is_purged_goes_too(
        self, library: Library, owner_database: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ((model_id,),) = library.rows("models", "model_id")
        library.put(["a fox", "one wolf", "the bear", "every hare", "many owls"])
        make = Graphs.make

        def purged(self: Graphs, *given: Any) -> bool:  # whatever `make` takes
            purge(library)
            made = make(self, *given)
            assert valid(owner_database, model_id)
            return made

        monkeypatch.setattr(Graphs, "make", purged)
        library.make_vectors()
        assert valid(owner_database, model_id) is None

    def test_that_nobody_has_any_more_is_dropped(
        self, library: Library, owner_database: "psycopg.Connection[Any]"
    ) -> None:
        ((model_id,),) = library.rows("models", "model_id")
        library.put(["a fox", "one wolf", "the bear", "every hare", "many owls"])
        library.make_vectors()
        library.services.lifecycle.ask_where_due()
        library.make_vectors()
        assert valid(owner_database, model_id)
        owner_database.execute("delete from search.models where model_id = %s", [model_id])
        library.services.lifecycle.ask_where_due()
        library.make_vectors()
        assert valid(owner_database, model_id) is None

    def test_that_a_killed_worker_left_half_done_is_made_again(
        self, library: Library, owner_database: "psycopg.Connection[Any]"
    ) -> None:
        ((model_id,),) = library.rows("models", "model_id")
        graphs = Graphs(lambda: library.services.units._resources.database.connect("graphs"), MANY)
        graphs.make(library.workspace_id, model_id, DIMENSIONS, lambda _: None)
        owner_database.execute(
            "update pg_index set indisvalid = false where indexrelid = to_regclass(%s)",
            [f"search.graph_{model_id.hex}"],
        )
        library.put(["a fox", "one wolf", "the bear", "every hare", "many owls"])
        library.make_vectors()
        assert valid(owner_database, model_id)

    def test_goes_with_a_purged_workspace(self, library: Library, owner_database: "psycopg.Connection[Any]") -> None:
        library.put(["a fox", "one wolf", "the bear", "every hare", "many owls"])
        library.make_vectors()
        ((model_id,),) = library.rows("models", "model_id")
        purge(library)
        assert library.rows("vectors", "chunk_no") == []
        assert valid(owner_database, model_id) is None
