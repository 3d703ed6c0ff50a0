"""How much of the vocabulary a query and a suggestion read."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from services.search.repository import words
from services.search.repository.words import WordRepository
from services.search.service import lexical, matching
from tests.search.archive import Archive


def test_reads_the_vocabulary_once_for_what_may_be_misspelt(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.put("a", ["the tenancy agreement", "北京"])
    asked: list[Sequence[int]] = []
    of_lengths = WordRepository.of_lengths

    def counted(
        self: WordRepository, workspace_id: UUID, lengths: Sequence[int], audiences: Sequence[int] | None
    ) -> list[tuple[str, int]]:
        asked.append(lengths)
        return of_lengths(self, workspace_id, lengths, audiences)

    monkeypatch.setattr(WordRepository, "of_lengths", counted)
    assert archive.search("東京都の猫 4711").corrected_query == ""
    assert asked == []
    garbage = " ".join(f"agre{first}{second}" for first in "qwxyz" for second in "qwxyz")
    assert archive.search(f"tenanzy {garbage}").corrected_query.startswith("tenancy ")
    assert len(asked) == 1


def test_looks_at_no_more_words_than_it_may(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_MOST_BEGUN", 2)
    archive.put("X", ["fog fox fun fur", "fun"])
    assert archive.suggest("f") == ["fog", "fox"]


def test_corrects_to_the_words_of_the_most_passages_where_it_may_not_look_at_all(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_MOST_SIMILAR", 1)
    archive.put("a", ["foe", "fox", "fox again"])
    assert archive.search("foz").corrected_query == "fox"


def test_of_an_excluded_phrase_only_what_may_have_it_is_looked_through(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MAX_HITS", 2)
    monkeypatch.setattr(lexical, "PHRASE_DEPTH", 2)
    archive.put("a", [*(f"red fox {number}" for number in range(5)), "the fox that I told you of is grey"])
    answer = archive.search('fox -"red fox"')
    assert [hit.snippet for hit in answer.hits] == ["the fox that I told you of is grey"]
    assert answer.lexical_matches == 1
