"""Projects, as rows."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import and_, bindparam, delete, exists, func, insert, select, update

from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TEXT, TEXTS, TIMESTAMP, Field, Fields, ListQuery, Part, one_of, resource
from services.kernel.names import USER
from services.kernel.paging import Page
from services.projects.errors import ProjectNameTaken
from services.projects.model.names import WORKFLOW
from services.projects.model.projects import Project
from services.projects.model.workflows import Category, State, Workflow
from services.projects.repository.workflows import LOCK_CLASS, bucket_of
from services.projects.tables import approvals, projects, workflows

_t = projects.c
# As clients know them.
CATEGORIES = {f"STATE_CATEGORY_{category.name}": category.value for category in Category}

FIELDS = Fields(
    Field("display_name", _t.display_name, TEXT, sortable=True),
    Field("state", _t.state, TEXT),
    Field("state_category", _t.state_category, one_of(CATEGORIES)),
    Field("workflow", _t.workflow_id, resource(WORKFLOW)),
    Field("author", _t.author_id, resource(USER)),
    Field("assignee", _t.assignee_id, resource(USER)),
    Field("labels", _t.labels, TEXTS),
    Field("due_time", _t.due_time, TIMESTAMP, sortable=True),
    Field("create_time", _t.create_time, TIMESTAMP, sortable=True),
    Field("update_time", _t.update_time, TIMESTAMP, sortable=True),
    Field("delete_time", _t.delete_time, TIMESTAMP),
    id=_t.project_id,
    default_order="",
)

_in_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_in_workspace, _t.project_id == bindparam("project"))
_ADD = compiled(insert(projects).values({c.name: bindparam(c.name) for c in projects.columns}))
_GET = compiled(select(projects).where(_by_id))
# NO KEY UPDATE: those who only refer to the project, like a new task, need not wait.
_LOCK = compiled(select(projects).where(_by_id).with_for_update(key_share=True))
_SAVE = compiled(
    update(projects)
    .where(_by_id)
    .values(
        display_name=bindparam("display_name"),
        description=bindparam("description"),
        assignee_id=bindparam("assignee_id"),
        labels=bindparam("labels"),
        due_time=bindparam("due_time"),
        version=bindparam("version"),
        update_time=bindparam("update_time"),
        delete_time=bindparam("delete_time"),
        purge_time=bindparam("purge_time"),
    )
)
_its_workflow = and_(workflows.c.workspace_id == _t.workspace_id, workflows.c.workflow_id == _t.workflow_id)
_waits = exists().where(
    approvals.c.workspace_id == _t.workspace_id,
    approvals.c.target_id == _t.project_id,
    approvals.c.state == "pending",
)
# All that a transition has to know, in one round trip; the shared lock is that of `Workflows.share`.
_AIM = compiled(
    select(
        projects,
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
        _t.version == bindparam("before"),
        exists().where(_its_workflow, workflows.c.definition_version == bindparam("definition_version")),
    )
    .values(
        state=bindparam("state"),
        state_category=bindparam("state_category"),
        version=bindparam("version"),
        update_time=bindparam("update_time"),
    )
)
_of_workflow = and_(_in_workspace, _t.workflow_id == bindparam("workflow"))
_COUNT_IN_STATE = compiled(
    select(func.count().label("count")).select_from(projects).where(_of_workflow, _t.state == bindparam("from_state"))
)
_MIGRATE = compiled(
    update(projects)
    .where(_of_workflow, _t.state == bindparam("from_state"))
    .values(
        state=bindparam("to_state"),
        state_category=bindparam("to_category"),
        version=_t.version + 1,
        update_time=bindparam("now"),
    )
    .returning(_t.project_id)
)
_RECATEGORIZE = compiled(
    update(projects).where(_of_workflow, _t.state == bindparam("in_state")).values(state_category=bindparam("category"))
)
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
    """A project, the version of its workflow's definition, and whether a move of it waits for an approval."""

    project: Project
    definition_version: int
    waits: bool


@lru_cache(maxsize=256)
def _page(part: Part, *, with_deleted: bool) -> Statement:
    statement = select(projects).where(_in_workspace)
    if not with_deleted:
        statement = statement.where(_t.delete_time.is_(None))
    return compiled(part.narrow(statement).limit(bindparam("count")))


