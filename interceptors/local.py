"""A channel inside one process: services register as on a server, stubs call as on a channel.

A stub call runs on the caller's own thread, in a fresh context, through the same chain, on a copied request: no socket,
no second thread of the pool (so no call can wait for itself). Streams go over a socket, as they outlive the call.
"""

import contextvars
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from services.kernel.caller import current_caller
from services.kernel.deadline import seconds_left
from services.kernel.unit_of_work import forbid_open_unit

_NO_LIMIT = 3600.0
Intercept = Callable[[Callable[..., Any], Any, Any, str], Any]


class LocalRpcError(grpc.RpcError, grpc.Call):
    """What a local call was answered, in the form that a remote one has (`rpc_status.from_call` reads it)."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Sequence[Any]) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code, self._details, self._trailing = code, details, tuple(trailing)

    def code(self) -> grpc.StatusCode:
        """The status code."""
        return self._code

    def details(self) -> str:
        """The status message."""
        return self._details

    def initial_metadata(self) -> tuple[Any, ...]:
        """Nothing: a local answer has no headers."""
        return ()

    def trailing_metadata(self) -> tuple[Any, ...]:
        """With the google.rpc.Status in `grpc-status-details-bin`."""
        return self._trailing

    def is_active(self) -> bool:
        """It has ended."""
        return False

    def time_remaining(self) -> float:
        """It has ended."""
        return 0.0

    def cancel(self) -> None:
        """It has ended."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """It has ended, so the callback will not be called."""
        del callback
        return False


class LocalContext:
    """What handlers and the chain see of a call that came from inside the process."""

    def __init__(self, mesh_caller: str, deadline: float, metadata: Sequence[tuple[str, str]]) -> None:
        self.mesh_caller = mesh_caller
        self._deadline = deadline
        self._metadata = tuple(metadata)

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Pairs of key and value."""
        return self._metadata

    def peer(self) -> str:
        """There is no connection."""
        return "local:"

    def time_remaining(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def send_initial_metadata(self, metadata: object) -> None:
        """A local answer has no headers."""

    def set_trailing_metadata(self, metadata: object) -> None:
        """A local answer has no trailers but a status."""

    def abort_with_status(self, status: Any) -> None:  # grpc.Status, which grpc-stubs lacks
        """Raises LocalRpcError, which the caller gets."""
        raise LocalRpcError(status.code, status.details, status.trailing_metadata or ())


class LocalMesh:
    """The services of this process, by method. Registers like a `grpc.Server`."""

    def __init__(self) -> None:
        self._intercept: Intercept = _closed
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def route_through(self, intercept: Intercept) -> None:
        """Send every call through this chain, which itself may need stubs of this mesh."""
        self._intercept = intercept

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        """Called by the generated `add_…Servicer_to_server`."""
        for method, handler in method_handlers.items():
            self._handlers[f"/{service_name}/{method}"] = handler

    def add_generic_rpc_handlers(self, generic_rpc_handlers: "Iterable[grpc.GenericRpcHandler[Any, Any]]") -> None:
        """Called by the generated code as well; the registered handlers say the same."""

    def channel(self, service: str) -> "LocalChannel":
        """A channel for the stubs of one service of this process, e.g. `tenancy`: calls through it are its calls."""
        return LocalChannel(self, service)

    def call(self, path: str, request: Message, service: str, timeout: float | None) -> Any:
        """Run the method here and now; its response. Raises LocalRpcError, or CallDeadlineExceeded before it begins."""
        forbid_open_unit()
        handler = self._handlers.get(path)
        if handler is None or handler.unary_unary is None:
            raise LocalRpcError(grpc.StatusCode.UNIMPLEMENTED, f"{path} is not served in this process", ())
        copied = type(request)()
        copied.CopyFrom(request)
        deadline = time.monotonic() + seconds_left(_NO_LIMIT if timeout is None else timeout)
        context = LocalContext(service, deadline, outgoing_metadata())
        return contextvars.Context().run(self._intercept, handler.unary_unary, copied, context, path)


class LocalChannel(grpc.Channel):
    """Called by generated stubs like any channel."""

    def __init__(self, mesh: LocalMesh, service: str) -> None:
        self._mesh = mesh
        self._service = service

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Any:
        """The callable that a stub keeps for one method. Credentials, compression and the like mean nothing here."""

        def call(request: Message, timeout: float | None = None, **_: Any) -> Any:
            return self._mesh.call(method, request, self._service, timeout)

        return call

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Streams go over a socket."""
        return _refuse_stream(method)

    def stream_unary(self, method: str, *_: Any, **__: Any) -> Any:
        """Streams go over a socket."""
        return _refuse_stream(method)

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Streams go over a socket."""
        return _refuse_stream(method)

    def subscribe(
        self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool | None = None
    ) -> None:
        """It is always ready."""
        callback(grpc.ChannelConnectivity.READY)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Nothing was kept."""

    def close(self) -> None:
        """There is nothing to close."""


def _closed(*_: Any) -> Any:
    raise RuntimeError("no call can be made before the chain is there")


def _refuse_stream(method: str) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise LocalRpcError(grpc.StatusCode.UNIMPLEMENTED, f"{method} is a stream: open it over a socket", ())

    return call


def outgoing_metadata() -> list[tuple[str, str]]:
    """What every stub call carries on: the trace and the request id of the call that it serves."""
    try:
        caller = current_caller()
    except LookupError:
        return []
    pairs = (("traceparent", caller.traceparent), ("x-request-id", caller.request_id))
    return [(key, value) for key, value in pairs if value]
