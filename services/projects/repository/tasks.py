"""Tasks, as rows."""

from datetime import datetime
from functools import lru_cache
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TEXT, TEXTS, TIMESTAMP, Field, Fields, ListQuery, Part, one_of, resource
from services.kernel.names import USER
from services.kernel.paging import Page
from services.projects.model.names import WORKFLOW
from services.projects.model.tasks import Task
from services.projects.model.workflows import Category, State, Workflow
from services.projects.repository.projects import CATEGORIES
from services.projects.tables import tasks, workflows

_t = tasks.c

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
    Field("position", _t.position, TEXT, sortable=True),
    id=_t.task_id,
    default_order="position",
)

_in_project = and_(_t.workspace_id == bindparam("workspace"), _t.project_id == bindparam("project"))
_by_id = and_(_in_project, _t.task_id == bindparam("task"))
_ADD = compiled(insert(tasks).values({c.name: bindparam(c.name) for c in tasks.columns}))
_GET = compiled(select(tasks).where(_by_id))
# NO KEY UPDATE: an approval that is asked for refers to the task, and need not wait.
_LOCK = compiled(select(tasks).where(_by_id).with_for_update(key_share=True))
_WRITTEN = (
    *("display_name", "description", "state", "state_category", "assignee_id", "labels", "due_time", "position"),
    *("version", "update_time"),
)
_SAVE = compiled(update(tasks).where(_by_id).values({name: bindparam(name) for name in _WRITTEN}))
_REMOVE = compiled(delete(tasks).where(_by_id))
_LAST = compiled(select(_t.position).where(_in_project).order_by(_t.position.desc()).limit(1))
_NEXT = compiled(
    select(_t.task_id, _t.position).where(_in_project, _t.position > bindparam("after")).order_by(_t.position).limit(1)
)
_IN_ORDER = compiled(select(_t.task_id).where(_in_project).order_by(_t.position, _t.task_id))
_given = func.unnest(
    bindparam("tasks", type_=ARRAY(_t.task_id.type)), bindparam("positions", type_=ARRAY(_t.position.type))
).table_valued("task_id", "position")
_given = _given.render_derived()
_SPREAD = compiled(update(tasks).where(_in_project, _t.task_id == _given.c.task_id).values(position=_given.c.position))
_DEFINITION_VERSION = compiled(
    select(workflows.c.definition_version).where(
        workflows.c.workspace_id == bindparam("workspace"), workflows.c.workflow_id == bindparam("workflow")
    )
)
_of_workflow = and_(_t.workspace_id == bindparam("workspace"), _t.workflow_id == bindparam("workflow"))
_COUNT_IN_STATE = compiled(
    select(func.count().label("count")).select_from(tasks).where(_of_workflow, _t.state == bindparam("from_state"))
)
_MIGRATE = compiled(
    update(tasks)
    .where(_of_workflow, _t.state == bindparam("from_state"))
    .values(
        state=bindparam("to_state"),
        state_category=bindparam("to_category"),
        version=_t.version + 1,
        update_time=bindparam("now"),
    )
    .returning(_t.project_id, _t.task_id)
)
_RECATEGORIZE = compiled(
    update(tasks).where(_of_workflow, _t.state == bindparam("in_state")).values(state_category=bindparam("category"))
)


@lru_cache(maxsize=256)
def _page(part: Part) -> Statement:
    return compiled(part.narrow(select(tasks).where(_in_project)).limit(bindparam("count")))


