"""Calls any method of the contract as a client does, by nothing but its policy and descriptors."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message

from interceptors.policy import Access, MethodPolicy
from services.wiring import all_policies
from tests.support.errors import Refusal, refusal_of
from tests.support.waiting import PATIENCE_SECONDS

Metadata = tuple[tuple[str, str], ...]

POLICIES = all_policies()
METHODS = sorted(POLICIES.values(), key=lambda policy: policy.full_name)


def those(holds: Callable[[MethodPolicy], bool]) -> list[MethodPolicy]:
    """The methods of the contract for which it holds."""
    return [policy for policy in METHODS if holds(policy)]


def name_of(policy: object) -> str:
    """What a parametrized test calls a method: `tenancy.RoleService.CreateRole`."""
    assert isinstance(policy, MethodPolicy)
    return policy.full_name.removeprefix("plinth.").replace(".v1.", ".")


def in_workspace(policy: MethodPolicy) -> bool:
    """Whether the request names a workspace, which decides who may call."""
    return any(name.patterns[0].startswith("workspaces/*") for name in policy.names)


def open_to_all(policy: MethodPolicy) -> bool:
    """Whether anybody may call, signed in or not."""
    return policy.access is Access.PUBLIC


@dataclass
class Outcome:
    """What came back: the responses (one, of a unary method) and the refusal, whose code is OK where there is none."""

    refusal: Refusal
    responses: list[Message] = field(default_factory=list)

    @property
    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self.refusal.code

    @property
    def answered(self) -> bool:
        """Whether the call succeeded."""
        return self.code is grpc.StatusCode.OK

    @property
    def response(self) -> Any:
        """The answer of a unary method, or the first of a stream; Any, as its fields depend on the method."""
        assert self.answered, self.refusal
        return self.responses[0]


class Client:
    """Calls methods at the process that serves them: `Watch…` at the streams process, all else at the server."""

    def __init__(self, server: grpc.Channel, streams: Callable[[], grpc.Channel]) -> None:
        self._server = server
        self._streams = streams

    def call(self, policy: MethodPolicy, request: Message | bytes, credentials: Metadata = ()) -> Outcome:
        """One call. Of a `Watch…` the first answer is enough; other streams are read to their end.

        Each call comes from an address of its own, so that no throttle makes one test wait for another's failures.
        """
        metadata = (*credentials, ("x-envoy-external-address", f"2001:db8:{secrets.token_hex(2)}::1"))
        watching = policy.method.startswith("Watch")
        channel = self._streams() if watching else self._server
        kind = ("stream" if policy.request_streaming else "unary", "stream" if policy.response_streaming else "unary")
        method = getattr(channel, "_".join(kind))(policy.path, _to_bytes, policy.response_class.FromString)
        sent = iter([request]) if policy.request_streaming else request
        try:
            answer = method(sent, timeout=PATIENCE_SECONDS, metadata=metadata)
            if not policy.response_streaming:
                return Outcome(Refusal(), [answer])
            return Outcome(Refusal(), _first_of(answer) if watching else list(answer))
        except grpc.RpcError as error:
            return Outcome(refusal_of(error))


def bearer(token: str) -> Metadata:
    """The metadata that carries a token or an API key."""
    return (("authorization", f"Bearer {token}"),)


def _to_bytes(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def _first_of(stream: Any) -> list[Message]:  # a grpc.Call that is an iterator too
    answers: Iterable[Message] = stream
    first = next(iter(answers))
    stream.cancel()
    return [first]
