"""Calls to services of other processes: who calls, under which trace, until when; never from an open unit of work."""

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc

from interceptors.local import outgoing_metadata
from interceptors.service_token import ServiceTokens
from services.kernel.deadline import seconds_left
from services.kernel.unit_of_work import forbid_open_unit

_DEFAULT_SECONDS = 15.0
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: list[tuple[str, str]]
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class Outgoing(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    """Signs each call with the token of the calling service."""

    def __init__(self, tokens: ServiceTokens, service: str) -> None:
        self._tokens = tokens
        self._service = service

    def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """A call with an answer: bounded by the deadline of the call that it serves."""
        forbid_open_unit()
        timeout = seconds_left(_DEFAULT_SECONDS if details.timeout is None else details.timeout)
        return continuation(self._signed(details, timeout), request)

    def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        """A stream of answers, which may go on for ever."""
        forbid_open_unit()
        return continuation(self._signed(details, details.timeout), request)

    def _signed(self, details: Any, timeout: float | None) -> _Details:
        metadata = [
            *(details.metadata or ()),
            *outgoing_metadata(),
            ("authorization", f"Bearer {self._tokens.issue(self._service)}"),
        ]
        return _Details(
            details.method,
            timeout,
            metadata,
            details.credentials,
            getattr(details, "wait_for_ready", None),
            getattr(details, "compression", None),
        )


def open_channel(address: str, tokens: ServiceTokens, service: str, *, max_bytes: int) -> grpc.Channel:
    """A channel to another process, for the stubs of `service`; keep it: channels are meant to be few and to last.

    An answer of more than `max_bytes` is refused.
    """
    options = (*_OPTIONS, ("grpc.max_receive_message_length", max_bytes))
    return grpc.intercept_channel(grpc.insecure_channel(address, options=options), Outgoing(tokens, service))
