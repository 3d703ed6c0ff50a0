"""How the peer moves a project: the statements of TransitionProject, and one commit.

It knows the rules of the one workflow that it is asked about by heart, its guard a plain comparison. What it writes is
what Plinth writes in that commit: the state, the event and the audit row. Activity follows from the event, in both.
"""

import zlib
from datetime import UTC, datetime
from uuid import UUID

import orjson
from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import and_, bindparam, exists, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.kernel import outbox
from services.kernel.ids import new_id
from services.projects.repository.workflows import LOCK_CLASS, bucket_of
from tests.bench.peer_tables import Approval, Project, Workflow

# The workflow: back and forth between two states, as long as the project has the label.
STATES, LABEL = ("doing", "checking"), "ready"
_BUCKETS = 4096
_CATEGORIES = dict.fromkeys(STATES, "started")
_MOVES = {STATES, STATES[::-1]}

_by_id = and_(Project.workspace_id == bindparam("workspace"), Project.project_id == bindparam("project"))
_waits = exists().where(
    Approval.workspace_id == Project.workspace_id,
    Approval.target_id == Project.project_id,
    Approval.state == "pending",
)
_AIM = (
    select(
        Project,
        Workflow.definition_version,
        _waits,
        func.pg_advisory_xact_lock_shared(LOCK_CLASS, bindparam("bucket")),
    )
    .join(
        Workflow,
        and_(Workflow.workspace_id == Project.workspace_id, Workflow.workflow_id == Project.workflow_id),
    )
    .where(_by_id)
)
_MOVE = (
    update(Project)
    .where(
        _by_id,
        Project.version == bindparam("before"),
        exists().where(
            Workflow.workspace_id == Project.workspace_id,
            Workflow.workflow_id == Project.workflow_id,
            Workflow.definition_version == bindparam("definition_version"),
        ),
    )
    .values(
        state=bindparam("to_state"),
        state_category=bindparam("category"),
        version=bindparam("after"),
        update_time=bindparam("now"),
    )
    .execution_options(synchronize_session=False)
)
_TELL = text(
    f"""
    with appended as (
        insert into kernel.outbox
            (id, workspace_id, type, source, subject, time, data_schema, data, actor, traceparent)
        select :id, :workspace, :type, '//plinth/projects', :subject, :now, 'ProjectTransitioned', :data, :actor, ''
        where (select count(pg_advisory_xact_lock({outbox.LOCK_CLASS}, :bucket))) >= 0
    ), noted as (
        insert into kernel.audit (
            id, workspace_id, time, actor_type, actor, user_id, action, resource, detail, source, user_agent,
            request_id, trace_id
        ) select :id, :workspace, :now, 'user', :actor, :user, :type, :subject, :detail, :client, '', '', ''
    )
    select pg_notify('{outbox.CHANNEL}', '')
    where not pg_try_advisory_xact_lock_shared({outbox.LOCK_CLASS}, {outbox.SLEEP_LOCK})"""
)


class _Json(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class TransitionIn(_Json):
    """The move that is asked for, of the version that was read."""

    to_state: str
    etag: str
    comment: str = ""


class ProjectOut(_Json):
    """A project, as JSON."""

    name: str
    display_name: str
    description: str
    workflow: str
    state: str
    state_category: str
    author: str
    assignee: str
    labels: list[str]
    due_time: datetime | None
    etag: str
    create_time: datetime
    update_time: datetime


class TransitionOut(_Json):
    """The answer."""

    project: ProjectOut


async def transition(
    session: AsyncSession, workspace_id: UUID, project_id: UUID, user_id: UUID, wanted: TransitionIn, client: str
) -> TransitionOut:
    """Make the move and commit it. Raises HTTPException."""
    now, key = datetime.now(UTC), {"workspace": workspace_id, "project": project_id}
    found = (await session.execute(_AIM, key | {"bucket": bucket_of(workspace_id)})).one_or_none()
    if found is None:
        raise HTTPException(404, "There is no such project.")
    project, definition_version, waits, _ = found
    before, move = project.version, (project.state, wanted.to_state)
    if wanted.etag != format(before, "x"):
        raise HTTPException(409, "The project has changed.")
    if project.delete_time is not None or waits:
        raise HTTPException(409, "The project cannot be moved.")
    if move not in _MOVES or LABEL not in project.labels:
        raise HTTPException(409, "The workflow does not allow this move.")
    category, after = _CATEGORIES[wanted.to_state], before + 1
    values = {"before": before, "after": after, "to_state": wanted.to_state, "category": category, "now": now}
    moved = await session.execute(_MOVE, key | values | {"definition_version": definition_version})
    if moved.rowcount != 1:  # type: ignore[attr-defined]  # of an UPDATE it has one
        raise HTTPException(409, "The project has changed.")
    name, told = f"workspaces/{workspace_id}/projects/{project_id}", new_id()
    event = {
        "project": name,
        "fromState": project.state,
        "toState": wanted.to_state,
        "fromCategory": project.state_category,
        "toCategory": category,
        "comment": wanted.comment,
        "workflowVersion": definition_version,
    }
    data = orjson.dumps(event)
    await session.execute(
        _TELL,
        {
            "id": told,
            "workspace": workspace_id,
            "type": "plinth.projects.project.transitioned.v1",
            "subject": name,
            "now": now,
            "data": data,
            "detail": data.decode(),
            "actor": f"users/{user_id}",
            "user": user_id,
            "client": client,
            "bucket": zlib.crc32(name.encode()) % _BUCKETS,
        },
    )
    await session.commit()
    return TransitionOut(
        project=ProjectOut(
            name=name,
            display_name=project.display_name,
            description=project.description,
            workflow=f"workspaces/{workspace_id}/workflows/{project.workflow_id}",
            state=wanted.to_state,
            state_category=category,
            author=f"users/{project.author_id}",
            assignee=f"users/{project.assignee_id}" if project.assignee_id else "",
            labels=project.labels,
            due_time=project.due_time,
            etag=format(after, "x"),
            create_time=project.create_time,
            update_time=now,
        )
    )
