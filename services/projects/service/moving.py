"""What moves of projects and tasks have in common: the rules in force, and the approvals that moves wait for."""

import threading
from collections import OrderedDict
from datetime import datetime
from uuid import UUID

from services.kernel.caller import current_caller
from services.kernel.errors import LacksPermission
from services.kernel.ids import new_id
from services.projects.model.approvals import Approval, ApprovalState
from services.projects.model.engine import Actor, Available, Move, Rules, available
from services.projects.model.items import Item
from services.projects.model.tasks import Task
from services.projects.model.workflows import Definition, Subject
from services.projects.service import news
from services.projects.service.units import ProjectsUnitOfWork, current_actor

# What the contract demands for a move.
_PERMISSIONS = {Subject.PROJECT: "projects.transition", Subject.TASK: "tasks.transition"}
_KEPT = 1000


class RuleBook:
    """The definitions of workflows, kept in process: a version never changes once it is there."""

    def __init__(self) -> None:
        self._definitions: OrderedDict[tuple[UUID, UUID, int], Definition] = OrderedDict()
        self._lock = threading.Lock()

    def rules(self, uow: ProjectsUnitOfWork, item: Item, version: int) -> Rules:
        """The rules that an item follows: those of this version of its workflow."""
        key = (item.workspace_id, item.workflow_id, version)
        with self._lock:
            definition = self._definitions.get(key)
            if definition is not None:
                self._definitions.move_to_end(key)
        if definition is None:
            definition = uow.repo.workflows.definition(*key)
            if definition is None:
                raise LookupError(f"{item.workflow_name} has no version {version}")
            with self._lock:
                self._definitions[key] = definition
                if len(self._definitions) > _KEPT:
                    self._definitions.popitem(last=False)
        return Rules(definition, version)


def available_moves(uow: ProjectsUnitOfWork, rules: Rules, item: Item, now: datetime) -> list[tuple[Available, str]]:
    """Where the caller could take the item, and the name of the approval that a move waits for already, if any."""
    permission = _PERMISSIONS[item.subject]
    denied = None if permission in current_caller().require_grant().permissions else LacksPermission(permission)
    waiting = {one.to_state: one.name for one in uow.repo.approvals.pending(item.workspace_id, item.item_id)}
    found = available(rules, item, current_actor(), now, denied)
    return [(one, waiting.get(one.to_state.state_id, "")) for one in found]


def ask(
    uow: ProjectsUnitOfWork, item: Item, move: Move, actor: Actor, comment: str, now: datetime
) -> tuple[Approval, bool]:
    """The approval that the move of a locked item waits for, and whether it is a new one."""
    for waiting in uow.repo.approvals.lock_pending(item.workspace_id, item.item_id):
        if waiting.to_state == move.to_state.state_id:
            if not waiting.overdue(now):
                return waiting, False
            # Its time is up, and nobody has called it off yet.
            off = waiting.expired(now)
            uow.repo.approvals.save(off)
            uow.emit(off.name, news.approval_expired(off))
    approval = Approval(
        workspace_id=item.workspace_id,
        approval_id=new_id(),
        project_id=item.project_id,
        task_id=item.task_id if isinstance(item, Task) else None,
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
    uow.emit(approval.name, news.approval_requested(approval))
    return approval, True


def supersede(uow: ProjectsUnitOfWork, workspace_id: UUID, target_id: UUID, now: datetime) -> None:
    """Call off what waits for an approval: its project (or task) goes elsewhere, or the move is no more."""
    for waiting in uow.repo.approvals.lock_pending(workspace_id, target_id):
        off = waiting.superseded(now)
        uow.repo.approvals.save(off)
        uow.emit(off.name, news.approval_superseded(off))
