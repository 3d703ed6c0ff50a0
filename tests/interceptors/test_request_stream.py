"""Client streams on threads: what is judged, how long one may take, and that only a true end is taken for one."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from interceptors import chain as chain_module
from interceptors import request_stream
from services.kernel.errors import CallDeadlineExceeded
from services.kernel.names import WORKSPACE
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import pb
from tests.support.waiting import until

UPLOAD = "/plinth.scratch.v1.ScratchService/Upload"


def asks(workspace: Any, *texts: str) -> Iterator[Any]:
    for text in texts:
        yield pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace), text=text)


class Half:
    """Sends some messages and then nothing, neither more nor an end, until it is let go."""

    def __init__(self, workspace: Any = None, *texts: str) -> None:
        self._asks = asks(workspace, *texts)
        self._go = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        yield from self._asks
        self._go.wait(TIMEOUT)

    def let_go(self) -> None:
        self._go.set()


def readers() -> int:
    """How many client streams are being read."""
    return sum(thread.name == "plinth-requests" for thread in threading.enumerate())


class TestJudgement:
    def test_is_about_the_first_message(self, rig: SyncRig) -> None:
        workspace, person = rig.world.member("notes.write")
        _, stranger = rig.world.member("notes.write")
        answer = rig.stub.Upload(asks(workspace, "a", "b", "c"), metadata=person.metadata, timeout=TIMEOUT)
        assert answer.text == "abc"
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            rig.stub.Upload(asks(workspace, "a"), metadata=stranger.metadata, timeout=TIMEOUT)
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"):
            rig.stub.Upload(asks(workspace, "x" * 11), metadata=person.metadata, timeout=TIMEOUT)

    @pytest.mark.parametrize("more", [("b",), ()], ids=["at a message", "at the end"])
    def test_is_repeated_while_the_stream_goes_on(
        self, rig: SyncRig, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
    ) -> None:
        monkeypatch.setattr(chain_module, "RECHECK_SECONDS", 0.0)
        workspace, person = rig.world.member("notes.write")

        def leave() -> Iterator[Any]:
            yield from asks(workspace, "a")
            until(lambda: rig.servicer.called, "the upload has begun")
            rig.world.remove(workspace, person)
            yield from asks(workspace, *more)

        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            rig.stub.Upload(leave(), metadata=person.metadata, timeout=TIMEOUT)

    def test_is_the_same_of_a_stream_both_ways(self, rig: SyncRig) -> None:
        workspace, person = rig.world.member("notes.write")
        answers = rig.stub.Converse(asks(workspace, "a", "b"), metadata=person.metadata, timeout=TIMEOUT)
        assert [answer.text for answer in answers] == ["a", "b"]

    def test_without_a_token_does_not_wait_for_a_message(self, rig: SyncRig) -> None:
        silent = Half()
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            rig.stub.Upload(iter(silent), timeout=TIMEOUT)
        silent.let_go()

    def test_without_any_message_is_an_invalid_argument(self, rig: SyncRig) -> None:
        _, person = rig.world.member("notes.write")
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"):
            rig.stub.Upload(iter(()), metadata=person.metadata, timeout=TIMEOUT)

    @pytest.mark.parametrize(
        "wrong", [b"\xff", b"\x12\x81\x80\x80\x02" + b"x" * (4 << 20)], ids=["no message", "too large"]
    )
    def test_of_later_bytes_that_are_no_message_or_too_many_is_an_invalid_argument(
        self, rig: SyncRig, wrong: bytes
    ) -> None:
        workspace, person = rig.world.member("notes.write")
        assert rig.channel is not None
        upload = rig.channel.stream_unary(UPLOAD, bytes, bytes)
        (first,) = asks(workspace, "a")
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"):
            upload(iter([first.SerializeToString(), wrong]), metadata=tuple(person.metadata), timeout=TIMEOUT)


class TestTime:
    @pytest.mark.parametrize(("limit", "texts"), [("FIRST_MESSAGE_SECONDS", ()), ("NEXT_MESSAGE_SECONDS", ("a",))])
    def test_a_client_that_stalls_gets_its_answer_and_holds_no_thread(
        self, monkeypatch: pytest.MonkeyPatch, limit: str, texts: tuple[str, ...]
    ) -> None:
        monkeypatch.setattr(request_stream, limit, 0.1)
        with SyncRig(threads=1) as rig:
            workspace, person = rig.world.member("notes.write")
            half = Half(workspace, *texts)
            with refused(StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"):
                rig.stub.Upload(iter(half), metadata=person.metadata, timeout=TIMEOUT)
            rig.stub.Ping(pb.Ask(), timeout=TIMEOUT)
            until(lambda: not readers(), "the end of the reading thread")
            half.let_go()
            until(lambda: [line["code"] for line in rig.log] == ["DEADLINE_EXCEEDED", "OK"], "both lines")

    def test_a_client_that_dribbles_is_cut_at_the_deadline_and_has_not_ended(self, rig: SyncRig) -> None:
        workspace, person = rig.world.member("notes.write")
        ends: list[str] = []

        def collect(requests: Iterator[Any], _: Any) -> Any:
            try:
                for _request in requests:
                    pass
                ends.append("whole")
            except CallDeadlineExceeded:
                ends.append("late")
                raise
            return pb.Answer()

        half = Half(workspace, "a")
        rig.servicer.upload = collect
        with pytest.raises(grpc.RpcError) as raised:
            rig.stub.Upload(iter(half), metadata=person.metadata, timeout=0.3)
        assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
        half.let_go()
        until(lambda: ends, "the end of the handler")
        assert ends == ["late"]

    def test_a_handler_that_has_seen_enough_leaves_the_rest_unread(self, rig: SyncRig) -> None:
        workspace, person = rig.world.member("notes.write")
        rig.servicer.upload = lambda requests, _: pb.Answer(text=next(requests).text)
        answer = rig.stub.Upload(asks(workspace, *("a" * 1000)), metadata=person.metadata, timeout=TIMEOUT)
        assert answer.text == "a"
        until(lambda: not readers(), "the end of the reading thread")


class TestEnd:
    def test_a_long_stream_arrives_whole_and_in_order(self, rig: SyncRig) -> None:
        workspace, person = rig.world.member("notes.write")
        texts = [str(number) for number in range(2000)]
        answer = rig.stub.Upload(asks(workspace, *texts), metadata=person.metadata, timeout=TIMEOUT)
        assert answer.text == "".join(texts)

    def test_a_client_that_goes_half_way_has_not_ended(self, rig: SyncRig) -> None:
        """gRPC's own iterator takes one in four of these for an end: where it does not, fifty would all be lucky."""
        workspace, person = rig.world.member("notes.write")
        begun = threading.Semaphore(0)
        ends: list[str] = []

        def collect(requests: Iterator[Any], _: Any) -> Any:
            try:
                for _request in requests:
                    begun.release()
                ends.append("whole")
            except grpc.RpcError:
                ends.append("broken off")
                raise
            return pb.Answer()

        rig.servicer.upload = collect
        for _ in range(50):
            half = Half(workspace, "a")
            call = rig.stub.Upload.future(iter(half), metadata=person.metadata, timeout=TIMEOUT)
            assert begun.acquire(timeout=TIMEOUT)
            call.cancel()
            half.let_go()
        until(lambda: len(ends) == 50, "the ends of the handlers")
        assert set(ends) == {"broken off"}
        until(lambda: len(rig.log) == 50, "the lines of the calls")
        assert {line["code"] for line in rig.log} == {"CANCELLED"}


