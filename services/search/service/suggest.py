"""Completes what is being typed."""

from uuid import UUID

from services.kernel.caller import current_caller
from services.search.model import analysis
from services.search.model.hits import Suggestion
from services.search.service.seeing import Shelf, Viewer, audiences_of
from services.search.service.units import SearchUnits

_DEFAULT_COUNT, _MAX_COUNT = 10, 20


class SuggestService:
    """Words and names of documents that begin as what was typed, as far as the caller may see them."""

    def __init__(self, units: SearchUnits, shelf: Shelf) -> None:
        self._units = units
        self._shelf = shelf

    def suggest(self, workspace_id: UUID, typed: str, count: int) -> list[Suggestion]:
        """Up to `count` ways to go on: names first, which fill at most half of it if there are words enough."""
        count = min(count or _DEFAULT_COUNT, _MAX_COUNT)
        viewer = Viewer.of(current_caller().require_grant())
        begun = [word for word in analysis.words(typed) if word.end == len(typed) and not word.compound]
        with self._units() as uow:
            audiences = audiences_of(uow, viewer)
            named = uow.repo.words.named(workspace_id, typed.lstrip(), audiences, count) if typed.strip() else []
            words = uow.repo.words.beginning(workspace_id, begun[-1].text, audiences, count) if begun else []
        names = self._shelf.names(viewer, named)
        documents = [Suggestion(names[one], one) for one in named if one in names]
        queries = [Suggestion(typed[: begun[-1].start] + word) for word in words]
        shown = documents[: max(count // 2, count - len(queries))]
        return [*shown, *queries[: count - len(shown)]]
