"""What people are told of an ingestion that failed, by what went wrong."""

from datetime import timedelta

import grpc
import pytest
from grpc_status import rpc_status

from interceptors.errors import status_of
from interceptors.local import LocalRpcError
from services.documents.blobs.port import BlobCorrupt, BlobMissing
from services.documents.model.ingestions import IngestionReason, IngestionState
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.service.failures import TooMuch, failure_of, is_answer, may_be_too_much
from services.kernel.errors import CallDeadlineExceeded, ConcurrentUpdate, DependencyUnavailable, Overloaded
from services.search.errors import (
    ChunksMissing,
    EmbedderNotConfigured,
    EmbedderRefused,
    EmbedderUnavailable,
    VersionOutdated,
)

CODE = grpc.StatusCode


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
        (answered(EmbedderNotConfigured("EMBEDDER_KIND_OPENAI")), IngestionReason.PROVIDER_REFUSED, True),
        (answered(CallDeadlineExceeded()), IngestionReason.DEPENDENCY_UNAVAILABLE, True),
        (TooMuch(in_time=False), IngestionReason.TIMEOUT, True),
        (TooMuch(in_time=True), IngestionReason.INTERNAL, True),
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
    assert not str(error) or str(error) not in failure.message


def test_a_provider_that_is_away_is_asked_again_when_it_says() -> None:
    failure = failure_of(answered(EmbedderUnavailable("EMBEDDER_KIND_OPENAI", timedelta(seconds=7.5))))
    assert (failure.reason, failure.retry_after) == (IngestionReason.PROVIDER_UNAVAILABLE, timedelta(seconds=7.5))


@pytest.mark.parametrize(("scope", "outage"), [("provider", True), ("text", False)])
def test_a_provider_that_refuses_is_quoted_and_waited_for_unless_it_is_for_the_text(scope: str, outage: bool) -> None:
    error = EmbedderRefused("the key is not valid.", of_text=scope == "text")
    assert error.metadata["scope"] == scope
    failure = failure_of(answered(error))
    assert failure.reason is IngestionReason.PROVIDER_REFUSED
    assert (failure.outage, failure.retryable) == (outage, outage)
    assert failure.message == "The embedder's provider refuses: the key is not valid."


@pytest.mark.parametrize(
    ("error", "too_much", "answer"),
    [
        (answered(CallDeadlineExceeded()), True, False),
        (LocalRpcError(CODE.UNAVAILABLE, "Socket closed", ()), True, False),
        (answered(DependencyUnavailable("database")), False, False),
        (answered(ConcurrentUpdate()), False, False),
        (answered(VersionOutdated(1)), False, True),
    ],
    ids=lambda value: str(value) if isinstance(value, Exception) else "",
)
def test_what_may_be_the_fault_of_what_a_call_brought_is_told_from_what_is_not(
    error: LocalRpcError, too_much: bool, answer: bool
) -> None:
    assert (may_be_too_much(error), is_answer(error)) == (too_much, answer)


def test_passages_that_got_lost_are_staged_again() -> None:
    failure = failure_of(answered(ChunksMissing(3)))
    assert (failure.retryable, failure.back_to) == (True, IngestionState.PARSED)
