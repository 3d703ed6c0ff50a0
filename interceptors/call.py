"""One call on its way through the chain."""

import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import grpc
from google.protobuf.message import Message

from interceptors.policy import MethodPolicy
from interceptors.ports import ApiKeyState
from services.kernel.caller import Caller, Grant
from services.kernel.names import API_KEY, USER

# The names of google.rpc.Code's numbers.
CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}

# Time to send an answer.
_ANSWER_SECONDS = 0.02


class Context(Protocol):
    """What the chain uses of a gRPC servicer context: the sync, the aio and the local one have it in common."""

    def invocation_metadata(self) -> Any:
        """Pairs of key and value, or None."""

    def peer(self) -> str:
        """The address of the other end, as gRPC writes it."""

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline; None without one."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, as the auth stage found out; all empty for nobody in particular.

    `name` is stable, the one that the services see as `Caller.principal`, e.g. `users/…`.
    """

    user_id: UUID | None = None
    session_id: UUID | None = None
    api_key: ApiKeyState | None = None
    service: str | None = None
    operator: bool = False
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self._name())

    def _name(self) -> str:
        if self.service is not None:
            return f"services/{self.service}"
        if self.api_key is not None:
            return API_KEY.format(workspace=self.api_key.workspace_id, api_key=self.api_key.api_key_id)
        return USER.format(user=self.user_id) if self.user_id is not None else ""


NOBODY = Principal()


class Call:
    """A call and what the stages learn about it. Lives on one thread (or task) from arrival to end."""

    # What the stages find out; until then:
    request: Message | None = None
    entered = 0  # how many stages, so that just these are left
    answering = False  # a stream has begun to answer: its headers have gone
    local_caller: str | None = None  # the service of this very process that calls
    first_message: Callable[[], Any] | None = None  # waits for it, where the client streams
    stop_reading: Callable[[], None] | None = None  # says that no more of its messages are wanted
    principal = NOBODY
    by_cookie = False  # a cookie said who calls: the browser sends it, whichever page asks for it
    workspace_id: UUID | None = None
    workspace_name = ""
    grant: Grant | None = None
    request_id = ""
    trace_id = ""
    traceparent = ""
    error: BaseException | None = None
    code = 0
    reason = ""
    status: Any = None  # google.rpc.Status, whose module has no types

    def __init__(self, policy: MethodPolicy, context: Context) -> None:
        self.policy = policy
        self.context = context
        self.metadata: Mapping[str, str] = {
            key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        self.started = time.perf_counter()
        remaining, seconds = context.time_remaining(), policy.timeout
        if remaining is not None:
            # The work ends a little before the client gives up, so that it hears why.
            patience = remaining - min(_ANSWER_SECONDS, remaining / 10)
            seconds = patience if seconds is None else min(seconds, patience)
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.source = source_of(self.metadata, context)
        self.extras: dict[str, Any] = {}  # what a stage keeps between enter and leave, under its own name

    def caller(self) -> Caller:
        """As the services see it."""
        principal = self.principal
        return Caller(
            user_id=principal.user_id,
            session_id=principal.session_id,
            api_key_id=principal.api_key.api_key_id if principal.api_key else None,
            service=principal.service,
            workspace_id=self.workspace_id,
            grant=self.grant,
            operator=principal.operator,
            source=self.source,
            user_agent=self.metadata.get("x-forwarded-user-agent") or self.metadata.get("user-agent", ""),
            request_id=self.request_id,
            trace_id=self.trace_id,
            traceparent=self.traceparent,
        )


def source_of(metadata: Mapping[str, str], context: Context) -> str:
    """The client's address: what the edge saw, else the other end of the connection.

    The edge sets `x-envoy-external-address` itself and drops what a client sends; servers are reached by it alone.
    """
    seen = metadata.get("x-envoy-external-address")
    if seen:
        return seen
    # Asked for only now: gRPC lets go of the interpreter's lock for it, twice.
    return _address_of(context.peer())


@lru_cache(maxsize=1000)
def _address_of(peer: str) -> str:
    kind, _, address = peer.partition(":")
    return urllib.parse.unquote(address.rpartition(":")[0]).strip("[]") if kind.startswith("ipv") else kind
