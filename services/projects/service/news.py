"""Event messages, out of the model."""

from collections.abc import Iterable
from uuid import UUID

from plinth.projects.v1 import activity_pb2, events_pb2, workflow_pb2
from services.kernel.names import USER
from services.kernel.wire import timestamp
from services.projects.model.changes import FieldChange
from services.projects.model.engine import Move
from services.projects.model.projects import Project
from services.projects.model.workflows import Category, State, Subject, Workflow

CATEGORIES = {category: workflow_pb2.StateCategory.Value(f"STATE_CATEGORY_{category.name}") for category in Category}
SUBJECTS = {subject: workflow_pb2.WorkflowSubject.Value(f"WORKFLOW_SUBJECT_{subject.name}") for subject in Subject}


def changes_told(changes: Iterable[FieldChange]) -> list[activity_pb2.FieldChange]:
    """Changes of fields."""
    return [
        activity_pb2.FieldChange(field=change.field, old_value=change.old_value, new_value=change.new_value)
        for change in changes
    ]


def workflow_created(workflow: Workflow) -> events_pb2.WorkflowCreated:
    """A new workflow."""
    return events_pb2.WorkflowCreated(
        workflow=workflow.name, display_name=workflow.display_name, subject=SUBJECTS[workflow.subject]
    )


def workflow_updated(
    before: Workflow, after: Workflow, migrations: Iterable[tuple[str, str]] = ()
) -> events_pb2.WorkflowUpdated:
    """A changed workflow."""
    return events_pb2.WorkflowUpdated(
        workflow=after.name,
        version=after.definition_version,
        changes=changes_told(after.changes_since(before)),
        state_migrations=[
            workflow_pb2.StateMigration(from_state=from_state, to_state=to_state) for from_state, to_state in migrations
        ],
    )


def project_created(project: Project) -> events_pb2.ProjectCreated:
    """A new project."""
    return events_pb2.ProjectCreated(
        project=project.name,
        display_name=project.display_name,
        workflow=project.workflow_name,
        state=project.state,
        state_category=CATEGORIES[project.state_category],
        assignee=_user(project.assignee_id),
    )


def project_updated(before: Project, after: Project) -> events_pb2.ProjectUpdated:
    """A changed project."""
    return events_pb2.ProjectUpdated(project=after.name, changes=changes_told(after.changes_since(before)))


def project_transitioned(name: str, move: Move, comment: str, approval: str = "") -> events_pb2.ProjectTransitioned:
    """A project in another state; `approval` is the name of the one that let it pass."""
    return events_pb2.ProjectTransitioned(
        project=name,
        from_state=move.from_state.state_id,
        to_state=move.to_state.state_id,
        from_category=CATEGORIES[move.from_state.category],
        to_category=CATEGORIES[move.to_state.category],
        comment=comment,
        approval=approval,
        workflow_version=move.workflow_version,
    )


def project_migrated(name: str, from_state: State, to_state: State, version: int) -> events_pb2.ProjectTransitioned:
    """A project whose state is gone from its workflow."""
    told = project_transitioned(name, Move(from_state, to_state, 0, version), "")
    told.migrated = True
    return told


def task_migrated(name: str, from_state: State, to_state: State, version: int) -> events_pb2.TaskTransitioned:
    """A task whose state is gone from its workflow."""
    return events_pb2.TaskTransitioned(
        task=name,
        from_state=from_state.state_id,
        to_state=to_state.state_id,
        from_category=CATEGORIES[from_state.category],
        to_category=CATEGORIES[to_state.category],
        workflow_version=version,
        migrated=True,
    )


def project_deleted(project: Project) -> events_pb2.ProjectDeleted:
    """A project that can be brought back until its purge time."""
    return events_pb2.ProjectDeleted(
        project=project.name, display_name=project.display_name, purge_time=timestamp(project.purge_time)
    )


def _user(user_id: UUID | None) -> str:
    return USER.format(user=user_id) if user_id is not None else ""
