"""Models, as rows, and the parts of what was learnt."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Integer,
    LargeBinary,
    and_,
    bindparam,
    column,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel import arrays
from services.kernel.db import Session, compiled
from services.search.model.index import EmbedderKind
from services.search.model.vectors import Model, ModelState
from services.search.tables import model_parts, models

_t = models.c
_in_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_in_workspace, _t.model_id == bindparam("model"))
_ADD = compiled(insert(models).values({column.name: bindparam(column.name) for column in models.columns}))
_GET = compiled(select(models).where(_by_id))
_ALL = compiled(select(models).where(_in_workspace))
_LIVE = compiled(select(models).where(_in_workspace, _t.state == ModelState.LIVE.value))
_KEPT = (
    "name",
    "state",
    "dimensions",
    "fitted_chunks",
    "next_chunk_no",
    "end_chunk_no",
    "approximate",
    "vector_count",
    "graph_time",
)
_SAVE = compiled(
    update(models).where(_by_id).values({"model" if name == "name" else name: bindparam(name) for name in _KEPT})
)
_REMOVE = compiled(delete(models).where(_by_id))
_given = (
    func.unnest(bindparam("parts", type_=ARRAY(Integer)), bindparam("data", type_=ARRAY(LargeBinary)))
    .table_valued(column("part", Integer), column("data", LargeBinary))
    .render_derived("given")
)
_ADD_PARTS = compiled(
    insert(model_parts)
    .from_select(
        ["workspace_id", "model_id", "part", "data"],
        select(
            bindparam("workspace", type_=_t.workspace_id.type),
            bindparam("model", type_=_t.model_id.type),
            _given.c.part,
            _given.c.data,
        ),
    )
    .inline()
)
_of_model = and_(model_parts.c.workspace_id == bindparam("workspace"), model_parts.c.model_id == bindparam("model"))
_PARTS = compiled(select(model_parts.c.data).where(_of_model).order_by(model_parts.c.part))
_REMOVE_PARTS = compiled(delete(model_parts).where(_of_model))
# In order, as two who ask at once would wait for each other otherwise.
_UNPRUNED = compiled(
    select(models)
    .where(
        _t.prune_time < bindparam("before"),
        _t.state == ModelState.LIVE.value,
        _t.embedder == EmbedderKind.LSA.value,
    )
    .order_by(_t.workspace_id, _t.model_id)
)
_UNFINISHED = compiled(
    select(models)
    .where(
        or_(
            _t.state == ModelState.BUILDING.value,
            _t.state == ModelState.RETIRED.value,
            and_(_t.state == ModelState.LIVE.value, _t.next_chunk_no < _t.end_chunk_no),
        )
    )
    .order_by(_t.workspace_id, _t.model_id)
)
# Of the catalogue, for which there are no tables here.
_LOST_GRAPHS = compiled(
    text("""
        with graphs as (select pg_get_expr(indpred, indrelid) as condition
            from pg_index where indrelid = 'search.vectors'::regclass and indpred is not null),
        owners as (select cast(substring(condition from 'workspace_id = ''([0-9a-f-]+)') as uuid) as workspace_id,
            cast(substring(condition from 'model_id = ''([0-9a-f-]+)') as uuid) as model_id from graphs)
        select workspace_id, model_id from owners
        where not exists (select 1 from search.models
            where models.workspace_id = owners.workspace_id and models.model_id = owners.model_id)
        order by workspace_id, model_id""")
)
_PRUNED = compiled(update(models).where(_by_id).values(prune_time=bindparam("now")))
# A connection keeps as much memory as the largest statement that it ever sent.
_PARTS_AT_ONCE = 16


class ModelRepository:
    """The models of the session's workspace. Whoever changes one holds the index."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, model: Model) -> None:
        """Insert it."""
        values = asdict(model)
        self._session.run(_ADD, **values | {"model": values.pop("name")})

    def get(self, workspace_id: UUID, model_id: UUID) -> Model | None:
        """The model; None where it is gone."""
        return self._session.first(_GET, _model, workspace=workspace_id, model=model_id)

    def live(self, workspace_id: UUID) -> Model | None:
        """The model that serves; None where none does."""
        return self._session.first(_LIVE, _model, workspace=workspace_id)

    def by_state(self, workspace_id: UUID) -> dict[ModelState, Model]:
        """The models by state, of which only RETIRED can have several: one of them."""
        return {model.state: model for model in self.all(workspace_id)}

    def all(self, workspace_id: UUID) -> list[Model]:
        """The models, whatever their state."""
        return self._session.all(_ALL, _model, workspace=workspace_id)

    def save(self, model: Model) -> None:
        """Write what has become of it."""
        values = asdict(model)
        self._session.run(
            _SAVE, workspace=model.workspace_id, model=model.model_id, **{name: values[name] for name in _KEPT}
        )

    def remove(self, workspace_id: UUID, model_id: UUID) -> None:
        """Delete it, with all that it has."""
        self._session.run(_REMOVE, workspace=workspace_id, model=model_id)

    def add_parts(self, model: Model, parts: Sequence[bytes]) -> None:
        """Keep what was learnt."""
        for start in range(0, len(parts), _PARTS_AT_ONCE):
            some = parts[start : start + _PARTS_AT_ONCE]
            self._session.run(
                _ADD_PARTS,
                workspace=model.workspace_id,
                model=model.model_id,
                parts=arrays.integers(range(start, start + len(some))),
                data=arrays.blobs(some),
            )

    def parts(self, model: Model) -> list[bytes]:
        """What was learnt."""
        return self._session.all(_PARTS, lambda data: data, workspace=model.workspace_id, model=model.model_id)

    def replace_parts(self, model: Model, parts: Sequence[bytes]) -> None:
        """Keep this in the place of what was learnt."""
        self._session.run(_REMOVE_PARTS, workspace=model.workspace_id, model=model.model_id)
        self.add_parts(model, parts)

    def unpruned(self, before: datetime) -> list[Model]:
        """Latent semantic ones that serve, whose words were last gone through before then; in a system session."""
        return self._session.all(_UNPRUNED, _model, before=before)

    def unfinished(self) -> list[Model]:
        """Those for which a job has to do something still; in a system session."""
        return self._session.all(_UNFINISHED, _model)

    def lost_graphs(self) -> list[tuple[UUID, UUID]]:
        """Graphs of models that are gone, by workspace and model; in a system session."""
        return self._session.all(_LOST_GRAPHS, lambda workspace_id, model_id: (workspace_id, model_id))

    def mark_pruned(self, model: Model, now: datetime) -> None:
        """Its words were gone through now."""
        self._session.run(_PRUNED, workspace=model.workspace_id, model=model.model_id, now=now)


def _model(*, embedder: str, model: str, state: str, **columns: Any) -> Model:  # the columns of the table, by name
    return Model(embedder=EmbedderKind(embedder), name=model, state=ModelState(state), **columns)
