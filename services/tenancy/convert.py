"""Between the tenancy model and its protobuf messages."""

from uuid import UUID

from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

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
from services.kernel.etags import etag_of
from services.kernel.feed import GrantChanged
from services.kernel.names import USER, WORKSPACE
from services.kernel.wire import in_mask, masked_text, optional_time, timestamp
from services.tenancy.model.access import Step, StepKind
from services.tenancy.model.audit import AuditEvent, AuditFilter
from services.tenancy.model.invites import Invite, InviteState
from services.tenancy.model.names import INVITE, MEMBER, ROLE
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


def workspace_in(name: str, *, field: str = "name") -> UUID:
    """The workspace of that name. Raises NameInvalid, which blames `field`."""
    (workspace_id,) = WORKSPACE.ids(name, field=field)
    return workspace_id


def user_in(name: str) -> UUID:
    """The user of that name, in the field `user`. Raises NameInvalid."""
    (user_id,) = USER.ids(name, field="user")
    return user_id


def member_in(name: str) -> tuple[UUID, UUID]:
    """The workspace and the user of a member's name. Raises NameInvalid."""
    workspace_id, user_id = MEMBER.ids(name)
    return workspace_id, user_id


def invite_in(name: str) -> tuple[UUID, UUID]:
    """The workspace and the id of an invite's name. Raises NameInvalid."""
    workspace_id, invite_id = INVITE.ids(name)
    return workspace_id, invite_id


def role_in(name: str) -> tuple[UUID, str]:
    """The workspace and the id of a role's name. Raises NameInvalid."""
    parts = ROLE.parse(name)
    return UUID(parts["workspace"]), parts["role"]


def workspace_to_proto(workspace: Workspace) -> workspace_pb2.Workspace:
    """A workspace."""
    return workspace_pb2.Workspace(
        name=workspace.name,
        display_name=workspace.display_name,
        etag=etag_of(workspace.version),
        create_time=timestamp(workspace.create_time),
        update_time=timestamp(workspace.update_time),
        delete_time=timestamp(workspace.delete_time),
        purge_time=timestamp(workspace.purge_time),
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
        create_time=timestamp(member.create_time),
        update_time=timestamp(member.update_time),
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
        create_time=timestamp(role.create_time),
        update_time=timestamp(role.update_time),
    )


def invite_to_proto(invite: Invite) -> invite_pb2.Invite:
    """An invite, as of the moment that it was answered for."""
    return invite_pb2.Invite(
        name=invite.name,
        email=invite.email,
        role=invite.role_name,
        state=_STATES[invite.state],
        inviter=invite.inviter_name,
        expire_time=timestamp(invite.expire_time),
        create_time=timestamp(invite.create_time),
        update_time=timestamp(invite.update_time),
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
        time=timestamp(event.time),
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


def role_patch_from_proto(role: role_pb2.Role, mask: FieldMask) -> RolePatch:
    """What to change of a role."""
    permissions = frozenset(role.permissions)
    return RolePatch(
        display_name=masked_text(role, mask, "display_name"),
        description=masked_text(role, mask, "description"),
        permissions=permissions if in_mask(mask, "permissions", populated=bool(permissions)) else None,
    )
