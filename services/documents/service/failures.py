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

_AWAY = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
)
TIMED_OUT = Failure(IngestionReason.TIMEOUT, "The document was not processed in the time that there is for one.")
_DAMAGED = Failure(IngestionReason.CORRUPT, "What was stored of the file is damaged or lost.", retryable=False)
_DEPENDENCY = Failure(
    IngestionReason.DEPENDENCY_UNAVAILABLE,
    "A part that documents are processed with could not be reached.",
    outage=True,
)
_INTERNAL = Failure(IngestionReason.INTERNAL, "A fault of Plinth kept the document from being processed.")


def failure_of(error: Exception) -> Failure:
    """Why an attempt failed that raised this."""
    match error:
        case ParseFailed():
            return Failure(IngestionReason[error.reason.name], error.message, error.retryable)
        case BlobCorrupt() | BlobMissing():
            return _DAMAGED
        case Unavailable() | ResourceExhausted() | Aborted() | DeadlineExceeded():
            return _DEPENDENCY
        case grpc.RpcError():
            return _of_call(error)
    return _INTERNAL


def _of_call(error: Any) -> Failure:  # a grpc.RpcError that is a grpc.Call too, which grpc-stubs cannot say
    """What search answered."""
    info, retry = ErrorInfo(), RetryInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        if not detail.Unpack(info):
            detail.Unpack(retry)
    match info.reason:
        case "EMBEDDER_UNAVAILABLE":
            delay = timedelta(seconds=retry.retry_delay.seconds, microseconds=retry.retry_delay.nanos // 1_000)
            return Failure(
                IngestionReason.PROVIDER_UNAVAILABLE,
                "The embedder's provider does not answer.",
                outage=True,
                retry_after=delay,
            )
        case "EMBEDDER_REFUSED" | "EMBEDDER_NOT_CONFIGURED":
            return Failure(IngestionReason.PROVIDER_REFUSED, _refusal(info), retryable=False)
        case "CHUNKS_MISSING":
            return Failure(_INTERNAL.reason, _INTERNAL.message, back_to=IngestionState.PARSED)
    if error.code() in _AWAY:
        return _DEPENDENCY
    return _INTERNAL


def _refusal(info: ErrorInfo) -> str:
    problem = info.metadata.get("problem")
    return f"The embedder's provider refuses: {problem}" if problem else "The embedder is not configured."
