"""What identity does about the events of others: API keys end with the membership or the workspace they hang on."""

from plinth.tenancy.v1 import events_pb2
from services.identity.repository import IdentityRepositories
from services.identity.service import IdentityServices
from services.kernel.events import Event
from services.kernel.names import WORKSPACE, ResourceName
from services.kernel.outbox import event_type
from services.kernel.subscriptions import Subscription
from services.kernel.unit_of_work import UnitOfWork

# Members are tenancy's; a member's id is the user's.
_MEMBER = ResourceName("workspaces/{workspace}/members/{member}")

_MEMBERSHIP_ENDED = frozenset(
    {event_type(events_pb2.MemberRemoved.DESCRIPTOR), event_type(events_pb2.MemberLeft.DESCRIPTOR)}
)
_WORKSPACE_PURGED = frozenset({event_type(events_pb2.WorkspacePurged.DESCRIPTOR)})


def subscriptions(services: IdentityServices) -> list[Subscription[IdentityRepositories]]:
    """What is done about which events."""

    def end_membership(uow: UnitOfWork[IdentityRepositories], event: Event) -> None:
        workspace_id, user_id = _MEMBER.ids(event.subject)
        services.api_keys.end_membership(uow, workspace_id, user_id, event.time)

    def forget(uow: UnitOfWork[IdentityRepositories], event: Event) -> None:
        [workspace_id] = WORKSPACE.ids(event.subject)
        services.api_keys.forget_workspace(uow, workspace_id)

    return [
        Subscription("identity.memberships", _MEMBERSHIP_ENDED, end_membership, services.units),
        Subscription("identity.workspaces", _WORKSPACE_PURGED, forget, services.units),
    ]
