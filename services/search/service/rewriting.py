"""What a query's words stand for in an index, as far as somebody sees it: completed, and corrected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.search.model import analysis, query, spelling
from services.search.model.languages import primary
from services.search.model.query import Query
from services.search.service.snapshots import Snapshots
from services.search.service.units import SearchUnitOfWork
from services.search.service.visibility import View

# A beginning stands for so many words, the most frequent ones.
_COMPLETIONS = 50
# Who makes more slips in one query has not typed words.
_CORRECTED = 5


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A query as it is answered, and its text; `corrected` is the same where it is not what was asked, else empty."""

    query: Query
    text: str
    corrected: str


class QueryRewriter:
    """Completes and corrects what is typed."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def rewrite(self, uow: SearchUnitOfWork, view: View, text: str, *, prefix: bool) -> Rewritten:
        """A query against an index. Words that no passage in view has are completed or corrected; see `Rewritten`.

        Raises SnapshotGone.
        """
        languages = {primary(tag) for tag in uow.repo.words.languages(view.snapshot.workspace_id)}
        asked, lacking = self._completed(uow, view, text, languages, prefix=prefix)
        slips = self._slips(uow, view, lacking)
        if not slips:
            return Rewritten(asked, text, "")
        corrected = _replaced(text, slips)
        meant, _ = self._completed(uow, view, corrected, languages, prefix=prefix)
        return Rewritten(meant, corrected, corrected)

    def _completed(
        self, uow: SearchUnitOfWork, view: View, text: str, languages: set[str], *, prefix: bool
    ) -> tuple[Query, Sequence[str]]:
        """The query with what a last word may become, and the words that no passage in view has for all that."""
        parsed = query.parse(text, languages)
        known = self._snapshots.in_view(uow, view.snapshot, {term for group in parsed.groups for term in group.terms})
        room = query.MAX_TERMS - len(parsed.terms)
        groups, lacking = [], []
        for group in parsed.groups:
            unknown, meant = known.isdisjoint(group.terms), group
            if room and group.beginning and (prefix or unknown or query.single_unspaced(group.word)):
                words = uow.repo.words.beginning(view.snapshot.workspace_id, group.word, view.audiences, _COMPLETIONS)
                meant = group.also(words, languages, room)
                room -= len(meant.terms) - len(group.terms)
            if unknown and meant == group and not (group.exact or group.compound):
                lacking.append(group.word)
            groups.append(meant)
        return replace(parsed, groups=tuple(groups)), lacking

    def _slips(self, uow: SearchUnitOfWork, view: View, lacking: Sequence[str]) -> dict[str, str]:
        """What is most likely meant instead of these words, of the first that it can be told of."""
        words = [word for word in lacking if spelling.correctable(word)][:_CORRECTED]
        if not words:
            return {}
        lengths = sorted({length for word in words for length in spelling.lengths_near(word)})
        vocabulary = uow.repo.words.of_lengths(view.snapshot.workspace_id, lengths, view.audiences)
        return {word: best for word in words if (best := spelling.nearest(word, vocabulary))}


def _replaced(text: str, slips: dict[str, str]) -> str:
    """The text with these words in the place of those."""
    done, end = [], 0
    for word in analysis.words(text):
        if word.text in slips and not word.compound:
            done += [text[end : word.start], slips[word.text]]
            end = word.end
    return "".join([*done, text[end:]])