class Projects:
    """The session's workspace's projects. Display names are unique among the living, whatever their case."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, project: Project) -> None:
        """Insert it. Raises ProjectNameTaken."""
        try:
            self._session.run(
                _ADD,
                workspace_id=project.workspace_id,
                project_id=project.project_id,
                workflow_id=project.workflow_id,
                display_name=project.display_name,
                description=project.description,
                state=project.state,
                state_category=project.state_category.value,
                author_id=project.author_id,
                assignee_id=project.assignee_id,
                labels=list(project.labels),
                due_time=project.due_time,
                version=project.version,
                create_time=project.create_time,
                update_time=project.update_time,
                delete_time=project.delete_time,
                purge_time=project.purge_time,
            )
        except UniqueViolation:
            raise ProjectNameTaken(project.display_name) from None

    def get(self, workspace_id: UUID, project_id: UUID) -> Project | None:
        """The project, deleted or not."""
        return self._session.first(_GET, _project, workspace=workspace_id, project=project_id)

    def lock(self, workspace_id: UUID, project_id: UUID) -> Project | None:
        """The same, until the commit."""
        return self._session.first(_LOCK, _project, workspace=workspace_id, project=project_id)

    def save(self, project: Project) -> None:
        """Write its new values, but for its state. Raises ProjectNameTaken."""
        try:
            self._session.run(
                _SAVE,
                workspace=project.workspace_id,
                project=project.project_id,
                display_name=project.display_name,
                description=project.description,
                assignee_id=project.assignee_id,
                labels=list(project.labels),
                due_time=project.due_time,
                version=project.version,
                update_time=project.update_time,
                delete_time=project.delete_time,
                purge_time=project.purge_time,
            )
        except UniqueViolation:
            raise ProjectNameTaken(project.display_name) from None

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

    def move(self, after: Project, definition_version: int) -> bool:
        """Write the state, if project and definition are still those that were aimed at: whether they were."""
        touched = self._session.run(
            _MOVE,
            workspace=after.workspace_id,
            project=after.project_id,
            before=after.version - 1,
            definition_version=definition_version,
            state=after.state,
            state_category=after.state_category.value,
            version=after.version,
            update_time=after.update_time,
        )
        return touched == 1

    def count_in_state(self, workflow: Workflow, state: str) -> int:
        """How many projects of the workflow are in a state, deleted ones included."""
        return (
            self._session.first(
                _COUNT_IN_STATE,
                lambda count: count,
                workspace=workflow.workspace_id,
                workflow=workflow.workflow_id,
                from_state=state,
            )
            or 0
        )

    def migrate(self, workflow: Workflow, from_state: str, to_state: State, now: datetime) -> list[UUID]:
        """Put all projects of the workflow that are in one state into another: which."""
        return self._session.all(
            _MIGRATE,
            lambda project_id: project_id,
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
            from_state=from_state,
            to_state=to_state.state_id,
            to_category=to_state.category.value,
            now=now,
        )

    def recategorize(self, workflow: Workflow, state: State) -> None:
        """Write what a state means now to all projects of the workflow that are in it."""
        self._session.run(
            _RECATEGORIZE,
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
            in_state=state.state_id,
            category=state.category.value,
        )

    def purge(self, now: datetime, count: int) -> list[tuple[UUID, UUID]]:
        """Delete projects whose time has come, no more than `count`, with their tasks and approvals.

        Workspace and id of each; in a system session.
        """
        return self._session.all(
            _PURGE, lambda workspace_id, project_id: (workspace_id, project_id), now=now, count=count
        )


def _aim(*, definition_version: int, waits: bool, locked: object, **columns: object) -> Aim:
    return Aim(_project(**columns), definition_version, waits)  # type: ignore[arg-type]  # the columns of the table


def _project(  # one parameter a column
    *,
    workspace_id: UUID,
    project_id: UUID,
    workflow_id: UUID,
    display_name: str,
    description: str,
    state: str,
    state_category: str,
    author_id: UUID,
    assignee_id: UUID | None,
    labels: list[str],
    due_time: datetime | None,
    version: int,
    create_time: datetime,
    update_time: datetime,
    delete_time: datetime | None,
    purge_time: datetime | None,
) -> Project:
    return Project(
        workspace_id,
        project_id,
        workflow_id,
        display_name,
        description,
        state,
        Category(state_category),
        author_id,
        assignee_id,
        tuple(labels),
        due_time,
        version,
        create_time,
        update_time,
        delete_time,
        purge_time,
    )
