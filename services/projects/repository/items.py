"""What projects and tasks have in common as rows."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Table, and_, bindparam, func, insert, select, update

from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TEXT, TEXTS, TIMESTAMP, Field, one_of, resource
from services.kernel.names import USER, ResourceName
from services.projects.model.items import Item
from services.projects.model.names import WORKFLOW
from services.projects.model.workflows import Category, State, Workflow

# As clients know them.
_CATEGORIES = {f"STATE_CATEGORY_{category.name}": category.value for category in Category}


def fields_of(table: Table) -> tuple[Field, ...]:
    """What lists of both know."""
    of = table.c
    return (
        Field("display_name", of.display_name, TEXT, sortable=True),
        Field("state", of.state, TEXT),
        Field("state_category", of.state_category, one_of(_CATEGORIES)),
        Field("workflow", of.workflow_id, resource(WORKFLOW)),
        Field("author", of.author_id, resource(USER)),
        Field("assignee", of.assignee_id, resource(USER)),
        Field("labels", of.labels, TEXTS),
        Field("due_time", of.due_time, TIMESTAMP, sortable=True),
        Field("create_time", of.create_time, TIMESTAMP, sortable=True),
        Field("update_time", of.update_time, TIMESTAMP, sortable=True),
    )


def adding(table: Table) -> Statement:
    """Inserts a row, all of whose columns are given."""
    return compiled(insert(table).values({column.name: bindparam(column.name) for column in table.columns}))


def columns_of(item: Item) -> dict[str, object]:
    """The columns that both have."""
    return {
        "workspace_id": item.workspace_id,
        "project_id": item.project_id,
        "workflow_id": item.workflow_id,
        "author_id": item.author_id,
        "create_time": item.create_time,
        **written(item),
    }


# What a change may write, of both.
WRITTEN = (
    *("display_name", "description", "state", "state_category", "assignee_id", "labels", "due_time"),
    *("version", "update_time"),
)


def written(item: Item) -> dict[str, object]:
    """The columns of WRITTEN."""
    return {
        "display_name": item.display_name,
        "description": item.description,
        "state": item.state,
        "state_category": item.state_category.value,
        "assignee_id": item.assignee_id,
        "labels": list(item.labels),
        "due_time": item.due_time,
        "version": item.version,
        "update_time": item.update_time,
    }


@dataclass(frozen=True, slots=True)
class Following:
    """The statements about what follows a workflow, in one table."""

    name: ResourceName
    count_in_state: Statement
    migrate: Statement
    recategorize: Statement


def following(table: Table, name: ResourceName, *ids: ColumnElement[UUID]) -> Following:
    """The same for both tables. `ids` are those in the resource name behind the workspace's, labelled as there."""
    of = table.c
    in_state = and_(
        of.workspace_id == bindparam("workspace"),
        of.workflow_id == bindparam("workflow"),
        of.state == bindparam("in_state"),
    )
    moved = {
        "state": bindparam("to_state"),
        "state_category": bindparam("category"),
        "version": of.version + 1,
        "update_time": bindparam("now"),
    }
    return Following(
        name,
        count_in_state=compiled(select(func.count().label("count")).select_from(table).where(in_state)),
        migrate=compiled(update(table).where(in_state).values(moved).returning(*ids)),
        recategorize=compiled(update(table).where(in_state).values(state_category=bindparam("category"))),
    )


class ItemRepository:
    """The session's workspace's projects, or its tasks, as they follow workflows."""

    def __init__(self, session: Session, following: Following) -> None:
        self._session = session
        self._following = following

    def count_in_state(self, workflow: Workflow, state: str) -> int:
        """How many of the workflow are in a state, deleted ones included."""
        count = self._session.first(
            self._following.count_in_state,
            lambda count: count,
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
            in_state=state,
        )
        return count or 0

    def migrate(self, workflow: Workflow, from_state: str, to_state: State, now: datetime) -> list[str]:
        """Put all of the workflow that are in one state into another: their names."""
        return self._session.all(
            self._following.migrate,
            lambda **ids: self._following.name.format(workspace=workflow.workspace_id, **ids),
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
            in_state=from_state,
            to_state=to_state.state_id,
            category=to_state.category.value,
            now=now,
        )

    def recategorize(self, workflow: Workflow, state: State) -> None:
        """Write what a state means now to all of the workflow that are in it."""
        self._session.run(
            self._following.recategorize,
            workspace=workflow.workspace_id,
            workflow=workflow.workflow_id,
            in_state=state.state_id,
            category=state.category.value,
        )
