"""Published passages, as rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Integer, Uuid, and_, any_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.index import Index
from services.search.model.passages import Place, Published, Readable, Staged
from services.search.tables import chunks, documents, removed_chunks, staged_chunks

_t = chunks.c
_s = staged_chunks.c
_in_workspace = _t.workspace_id == bindparam("workspace")
_of_document = and_(_in_workspace, _t.document_id == bindparam("document"))
_these = and_(_in_workspace, _t.chunk_no == any_(bindparam("chunk_nos", type_=ARRAY(Integer))))
_CONTENT = (_t.headings, _t.text, _t.language)
_LIST = compiled(
    select(_t.chunk_no, _t.chunk_id, _t.language, _t.length, _t.ordinal, _t.page, _t.start_offset, _t.end_offset)
    .where(_of_document)
    .order_by(_t.ordinal)
)
_UNCOUNTED = compiled(
    select(_t.chunk_no, _t.ordinal, *_CONTENT)
    .join(documents, and_(documents.c.workspace_id == _t.workspace_id, documents.c.document_id == _t.document_id))
    .where(_of_document, _t.ordinal > bindparam("after"), _t.counted_for.is_distinct_from(documents.c.audience_id))
    .order_by(_t.ordinal)
    .limit(bindparam("count"))
)
_READ = compiled(select(_t.chunk_no, *_CONTENT).where(_these))
_AUDIENCES = compiled(select(_t.chunk_no, _t.counted_for).where(_these))
_COUNT_FOR = compiled(update(chunks).where(_these).values(counted_for=bindparam("audience")))
_new = (
    func.unnest(
        bindparam("ordinals", type_=ARRAY(Integer)),
        bindparam("chunk_ids", type_=ARRAY(Uuid)),
        bindparam("chunk_nos", type_=ARRAY(Integer)),
        bindparam("lengths", type_=ARRAY(Integer)),
    )
    .table_valued("ordinal", "chunk_id", "chunk_no", "length")
    .render_derived("new")
)
_COPIED = (
    "workspace_id",
    "chunk_id",
    "document_id",
    "ordinal",
    "text",
    "headings",
    "page",
    "start_offset",
    "end_offset",
    "language",
)
# Out of the staged ones, so that their texts do not come here and go back.
_ADD = compiled(
    insert(chunks)
    .from_select(
        [*_COPIED, "chunk_no", "length", "counted_for"],
        select(
            *(_s[name] for name in _COPIED),
            _new.c.chunk_no,
            _new.c.length,
            bindparam("counted_for", type_=Integer),
        ).where(
            _s.workspace_id == bindparam("workspace"),
            _s.document_id == bindparam("document"),
            _s.document_version == bindparam("version"),
            _s.ordinal == _new.c.ordinal,
            _s.chunk_id == _new.c.chunk_id,
        ),
    )
    .inline()
)
_moved = (
    func.unnest(
        *(bindparam(name, type_=ARRAY(Integer)) for name in ("chunk_nos", "ordinals", "pages", "starts", "ends"))
    )
    .table_valued("chunk_no", "ordinal", "page", "start", "end")
    .render_derived("moved")
)
_MOVE = compiled(
    update(chunks)
    .where(_in_workspace, _t.chunk_no == _moved.c.chunk_no)
    .values(ordinal=_moved.c.ordinal, page=_moved.c.page, start_offset=_moved.c.start, end_offset=_moved.c.end)
)
_REMOVE = compiled(delete(chunks).where(_these))
# What the vocabulary counts of them is taken back later. It counts nothing of what a rebuild has still to read.
_gone = delete(chunks).where(_these).returning(*chunks.c).cte("gone")
_SET_ASIDE = compiled(
    insert(removed_chunks)
    .from_select(
        ["workspace_id", "document_id", "chunk_no", "text", "headings", "language", "counted_for", "generation"],
        select(
            _gone.c.workspace_id,
            _gone.c.document_id,
            _gone.c.chunk_no,
            _gone.c.text,
            _gone.c.headings,
            _gone.c.language,
            _gone.c.counted_for,
            bindparam("generation", type_=Integer),
        ).where(
            _gone.c.counted_for.is_not(None),
            or_(_gone.c.chunk_no < bindparam("rebuilt_no"), _gone.c.chunk_no >= bindparam("rebuild_end")),
        ),
    )
    .inline()
)
_AFTER = compiled(
    select(_t.chunk_no, documents.c.doc_no, *_CONTENT)
    .join(documents, and_(documents.c.workspace_id == _t.workspace_id, documents.c.document_id == _t.document_id))
    .where(_in_workspace, _t.chunk_no > bindparam("after"), _t.chunk_no < bindparam("end"))
    .order_by(_t.chunk_no)
    .limit(bindparam("count"))
)
_measured = (
    func.unnest(*(bindparam(name, type_=ARRAY(Integer)) for name in ("chunk_nos", "lengths")))
    .table_valued("chunk_no", "length")
    .render_derived("measured")
)
_LONGER = compiled(
    select(func.coalesce(func.sum(_measured.c.length - _t.length), 0).label("terms")).where(
        _in_workspace, _t.chunk_no == _measured.c.chunk_no
    )
)
_MEASURE = compiled(
    update(chunks)
    .where(_in_workspace, _t.chunk_no == _measured.c.chunk_no, _t.length != _measured.c.length)
    .values(length=_measured.c.length)
)


@dataclass(frozen=True, slots=True)
class Indexed:
    """A published passage with its text, and whose it is."""

    chunk_no: int
    doc_no: int
    readable: Readable


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A passage whose words are counted for another audience than the one that sees it, or for nobody yet."""

    chunk_no: int
    ordinal: int
    readable: Readable


