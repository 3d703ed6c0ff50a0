"""Search where somebody else makes the vectors: by meaning while they answer, by words alone while they do not."""

from dataclasses import dataclass, replace

import pytest

from services.kernel.caller import Caller, Grant
from services.kernel.ids import new_id
from services.runtime import Runtime
from services.search.embedders import openai
from services.search.errors import EmbedderRefused, EmbedderUnavailable
from services.search.model.hits import Mode, Wanted
from services.search.model.index import EmbedderKind
from services.search.service import build_search
from services.search.service.matching import Matched, Matching
from services.search.service.visibility import Viewer
from tests.search.embedders.provider import Provider, failing
from tests.search.library import Library
from tests.support.acting import acting

FOX, WOLF = "a red fox", "one grey wolf there"


@dataclass
class Reader:
    """Who asks an index that a provider makes vectors for."""

    library: Library
    provider: Provider

    def match(self, query: str, mode: Mode = Mode.HYBRID) -> Matched:
        """What matches."""
        services, workspace_id = self.library.services, self.library.workspace_id
        grant = Grant(workspace_id, new_id(), "viewer", frozenset())
        matching = Matching(services.units, services.snapshots, services.semantic)
        with acting(Caller(user_id=grant.user_id, workspace_id=workspace_id, grant=grant)):
            wanted = Wanted(workspace_id, query, mode, "", prefix=False)
            return matching.match(wanted, Viewer.of(grant), lambda uow, matched: None)[0]


@pytest.fixture
def reader(library: Library, runtime: Runtime, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Reader:
    # Who asks the provider gives up at once.
    monkeypatch.setattr(openai, "_ATTEMPTS", 1)
    library = replace(library, services=build_search(runtime.resources, provider.settings(runtime.settings)))
    library.use(EmbedderKind.OPENAI)
    library.make_vectors()
    library.put([FOX, WOLF])
    return Reader(library, provider)


def test_is_by_both_while_the_provider_answers(reader: Reader) -> None:
    matched = reader.match(FOX)
    assert (matched.mode, len(matched.ranking)) == (Mode.HYBRID, 2)
    assert matched.lexical.count == 1
    found = reader.match(FOX, Mode.SEMANTIC)
    assert found.semantic.scores[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("status", "error"), [(503, EmbedderUnavailable), (401, EmbedderRefused)])
def test_is_by_words_alone_while_it_does_not(reader: Reader, status: int, error: type[Exception]) -> None:
    reader.provider.manners += [failing(status), failing(status)]
    matched = reader.match(FOX)
    assert (matched.mode, len(matched.ranking), matched.weight) == (Mode.LEXICAL, 1, 1)
    with pytest.raises(error):
        reader.match(FOX, Mode.SEMANTIC)


def test_is_not_asked_again_for_what_it_made_already(reader: Reader) -> None:
    reader.provider.asked.clear()
    first, second = reader.match(FOX), reader.match(FOX)
    assert len(reader.provider.asked) == 1
    assert second.ranking.scores.tolist() == first.ranking.scores.tolist()
    reader.match(WOLF)
    assert len(reader.provider.asked) == 2


def test_is_told_neither_what_is_excluded_nor_how_it_is_misspelt(reader: Reader) -> None:
    reader.provider.asked.clear()
    reader.match('grey "wolf" -fox ther')
    reader.match("grey wolff here")
    assert [asked.texts for asked in reader.provider.asked] == [["grey wolf ther"], ["grey wolf here"]]


def test_is_left_alone_for_a_while_after_it_failed(reader: Reader) -> None:
    reader.provider.manners.append(failing(503))
    reader.provider.asked.clear()
    for _ in range(3):
        assert reader.match(FOX).mode is Mode.LEXICAL
    with pytest.raises(EmbedderUnavailable) as refusal:
        reader.match(FOX, Mode.SEMANTIC)
    assert refusal.value.retry_after is not None
    assert len(reader.provider.asked) == 1


def test_is_asked_for_the_next_query_where_it_refused_the_text_of_one(reader: Reader) -> None:
    reader.provider.manners.append(failing(400, "content_filter"))
    assert reader.match(FOX).mode is Mode.LEXICAL
    assert reader.match(WOLF).mode is Mode.HYBRID


def test_by_words_asks_no_provider(reader: Reader) -> None:
    reader.provider.asked.clear()
    assert reader.match(FOX, Mode.LEXICAL).mode is Mode.LEXICAL
    assert reader.provider.asked == []
