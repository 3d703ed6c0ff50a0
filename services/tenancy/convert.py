"""Between the tenancy model and its protobuf messages."""

from datetime import UTC, datetime

from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from plinth.tenancy.v1 import (
    access_pb2,
    access_service_pb2,
    audit_event_pb2,
    audit_service_pb2,
    invite_pb2,
    member_pb2,
    role_pb2,
    workspace_pb2,
)
from services.kernel.caller import Grant
from services.kernel.errors import FieldsInvalid, FieldViolation
from services.kernel.etags import etag_of
from services.kernel.feed import GrantChanged
from services.kernel.names import USER, WORKSPACE
from services.tenancy.model.access import Step, StepKind
from services.tenancy.model.audit import AuditEvent, AuditFilter
from services.tenancy.model.invites import Invite, InviteState
from services.tenancy.model.roles import Role, RolePatch
from services.tenancy.model.workspaces import Member, Person, Workspace

_STATES = {
    InviteState.PENDING: invite_pb2.Invite.STATE_PENDING,
    InviteState.ACCEPTED: invite_pb2.Invite.STATE_ACCEPTED,
    InviteState.DECLINED: invite_pb2.Invite.STATE_DECLINED,
    InviteState.REVOKED: invite_pb2.Invite.STATE_REVOKED,
    InviteState.EXPIRED: invite_pb2.Invite.STATE_EXPIRED,
}
_MODEL_STATES = {int(value): state for state, value in _STATES.items()}
_STEP_KINDS = {
    StepKind.MEMBERSHIP: access_pb2.AccessStep.KIND_MEMBERSHIP,
    StepKind.ROLE: access_pb2.AccessStep.KIND_ROLE,
    StepKind.PERMISSION: access_pb2.AccessStep.KIND_PERMISSION,
    StepKind.API_KEY: access_pb2.AccessStep.KIND_API_KEY,
    StepKind.VERDICT: access_pb2.AccessStep.KIND_VERDICT,
}
_ACTOR_TYPES = {
    "user": audit_event_pb2.AuditEvent.ACTOR_TYPE_USER,
    "api_key": audit_event_pb2.AuditEvent.ACTOR_TYPE_API_KEY,
    "service": audit_event_pb2.AuditEvent.ACTOR_TYPE_SERVICE,
}


def workspace_to_proto(workspace: Workspace) -> workspace_pb2.Workspace:
    """A workspace."""
    return workspace_pb2.Workspace(
        name=workspace.name,
        display_name=workspace.display_name,
        etag=etag_of(workspace.version),
        create_time=_timestamp(workspace.create_time),
        update_time=_timestamp(workspace.update_time),
        delete_time=_timestamp(workspace.delete_time),
        purge_time=_timestamp(workspace.purge_time),
    )


def member_to_proto(member: Member, person: Person | None) -> member_pb2.Member:
    """A member, with what identity tells of the user; None for an account that is gone."""
    return member_pb2.Member(
        name=member.name,
        user=USER.format(user=member.user_id),
        role=member.role_name,
        email=person.email if person else "",
        display_name=person.display_name if person else "",
        etag=etag_of(member.version),
        create_time=_timestamp(member.create_time),
        update_time=_timestamp(member.update_time),
    )


def role_to_proto(role: Role) -> role_pb2.Role:
    """A role; a built-in one has neither etag nor times."""
    return role_pb2.Role(
        name=role.name,
        display_name=role.display_name,
        description=role.description,
        permissions=sorted(role.permissions),
        built_in=role.built_in,
        etag="" if role.built_in else etag_of(role.version),
        create_time=_timestamp(role.create_time),
        update_time=_timestamp(role.update_time),
    )


def invite_to_proto(invite: Invite, now: datetime) -> invite_pb2.Invite:
    """An invite, in its state by now."""
    return invite_pb2.Invite(
        name=invite.name,
        email=invite.email,
        role=invite.role_name,
        state=_STATES[invite.state_at(now)],
        inviter=invite.inviter_name,
        expire_time=_timestamp(invite.expire_time),
        create_time=_timestamp(invite.create_time),
        update_time=_timestamp(invite.update_time),
    )


