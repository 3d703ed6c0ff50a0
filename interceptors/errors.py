"""Stage `errors`: the only place that turns what was raised into a google.rpc.Status."""

import asyncio
import concurrent.futures
from typing import Any

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from interceptors.call import Call
from interceptors.stages import Stage
from plinth.errors.v1 import error_reason_pb2
from services.kernel.errors import Code, DependencyUnavailable, PlinthError
from services.kernel.ids import new_id
from services.kernel.telemetry import describe

DOMAIN = "plinth"
# Metadata of a response is limited to 16 KiB (grpc#37852), and proxies allow less.
_MAX_STATUS_BYTES = 4096
_INTERNAL_MESSAGE = "Something went wrong on our side."
# What another service of the mesh answers of these is about the caller's request, so the caller may read it.
_PASSED_ON = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.FAILED_PRECONDITION,
        Code.ABORTED,
        Code.RESOURCE_EXHAUSTED,
        Code.DEADLINE_EXCEEDED,
    }
)
_REASONS = frozenset(name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys())  # noqa: SIM118
_log = structlog.get_logger("plinth.errors")


class Errors(Stage):
    """Gives the call its code and status; what it does not know is INTERNAL, with an id that finds it in the log."""

    def leave(self, call: Call) -> None:
        """Translate `call.error`, if there is one."""
        if call.error is None:
            return
        if _is_cancellation(call.error):
            call.code = int(Code.CANCELLED)
            call.status = status_pb2.Status(code=call.code, message="The call was cancelled.")
            return
        call.status, reason = status_of(call.error)
        if reason == "INTERNAL":
            error_id = str(new_id())
            call.status = _status(Code.INTERNAL, _INTERNAL_MESSAGE, "INTERNAL", {"error_id": error_id})
            _log.error(
                "rpc.failed",
                error_id=error_id,
                method=call.policy.full_name,
                request_id=call.request_id,
                trace_id=call.trace_id,
                error=describe(call.error),
                cause=_cause(call.error),
            )
        call.code = call.status.code
        call.reason = reason


def status_of(error: BaseException) -> tuple[status_pb2.Status, str]:
    """The status that a client gets for this error, and its reason."""
    if isinstance(error, PlinthError) and error.reason in _REASONS:
        return _status_of_plinth(error), error.reason
    if isinstance(error, grpc.RpcError):
        return _status_of_call(error)
    # A reason outside the contract is a fault of ours, too.
    return _status(Code.INTERNAL, _INTERNAL_MESSAGE, "INTERNAL", {}), "INTERNAL"


def _is_cancellation(error: BaseException) -> bool:
    """Whether the call ended because its client has gone, or a handler gave it up (grpc#29248)."""
    if isinstance(error, GeneratorExit | asyncio.CancelledError | concurrent.futures.CancelledError):
        return True
    # What gRPC itself raises in the handler of a cancelled call says nothing, not even a code.
    return isinstance(error, grpc.RpcError) and not hasattr(error, "code")


def _status_of_plinth(error: PlinthError) -> status_pb2.Status:
    details: list[Message] = []
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
                    for v in error.violations
                ]
            )
        )
    if error.retry_after is not None:
        delay = Duration()
        delay.FromTimedelta(error.retry_after)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.code is Code.FAILED_PRECONDITION:
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(
            type=error.reason, subject=next(iter(error.metadata.values()), ""), description=error.message
        )
        details.append(failure)
    if error.code is Code.RESOURCE_EXHAUSTED:
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=next(iter(error.metadata.values()), ""), description=error.message)
        details.append(quota)
    return _status(error.code, error.message, error.reason, error.metadata, *details)


def _status_of_call(error: Any) -> tuple[status_pb2.Status, str]:
    """What a stub call of ours was answered: passed on where it is about the request, else a missing dependency.

    What a stub raises is a `grpc.RpcError` that is a `grpc.Call` too, which grpc-stubs cannot say.
    """
    status = rpc_status.from_call(error)
    if status is not None and status.code in _PASSED_ON:
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == DOMAIN:
                return status, info.reason
    code = error.code()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED):
        unavailable = DependencyUnavailable("service")
        return _status_of_plinth(unavailable), unavailable.reason
    return _status(Code.INTERNAL, _INTERNAL_MESSAGE, "INTERNAL", {}), "INTERNAL"


def _status(code: Code, message: str, reason: str, metadata: dict[str, str], *details: Message) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)
    status = status_pb2.Status(code=int(code), message=message)
    for detail in (info, *details):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    while len(status.details) > 1 and status.ByteSize() > _MAX_STATUS_BYTES:
        del status.details[-1]
    return status


def retry_after_seconds(status: status_pb2.Status) -> int | None:
    """Whole seconds for a Retry-After header (RFC 9110 §10.2.3), at least 1; None where the status has no RetryInfo."""
    for detail in status.details:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return max(1, -(-int(info.retry_delay.ToMilliseconds()) // 1000))
    return None


def _cause(error: BaseException) -> object:
    return describe(error.__cause__) if error.__cause__ is not None else None
