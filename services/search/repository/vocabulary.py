"""The words of a workspace, as rows: in how many passages of each audience."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Integer, Text, and_, any_, bindparam, case, column, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.tables import indexes, vocabulary

_t = vocabulary.c
_given = (
    func.unnest(bindparam("words", type_=ARRAY(Text)), bindparam("counts", type_=ARRAY(Integer)))
    .table_valued(column("word", Text), column("count", Integer))
    .render_derived("given")
)
_of_index = indexes.c.workspace_id == bindparam("workspace")
_generation = select(indexes.c.generation).where(_of_index).scalar_subquery()
_added = upsert(vocabulary).from_select(
    ["workspace_id", "audience_id", "word", "passages", "generation"],
    select(
        bindparam("workspace", type_=_t.workspace_id.type),
        bindparam("audience", type_=_t.audience_id.type),
        _given.c.word,
        _given.c.count,
        _generation,
    ),
)
_COUNT = compiled(
    _added.on_conflict_do_update(
        index_elements=["workspace_id", "word", "audience_id"],
        # What was counted in another generation counts no more.
        set_={
            "passages": case((_t.generation == _added.excluded.generation, _t.passages), else_=0)
            + _added.excluded.passages,
            "generation": _added.excluded.generation,
        },
    ).inline()
)
_of_audience = and_(_t.workspace_id == bindparam("workspace"), _t.audience_id == bindparam("audience"))
_FORGET = compiled(
    delete(vocabulary).where(_of_audience, _t.word == any_(bindparam("words", type_=ARRAY(Text))), _t.passages <= 0)
)
_stale = and_(_t.workspace_id == bindparam("workspace"), _t.generation != _generation)
_STALE = compiled(
    select(_t.word).where(_stale, _t.word > bindparam("after")).order_by(_t.word).limit(bindparam("count"))
)
_FORGET_STALE = compiled(delete(vocabulary).where(_stale, _t.word == any_(bindparam("words", type_=ARRAY(Text)))))


class VocabularyRepository:
    """The words of the session's workspace. Whoever counts holds the index."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self, workspace_id: UUID, audience_id: int, changes: Mapping[str, int]) -> None:
        """Add to the counts of an audience's words, or subtract; a word that is nowhere any more goes."""
        words = sorted(word for word, change in changes.items() if change)
        if not words:
            return
        counts = arrays.integers([changes[word] for word in words])
        self._session.run(
            _COUNT, workspace=workspace_id, audience=audience_id, words=arrays.texts(words), counts=counts
        )
        fewer = [word for word in words if changes[word] < 0]
        if fewer:
            self._session.run(_FORGET, workspace=workspace_id, audience=audience_id, words=arrays.texts(fewer))

    def stale(self, workspace_id: UUID, after: str, count: int) -> list[str]:
        """The next words behind one that are counted in an earlier generation of the index, in order."""
        return self._session.all(_STALE, lambda word: word, workspace=workspace_id, after=after, count=count)

    def forget_stale(self, workspace_id: UUID, words: Sequence[str]) -> None:
        """Delete what is counted of these in an earlier generation."""
        self._session.run(_FORGET_STALE, workspace=workspace_id, words=arrays.texts(words))
