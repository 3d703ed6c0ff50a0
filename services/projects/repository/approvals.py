"""Approvals, as rows."""

from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import and_, bindparam, insert, select, update

from services.kernel.db import Session, Statement, compiled
from services.kernel.filtering import TEXT, TIMESTAMP, Field, Fields, ListQuery, Part, one_of, resource
from services.kernel.names import USER
from services.kernel.paging import Page
from services.projects.model.approvals import Approval, ApprovalDecision, ApprovalState, Decision
from services.projects.model.names import PROJECT, TASK
from services.projects.tables import approvals

_t = approvals.c
_COLUMNS = [c for c in approvals.columns if c.computed is None]
# As clients know them.
STATES = {f"STATE_{state.name}": state.value for state in ApprovalState}

FIELDS = Fields(
    Field("state", _t.state, one_of(STATES)),
    Field("target", _t.target_id, resource(PROJECT, TASK)),
    Field("requester", _t.requester_id, resource(USER)),
    Field("from_state", _t.from_state, TEXT),
    Field("to_state", _t.to_state, TEXT),
    Field("create_time", _t.create_time, TIMESTAMP, sortable=True),
    Field("update_time", _t.update_time, TIMESTAMP, sortable=True),
    id=_t.approval_id,
)

_in_workspace = _t.workspace_id == bindparam("workspace")
_by_id = and_(_in_workspace, _t.approval_id == bindparam("approval"))
_of_target = and_(_in_workspace, _t.target_id == bindparam("target"), _t.state == ApprovalState.PENDING.value)
_ADD = compiled(insert(approvals).values({c.name: bindparam(c.name) for c in _COLUMNS}))
_GET = compiled(select(*_COLUMNS).where(_by_id))
_LOCK = compiled(select(*_COLUMNS).where(_by_id).with_for_update())
_PENDING = compiled(select(*_COLUMNS).where(_of_target).order_by(_t.approval_id))
_LOCK_PENDING = compiled(select(*_COLUMNS).where(_of_target).order_by(_t.approval_id).with_for_update())
_SAVE = compiled(
    update(approvals)
    .where(_by_id)
    .values(
        state=bindparam("state"),
        decisions=bindparam("decisions"),
        version=bindparam("version"),
        update_time=bindparam("update_time"),
    )
)


@lru_cache(maxsize=256)
def _page(part: Part) -> Statement:
    return compiled(part.narrow(select(*_COLUMNS).where(_in_workspace)).limit(bindparam("count")))


class ApprovalRepository:
    """The session's workspace's approvals. Of one move of one target, one at most is pending."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, approval: Approval) -> None:
        """Insert it."""
        self._session.run(
            _ADD,
            workspace_id=approval.workspace_id,
            approval_id=approval.approval_id,
            project_id=approval.project_id,
            task_id=approval.task_id,
            from_state=approval.from_state,
            to_state=approval.to_state,
            requester_id=approval.requester_id,
            comment=approval.comment,
            required_approvals=approval.required_approvals,
            create_time=approval.create_time,
            **_written(approval),
        )

    def get(self, workspace_id: UUID, approval_id: UUID) -> Approval | None:
        """The approval."""
        return self._session.first(_GET, _approval, workspace=workspace_id, approval=approval_id)

    def lock(self, workspace_id: UUID, approval_id: UUID) -> Approval | None:
        """The same, until the commit. What it is to move is locked before it, here as in every transition."""
        return self._session.first(_LOCK, _approval, workspace=workspace_id, approval=approval_id)

    def pending(self, workspace_id: UUID, target_id: UUID) -> list[Approval]:
        """What a project or task waits for, oldest first."""
        return self._session.all(_PENDING, _approval, workspace=workspace_id, target=target_id)

    def lock_pending(self, workspace_id: UUID, target_id: UUID) -> list[Approval]:
        """The same, until the commit."""
        return self._session.all(_LOCK_PENDING, _approval, workspace=workspace_id, target=target_id)

    def save(self, approval: Approval) -> None:
        """Write its state and decisions."""
        self._session.run(_SAVE, workspace=approval.workspace_id, approval=approval.approval_id, **_written(approval))

    def list_page(self, workspace_id: UUID, wanted: ListQuery, page: Page) -> list[Approval]:
        """A page of the approvals that are asked for."""
        part = wanted.part(page)
        return self._session.all(_page(part), _approval, workspace=workspace_id, count=page.count, **part.values)


def _written(approval: Approval) -> dict[str, object]:
    decisions = [
        {
            "user": str(decision.user_id),
            "decision": decision.decision.value,
            "comment": decision.comment,
            "time": decision.time.isoformat(),
        }
        for decision in approval.decisions
    ]
    return {
        "state": approval.state.value,
        "decisions": Jsonb(decisions),
        "version": approval.version,
        "update_time": approval.update_time,
    }


def _approval(
    *,
    state: str,
    decisions: list[dict[str, str]],
    **columns: Any,  # the columns of the table, by name
) -> Approval:
    made = tuple(
        ApprovalDecision(
            UUID(decision["user"]),
            Decision(decision["decision"]),
            decision["comment"],
            datetime.fromisoformat(decision["time"]),
        )
        for decision in decisions
    )
    return Approval(state=ApprovalState(state), decisions=made, **columns)
