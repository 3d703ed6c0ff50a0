"""What a client reads of a failure, and what it never reads."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc import StatusCode
from grpc_status import rpc_status

from interceptors.errors import DOMAIN, retry_after_seconds, status_of
from interceptors.local import LocalRpcError
from plinth.errors.v1 import error_reason_pb2
from services.kernel import errors
from services.kernel.errors import Code, FieldsInvalid, FieldViolation, Overloaded, PlinthError
from tests.support.errors import refusal_of, refused
from tests.support.rigs import TIMEOUT, AioRig, Rig, SyncRig
from tests.support.scratch import pb
from tests.support.waiting import until
from tests.support.world import note_of

SECRET = "hunter2 in a message"


class NoteArchived(errors.FailedPrecondition):
    reason = "LAST_OWNER"

    def __init__(self) -> None:
        super().__init__("The note is archived.", note="notes/1")


class Unlisted(errors.FailedPrecondition):
    reason = "NO_SUCH_REASON"

    def __init__(self) -> None:
        super().__init__(SECRET)


def _raise(rig: Rig, error: BaseException) -> None:
    """Let every handler of the rig raise this."""

    def fail(*_: Any) -> Any:
        raise error

    async def fail_async(*_: Any) -> Any:
        raise error

    async def fail_stream(*_: Any) -> Any:
        raise error
        yield

    rig.servicer.unary = fail_async if isinstance(rig, AioRig) else fail
    rig.servicer.stream = fail_stream if isinstance(rig, AioRig) else fail


class TestUnknown:
    @pytest.mark.parametrize("error", [ValueError(SECRET), KeyError(SECRET), RuntimeError(SECRET), Unlisted()])
    def test_is_internal_with_an_id_that_finds_it_in_the_log(self, either: Rig, error: Exception) -> None:
        _raise(either, error)
        with (
            structlog.testing.capture_logs() as logged,
            refused(StatusCode.INTERNAL, "INTERNAL") as refusal,
        ):
            either.stub.Ping(pb.Ask(), timeout=TIMEOUT)
        assert SECRET not in str(refusal)
        (line,) = [line for line in logged if line["event"] == "rpc.failed"]
        assert line["error_id"] == refusal.metadata["error_id"]
        assert line["error"]["type"].endswith(type(error).__name__)
        assert any("test_errors.py" in frame for frame in line["error"]["frames"])

    def test_is_so_in_a_stream_that_has_begun(self, rig: SyncRig) -> None:
        def fail_later(*_: Any) -> Iterator[Any]:
            yield pb.Answer(number=1)
            raise ValueError(SECRET)

        workspace, person = rig.world.member("notes.read")
        rig.servicer.stream = fail_later
        call = rig.stub.Count(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)
        assert next(call).number == 1
        with refused(StatusCode.INTERNAL, "INTERNAL") as refusal:
            next(call)
        assert SECRET not in str(refusal)

    def test_an_error_of_grpc_without_a_code_is_no_crash(self, either: Rig) -> None:
        _raise(either, grpc.RpcError(SECRET))
        with pytest.raises(grpc.RpcError) as raised:
            either.stub.Ping(pb.Ask(), timeout=TIMEOUT)
        assert raised.value.code() is StatusCode.CANCELLED
        assert SECRET not in str(raised.value)


class TestCancelled:
    @pytest.mark.parametrize("error", [asyncio.CancelledError(), concurrent.futures.CancelledError()])
    def test_a_handler_that_gives_up_leaves_no_client_hanging(self, either: Rig, error: BaseException) -> None:
        _raise(either, error)
        with pytest.raises(grpc.RpcError) as raised:
            either.stub.Ping(pb.Ask(), timeout=5)
        assert raised.value.code() is StatusCode.CANCELLED
        until(lambda: [line["code"] for line in either.log] == ["CANCELLED"], "the line of the call")

    def test_a_client_that_goes_leaves_a_stream_cancelled(self, rig: SyncRig) -> None:
        closed = threading.Event()

        def endless(*_: Any) -> Iterator[Any]:
            try:
                while True:
                    yield pb.Answer(text="x" * 1000)
            finally:
                closed.set()

        workspace, person = rig.world.member("notes.read")
        rig.servicer.stream = endless
        call = rig.stub.Count(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)
        next(call)
        call.cancel()
        assert closed.wait(10)
        until(lambda: [line["code"] for line in rig.log] == ["CANCELLED"], "the line of the stream")


class TestDetails:
    def test_carry_reason_domain_and_metadata(self, either: Rig) -> None:
        _raise(either, NoteArchived())
        with refused(StatusCode.FAILED_PRECONDITION, "LAST_OWNER") as refusal:
            either.stub.Ping(pb.Ask(), timeout=TIMEOUT)
        assert (refusal.message, refusal.metadata) == ("The note is archived.", {"note": "notes/1"})

    def test_a_refusal_that_may_be_retried_says_when_also_in_a_header(self, either: Rig) -> None:
        _raise(either, Overloaded(timedelta(milliseconds=1200)))
        with pytest.raises(grpc.RpcError) as raised:
            either.stub.Ping(pb.Ask(), timeout=TIMEOUT)
        error: Any = raised.value
        assert refusal_of(error).retry_seconds == 1.2
        assert ("retry-after", "2") in [(key, value) for key, value in error.initial_metadata()]

    def test_come_too_where_the_handler_had_sent_headers_before_it_failed(self, rig: SyncRig) -> None:
        def answer(request: Any, context: Any) -> Any:
            del request
            context.send_initial_metadata((("set-cookie", "a=1"),))
            raise errors.DependencyUnavailable("database")

        rig.servicer.unary = answer
        with refused(StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE") as refusal:
            rig.stub.Ping(pb.Ask(), timeout=TIMEOUT)
        assert refusal.retry_seconds == 1

    def test_each_kind_has_the_details_that_fit_it(self) -> None:
        def kinds(error: PlinthError) -> list[str]:
            status, _ = status_of(error)
            return [detail.TypeName().removeprefix("google.rpc.") for detail in status.details]

        assert kinds(NoteArchived()) == ["ErrorInfo", "PreconditionFailure"]
        assert kinds(FieldsInvalid(FieldViolation("a", "b"))) == ["ErrorInfo", "BadRequest"]
        assert kinds(Overloaded()) == ["ErrorInfo", "RetryInfo", "QuotaFailure"]
        assert kinds(errors.ResourceNotFound("x")) == ["ErrorInfo"]

    def test_never_outgrow_what_metadata_may_hold(self) -> None:
        status, _ = status_of(FieldsInvalid(*(FieldViolation(f"field{n}", "x" * 100) for n in range(100))))
        assert status.ByteSize() <= 4096
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (info.reason, info.domain) == ("FIELDS_INVALID", DOMAIN)

    @pytest.mark.parametrize(("delay", "header"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.2, 2), (61.0, 61)])
    def test_retry_after_is_in_whole_seconds_and_never_too_early(self, delay: float, header: int) -> None:
        status, _ = status_of(Overloaded(timedelta(seconds=delay)))
        assert retry_after_seconds(status) == header

    def test_every_reason_of_the_kernel_and_the_chain_is_in_the_contract(self) -> None:
        def concrete(kind: type[PlinthError]) -> Iterator[type[PlinthError]]:
            for derived in kind.__subclasses__():
                yield from concrete(derived)
                if "reason" in vars(derived) and derived.__module__.startswith(("services.", "interceptors.")):
                    yield derived

        reasons = {kind.reason for kind in concrete(PlinthError)}
        assert len(reasons) >= 15
        assert {f"ERROR_REASON_{reason}" for reason in reasons} <= set(error_reason_pb2.ErrorReason.keys())


class TestOfAnotherService:
    """What a stub call of ours was answered, on its way to our own caller."""

    @staticmethod
    def _answered(error: PlinthError) -> LocalRpcError:
        status: Any = rpc_status.to_status(status_of(error)[0])
        return LocalRpcError(status.code, status.details, status.trailing_metadata)

    def test_is_passed_on_where_it_is_about_the_request(self) -> None:
        status, reason = status_of(self._answered(errors.ResourceNotFound("users/1")))
        assert (status.code, reason) == (Code.NOT_FOUND, "NOT_FOUND")

    @pytest.mark.parametrize("error", [errors.DependencyUnavailable("database"), errors.CallDeadlineExceeded()])
    def test_is_a_missing_dependency_where_it_cannot_be_reached(self, error: PlinthError) -> None:
        bare = LocalRpcError(StatusCode[error.code.name], "connection refused to 10.0.0.7", ())
        status, reason = status_of(bare)
        assert (status.code, reason) == (Code.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
        assert "10.0.0.7" not in str(status)

    @pytest.mark.parametrize("code", [StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED, StatusCode.UNKNOWN])
    def test_is_a_fault_of_ours_where_it_was_about_us(self, code: StatusCode) -> None:
        status, reason = status_of(LocalRpcError(code, "service:tenancy may not", ()))
        assert (status.code, reason) == (Code.INTERNAL, "INTERNAL")
        assert "tenancy" not in str(status)
