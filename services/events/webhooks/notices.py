"""Tells by mail that an endpoint was disabled: a job, since an address is asked for where no transaction is open."""

from uuid import UUID

from plinth.identity.v1 import user_pb2, user_service_pb2, user_service_pb2_grpc
from plinth.tenancy.v1 import access_service_pb2, access_service_pb2_grpc
from services.events.model.endpoints import WebhookEndpoint
from services.events.model.health import DisableReason
from services.events.repository import EventsRepositories
from services.kernel.jobs import Attempt, PermanentError
from services.kernel.mail import Mail
from services.kernel.names import USER, WORKSPACE
from services.kernel.unit_of_work import Units

_MANAGE = "webhooks.manage"
_WHY = {
    DisableReason.GONE: "Its receiver answered 410 Gone, which means that it wants no more events.",
    DisableReason.FAILING: "Every delivery to it has failed for five days.",
}


class Notices:
    """Writes to who made the endpoint, if they may still manage it."""

    def __init__(
        self,
        units: Units[EventsRepositories],
        users: user_service_pb2_grpc.UserServiceStub,
        access: access_service_pb2_grpc.AccessServiceStub,
    ) -> None:
        self._units = units
        self._users = users
        self._access = access

    def notify(self, attempt: Attempt) -> None:
        """Send the mail, unless the endpoint was enabled, or disabled by hand, in the meantime."""
        if attempt.workspace_id is None:
            raise PermanentError("An endpoint belongs to a workspace.")
        with self._units(attempt.workspace_id) as uow:
            endpoint = uow.repo.endpoints.get(attempt.workspace_id, UUID(bytes=attempt.payload))
        if endpoint is None or endpoint.health.disable_reason not in _WHY:
            return
        recipient = self._recipient(endpoint)
        if recipient is None:
            return
        attempt.check()
        with self._units(endpoint.workspace_id) as uow:
            uow.mail(_letter(endpoint, recipient))
            uow.commit()

    def _recipient(self, endpoint: WebhookEndpoint) -> user_pb2.User | None:
        """Who left the workspace, or may not manage its webhooks any more, is not told of them."""
        if endpoint.creator_id is None:
            return None
        creator = USER.format(user=endpoint.creator_id)
        asked = access_service_pb2.GetGrantRequest(
            workspace=WORKSPACE.format(workspace=endpoint.workspace_id), user=creator
        )
        if _MANAGE not in self._access.GetGrant(asked).grant.permissions:
            return None
        user = self._users.GetUser(user_service_pb2.GetUserRequest(name=creator)).user
        return user if user.email_verified else None


def _letter(endpoint: WebhookEndpoint, recipient: user_pb2.User) -> Mail:
    health = endpoint.health
    lines = [
        "Events are no longer sent to the webhook endpoint",
        "",
        f"    {endpoint.url}",
        f"    {endpoint.name}",
        "",
        _WHY[health.disable_reason] if health.disable_reason is not None else "",
    ]
    if health.probe_time is not None:
        lines.append("It is tried again twice a day for a month, and enabled if it answers.")
    lines += [
        "",
        "Once it works, enable it with EnableEndpoint.",
        f"RecoverEndpoint sends what it missed since {health.failing_since or health.disable_time:%Y-%m-%d %H:%M} UTC.",
    ]
    return Mail(recipient.email, "A webhook endpoint was disabled", "\n".join(lines) + "\n", "webhook_disabled")
