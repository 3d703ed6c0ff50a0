"""What people are told of an ingestion that failed, by what went wrong."""

from datetime import timedelta

import pytest
from grpc_status import rpc_status

from interceptors.errors import status_of
from interceptors.local import LocalRpcError
from services.documents.blobs.port import BlobCorrupt, BlobMissing
from services.documents.model.ingestions import IngestionReason, IngestionState
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.service.failures import failure_of
from services.kernel.errors import CallDeadlineExceeded, ConcurrentUpdate, DependencyUnavailable, Overloaded
from services.search.errors import (
    ChunksMissing,
    EmbedderNotConfigured,
    EmbedderRefused,
    EmbedderUnavailable,
    VersionOutdated,
)


def answered(error: Exception) -> LocalRpcError:
    """What a stub raises where the other side raises this."""
    status = rpc_status.to_status(status_of(error)[0])
    return LocalRpcError(status.code, status.details, status.trailing_metadata)


@pytest.mark.parametrize("reason", Reason)
def test_whatever_the_parser_says_is_told(reason: Reason) -> None:
    failed = ParseFailed(reason, "It is so.")
    failure = failure_of(failed)
    assert failure.reason.name == reason.name
    assert (failure.message, failure.retryable) == ("It is so.", failed.retryable)


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (BlobCorrupt("a key"), IngestionReason.CORRUPT, False),
        (BlobMissing("a key"), IngestionReason.CORRUPT, False),
        (DependencyUnavailable("blob store"), IngestionReason.DEPENDENCY_UNAVAILABLE, True),
        (Overloaded(), IngestionReason.DEPENDENCY_UNAVAILABLE, True),
        (ConcurrentUpdate(), IngestionReason.DEPENDENCY_UNAVAILABLE, True),
        (CallDeadlineExceeded(), IngestionReason.DEPENDENCY_UNAVAILABLE, True),
        (answered(DependencyUnavailable("database")), IngestionReason.DEPENDENCY_UNAVAILABLE, True),
        (answered(ConcurrentUpdate()), IngestionReason.DEPENDENCY_UNAVAILABLE, True),
        (answered(EmbedderNotConfigured("EMBEDDER_KIND_OPENAI")), IngestionReason.PROVIDER_REFUSED, False),
        (answered(VersionOutdated(1)), IngestionReason.INTERNAL, True),
        (ZeroDivisionError("of a secret"), IngestionReason.INTERNAL, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_says_whose_fault_it_is_and_nothing_of_its_inside(
    error: Exception, reason: IngestionReason, retryable: bool
) -> None:
    failure = failure_of(error)
    assert (failure.reason, failure.retryable) == (reason, retryable)
    assert failure.message.endswith(".")
    assert str(error) not in failure.message


def test_a_provider_that_is_away_is_asked_again_when_it_says() -> None:
    failure = failure_of(answered(EmbedderUnavailable("EMBEDDER_KIND_OPENAI", timedelta(seconds=7.5))))
    assert (failure.reason, failure.retry_after) == (IngestionReason.PROVIDER_UNAVAILABLE, timedelta(seconds=7.5))


def test_a_provider_that_refuses_is_quoted() -> None:
    failure = failure_of(answered(EmbedderRefused("the key is not valid.")))
    assert (failure.reason, failure.retryable) == (IngestionReason.PROVIDER_REFUSED, False)
    assert failure.message == "The embedder's provider refuses: the key is not valid."


def test_passages_that_got_lost_are_staged_again() -> None:
    failure = failure_of(answered(ChunksMissing(3)))
    assert (failure.retryable, failure.back_to) == (True, IngestionState.PARSED)