class ChunkRepository:
    """The published passages of the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_of(self, workspace_id: UUID, document_id: UUID) -> list[Published]:
        """Those of a document, in order, without their texts."""
        return self._session.all(_LIST, _published, workspace=workspace_id, document=document_id)

    def read(self, workspace_id: UUID, chunk_nos: Sequence[int]) -> dict[int, Readable]:
        """What these hold, by number, as far as they are there."""
        return dict(
            self._session.all(
                _READ,
                lambda chunk_no, **content: (chunk_no, Readable.of(**content)),
                workspace=workspace_id,
                chunk_nos=arrays.integers(chunk_nos),
            )
        )

    def uncounted(self, workspace_id: UUID, document_id: UUID, after: int, count: int) -> list[Uncounted]:
        """The next passages of a document, after an ordinal, whose words are not counted for those who see them."""
        return self._session.all(
            _UNCOUNTED,
            lambda chunk_no, ordinal, **content: Uncounted(chunk_no, ordinal, Readable.of(**content)),
            workspace=workspace_id,
            document=document_id,
            after=after,
            count=count,
        )

    def audiences(self, workspace_id: UUID, chunk_nos: Sequence[int]) -> dict[int, int | None]:
        """The audiences that the words of those that are there are counted for, by number; None: for nobody yet."""
        return dict(
            self._session.all(
                _AUDIENCES,
                lambda chunk_no, counted_for: (chunk_no, counted_for),
                workspace=workspace_id,
                chunk_nos=arrays.integers(chunk_nos),
            )
        )

    def count_for(self, workspace_id: UUID, chunk_nos: Sequence[int], audience_id: int) -> None:
        """The words of these are counted for this audience from now on."""
        self._session.run(
            _COUNT_FOR, workspace=workspace_id, chunk_nos=arrays.integers(chunk_nos), audience=audience_id
        )

    def add(
        self,
        workspace_id: UUID,
        document_id: UUID,
        version: int,
        added: Sequence[Staged],
        first_no: int,
        lengths: Sequence[int],
        counted_for: int | None,
    ) -> int:
        """Publish staged passages of a version, numbered from `first_no`: how many of them were there still.

        `counted_for`: the audience that their words are counted for; None: for nobody yet.
        """
        return self._session.run(
            _ADD,
            workspace=workspace_id,
            document=document_id,
            version=version,
            ordinals=arrays.integers([passage.place.ordinal for passage in added]),
            chunk_ids=arrays.uuids([passage.chunk_id for passage in added]),
            chunk_nos=arrays.integers(range(first_no, first_no + len(added))),
            lengths=arrays.integers(lengths),
            counted_for=counted_for,
        )

    def move(self, workspace_id: UUID, moved: Sequence[tuple[int, Place]]) -> None:
        """Write where these passages stand now."""
        self._session.run(
            _MOVE,
            workspace=workspace_id,
            chunk_nos=arrays.integers([chunk_no for chunk_no, _ in moved]),
            ordinals=arrays.integers([place.ordinal for _, place in moved]),
            pages=arrays.integers([place.page for _, place in moved]),
            starts=arrays.integers([place.start for _, place in moved]),
            ends=arrays.integers([place.end for _, place in moved]),
        )

    def remove(self, workspace_id: UUID, chunk_nos: Sequence[int]) -> None:
        """Delete these, whose words are counted no more."""
        self._session.run(_REMOVE, workspace=workspace_id, chunk_nos=arrays.integers(chunk_nos))

    def set_aside(self, index: Index, chunk_nos: Sequence[int]) -> None:
        """Delete these, but keep what they held as long as their words are counted."""
        self._session.run(
            _SET_ASIDE,
            workspace=index.workspace_id,
            chunk_nos=arrays.integers(chunk_nos),
            generation=index.generation,
            rebuilt_no=index.rebuilt_no,
            rebuild_end=index.rebuild_end,
        )

    def after(self, workspace_id: UUID, after: int, end: int, count: int) -> list[Indexed]:
        """The next passages after a number and below `end`, of any document, in the order of their numbers."""
        return self._session.all(
            _AFTER,
            lambda chunk_no, doc_no, **content: Indexed(chunk_no, doc_no, Readable.of(**content)),
            workspace=workspace_id,
            after=after,
            end=end,
            count=count,
        )

    def measure(self, workspace_id: UUID, lengths: dict[int, int]) -> int:
        """Write the lengths by number, where they are others than before: how many terms more these passages have."""
        given = {
            "workspace": workspace_id,
            "chunk_nos": arrays.integers(list(lengths)),
            "lengths": arrays.integers(list(lengths.values())),
        }
        longer = self._session.first(_LONGER, lambda terms: terms, **given)
        self._session.run(_MEASURE, **given)
        return longer or 0


def _published(
    *,
    chunk_no: int,
    chunk_id: UUID,
    language: str,
    length: int,
    ordinal: int,
    page: int,
    start_offset: int,
    end_offset: int,
) -> Published:
    return Published(chunk_no, chunk_id, language, length, Place(ordinal, page, start_offset, end_offset))
