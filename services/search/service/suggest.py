"""Completes what is being typed."""

from collections.abc import Sequence
from uuid import UUID

from services.kernel.caller import current_caller
from services.search.model import analysis
from services.search.model.hits import Suggestion
from services.search.service.units import SearchUnitOfWork, SearchUnits
from services.search.service.visibility import DocumentsClient, Viewer, audiences_of

_DEFAULT_COUNT, _MAX_COUNT = 10, 20


class SuggestService:
    """Words and names of documents that begin as what was typed, as far as the caller may see them."""

    def __init__(self, units: SearchUnits, documents: DocumentsClient) -> None:
        self._units = units
        self._documents = documents

    def suggest(self, workspace_id: UUID, typed: str, count: int) -> list[Suggestion]:
        """Up to `count` ways to go on: names first, which fill at most half of it if there are words enough."""
        count = min(count or _DEFAULT_COUNT, _MAX_COUNT)
        viewer = Viewer.of(current_caller().require_grant())
        with self._units() as uow:
            audiences = audiences_of(uow, viewer)
            named = uow.repo.words.named(workspace_id, typed.lstrip(), audiences, count) if typed.strip() else []
            queries = [Suggestion(text) for text in _completed(uow, workspace_id, typed, audiences, count)]
        names = self._documents.names(viewer, named)
        documents = [Suggestion(names[one], one) for one in named if one in names]
        shown = documents[: max(count // 2, count - len(queries))]
        return [*shown, *queries[: count - len(shown)]]


def _completed(
    uow: SearchUnitOfWork, workspace_id: UUID, typed: str, audiences: Sequence[int] | None, count: int
) -> list[str]:
    """What was typed with its last word completed, likeliest first."""
    words = uow.repo.words
    begun = [word for word in analysis.words(typed) if word.end == len(typed)]
    if not begun:
        return []
    last = next(word for word in reversed(begun) if not word.compound)
    if not begun[-1].compound:
        return [typed[: last.start] + word for word in words.beginning(workspace_id, last.text, audiences, count)]
    # "multi-a" is not any word in "a" behind "multi-", but one that is written so; of it, all letters are known.
    joined = begun[-1].text
    endings = [word[len(joined) :] for word in words.beginning(workspace_id, joined, audiences, count)]
    known = words.known(workspace_id, [last.text + ending for ending in endings], audiences)
    return [typed + ending for ending in endings if last.text + ending in known]
