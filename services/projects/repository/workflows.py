"""Workflows and their versions, as rows."""

import zlib
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb
from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from services.kernel.db import Session, compiled
from services.projects.errors import WorkflowNameTaken
from services.projects.model.workflows import Definition, Subject, Workflow, WorkflowVersion
from services.projects.tables import approvals, projects, tasks, workflow_versions, workflows

_FIRST = UUID(int=0)
# Locks of workspaces' workflows are two integers, `WKFL` and a bucket of workspaces: two that share one wait for each
# other now and then, and no more.
LOCK_CLASS = 0x574B464C
_BUCKETS = 2**31

_t, _v = workflows.c, workflow_versions.c
_by_id = and_(_t.workspace_id == bindparam("workspace"), _t.workflow_id == bindparam("workflow"))
_newest = and_(
    _v.workspace_id == _t.workspace_id, _v.workflow_id == _t.workflow_id, _v.version == _t.definition_version
)
_whole = select(workflows, _v.definition).join(workflow_versions, _newest)

_ADD = compiled(insert(workflows).values({c.name: bindparam(c.name) for c in workflows.columns}))
_ADD_DEFAULT = compiled(
    insert(workflows)
    .values({c.name: bindparam(c.name) for c in workflows.columns})
    .on_conflict_do_nothing(index_elements=["workspace_id", "subject"], index_where=_t.is_default)
)
_ADD_VERSION = compiled(
    insert(workflow_versions).values({c.name: bindparam(c.name) for c in workflow_versions.columns})
)
_GET = compiled(_whole.where(_by_id))
_DEFAULT = compiled(
    _whole.where(_t.workspace_id == bindparam("workspace"), _t.subject == bindparam("subject"), _t.is_default)
)
_LOCK = compiled(_whole.where(_by_id).with_for_update(of=workflows))
_LOCK_DEFAULT = compiled(
    _whole.where(
        _t.workspace_id == bindparam("workspace"), _t.subject == bindparam("subject"), _t.is_default
    ).with_for_update(of=workflows)
)
_SAVE = compiled(
    update(workflows)
    .where(_by_id)
    .values(
        display_name=bindparam("display_name"),
        description=bindparam("description"),
        is_default=bindparam("is_default"),
        definition_version=bindparam("definition_version"),
        version=bindparam("version"),
        update_time=bindparam("update_time"),
    )
)
_REMOVE = compiled(delete(workflows).where(_by_id))
_LIST = compiled(
    _whole.where(_t.workspace_id == bindparam("workspace"), _t.workflow_id > bindparam("after"))
    .order_by(_t.workflow_id)
    .limit(bindparam("count"))
)
_COUNT = compiled(
    select(func.count().label("count")).select_from(workflows).where(_t.workspace_id == bindparam("workspace"))
)
_of_version = and_(
    _v.workspace_id == bindparam("workspace"),
    _v.workflow_id == bindparam("workflow"),
    _v.version == bindparam("version"),
)
_DEFINITION = compiled(select(_v.definition).where(_of_version))
_VERSIONS = compiled(
    select(workflow_versions)
    .where(
        _v.workspace_id == bindparam("workspace"),
        _v.workflow_id == bindparam("workflow"),
        _v.version < bindparam("before"),
    )
    .order_by(_v.version.desc())
    .limit(bindparam("count"))
)
_has_projects = exists().where(projects.c.workspace_id == _t.workspace_id, projects.c.workflow_id == _t.workflow_id)
_has_tasks = exists().where(tasks.c.workspace_id == _t.workspace_id, tasks.c.workflow_id == _t.workflow_id)
_IN_USE = compiled(select(_t.workflow_id).where(_by_id, or_(_has_projects, _has_tasks)))

# What waits for an approval to move along this workflow.
_a = approvals.c
_WAITING = compiled(
    select(_a.target_id, _a.from_state, _a.to_state)
    .where(
        _a.workspace_id == bindparam("workspace"),
        _a.state == "pending",
        or_(
            and_(
                _a.task_id.is_(None),
                exists().where(
                    projects.c.workspace_id == _a.workspace_id,
                    projects.c.project_id == _a.project_id,
                    projects.c.workflow_id == bindparam("workflow"),
                ),
            ),
            exists().where(
                tasks.c.workspace_id == _a.workspace_id,
                tasks.c.project_id == _a.project_id,
                tasks.c.task_id == _a.task_id,
                tasks.c.workflow_id == bindparam("workflow"),
            ),
        ),
    )
    .order_by(_a.target_id)
)

_SHARE = compiled(select(func.pg_advisory_xact_lock_shared(LOCK_CLASS, bindparam("bucket")).label("locked")))
_EXCLUDE = compiled(select(func.pg_advisory_xact_lock(LOCK_CLASS, bindparam("bucket")).label("locked")))


def bucket_of(workspace_id: UUID) -> int:
    """The bucket that the lock of a workspace's workflows lies in."""
    return zlib.crc32(workspace_id.bytes) % _BUCKETS


