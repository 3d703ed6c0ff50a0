"""Between approvals and their protobuf messages."""

from typing import overload
from uuid import UUID

from plinth.projects.v1 import approval_pb2
from services.kernel.etags import etag_of
from services.kernel.names import USER
from services.kernel.wire import timestamp
from services.projects.model.approvals import Approval, ApprovalDecision, ApprovalState, Decision
from services.projects.model.names import APPROVAL

_DECISIONS = {decision: approval_pb2.Decision.Value(f"DECISION_{decision.name}") for decision in Decision}
_FROM_PROTO = {number: decision for decision, number in _DECISIONS.items()}
_STATES = {state: approval_pb2.Approval.State.Value(f"STATE_{state.name}") for state in ApprovalState}


def approval_in(name: str) -> tuple[UUID, UUID]:
    """The workspace and the id of an approval's name. Raises NameInvalid."""
    workspace_id, approval_id = APPROVAL.ids(name)
    return workspace_id, approval_id


def decision_from_proto(decision: approval_pb2.Decision.ValueType) -> Decision:
    """What is decided; the contract lets no other value pass."""
    return _FROM_PROTO[decision]


@overload
def approval_to_proto(approval: Approval) -> approval_pb2.Approval: ...


@overload
def approval_to_proto(approval: None) -> None: ...


def approval_to_proto(approval: Approval | None) -> approval_pb2.Approval | None:
    """An approval; None, which leaves a field unset, where there is none."""
    if approval is None:
        return None
    return approval_pb2.Approval(
        name=approval.name,
        target=approval.target,
        from_state=approval.from_state,
        to_state=approval.to_state,
        requester=USER.format(user=approval.requester_id),
        comment=approval.comment,
        required_approvals=approval.required_approvals,
        state=_STATES[approval.state],
        decisions=map(_decision_to_proto, approval.decisions),
        etag=etag_of(approval.version),
        create_time=timestamp(approval.create_time),
        update_time=timestamp(approval.update_time),
        expire_time=timestamp(approval.expire_time),
    )


def _decision_to_proto(decision: ApprovalDecision) -> approval_pb2.ApprovalDecision:
    return approval_pb2.ApprovalDecision(
        user=USER.format(user=decision.user_id),
        decision=_DECISIONS[decision.decision],
        comment=decision.comment,
        time=timestamp(decision.time),
    )
