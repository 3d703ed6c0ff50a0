"""Event messages about tasks and approvals, out of the model."""

from plinth.projects.v1 import approval_pb2, events_pb2
from services.kernel.names import USER
from services.projects.model.approvals import Approval, ApprovalDecision
from services.projects.model.engine import Move
from services.projects.model.tasks import Task
from services.projects.service.news import CATEGORIES, changes_told


def task_created(task: Task) -> events_pb2.TaskCreated:
    """A new task."""
    return events_pb2.TaskCreated(
        task=task.name,
        display_name=task.display_name,
        workflow=task.workflow_name,
        state=task.state,
        state_category=CATEGORIES[task.state_category],
        assignee=USER.format(user=task.assignee_id) if task.assignee_id is not None else "",
    )


def task_updated(before: Task, after: Task) -> events_pb2.TaskUpdated:
    """A changed task."""
    return events_pb2.TaskUpdated(task=after.name, changes=changes_told(after.changes_since(before)))


def task_moved(before: Task, after: Task) -> events_pb2.TaskMoved:
    """A task in another place."""
    return events_pb2.TaskMoved(task=after.name, old_position=before.position, new_position=after.position)


def task_transitioned(name: str, move: Move, comment: str, approval: str = "") -> events_pb2.TaskTransitioned:
    """A task in another state; `approval` is the name of the one that let it pass."""
    return events_pb2.TaskTransitioned(
        task=name,
        from_state=move.from_state.state_id,
        to_state=move.to_state.state_id,
        from_category=CATEGORIES[move.from_state.category],
        to_category=CATEGORIES[move.to_state.category],
        comment=comment,
        approval=approval,
        workflow_version=move.workflow_version,
    )


def task_deleted(task: Task) -> events_pb2.TaskDeleted:
    """A task that is gone."""
    return events_pb2.TaskDeleted(task=task.name, display_name=task.display_name)


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
