"""Approvals: moves that wait for people, who decides, and what ends the wait."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID

from services.projects.errors import ApprovalClosed, ApprovalDecided, SelfApproval
from services.projects.model.names import APPROVAL, PROJECT, TASK

OPEN_FOR = timedelta(days=14)


class ApprovalState(StrEnum):
    """What became of an approval."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"


class Decision(StrEnum):
    """What a person decides."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """What one person decided, and when."""

    user_id: UUID
    decision: Decision
    comment: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """A move of a project, or of the task `task_id` in it, that `required_approvals` people have to approve.

    Only a pending one changes. One rejection refuses the move; without enough approvals it expires after OPEN_FOR.
    """

    workspace_id: UUID
    approval_id: UUID
    project_id: UUID
    task_id: UUID | None
    from_state: str
    to_state: str
    requester_id: UUID
    comment: str
    required_approvals: int
    state: ApprovalState
    decisions: tuple[ApprovalDecision, ...]
    version: int
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return APPROVAL.format(workspace=self.workspace_id, approval=self.approval_id)

    @property
    def target_id(self) -> UUID:
        """The id of what is to be moved."""
        return self.task_id or self.project_id

    @property
    def target(self) -> str:
        """The resource name of what is to be moved."""
        if self.task_id is None:
            return PROJECT.format(workspace=self.workspace_id, project=self.project_id)
        return TASK.format(workspace=self.workspace_id, project=self.project_id, task=self.task_id)

    @property
    def expire_time(self) -> datetime:
        """From when on it can no longer be decided."""
        return self.create_time + OPEN_FOR

    @property
    def approvals(self) -> int:
        """How many have approved so far."""
        return sum(decision.decision is Decision.APPROVE for decision in self.decisions)

    @property
    def pending(self) -> bool:
        """Whether it waits for decisions."""
        return self.state is ApprovalState.PENDING

    def overdue(self, now: datetime) -> bool:
        """Whether it waits for decisions that come too late."""
        return self.pending and self.expire_time <= now

    def decided(self, user_id: UUID, decision: Decision, comment: str, now: datetime) -> Self:
        """With this person's decision; the same one where they decided so before.

        Raises SelfApproval, ApprovalDecided or ApprovalClosed.
        """
        if user_id == self.requester_id:
            raise SelfApproval(self.name)
        before = next((one for one in self.decisions if one.user_id == user_id), None)
        if before is not None and before.decision is decision:
            return self
        if not self.pending or self.overdue(now):
            raise ApprovalClosed(self.name, ApprovalState.EXPIRED if self.pending else self.state)
        if before is not None:
            raise ApprovalDecided(self.name)
        decisions = (*self.decisions, ApprovalDecision(user_id, decision, comment, now))
        if decision is Decision.REJECT:
            state = ApprovalState.REJECTED
        else:
            approvals = self.approvals + 1
            state = ApprovalState.APPROVED if approvals >= self.required_approvals else ApprovalState.PENDING
        return replace(self._in_state(state, now), decisions=decisions)

    def superseded(self, now: datetime) -> Self:
        """Off, because its project or task went elsewhere; one that is closed stays as it is."""
        return self._in_state(ApprovalState.SUPERSEDED, now) if self.pending else self

    def expired(self, now: datetime) -> Self:
        """Off, where nobody can decide it any more; one that is closed or still open stays as it is."""
        return self._in_state(ApprovalState.EXPIRED, now) if self.overdue(now) else self

    def _in_state(self, state: ApprovalState, now: datetime) -> Self:
        return replace(self, state=state, version=self.version + 1, update_time=now)
