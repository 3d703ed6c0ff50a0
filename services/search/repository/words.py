"""What people type, against what there is: words and names of documents, as far as somebody may see them."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    LargeBinary,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel.db import Session, compiled
from services.search.tables import documents, vocabulary

_v = vocabulary.c
_d = documents.c
# Made by the database, which alone writes it: so it is no column of the table that rows are written with.
_folded_name = literal_column("search.documents.folded_name", Text())
_letters = literal_column("search.vocabulary.letters", Integer())
# Above every text that begins so, in the order of code points.
_LAST = "\U0010ffff"

_count = func.sum(_v.passages).label("count")


def _seen_by(audience_id: ColumnElement[int]) -> ColumnElement[bool]:
    return or_(
        bindparam("all_audiences", type_=Boolean()),
        audience_id == any_(bindparam("audiences", type_=ARRAY(Integer))),
    )


_words = select(_v.word).where(_v.workspace_id == bindparam("workspace"), _seen_by(_v.audience_id)).group_by(_v.word)
_BEGINNING = compiled(
    _words.where(_v.word > bindparam("first"), _v.word <= bindparam("last"))
    .order_by(_count.desc(), _v.word)
    .limit(bindparam("limit"))
)
_near = _words.add_columns(_count).where(_letters >= bindparam("shortest"), _letters <= bindparam("longest")).subquery()
# As two values: a row for each of a hundred thousand words would take the client ten times as long.
_OF_LENGTH = compiled(
    select(
        func.string_agg(_near.c.word, "\n").label("words"),
        func.string_agg(func.int4send(cast(_near.c.count, Integer)), literal_column("''::bytea", LargeBinary())).label(
            "counts"
        ),
    )
)
_NAMED = compiled(
    select(_d.document_id)
    .where(
        _d.workspace_id == bindparam("workspace"),
        _seen_by(_d.audience_id),
        _folded_name >= bindparam("first"),
        _folded_name <= bindparam("last"),
    )
    .order_by(_folded_name, _d.document_id)
    .limit(bindparam("limit"))
)
# From each language to the next one: as many look-ups as there are languages, however many documents.
_first = select(func.min(_d.language).label("language")).where(_d.workspace_id == bindparam("workspace"))
_languages = _first.cte("languages", recursive=True)
_languages = _languages.union_all(
    select(
        select(func.min(_d.language))
        .where(_d.workspace_id == bindparam("workspace"), _d.language > _languages.c.language)
        .scalar_subquery()
    ).where(_languages.c.language.is_not(None))
)
_LANGUAGES = compiled(select(_languages.c.language).where(_languages.c.language.is_not(None)))


class WordRepository:
    """Words and names of the session's workspace. `audiences`: whose; None: of all."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def beginning(self, workspace_id: UUID, prefix: str, audiences: Sequence[int] | None, limit: int) -> list[str]:
        """The words that begin so and go on, those of the most passages first."""
        return self._session.all(
            _BEGINNING,
            lambda word: word,
            workspace=workspace_id,
            first=prefix,
            last=prefix + _LAST,
            limit=limit,
            **_of(audiences),
        )

    def of_length(
        self, workspace_id: UUID, shortest: int, longest: int, audiences: Sequence[int] | None
    ) -> list[tuple[str, int]]:
        """The words of so many letters, and in how many passages each is."""
        found = self._session.first(
            _OF_LENGTH,
            lambda words, counts: (str(words or ""), bytes(counts or b"")),
            workspace=workspace_id,
            shortest=shortest,
            longest=longest,
            **_of(audiences),
        )
        words, counts = found or ("", b"")
        return list(zip(words.split("\n"), np.frombuffer(counts, ">i4").tolist(), strict=True)) if words else []

    def named(self, workspace_id: UUID, prefix: str, audiences: Sequence[int] | None, limit: int) -> list[UUID]:
        """The documents whose names begin so, by name; upper and lower case are one."""
        folded = prefix.lower()
        return self._session.all(
            _NAMED,
            lambda document_id: document_id,
            workspace=workspace_id,
            first=folded,
            last=folded + _LAST,
            limit=limit,
            **_of(audiences),
        )

    def languages(self, workspace_id: UUID) -> list[str]:
        """The languages of the documents, as tags of BCP 47; empty: there are some of which it is not clear."""
        return self._session.all(_LANGUAGES, lambda language: language, workspace=workspace_id)


def _of(audiences: Sequence[int] | None) -> dict[str, object]:
    return {"all_audiences": audiences is None, "audiences": list(audiences or ())}
