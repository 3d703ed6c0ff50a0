"""Stage `access`: may this caller do this here? What the contract demands against what the grant holds now."""

from dataclasses import replace
from uuid import UUID

from interceptors.auth import Auth, CredentialsMissing
from interceptors.cache import FeedCache
from interceptors.call import Call
from interceptors.policy import Access
from interceptors.ports import Grants
from interceptors.stages import Stage
from services.kernel.caller import Grant
from services.kernel.errors import LacksPermission, PermissionDenied, ResourceNotFound, SessionRequired
from services.kernel.feed import Feed, GrantChanged, Invalidation


class MethodDenied(PermissionDenied):
    """The method is not offered to this kind of caller."""

    reason = "METHOD_DENIED"

    def __init__(self) -> None:
        super().__init__("This method is not offered to this caller.")


class AccessControl(Stage):
    """Lets in whom the policy lets in. Before a refusal it reads again, so a right just given is not missed."""

    def __init__(self, grants: Grants, auth: Auth, feed: Feed) -> None:
        self._grants = grants
        self._auth = auth
        self._cache: FeedCache[tuple[UUID, UUID], Grant] = FeedCache(feed, _concerns)

    def enter(self, call: Call) -> None:
        """Raises CredentialsMissing, ResourceNotFound, LacksPermission, SessionRequired or MethodDenied."""
        match call.policy.access:
            case Access.PERMISSION:
                self._demand(call, call.policy.permission)
            case Access.AUTHENTICATED:
                self._authenticated(call)
            case Access.INTERNAL:
                self._internal(call)
            case Access.OPERATOR:
                self._operator(call)
            case Access.PUBLIC:
                pass

    def recheck(self, call: Call) -> None:
        """The same, for a stream that is still open."""
        self.enter(call)

    def _demand(self, call: Call, permission: str) -> None:
        user_id, workspace_id = self._member(call)
        grant = self._cache.known((workspace_id, user_id))
        if grant is None or permission not in grant.permissions:
            grant = self._cache.refresh((workspace_id, user_id), lambda: self._grants.find(workspace_id, user_id))
        call.grant = _effective(call, grant)
        if permission not in call.grant.permissions:
            raise LacksPermission(permission)

    def _authenticated(self, call: Call) -> None:
        if call.workspace_id is not None:
            user_id, workspace_id = self._member(call)
            grant = self._cache.get((workspace_id, user_id), lambda: self._grants.find(workspace_id, user_id))
            call.grant = _effective(call, grant)
        elif call.principal.api_key is not None:
            raise SessionRequired
        elif call.principal.user_id is None:
            raise MethodDenied

    def _internal(self, call: Call) -> None:
        callers = call.policy.callers
        if call.principal.service is None or not ("*" in callers or call.principal.service in callers):
            raise MethodDenied

    def _operator(self, call: Call) -> None:
        if not call.principal.operator:
            call.principal = self._auth.refreshed(call.principal)
        if not call.principal.operator:
            raise MethodDenied

    def _member(self, call: Call) -> tuple[UUID, UUID]:
        """Who, where; a key that belongs to another workspace is nobody here."""
        if call.principal.user_id is None:
            raise MethodDenied if call.principal.service is not None else CredentialsMissing
        if call.workspace_id is None:
            # The policy table admits no such method; a request without a name was refused before.
            raise MethodDenied
        key = call.principal.api_key
        if key is not None and key.workspace_id != call.workspace_id:
            raise ResourceNotFound(call.workspace_name)
        return call.principal.user_id, call.workspace_id


def _effective(call: Call, grant: Grant | None) -> Grant:
    """The grant, cut down to what the API key may do if one calls."""
    if grant is None:
        raise ResourceNotFound(call.workspace_name)
    key = call.principal.api_key
    return grant if key is None else replace(grant, permissions=grant.permissions & key.permissions)


def _concerns(invalidation: Invalidation, key: tuple[UUID, UUID], _: Grant) -> bool:
    match invalidation:
        case GrantChanged():
            return invalidation.workspace_id == key[0] and invalidation.user_id in (None, key[1])
        case _:
            return False
