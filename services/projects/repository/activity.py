"""Activity, as rows: written by the projection alone, and keyed by the position of the event in the log."""

from functools import lru_cache
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import and_, bindparam, delete, exists, select
from sqlalchemy.dialects.postgresql import insert

from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TEXT, TIMESTAMP, Field, Fields, ListQuery, Part
from services.kernel.paging import Page
from services.projects.model.activity import Activity
from services.projects.model.changes import FieldChange
from services.projects.tables import activity, workflows

_t = activity.c

FIELDS = Fields(
    Field("verb", _t.verb, TEXT),
    Field("resource", _t.resource, TEXT),
    Field("actor", _t.actor, TEXT),
    Field("time", _t.time, TIMESTAMP),
    id=_t.position,
    newest_first=True,
)

_in_workspace = _t.workspace_id == bindparam("workspace")
_of_project = and_(_in_workspace, _t.project_id == bindparam("project"))
# An event may come twice; a deed is done once. A workspace where anything is done has workflows, until it is forgotten.
_given = select(*(bindparam(c.name, type_=c.type).label(c.name) for c in activity.columns)).where(
    exists().where(workflows.c.workspace_id == bindparam("workspace_id"))
)
_ADD = compiled(
    insert(activity)
    .from_select([c.name for c in activity.columns], _given)
    .on_conflict_do_nothing(index_elements=["workspace_id", "position"])
)
_FORGET = compiled(delete(activity).where(_of_project))


@lru_cache(maxsize=256)
def _page(part: Part, *, of_project: bool) -> Statement:
    statement = select(activity).where(_of_project if of_project else _in_workspace)
    return compiled(part.narrow(statement).limit(bindparam("count")))


class ActivityRepository:
    """What was done in the session's workspace."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, done: Activity) -> None:
        """Insert it, unless it is there already, or its workspace is forgotten."""
        self._session.run(
            _ADD,
            workspace_id=done.workspace_id,
            position=done.position,
            event_id=done.event_id,
            project_id=done.project_id,
            time=done.time,
            verb=done.verb,
            resource=done.resource,
            actor=done.actor,
            changes=Jsonb([[change.field, change.old_value, change.new_value] for change in done.changes]),
            comment=done.comment,
        )

    def forget(self, workspace_id: UUID, project_id: UUID) -> None:
        """Delete what was done in a project, which is gone for good."""
        self._session.run(_FORGET, workspace=workspace_id, project=project_id)

    def list_page(self, workspace_id: UUID, project_id: UUID | None, wanted: ListQuery, page: Page) -> list[Activity]:
        """A page of what was done in the workspace, or in one project, the newest first."""
        part = wanted.part(page)
        project = {} if project_id is None else {"project": project_id}
        return self._session.all(
            _page(part, of_project=project_id is not None),
            _activity,
            workspace=workspace_id,
            count=page.count,
            **project,
            **part.values,
        )


def _activity(
    *,
    changes: list[tuple[str, str, str]],
    **columns: Any,  # the columns of the table, by name
) -> Activity:
    return Activity(changes=tuple(FieldChange(*change) for change in changes), **columns)