class TestRoom:
    def test_one_workspace_has_half_of_that_at_once(self) -> None:
        with SyncRig(threads=4) as rig:
            workspace, person = rig.world.member("notes.write")
            other, neighbour = rig.world.member("notes.write")
            half = Half(workspace, "a")
            open_call = rig.stub.Upload.future(iter(half), metadata=person.metadata, timeout=TIMEOUT)
            until(lambda: rig.servicer.called, "the upload has begun")
            with refused(StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED") as refusal:
                rig.stub.Upload(asks(workspace, "a"), metadata=person.metadata, timeout=TIMEOUT)
            assert refusal.retry_seconds == 1
            assert rig.stub.Upload(asks(other, "b"), metadata=neighbour.metadata, timeout=TIMEOUT).text == "b"
            half.let_go()
            assert open_call.result(TIMEOUT).text == "a"
            assert rig.stub.Upload(asks(workspace, "c"), metadata=person.metadata, timeout=TIMEOUT).text == "c"

    def test_transfers_take_half_of_the_threads_and_no_more(self) -> None:
        with SyncRig(threads=2) as rig:
            workspace, person = rig.world.member("notes.write")
            half = Half(workspace, "a")
            open_call = rig.stub.Upload.future(iter(half), metadata=person.metadata, timeout=TIMEOUT)
            until(readers, "the upload has begun")
            with refused(StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") as refusal:
                rig.stub.Upload(asks(workspace, "a"), metadata=person.metadata, timeout=TIMEOUT)
            assert refusal.retry_seconds == 1
            rig.stub.Ping(pb.Ask(), timeout=TIMEOUT)
            half.let_go()
            assert open_call.result(TIMEOUT).text == "a"
            assert rig.stub.Upload(asks(workspace, "b"), metadata=person.metadata, timeout=TIMEOUT).text == "b"
