"""The vectors nearest to one, as statements: all compared, or along a graph."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import REAL, Integer, LargeBinary, and_, any_, bindparam, case, cast, false, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import arrays
from services.kernel.db import Session, Statement, compiled
from services.search.model.vectors import Model
from services.search.tables import vectors

_t = vectors.c
_of_model = and_(_t.workspace_id == bindparam("workspace"), _t.model_id == bindparam("model"))
# Made into a vector once: a plan for all values would do it again for each row.
_vector = select(cast(bindparam("vector", type_=ARRAY(REAL)), HALFVEC)).scalar_subquery()
_distance = _t.embedding.max_inner_product(_vector).label("distance")
_all = select(_t.chunk_no, _distance).where(_of_model).order_by(_distance).limit(bindparam("limit"))
_EXACT = compiled(_all)
_EXACT_OF = compiled(_all.where(_t.doc_no == any_(bindparam("doc_nos", type_=ARRAY(Integer)))))
# In the form that goes over the line: the text of so many numbers takes much longer to read. Both arrays make one walk
# along the key, whatever the planner knows of the table; a number is of one document alone, so no other pair is there.
_OF = compiled(
    select(_t.chunk_no, func.halfvec_send(_t.embedding).label("sent")).where(
        _of_model,
        _t.doc_no == any_(bindparam("doc_nos", type_=ARRAY(Integer))),
        _t.chunk_no == any_(bindparam("chunk_nos", type_=ARRAY(Integer))),
    )
)
# A bit for each document: as quick for many documents as for few. In a `case`, as there is no bit beyond the last one.
_allowed = case(
    (
        _t.doc_no < func.octet_length(bindparam("bits", type_=LargeBinary)) * 8,
        func.get_bit(bindparam("bits", type_=LargeBinary), _t.doc_no) == 1,
    ),
    else_=false(),
)
# A graph belongs to one workspace and model, so these have to be known while planning. The planner takes them for
# independent, and few rows for quickly sorted, so it is told not to. What a filter refuses does not count: the walk
# goes on until there are enough.
_SETTINGS = {
    "plan_cache_mode": ("force_custom_plan", "auto"),
    "enable_sort": ("off", "on"),
    "hnsw.iterative_scan": ("relaxed_order", "off"),
}
ALONG_GRAPHS, _AS_USUAL = (
    compiled(
        select(
            func.set_config("hnsw.ef_search", bindparam("candidates", "40"), True),
            *(func.set_config(name, values[at], True) for name, values in _SETTINGS.items()),
        )
    )
    for at in (0, 1)
)


class NearestRepository:
    """The nearest vectors of the session's workspace: numbers of passages and their cosines, the best first."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def exact(
        self, model: Model, vector: NDArray[np.float32], limit: int, doc_nos: NDArray[np.int32] | None
    ) -> list[tuple[int, float]]:
        """By comparing all, or those of these documents."""
        values: dict[str, object] = {} if doc_nos is None else {"doc_nos": arrays.integers(doc_nos.tolist())}
        return self._session.all(
            _EXACT if doc_nos is None else _EXACT_OF,
            _near,
            workspace=model.workspace_id,
            model=model.model_id,
            vector=vector.tolist(),
            limit=limit,
            **values,
        )

    def of(
        self, model: Model, doc_nos: NDArray[np.int32], chunk_nos: NDArray[np.int32]
    ) -> list[tuple[int, NDArray[np.float32]]]:
        """The vectors of passages, each of which is given by its document too, as far as they have one."""
        return self._session.all(
            _OF,
            _sent,
            workspace=model.workspace_id,
            model=model.model_id,
            doc_nos=arrays.integers(doc_nos.tolist()),
            chunk_nos=arrays.integers(chunk_nos.tolist()),
        )

    def along_graph(
        self,
        model: Model,
        vector: NDArray[np.float32],
        limit: int,
        mask: NDArray[np.bool_] | None,
        candidates: int,
    ) -> list[tuple[int, float]]:
        """By the model's graph, so some may be missed; of the documents that the mask has at their `doc_no`.

        The walk keeps so many candidates (at most 1,000): the more, the less is missed. Fewer than `limit` are found
        where it was broken off.
        """
        self._session.run(ALONG_GRAPHS, candidates=str(candidates))
        bits = None if mask is None else np.packbits(mask, bitorder="little").tobytes()
        found = self._session.all(
            graph_query(model.dimensions, masked=bits is not None),
            _near,
            workspace=model.workspace_id,
            model=model.model_id,
            vector=vector.tolist(),
            limit=limit,
            **({} if bits is None else {"bits": bits}),
        )
        self._session.run(_AS_USUAL)
        return found


@lru_cache(maxsize=64)
def graph_query(dimensions: int, *, masked: bool) -> Statement:
    """The statement that a graph answers: it names the expression that graphs of so many dimensions are on."""
    embedding, vector = (
        cast(value, HALFVEC(dimensions)) for value in (_t.embedding, bindparam("vector", type_=ARRAY(REAL)))
    )
    distance = embedding.max_inner_product(vector).label("distance")
    found = select(_t.chunk_no, distance).where(_of_model).order_by(distance).limit(bindparam("limit"))
    return compiled(found.where(_allowed) if masked else found)


def _near(*, chunk_no: int, distance: float) -> tuple[int, float]:
    return chunk_no, -distance


def _sent(*, chunk_no: int, sent: bytes) -> tuple[int, NDArray[np.float32]]:
    """A halfvec is sent as two numbers of 16 bits, the first of which is how many follow, and these."""
    return chunk_no, np.frombuffer(sent, ">f2", offset=4).astype(np.float32)
