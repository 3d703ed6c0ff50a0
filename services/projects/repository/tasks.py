"""Tasks, as rows."""

from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TEXT, Field, Fields, ListQuery, Part
from services.kernel.paging import Page
from services.projects.model.names import TASK
from services.projects.model.tasks import Task
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
from services.projects.tables import tasks, workflows

_t = tasks.c

FIELDS = Fields(
    *fields_of(tasks),
    Field("position", _t.position, TEXT, sortable=True),
    id=_t.task_id,
    default_order="position",
)

_in_project = and_(_t.workspace_id == bindparam("workspace"), _t.project_id == bindparam("project"))
_by_id = and_(_in_project, _t.task_id == bindparam("task"))
_ADD = adding(tasks)
_GET = compiled(select(tasks).where(_by_id))
# NO KEY UPDATE: an approval that is asked for refers to the task, and need not wait.
_LOCK = compiled(select(tasks).where(_by_id).with_for_update(key_share=True))
_SAVE = compiled(update(tasks).where(_by_id).values({column: bindparam(column) for column in (*WRITTEN, "position")}))
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
_FOLLOWING = following(tasks, TASK, _t.project_id.label("project"), _t.task_id.label("task"))


@lru_cache(maxsize=256)
def _page(part: Part) -> Statement:
    return compiled(part.narrow(select(tasks).where(_in_project)).limit(bindparam("count")))


class TaskRepository(ItemRepository):
    """The session's workspace's tasks.

    Whoever adds one or changes a position holds the lock of the project, so that no two tasks come to one place.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session, _FOLLOWING)

    def add(self, task: Task) -> None:
        """Insert it."""
        self._session.run(_ADD, task_id=task.task_id, position=task.position, **columns_of(task))

    def get(self, workspace_id: UUID, project_id: UUID, task_id: UUID) -> Task | None:
        """The task."""
        return self._session.first(_GET, _task, workspace=workspace_id, project=project_id, task=task_id)

    def lock(self, workspace_id: UUID, project_id: UUID, task_id: UUID) -> Task | None:
        """The same, until the commit."""
        return self._session.first(_LOCK, _task, workspace=workspace_id, project=project_id, task=task_id)

    def save(self, task: Task) -> None:
        """Write its new values."""
        self._session.run(
            _SAVE,
            workspace=task.workspace_id,
            project=task.project_id,
            task=task.task_id,
            position=task.position,
            **written(task),
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


def _task(
    *,
    state_category: str,
    labels: list[str],
    **columns: Any,  # the columns of the table, by name
) -> Task:
    return Task(state_category=Category(state_category), labels=tuple(labels), **columns)
