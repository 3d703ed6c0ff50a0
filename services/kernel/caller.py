"""Who is calling, as the chain established it: set for the length of a call, and reset by token."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from uuid import UUID

from services.kernel.errors import SessionRequired
from services.kernel.names import API_KEY, USER


@dataclass(frozen=True, slots=True)
class Grant:
    """What one user may do in one workspace: the name of the role, and the permissions it holds now."""

    workspace_id: UUID
    user_id: UUID
    role: str
    permissions: frozenset[str]

    @property
    def owner(self) -> bool:
        """Whether its role holds `workspace.own`, which no other can; of an API key, the role is its creator's."""
        return self.role == "owner"


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal of a call and where it acts. Frozen: nothing below the chain can change who is calling.

    A person has `user_id` and `session_id`; an API key `user_id` (its creator) and `api_key_id`; a service of the mesh
    `service`. `grant` is set when the request names a workspace. `source` is the client's address.
    """

    user_id: UUID | None = None
    session_id: UUID | None = None
    api_key_id: UUID | None = None
    service: str | None = None
    workspace_id: UUID | None = None
    grant: Grant | None = None
    operator: bool = False
    source: str = ""
    user_agent: str = ""
    request_id: str = ""
    trace_id: str = ""
    traceparent: str = ""

    @property
    def principal(self) -> str:
        """A stable name of who calls, e.g. `users/…`; empty for an anonymous call."""
        if self.service is not None:
            return f"services/{self.service}"
        if self.api_key_id is not None and self.workspace_id is not None:
            return API_KEY.format(workspace=self.workspace_id, api_key=self.api_key_id)
        return USER.format(user=self.user_id) if self.user_id is not None else ""

    def require_user(self) -> UUID:
        """The calling user; a policy that demands one has been checked before."""
        if self.user_id is None:
            raise LookupError("this call has no user")
        return self.user_id

    def require_session(self) -> UUID:
        """The session that the call came with. Raises SessionRequired for an API key."""
        if self.session_id is None:
            raise SessionRequired
        return self.session_id

    def require_workspace(self) -> UUID:
        """The workspace that the request names; its method's policy guarantees one."""
        if self.workspace_id is None:
            raise LookupError("this call names no workspace")
        return self.workspace_id

    def require_grant(self) -> Grant:
        """The grant in the workspace that the request names."""
        if self.grant is None:
            raise LookupError("this call has no grant")
        return self.grant


_caller: ContextVar[Caller] = ContextVar("plinth_caller")


def current_caller() -> Caller:
    """The caller of the call under way. Raises LookupError outside of one."""
    return _caller.get()


def set_caller(caller: Caller) -> Token[Caller]:
    """Begin to act for `caller`; the token must go to `reset_caller` on the same context."""
    return _caller.set(caller)


def reset_caller(token: Token[Caller]) -> None:
    """Stop acting for the caller that `set_caller` began."""
    _caller.reset(token)


@contextmanager
def acting_itself(domain: str) -> Iterator[None]:
    """What is emitted inside the domain did of its own accord, in the trace of the call under way if any."""
    try:
        caller = replace(current_caller(), user_id=None, session_id=None, api_key_id=None, service=domain)
    except LookupError:
        caller = Caller(service=domain)
    token = set_caller(caller)
    try:
        yield
    finally:
        reset_caller(token)