class WorkflowRepository:
    """The session's workspace's workflows. Display names are unique in a workspace, whatever their case."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def share(self, workspace_id: UUID) -> None:
        """Keep the definitions of the workspace's workflows as they are until the commit.

        Whatever puts something into a state takes it first, before any row. An advisory lock, because a row lock that
        many share would write the workflow's row with every transition.
        """
        self._session.run(_SHARE, bucket=bucket_of(workspace_id))

    def exclude(self, workspace_id: UUID) -> None:
        """Wait for all who share, and keep others out until the commit: before a definition changes."""
        self._session.run(_EXCLUDE, bucket=bucket_of(workspace_id))

    def add(self, workflow: Workflow) -> None:
        """Insert it with its first version. Raises WorkflowNameTaken."""
        try:
            self._session.run(_ADD, **_columns(workflow))
        except UniqueViolation:
            raise WorkflowNameTaken(workflow.display_name) from None
        self._add_version(workflow)

    def add_default(self, workflow: Workflow) -> bool:
        """Insert it, unless its subject has a default by now: whether it was."""
        added = self._session.run(_ADD_DEFAULT, **_columns(workflow)) == 1
        if added:
            self._add_version(workflow)
        return added

    def get(self, workspace_id: UUID, workflow_id: UUID) -> Workflow | None:
        """The workflow, as its newest version has it."""
        return self._session.first(_GET, _workflow, workspace=workspace_id, workflow=workflow_id)

    def get_default(self, workspace_id: UUID, subject: Subject) -> Workflow | None:
        """The one that new items take, if it was made already."""
        return self._session.first(_DEFAULT, _workflow, workspace=workspace_id, subject=subject.value)

    def lock(self, workspace_id: UUID, workflow_id: UUID) -> Workflow | None:
        """The workflow, until the commit."""
        return self._session.first(_LOCK, _workflow, workspace=workspace_id, workflow=workflow_id)

    def lock_default(self, workspace_id: UUID, subject: Subject) -> Workflow | None:
        """The one that new items take, until the commit."""
        return self._session.first(_LOCK_DEFAULT, _workflow, workspace=workspace_id, subject=subject.value)

    def save(self, workflow: Workflow, *, new_definition: bool) -> None:
        """Write its new values, and its definition as a new version where it has one. Raises WorkflowNameTaken."""
        try:
            self._session.run(
                _SAVE,
                workspace=workflow.workspace_id,
                workflow=workflow.workflow_id,
                display_name=workflow.display_name,
                description=workflow.description,
                is_default=workflow.is_default,
                definition_version=workflow.definition_version,
                version=workflow.version,
                update_time=workflow.update_time,
            )
        except UniqueViolation:
            raise WorkflowNameTaken(workflow.display_name) from None
        if new_definition:
            self._add_version(workflow)

    def remove(self, workflow: Workflow) -> None:
        """Delete it with its versions; it must not be in use."""
        self._session.run(_REMOVE, workspace=workflow.workspace_id, workflow=workflow.workflow_id)

    def list_by_id(self, workspace_id: UUID, after: UUID | None, count: int) -> list[Workflow]:
        """Workflows, oldest first, after the one named."""
        return self._session.all(_LIST, _workflow, workspace=workspace_id, after=after or _FIRST, count=count)

    def count(self, workspace_id: UUID) -> int:
        """How many there are."""
        return self._session.first(_COUNT, lambda count: count, workspace=workspace_id) or 0

    def definition(self, workspace_id: UUID, workflow_id: UUID, version: int) -> Definition | None:
        """The definition as it was at one version."""
        return self._session.first(
            _DEFINITION,
            Definition.from_json,
            workspace=workspace_id,
            workflow=workflow_id,
            version=version,
        )

    def list_versions(self, workspace_id: UUID, workflow_id: UUID, before: int, count: int) -> list[WorkflowVersion]:
        """Its versions, the newest first, before the one named."""
        return self._session.all(
            _VERSIONS, _version, workspace=workspace_id, workflow=workflow_id, before=before, count=count
        )

    def in_use(self, workflow: Workflow) -> bool:
        """Whether a project (deleted or not) or a task follows it."""
        found = self._session.all(
            _IN_USE,
            lambda workflow_id: workflow_id,
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
        )
        return bool(found)

    def waiting(self, workflow: Workflow) -> list[tuple[UUID, str, str]]:
        """What waits for an approval to move along it: the item's id, its state, and the state asked for."""
        return self._session.all(
            _WAITING,
            lambda target_id, from_state, to_state: (target_id, from_state, to_state),
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
        )

    def _add_version(self, workflow: Workflow) -> None:
        self._session.run(
            _ADD_VERSION,
            workspace_id=workflow.workspace_id,
            workflow_id=workflow.workflow_id,
            version=workflow.definition_version,
            definition=Jsonb(workflow.definition.to_json()),
            create_time=workflow.update_time,
        )


def _columns(workflow: Workflow) -> dict[str, object]:
    return {
        "workspace_id": workflow.workspace_id,
        "workflow_id": workflow.workflow_id,
        "display_name": workflow.display_name,
        "description": workflow.description,
        "subject": workflow.subject.value,
        "is_default": workflow.is_default,
        "definition_version": workflow.definition_version,
        "version": workflow.version,
        "create_time": workflow.create_time,
        "update_time": workflow.update_time,
    }


def _workflow(  # one parameter a column
    *,
    workspace_id: UUID,
    workflow_id: UUID,
    display_name: str,
    description: str,
    subject: str,
    is_default: bool,
    definition_version: int,
    version: int,
    create_time: datetime,
    update_time: datetime,
    definition: dict[str, Any],
) -> Workflow:
    return Workflow(
        workspace_id,
        workflow_id,
        display_name,
        description,
        Subject(subject),
        is_default,
        Definition.from_json(definition),
        definition_version,
        version,
        create_time,
        update_time,
    )


def _version(
    *, workspace_id: UUID, workflow_id: UUID, version: int, definition: dict[str, Any], create_time: datetime
) -> WorkflowVersion:
    return WorkflowVersion(workspace_id, workflow_id, version, Definition.from_json(definition), create_time)
