"""What a query's words stand for in an index, as far as somebody sees it: completed, and corrected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.search.model import analysis, query, spelling
from services.search.model.postings import positions, unite
from services.search.model.query import Group, Query
from services.search.service.reading import Snapshots
from services.search.service.seeing import View
from services.search.service.units import SearchUnitOfWork

# A beginning stands for so many words, the most frequent ones.
_COMPLETIONS = 50


@dataclass(frozen=True, slots=True)
class Wording:
    """A query as it is answered; `corrected` is its text where that is not the one that was asked, else empty."""

    query: Query
    corrected: str


class Wordings:
    """Reads queries against indexes."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def read(self, uow: SearchUnitOfWork, view: View, text: str, *, prefix: bool) -> Wording:
        """A query against an index. Words that no passage in view has are completed or corrected; see `Wording`.

        Raises SnapshotGone.
        """
        languages = {tag.partition("-")[0].lower() for tag in uow.repo.words.languages(view.snapshot.workspace_id)}
        asked, lacking = self._completed(uow, view, text, languages, prefix=prefix)
        slips = {word: right for word in lacking if (right := self._right(uow, view, word)) is not None}
        if not slips:
            return Wording(asked, "")
        corrected = _replaced(text, slips)
        meant, _ = self._completed(uow, view, corrected, languages, prefix=prefix)
        return Wording(meant, corrected)

    def _completed(
        self, uow: SearchUnitOfWork, view: View, text: str, languages: set[str], *, prefix: bool
    ) -> tuple[Query, Sequence[str]]:
        """The query with what a last word may become, and the words that no passage in view has for all that."""
        parsed = query.parse(text, languages)
        unknown = self._unknown(uow, view, parsed.groups)
        groups, lacking = [], []
        for group in parsed.groups:
            if group.beginning and (prefix or group in unknown or query.single_unspaced(group.word)):
                words = uow.repo.words.beginning(view.snapshot.workspace_id, group.word, view.audiences, _COMPLETIONS)
                groups.append(group.also(words, languages))
                found = bool(words)
            else:
                groups.append(group)
                found = False
            if group in unknown and not (found or group.exact or group.compound):
                lacking.append(group.word)
        return replace(parsed, groups=tuple(groups)), lacking

    def _unknown(self, uow: SearchUnitOfWork, view: View, groups: Sequence[Group]) -> set[Group]:
        corpus = view.snapshot.corpus
        postings = self._snapshots.postings(uow, view.snapshot, {term for group in groups for term in group.terms})

        def in_view(group: Group) -> bool:
            united = unite([postings[term] for term in group.terms])
            return len(united) > len(positions(united.chunk_nos, corpus.dead))

        return {group for group in groups if not in_view(group)}

    def _right(self, uow: SearchUnitOfWork, view: View, word: str) -> str | None:
        slips = spelling.slips_in(word)
        vocabulary = uow.repo.words.of_length(
            view.snapshot.workspace_id, len(word) - slips, len(word) + slips, view.audiences
        )
        return next(iter(spelling.nearest(word, vocabulary, limit=1)), None)


def _replaced(text: str, slips: dict[str, str]) -> str:
    """The text with these words in the place of those."""
    done, end = [], 0
    for word in analysis.words(text):
        if word.text in slips and not word.compound:
            done += [text[end : word.start], slips[word.text]]
            end = word.end
    return "".join([*done, text[end:]])
