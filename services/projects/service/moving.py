"""What moves of projects and tasks have in common: the rules in force, and the approvals that moves wait for."""

import threading
from collections import OrderedDict
from datetime import datetime
from uuid import UUID

from plinth.projects.v1 import events_pb2
from services.kernel.ids import new_id
from services.projects.model.approvals import Approval, ApprovalState
from services.projects.model.engine import Actor, Move, Rules
from services.projects.model.workflows import Definition, Subject
from services.projects.service.task_news import approval_expired
from services.projects.service.units import ProjectsUnitOfWork

_KEPT = 1000


class RuleBook:
    """The definitions of workflows, kept in process: a version never changes once it is there."""

    def __init__(self) -> None:
        self._definitions: OrderedDict[tuple[UUID, UUID, int], Definition] = OrderedDict()
        self._lock = threading.Lock()

    def rules(
        self, uow: ProjectsUnitOfWork, subject: Subject, workspace_id: UUID, workflow_id: UUID, version: int
    ) -> Rules:
        """The rules of one version of a workflow, which is there: an item follows it."""
        key = (workspace_id, workflow_id, version)
        with self._lock:
            definition = self._definitions.get(key)
            if definition is not None:
                self._definitions.move_to_end(key)
        if definition is None:
            definition = uow.repo.workflows.definition(workspace_id, workflow_id, version)
            if definition is None:
                raise LookupError(f"workflow {workflow_id} has no version {version}")
            with self._lock:
                self._definitions[key] = definition
                if len(self._definitions) > _KEPT:
                    self._definitions.popitem(last=False)
        return Rules(subject, definition, version)


def ask(
    uow: ProjectsUnitOfWork,
    workspace_id: UUID,
    project_id: UUID,
    task_id: UUID | None,
    move: Move,
    actor: Actor,
    comment: str,
    now: datetime,
) -> tuple[Approval, bool]:
    """The approval that the move of a locked project (or task) waits for, and whether it is a new one."""
    target_id = task_id or project_id
    for waiting in uow.repo.approvals.lock_pending(workspace_id, target_id):
        if waiting.to_state == move.to_state.state_id:
            if not waiting.overdue(now):
                return waiting, False
            # Its time is up, and nobody has called it off yet.
            off = waiting.expired(now)
            uow.repo.approvals.save(off)
            uow.emit(off.name, approval_expired(off))
    approval = Approval(
        workspace_id=workspace_id,
        approval_id=new_id(),
        project_id=project_id,
        task_id=task_id,
        from_state=move.from_state.state_id,
        to_state=move.to_state.state_id,
        requester_id=actor.user_id,
        comment=comment,
        required_approvals=move.required_approvals,
        state=ApprovalState.PENDING,
        decisions=(),
        version=1,
        create_time=now,
        update_time=now,
    )
    uow.repo.approvals.add(approval)
    uow.emit(
        approval.name,
        events_pb2.ApprovalRequested(
            approval=approval.name,
            target=approval.target,
            from_state=approval.from_state,
            to_state=approval.to_state,
            required_approvals=approval.required_approvals,
            comment=comment,
        ),
    )
    return approval, True


def supersede(uow: ProjectsUnitOfWork, workspace_id: UUID, target_id: UUID, now: datetime) -> None:
    """Call off what waits for an approval: its project (or task) goes elsewhere, or the move is no more."""
    for waiting in uow.repo.approvals.lock_pending(workspace_id, target_id):
        off = waiting.superseded(now)
        uow.repo.approvals.save(off)
        uow.emit(off.name, events_pb2.ApprovalSuperseded(approval=off.name, target=off.target))