class Tasks:
    """The session's workspace's tasks.

    Whoever adds one or changes a position holds the lock of the project, so that no two tasks come to one place.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, task: Task) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=task.workspace_id,
            project_id=task.project_id,
            task_id=task.task_id,
            workflow_id=task.workflow_id,
            author_id=task.author_id,
            create_time=task.create_time,
            **_written(task),
        )

    def get(self, workspace_id: UUID, project_id: UUID, task_id: UUID) -> Task | None:
        """The task."""
        return self._session.first(_GET, _task, workspace=workspace_id, project=project_id, task=task_id)

    def lock(self, workspace_id: UUID, project_id: UUID, task_id: UUID) -> Task | None:
        """The same, until the commit."""
        return self._session.first(_LOCK, _task, workspace=workspace_id, project=project_id, task=task_id)

    def save(self, task: Task) -> None:
        """Write its new values."""
        self._session.run(
            _SAVE, workspace=task.workspace_id, project=task.project_id, task=task.task_id, **_written(task)
        )

    def remove(self, task: Task) -> None:
        """Delete it, with its approvals."""
        self._session.run(_REMOVE, workspace=task.workspace_id, project=task.project_id, task=task.task_id)

    def list_page(self, workspace_id: UUID, project_id: UUID, wanted: ListQuery, page: Page) -> list[Task]:
        """A page of the tasks of a project that are asked for."""
        part = wanted.part(page)
        return self._session.all(
            _page(part), _task, workspace=workspace_id, project=project_id, count=page.count, **part.values
        )

    def last_position(self, workspace_id: UUID, project_id: UUID) -> str | None:
        """The position of the last task of a project; None without one."""
        return self._session.first(_LAST, lambda position: position, workspace=workspace_id, project=project_id)

    def next_after(self, workspace_id: UUID, project_id: UUID, position: str) -> tuple[UUID, str] | None:
        """The task that comes next after a position, an empty one being before the first, and where it stands."""
        return self._session.first(
            _NEXT,
            lambda task_id, position: (task_id, position),
            workspace=workspace_id,
            project=project_id,
            after=position,
        )

    def in_order(self, workspace_id: UUID, project_id: UUID) -> list[UUID]:
        """Every task of a project, in the order of their positions."""
        return self._session.all(_IN_ORDER, lambda task_id: task_id, workspace=workspace_id, project=project_id)

    def put_in_order(self, workspace_id: UUID, project_id: UUID, positions: dict[UUID, str]) -> None:
        """Write new positions of tasks, which leave their order as it is."""
        self._session.run(
            _SPREAD,
            workspace=workspace_id,
            project=project_id,
            tasks=list(positions),
            positions=list(positions.values()),
        )

    def definition_version(self, task: Task) -> int:
        """Which version of its workflow the task follows: the newest."""
        version: int
        [version] = self._session.all(
            _DEFINITION_VERSION,
            lambda definition_version: definition_version,
            workspace=task.workspace_id,
            workflow=task.workflow_id,
        )
        return version

    def count_in_state(self, workflow: Workflow, state: str) -> int:
        """How many tasks of the workflow are in a state."""
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

    def migrate(self, workflow: Workflow, from_state: str, to_state: State, now: datetime) -> list[tuple[UUID, UUID]]:
        """Put all tasks of the workflow that are in one state into another: the project and id of each."""
        return self._session.all(
            _MIGRATE,
            lambda project_id, task_id: (project_id, task_id),
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
            from_state=from_state,
            to_state=to_state.state_id,
            to_category=to_state.category.value,
            now=now,
        )

    def recategorize(self, workflow: Workflow, state: State) -> None:
        """Write what a state means now to all tasks of the workflow that are in it."""
        self._session.run(
            _RECATEGORIZE,
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
            in_state=state.state_id,
            category=state.category.value,
        )


def _written(task: Task) -> dict[str, object]:
    return {
        "display_name": task.display_name,
        "description": task.description,
        "state": task.state,
        "state_category": task.state_category.value,
        "assignee_id": task.assignee_id,
        "labels": list(task.labels),
        "due_time": task.due_time,
        "position": task.position,
        "version": task.version,
        "update_time": task.update_time,
    }


def _task(  # one parameter a column
    *,
    workspace_id: UUID,
    project_id: UUID,
    task_id: UUID,
    workflow_id: UUID,
    display_name: str,
    description: str,
    state: str,
    state_category: str,
    author_id: UUID,
    assignee_id: UUID | None,
    labels: list[str],
    due_time: datetime | None,
    position: str,
    version: int,
    create_time: datetime,
    update_time: datetime,
) -> Task:
    return Task(
        workspace_id,
        project_id,
        task_id,
        workflow_id,
        display_name,
        description,
        state,
        Category(state_category),
        author_id,
        assignee_id,
        tuple(labels),
        due_time,
        position,
        version,
        create_time,
        update_time,
    )
