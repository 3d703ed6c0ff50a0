"""The words of a workspace, as rows: in how many passages of each audience."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Integer, Text, and_, any_, bindparam, case, column, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from services.kernel.db import Session, compiled
from services.kernel.jobs import arrays
from services.search.tables import indexes, vocabulary

_t = vocabulary.c
_given = (
    func.unnest(bindparam("words", type_=ARRAY(Text)), bindparam("counts", type_=ARRAY(Integer)))
    .table_valued(column("word", Text), column("count", Integer))
    .render_derived("given")
)
_of_index = indexes.c.workspace_id == bindparam("workspace")
_reading = select(indexes.c.reading).where(_of_index).scalar_subquery()
_added = upsert(vocabulary).from_select(
    ["workspace_id", "audience_id", "word", "passages", "reading"],
    select(
        bindparam("workspace", type_=_t.workspace_id.type),
        bindparam("audience", type_=_t.audience_id.type),
        _given.c.word,
        _given.c.count,
        _reading,
    ),
)
_COUNT = compiled(
    _added.on_conflict_do_update(
        index_elements=["workspace_id", "word", "audience_id"],
        # What was counted by another reading counts no more.
        set_={
            "passages": case((_t.reading == _added.excluded.reading, _t.passages), else_=0) + _added.excluded.passages,
            "reading": _added.excluded.reading,
        },
    ).inline()
)
_of_audience = and_(_t.workspace_id == bindparam("workspace"), _t.audience_id == bindparam("audience"))
_FORGET = compiled(
    delete(vocabulary).where(_of_audience, _t.word == any_(bindparam("words", type_=ARRAY(Text))), _t.passages <= 0)
)
_FORGET_OTHERS = compiled(delete(vocabulary).where(_t.workspace_id == bindparam("workspace"), _t.reading != _reading))


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

    def forget_others(self, workspace_id: UUID) -> None:
        """Delete the words that the index's present reading has not come upon, once all was read."""
        self._session.run(_FORGET_OTHERS, workspace=workspace_id)
