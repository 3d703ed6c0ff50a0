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

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.tables import documents, indexes, vocabulary

_v = vocabulary.c
_d = documents.c
# Made by the database, which alone writes it: so it is no column of the table that rows are written with.
_folded_name = literal_column("search.documents.folded_name", Text())
_letters = literal_column("search.vocabulary.letters", Integer())
# Above every text that begins so, in the order of code points.
_LAST = "\U0010ffff"

# So many words are looked at, at most, to complete one; to correct some, so many are read, and of these so many are
# compared, the most frequent: up to two tenths of a second.
_MOST_BEGUN, _MOST_READ, _MOST_SIMILAR = 200_000, 400_000, 100_000


def _seen_by(audience_id: ColumnElement[int]) -> ColumnElement[bool]:
    return or_(
        bindparam("all_audiences", type_=Boolean()),
        audience_id == any_(bindparam("audiences", type_=ARRAY(Integer))),
    )


_seen = select(_v.word, _v.passages).where(_v.workspace_id == bindparam("workspace"), _seen_by(_v.audience_id))
# A letter begins a tenth of all words: of a vocabulary of more than two million, the first of these are counted.
_begun = (
    _seen.where(_v.word > bindparam("first"), _v.word <= bindparam("last"))
    .order_by(_v.word)
    .limit(bindparam("most"))
    .subquery()
)
_BEGINNING = compiled(
    select(_begun.c.word)
    .group_by(_begun.c.word)
    .order_by(func.sum(_begun.c.passages).desc(), _begun.c.word)
    .limit(bindparam("limit"))
)
_read = (
    _seen.where(_letters == any_(bindparam("lengths", type_=ARRAY(Integer)))).limit(bindparam("most_read")).subquery()
)
# What is meant is seldom a rare word; which of equally rare ones are left out does not matter.
_similar = select(_read).order_by(_read.c.passages.desc()).limit(bindparam("most")).subquery()
_near = select(_similar.c.word, func.sum(_similar.c.passages).label("count")).group_by(_similar.c.word).subquery()
_KNOWN = compiled(
    select(_v.word)
    .where(
        _v.workspace_id == bindparam("workspace"),
        _v.word == any_(bindparam("words", type_=ARRAY(Text))),
        _seen_by(_v.audience_id),
    )
    .distinct()
)
# As two values: a row for each of a hundred thousand words would take the client ten times as long.
_OF_LENGTHS = compiled(
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
_LANGUAGES = compiled(
    select(func.jsonb_object_keys(indexes.c.languages).label("language")).where(
        indexes.c.workspace_id == bindparam("workspace")
    )
)


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
            most=_MOST_BEGUN,
            **_of(audiences),
        )

    def known(self, workspace_id: UUID, asked: Sequence[str], audiences: Sequence[int] | None) -> set[str]:
        """Those of the words that there are."""
        words = arrays.texts(list(asked))
        return set(self._session.all(_KNOWN, lambda word: word, workspace=workspace_id, words=words, **_of(audiences)))

    def of_lengths(
        self, workspace_id: UUID, lengths: Sequence[int], audiences: Sequence[int] | None
    ) -> list[tuple[str, int]]:
        """The words that have one of these numbers of letters, and in how many passages each is.

        Of very many, the rarest may be missing.
        """
        found = self._session.first(
            _OF_LENGTHS,
            lambda words, counts: (str(words or ""), bytes(counts or b"")),
            workspace=workspace_id,
            lengths=list(lengths),
            most_read=_MOST_READ,
            most=_MOST_SIMILAR,
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
        """The languages of the passages, as tags of BCP 47; empty: there are some of which it is not clear."""
        return self._session.all(_LANGUAGES, lambda language: language, workspace=workspace_id)


def _of(audiences: Sequence[int] | None) -> dict[str, object]:
    return {"all_audiences": audiences is None, "audiences": list(audiences or ())}