def invite_state_from_proto(state: int) -> InviteState | None:
    """A state to filter by; None for the unspecified one."""
    return _MODEL_STATES.get(state)


def grant_to_proto(grant: Grant | None) -> access_pb2.Grant | None:
    """A grant, if there is one."""
    if grant is None:
        return None
    return access_pb2.Grant(
        workspace=WORKSPACE.format(workspace=grant.workspace_id),
        user=USER.format(user=grant.user_id),
        role=grant.role,
        permissions=sorted(grant.permissions),
    )


def steps_to_proto(steps: list[Step]) -> access_service_pb2.ExplainAccessResponse:
    """The chain, of which the last step is the verdict."""
    return access_service_pb2.ExplainAccessResponse(
        granted=steps[-1].passed,
        steps=[
            access_pb2.AccessStep(
                kind=_STEP_KINDS[step.kind], passed=step.passed, resource=step.resource, explanation=step.explanation
            )
            for step in steps
        ],
    )


def changes_to_proto(changes: list[GrantChanged] | None) -> access_service_pb2.WatchGrantsResponse:
    """Changes, or a heartbeat without any; None says that anything may have changed."""
    if changes is None:
        return access_service_pb2.WatchGrantsResponse(reset=True)
    return access_service_pb2.WatchGrantsResponse(
        changes=[
            access_pb2.GrantChange(
                workspace=WORKSPACE.format(workspace=change.workspace_id),
                user=USER.format(user=change.user_id) if change.user_id else "",
            )
            for change in changes
        ]
    )


def audit_event_to_proto(event: AuditEvent) -> audit_event_pb2.AuditEvent:
    """An audit event."""
    message = audit_event_pb2.AuditEvent(
        name=event.name,
        time=_timestamp(event.time),
        actor_type=_ACTOR_TYPES.get(event.actor_type, audit_event_pb2.AuditEvent.ACTOR_TYPE_SYSTEM),
        actor=event.actor,
        user=USER.format(user=event.user_id) if event.user_id else "",
        action=event.action,
        resource=event.resource,
        request_id=event.request_id,
        trace_id=event.trace_id,
        source=event.source,
        user_agent=event.user_agent,
    )
    message.detail.update(dict(event.detail))
    return message


def audit_events_to_lines(events: list[AuditEvent]) -> HttpBody:
    """Audit events as JSON lines."""
    lines = (json_format.MessageToJson(audit_event_to_proto(event), indent=None) + "\n" for event in events)
    return HttpBody(content_type="application/x-ndjson", data="".join(lines).encode())


def audit_filter_from_proto(
    request: audit_service_pb2.ListAuditEventsRequest | audit_service_pb2.ExportAuditEventsRequest,
) -> AuditFilter:
    """Which events the request is about. Raises FieldsInvalid for a moment that is none."""
    return AuditFilter(
        actor=request.actor,
        action=request.action,
        resource=request.resource,
        start_time=optional_time(request, "start_time"),
        end_time=optional_time(request, "end_time"),
    )


def optional_time(message: Message, field: str, *, inside: str = "") -> datetime | None:
    """The moment in a field, aware, in UTC; None where it is not set. Raises FieldsInvalid.

    `inside` is the path of `message` in the request, e.g. `invite.`, for the field to be blamed by its own.
    """
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    try:
        return value.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise FieldsInvalid(FieldViolation(inside + field, "is not a valid moment")) from None


def masked_text(message: Message, mask: FieldMask, field: str) -> str | None:
    """The text of a field that the mask says to change, else None. Without a mask: of a field that is set (AIP-134)."""
    value: str = getattr(message, field)
    return value if _changes(mask, field, populated=bool(value)) else None


def role_patch_from_proto(role: role_pb2.Role, mask: FieldMask) -> RolePatch:
    """What to change of a role."""
    permissions = frozenset(role.permissions)
    return RolePatch(
        display_name=masked_text(role, mask, "display_name"),
        description=masked_text(role, mask, "description"),
        permissions=permissions if _changes(mask, "permissions", populated=bool(permissions)) else None,
    )


def _changes(mask: FieldMask, field: str, *, populated: bool) -> bool:
    if not mask.paths:
        return populated
    return field in mask.paths or "*" in mask.paths


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp
