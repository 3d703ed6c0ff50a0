"""What an error says of an ingestion: why it failed, in words for people, and whether to try again."""

from datetime import timedelta
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

from services.documents.blobs.port import BlobCorrupt, BlobMissing
from services.documents.model.ingestions import Failure, IngestionReason, IngestionState
from services.documents.parsing.failures import ParseFailed
from services.kernel.errors import Aborted, DeadlineExceeded, ResourceExhausted, Unavailable

_Code = grpc.StatusCode
_AWAY = (_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED, _Code.RESOURCE_EXHAUSTED, _Code.ABORTED, _Code.CANCELLED)
TIMED_OUT = Failure(IngestionReason.TIMEOUT, "The document was not processed in the time that there is for one.")
_DAMAGED = Failure(IngestionReason.CORRUPT, "What was stored of the file is damaged or lost.", retryable=False)
_DEPENDENCY = Failure(
    IngestionReason.DEPENDENCY_UNAVAILABLE,
    "A part that documents are processed with could not be reached.",
    outage=True,
)
_TOO_MUCH = Failure(
    IngestionReason.TIMEOUT, "Search did not take the document in within the time that there is for one."
)
_INTERNAL = Failure(IngestionReason.INTERNAL, "A fault of Plinth kept the document from being processed.")


class TooMuch(Exception):
    """Search is there, and yet it did not take in this document: not `in_time`, or it was ended by it."""

    def __init__(self, *, in_time: bool) -> None:
        super().__init__()
        self.in_time = in_time


def failure_of(error: Exception) -> Failure:
    """Why an attempt failed that raised this."""
    match error:
        case ParseFailed():
            return Failure(IngestionReason[error.reason.name], error.message, error.retryable)
        case BlobCorrupt() | BlobMissing():
            return _DAMAGED
        case TooMuch():
            return _INTERNAL if error.in_time else _TOO_MUCH
        case Unavailable() | ResourceExhausted() | Aborted() | DeadlineExceeded():
            return _DEPENDENCY
        case grpc.RpcError():
            return _of_call(error)
    return _INTERNAL


def may_be_too_much(error: grpc.RpcError) -> bool:
    """Whether a call may have failed through what it brought: it took too long, or broke off without an answer.

    A part that lives and says what it lacks is none of that.
    """
    code, info, _ = _answer(error)
    return code is _Code.DEADLINE_EXCEEDED or (code is _Code.UNAVAILABLE and not info.reason)


def is_answer(error: grpc.RpcError) -> bool:
    """Whether the other side was there for the call, and refused what was asked."""
    return _answer(error)[0] not in _AWAY


def _of_call(error: grpc.RpcError) -> Failure:
    """What search answered."""
    code, info, retry_after = _answer(error)
    match info.reason:
        case "EMBEDDER_UNAVAILABLE":
            return Failure(
                IngestionReason.PROVIDER_UNAVAILABLE,
                "The embedder's provider does not answer.",
                outage=True,
                retry_after=retry_after,
            )
        case "EMBEDDER_REFUSED" if info.metadata.get("scope") == "text":
            return Failure(IngestionReason.PROVIDER_REFUSED, _refusal(info), retryable=False)
        case "EMBEDDER_REFUSED" | "EMBEDDER_NOT_CONFIGURED":
            # Its key, its credit, the settings: whoever mends that has not to look for the files that met it.
            return Failure(IngestionReason.PROVIDER_REFUSED, _refusal(info), outage=True, retry_after=retry_after)
        case "CHUNKS_MISSING":
            return Failure(_INTERNAL.reason, _INTERNAL.message, back_to=IngestionState.PARSED)
    return _DEPENDENCY if code in _AWAY else _INTERNAL


def _answer(error: Any) -> tuple[grpc.StatusCode, ErrorInfo, timedelta]:
    """Of a grpc.RpcError, which is a grpc.Call too, as grpc-stubs cannot say: code, details, when to ask again."""
    info, retry = ErrorInfo(), RetryInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        if not detail.Unpack(info):
            detail.Unpack(retry)
    delay = timedelta(seconds=retry.retry_delay.seconds, microseconds=retry.retry_delay.nanos // 1_000)
    return error.code(), info, delay


def _refusal(info: ErrorInfo) -> str:
    problem = info.metadata.get("problem")
    return f"The embedder's provider refuses: {problem}" if problem else "The embedder is not configured."
