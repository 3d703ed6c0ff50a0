"""Event messages, out of the model."""

from collections.abc import Iterable

from plinth.projects.v1 import activity_pb2, approval_pb2, events_pb2, workflow_pb2
from services.kernel.names import USER
from services.kernel.wire import timestamp
from services.projects.model.approvals import Approval, ApprovalDecision
from services.projects.model.changes import FieldChange
from services.projects.model.engine import Move
from services.projects.model.items import Item
from services.projects.model.projects import Project
from services.projects.model.tasks import Task
from services.projects.model.workflows import Category, Subject, Workflow

_CATEGORIES = {category: workflow_pb2.StateCategory.Value(f"STATE_CATEGORY_{category.name}") for category in Category}
_SUBJECTS = {subject: workflow_pb2.WorkflowSubject.Value(f"WORKFLOW_SUBJECT_{subject.name}") for subject in Subject}


def workflow_created(workflow: Workflow) -> events_pb2.WorkflowCreated:
    """A new workflow."""
    return events_pb2.WorkflowCreated(
        workflow=workflow.name, display_name=workflow.display_name, subject=_SUBJECTS[workflow.subject]
    )


def workflow_updated(
    before: Workflow, after: Workflow, migrations: Iterable[tuple[str, str]] = ()
) -> events_pb2.WorkflowUpdated:
    """A changed workflow."""
    return events_pb2.WorkflowUpdated(
        workflow=after.name,
        version=after.definition_version,
        changes=_told(after.changes_since(before)),
        state_migrations=[
            workflow_pb2.StateMigration(from_state=from_state, to_state=to_state) for from_state, to_state in migrations
        ],
    )


def created(item: Item) -> events_pb2.ProjectCreated | events_pb2.TaskCreated:
    """A new project or task."""
    news = (
        events_pb2.ProjectCreated(project=item.name)
        if item.subject is Subject.PROJECT
        else events_pb2.TaskCreated(task=item.name)
    )
    news.display_name = item.display_name
    news.workflow = item.workflow_name
    news.state = item.state
    news.state_category = _CATEGORIES[item.state_category]
    news.assignee = USER.format(user=item.assignee_id) if item.assignee_id is not None else ""
    return news


def updated(before: Item, after: Item) -> events_pb2.ProjectUpdated | events_pb2.TaskUpdated:
    """A changed project or task."""
    changes = _told(after.changes_since(before))
    if after.subject is Subject.PROJECT:
        return events_pb2.ProjectUpdated(project=after.name, changes=changes)
    return events_pb2.TaskUpdated(task=after.name, changes=changes)


def transitioned(
    subject: Subject, name: str, move: Move, *, comment: str = "", approval: str = "", migrated: bool = False
) -> events_pb2.ProjectTransitioned | events_pb2.TaskTransitioned:
    """A project or task in another state.

    `approval` is the name of the one that let it pass. One is `migrated` whose state is gone from its workflow.
    """
    news = (
        events_pb2.ProjectTransitioned(project=name)
        if subject is Subject.PROJECT
        else events_pb2.TaskTransitioned(task=name)
    )
    news.from_state, news.to_state = move.from_state.state_id, move.to_state.state_id
    news.from_category, news.to_category = _CATEGORIES[move.from_state.category], _CATEGORIES[move.to_state.category]
    news.comment = comment
    news.approval = approval
    news.workflow_version = move.workflow_version
    news.migrated = migrated
    return news


def project_deleted(project: Project) -> events_pb2.ProjectDeleted:
    """A project that can be brought back until its purge time."""
    return events_pb2.ProjectDeleted(
        project=project.name, display_name=project.display_name, purge_time=timestamp(project.purge_time)
    )


def project_undeleted(project: Project) -> events_pb2.ProjectUndeleted:
    """A project that lives again."""
    return events_pb2.ProjectUndeleted(project=project.name, display_name=project.display_name)


def task_moved(before: Task, after: Task) -> events_pb2.TaskMoved:
    """A task in another place."""
    return events_pb2.TaskMoved(task=after.name, old_position=before.position, new_position=after.position)


def task_deleted(task: Task) -> events_pb2.TaskDeleted:
    """A task that is gone."""
    return events_pb2.TaskDeleted(task=task.name, display_name=task.display_name)


def approval_requested(approval: Approval) -> events_pb2.ApprovalRequested:
    """A move that waits for people."""
    return events_pb2.ApprovalRequested(
        approval=approval.name,
        target=approval.target,
        from_state=approval.from_state,
        to_state=approval.to_state,
        required_approvals=approval.required_approvals,
        comment=approval.comment,
    )


def approval_decided(approval: Approval, made: ApprovalDecision) -> events_pb2.ApprovalDecided:
    """A decision, and what became of the approval with it."""
    return events_pb2.ApprovalDecided(
        approval=approval.name,
        target=approval.target,
        decision=approval_pb2.Decision.Value(f"DECISION_{made.decision.name}"),
        comment=made.comment,
        state=approval_pb2.Approval.State.Value(f"STATE_{approval.state.name}"),
        approvals=approval.approvals,
        required_approvals=approval.required_approvals,
    )


def approval_expired(approval: Approval) -> events_pb2.ApprovalExpired:
    """A move that is off, as too few people decided in time."""
    return events_pb2.ApprovalExpired(approval=approval.name, target=approval.target)


def approval_superseded(approval: Approval) -> events_pb2.ApprovalSuperseded:
    """A move that is off, as its project or task went elsewhere, or the workflow no longer has it."""
    return events_pb2.ApprovalSuperseded(approval=approval.name, target=approval.target)


def _told(changes: Iterable[FieldChange]) -> list[activity_pb2.FieldChange]:
    return [
        activity_pb2.FieldChange(field=change.field, old_value=change.old_value, new_value=change.new_value)
        for change in changes
    ]
