"""Whatever is done to an index in whatever order: it answers as one that was built from what is there now."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from services.kernel.ids import new_id
from services.search.model import bm25, postings, segments
from services.search.model.passages import Readable
from services.search.model.query import parse
from services.search.service.lexical import Matches, lexical
from services.search.service.snapshots import Snapshot
from services.search.service.visibility import View, Viewer
from tests.search.library import HIDDEN, SHOWN, Library

WORDS = ("fox", "wolf", "bear", "hare", "owl")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join), max_size=4)
AUDIENCES = {"everyone": SHOWN, "admins": HIDDEN}
# As many neighbours are merged, so that a few publishes are enough for it.
FANOUT = 3


class Machine(RuleBasedStateMachine):
    """Documents that come, change and go, while the index is tended now and then."""

    new_library: Callable[[], Library]
    documents: Bundle[UUID] = Bundle("documents")

    def __init__(self) -> None:
        super().__init__()
        self.library = self.new_library()
        self.texts: dict[UUID, list[str]] = {}
        self.visibility: dict[UUID, str] = {}
        self.version = 0
        self.hours = 0

    @rule(target=documents, texts=TEXTS)
    def add(self, texts: list[str]) -> UUID:
        document = new_id()
        self.visibility[document] = "everyone"
        self._publish(document, texts)
        return document

    @rule(document=documents, texts=TEXTS)
    def change(self, document: UUID, texts: list[str]) -> None:
        self._publish(document, texts)

    @rule(document=documents, who=st.sampled_from(sorted(AUDIENCES)))
    def show(self, document: UUID, who: str) -> None:
        self.hours += 1
        self.library.change(document, AUDIENCES[who], hours=self.hours)
        self.visibility[document] = who

    @rule(document=consumes(documents))
    def delete(self, document: UUID) -> None:
        self.library.delete(document)
        del self.texts[document]

    @rule()
    def maintain(self) -> None:
        self.library.maintain()

    @rule()
    def rebuild(self) -> None:
        self.library.rebuild()
        self.library.maintain()

    @invariant()
    def answers_as_one_that_is_built_anew(self) -> None:
        living = [Readable((), text, "en") for texts in self.texts.values() for text in texts]
        counted = [readable.terms() for readable in living]
        built = postings.build(0, counted)
        corpus = bm25.Corpus(len(counted), sum(one.total() for one in counted), len(counted))
        for query in ("fox", "wolf bear", "owl hare fox"):
            words = [
                bm25.Scored(word, built.get(term, postings.EMPTY)) for word in query.split() for term in [STEMS[word]]
            ]
            expected = bm25.rank(corpus, words, 1000)
            found = self.library.match(query)
            assert found.count == len(expected.scores)
            assert sorted(map(float, found.ranking.scores)) == pytest.approx(sorted(map(float, expected.scores)))
            texts = Counter(self.library.texts(map(int, found.ranking.chunk_nos)))
            assert texts == Counter(living[chunk_no].text for chunk_no in expected.chunk_nos)

    @invariant()
    def answers_those_who_do_not_see_all_as_if_there_were_no_more(self) -> None:
        living = [
            text for document, texts in self.texts.items() for text in texts if self.visibility[document] == "everyone"
        ]
        holders = Counter(text for text in living if "fox" in text.split())
        viewer = Viewer(self.library.workspace_id, new_id(), "viewer", sees_all=False)
        snapshots = self.library.services.snapshots

        def look(snapshot: Snapshot) -> tuple[int, Matches]:
            view = View.of(snapshots, uow, snapshot, viewer)
            allowed = snapshots.allowed(uow, snapshot, "", view.audiences)
            found = lexical(snapshots, uow, view.snapshot, parse("fox", ["en"]), allowed, 1000)
            [contribution] = bm25.explain(view.snapshot.corpus, found.scored, 0)
            assert contribution.df == holders.total()
            return view.snapshot.corpus.chunk_count, found

        with self.library.acting(), self.library.services.units() as uow:
            count, found = snapshots.read(uow, self.library.workspace_id, look)
        assert count == len(living)
        assert found.count == holders.total()
        assert Counter(self.library.texts(found.ranking.chunk_nos.tolist())) == holders

    @invariant()
    def counts_words_by_whom_sees_them(self) -> None:
        expected: Counter[tuple[str, int]] = Counter()
        for document, texts in self.texts.items():
            audience = self.library.audience_of(document)
            assert (audience == 0) is (self.visibility[document] == "everyone")
            for text in texts:
                expected.update((word, audience) for word in set(text.split()))
        assert self.library.words() == expected

    def _publish(self, document: UUID, texts: list[str]) -> None:
        self.version += 1
        self.library.publish(texts, document, version=self.version)
        self.texts[document] = texts


STEMS = {word: next(iter(Readable((), word, "en").terms())) for word in WORDS}


@contextmanager
def merging_early() -> Iterator[None]:
    """Segments are merged sooner than they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "FANOUT", FANOUT)
        yield


def test_an_index_answers_as_one_that_is_built_anew(new_library: Callable[[], Library]) -> None:
    class Bound(Machine):
        pass

    Bound.new_library = staticmethod(new_library)
    with merging_early():
        run_state_machine_as_test(
            Bound,
            settings=settings(
                max_examples=15,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
