"""Projects, as rows."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import ColumnElement, Text, and_, bindparam, delete, exists, func, literal_column, select, update

from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TIMESTAMP, Field, Fields, ListQuery, Part
from services.kernel.paging import Page
from services.projects.errors import ProjectNameTaken
from services.projects.model.names import PROJECT
from services.projects.model.projects import Project
from services.projects.model.workflows import Category
from services.projects.repository.items import (
    WRITTEN,
    ItemRepository,
    adding,
    columns_of,
    fields_of,
    following,
    written,
)
from services.projects.repository.workflows import LOCK_CLASS, bucket_of
from services.projects.tables import approvals, projects, workflows

_t = projects.c

FIELDS = Fields(*fields_of(projects), Field("delete_time", _t.delete_time, TIMESTAMP), id=_t.project_id)

_in_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_in_workspace, _t.project_id == bindparam("project"))
_ADD = adding(projects)
_GET = compiled(select(projects).where(_by_id))
# NO KEY UPDATE: those who only refer to the project, like a new task, need not wait.
_LOCK = compiled(select(projects).where(_by_id).with_for_update(key_share=True))
_SAVE = compiled(
    update(projects)
    .where(_by_id)
    .values({column: bindparam(column) for column in (*WRITTEN, "delete_time", "purge_time")})
)
_FOLLOWING = following(projects, PROJECT, _t.project_id.label("project"))
_its_workflow = and_(workflows.c.workspace_id == _t.workspace_id, workflows.c.workflow_id == _t.workflow_id)
_waits = exists().where(
    approvals.c.workspace_id == _t.workspace_id,
    approvals.c.target_id == _t.project_id,
    approvals.c.state == "pending",
)
# The transaction that wrote the row: `touch` changes it, and nothing that clients see.
_writer: ColumnElement[str] = literal_column("projects.projects.xmin::text", Text())
# All that a transition has to know, in one round trip; the shared lock is that of `WorkflowRepository.share`.
_AIM = compiled(
    select(
        projects,
        _writer.label("writer"),
        workflows.c.definition_version,
        _waits.label("waits"),
        func.pg_advisory_xact_lock_shared(LOCK_CLASS, bindparam("bucket")).label("locked"),
    )
    .join(workflows, _its_workflow)
    .where(_by_id)
)
_MOVE = compiled(
    update(projects)
    .where(
        _by_id,
        _writer == bindparam("writer"),
        exists().where(_its_workflow, workflows.c.definition_version == bindparam("definition_version")),
    )
    .values(
        state=bindparam("state"),
        state_category=bindparam("state_category"),
        version=bindparam("version"),
        update_time=bindparam("update_time"),
    )
)
_TOUCH = compiled(update(projects).where(_by_id).values(version=_t.version))
# Each batch goes in a commit of its own; what another process purges at this moment is left to it.
_due = (
    select(_t.project_id)
    .where(_t.purge_time <= bindparam("now"))
    .order_by(_t.purge_time)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_PURGE = compiled(delete(projects).where(_t.project_id.in_(_due)).returning(_t.workspace_id, _t.project_id))


@dataclass(frozen=True, slots=True)
class Aim:
    """A project and who wrote its row, its workflow's version, and whether a move of it waits for an approval."""

    project: Project
    writer: str
    definition_version: int
    waits: bool


@lru_cache(maxsize=256)
def _page(part: Part, *, with_deleted: bool) -> Statement:
    statement = select(projects).where(_in_workspace)
    if not with_deleted:
        statement = statement.where(_t.delete_time.is_(None))
    return compiled(part.narrow(statement).limit(bindparam("count")))


class ProjectRepository(ItemRepository):
    """The session's workspace's projects. Display names are unique among the living, whatever their case."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, _FOLLOWING)

    def add(self, project: Project) -> None:
        """Insert it. Raises ProjectNameTaken."""
        self._write(_ADD, project, **columns_of(project))

    def get(self, workspace_id: UUID, project_id: UUID) -> Project | None:
        """The project, deleted or not."""
        return self._session.first(_GET, _project, workspace=workspace_id, project=project_id)

    def lock(self, workspace_id: UUID, project_id: UUID) -> Project | None:
        """The same, until the commit."""
        return self._session.first(_LOCK, _project, workspace=workspace_id, project=project_id)

    def save(self, project: Project) -> None:
        """Write its new values. Raises ProjectNameTaken."""
        self._write(_SAVE, project, workspace=project.workspace_id, project=project.project_id, **written(project))

    def list_page(self, workspace_id: UUID, wanted: ListQuery, page: Page, *, with_deleted: bool) -> list[Project]:
        """A page of the projects that are asked for."""
        part = wanted.part(page)
        statement = _page(part, with_deleted=with_deleted)
        return self._session.all(statement, _project, workspace=workspace_id, count=page.count, **part.values)

    def aim(self, workspace_id: UUID, project_id: UUID) -> Aim | None:
        """What a transition has to know. The project is not locked: `move` finds out whether it changed."""
        return self._session.first(
            _AIM, _aim, workspace=workspace_id, project=project_id, bucket=bucket_of(workspace_id)
        )

    def move(self, aim: Aim, after: Project) -> bool:
        """Write the state, if row and definition are still those that were aimed at: whether they were."""
        touched = self._session.run(
            _MOVE,
            workspace=after.workspace_id,
            project=after.project_id,
            writer=aim.writer,
            definition_version=aim.definition_version,
            state=after.state,
            state_category=after.state_category.value,
            version=after.version,
            update_time=after.update_time,
        )
        return touched == 1

    def touch(self, project: Project) -> None:
        """Have whoever aims at the project aim again, once this commits: they have not seen what it waits for now."""
        self._session.run(_TOUCH, workspace=project.workspace_id, project=project.project_id)

    def purge(self, now: datetime, count: int) -> list[tuple[UUID, UUID]]:
        """Delete projects whose time has come, no more than `count`, with their tasks and approvals.

        Workspace and id of each; in a system session.
        """
        return self._session.all(
            _PURGE, lambda workspace_id, project_id: (workspace_id, project_id), now=now, count=count
        )

    def _write(self, statement: Statement, project: Project, /, **columns: object) -> None:
        try:
            self._session.run(statement, delete_time=project.delete_time, purge_time=project.purge_time, **columns)
        except UniqueViolation:
            raise ProjectNameTaken(project.display_name) from None


def _aim(
    *,
    writer: str,
    definition_version: int,
    waits: bool,
    locked: object,
    **columns: Any,  # the columns of the table, by name
) -> Aim:
    return Aim(_project(**columns), writer, definition_version, waits)


def _project(
    *,
    state_category: str,
    labels: list[str],
    **columns: Any,  # the columns of the table, by name
) -> Project:
    return Project(state_category=Category(state_category), labels=tuple(labels), **columns)
