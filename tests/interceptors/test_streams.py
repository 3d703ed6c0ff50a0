"""Streams on threads: the caller inside, the judgement meanwhile, and the end."""

import gc
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import DecodeError
from grpc import StatusCode

from interceptors import chain as chain_module
from interceptors.stages import Walk
from services.kernel.caller import current_caller
from services.kernel.deadline import seconds_left
from services.kernel.errors import DependencyUnavailable
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import pb
from tests.support.world import note_of


class Faucet:
    """A stream handler that answers when the test says so, and tells who called at each step."""

    def __init__(self) -> None:
        self._drops: queue.Queue[Any] = queue.Queue()
        self.callers: list[Any] = []
        self.closed = threading.Event()

    def drop(self, number: int = 0) -> None:
        self._drops.put(number)

    def __call__(self, request: Any, context: Any) -> Iterator[Any]:
        del request
        context.add_callback(self.drop)
        self.callers.append(current_caller().user_id)
        try:
            while True:
                number = self._drops.get(timeout=TIMEOUT)
                self.callers.append(current_caller().user_id)
                yield pb.Answer(number=number)
        finally:
            self.callers.append(current_caller().user_id)
            self.closed.set()


@pytest.fixture
def faucet(rig: SyncRig) -> Faucet:
    faucet = Faucet()
    rig.servicer.stream = faucet
    return faucet


class TestServerStream:
    def test_the_caller_is_there_at_every_step_and_at_the_end(self, rig: SyncRig, faucet: Faucet) -> None:
        workspace, person = rig.world.member("notes.read")
        call = rig.stub.Count(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)
        for number in range(3):
            faucet.drop(number)
            assert next(call).number == number
        call.cancel()
        assert faucet.closed.wait(10)
        assert set(faucet.callers) == {person.user_id}
        assert len(faucet.callers) >= 5

    def test_between_two_answers_the_thread_acts_for_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        between: list[object] = []
        walked = Walk.recheck

        def look(walk: Any, call: Any) -> None:
            try:
                between.append(current_caller())
            except LookupError:
                between.append(None)
            walked(walk, call)

        monkeypatch.setattr(Walk, "recheck", look)
        monkeypatch.setattr(chain_module, "RECHECK_SECONDS", -1.0)
        with SyncRig() as rig:
            workspace, person = rig.world.member("notes.read")
            ask = pb.AskOfNote(name=note_of(workspace), count=5)
            assert len(list(rig.stub.Count(ask, metadata=person.metadata, timeout=TIMEOUT))) == 5
        assert between == [None] * 5

    def test_has_the_deadline_of_its_client(self, rig: SyncRig) -> None:
        left: list[float] = []

        def tell(*_: Any) -> Iterator[Any]:
            left.append(seconds_left(1000))
            yield pb.Answer()

        rig.servicer.stream = tell
        workspace, person = rig.world.member("notes.read")
        ask = pb.AskOfNote(name=note_of(workspace))
        list(rig.stub.Count(ask, metadata=person.metadata, timeout=3))
        list(rig.stub.WatchNote(ask, metadata=person.metadata, timeout=100))
        list(rig.stub.Count(ask, metadata=person.metadata, timeout=100))
        assert 1 < left[0] <= 3.1
        assert 90 < left[1] <= 101, "gRPC rounds up"
        assert 10 < left[2] <= 15, "a method's own limit is the longest that it may take"


class TestRecheck:
    @pytest.fixture(autouse=True)
    def at_every_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chain_module, "RECHECK_SECONDS", 0.0)

    @pytest.mark.parametrize("what", ["remove", "cut", "sign_out"])
    def test_ends_a_stream_that_lost_its_right(self, rig: SyncRig, faucet: Faucet, what: str) -> None:
        workspace, person = rig.world.member("notes.read")
        call = rig.stub.Count(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)
        faucet.drop(1)
        assert next(call).number == 1
        if what == "remove":
            rig.world.remove(workspace, person)
            expected = (StatusCode.NOT_FOUND, "NOT_FOUND")
        elif what == "cut":
            rig.world.grant(workspace, person)
            expected = (StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        else:
            rig.world.sign_out(person)
            expected = (StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        faucet.drop(2)
        with refused(*expected):
            next(call)
        assert faucet.closed.wait(10)

    def test_lets_a_stream_go_on_whose_token_has_expired_but_not_its_session(
        self, rig: SyncRig, faucet: Faucet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace, person = rig.world.member("notes.read")
        ask = pb.AskOfNote(name=note_of(workspace))
        call = rig.stub.Count(ask, metadata=person.metadata, timeout=TIMEOUT)
        faucet.drop(0)
        assert next(call).number == 0
        late = time.time() + 601
        monkeypatch.setattr(time, "time", lambda: late)
        for number in range(1, 5):
            faucet.drop(number)
            assert next(call).number == number
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            next(rig.stub.Count(ask, metadata=person.metadata, timeout=TIMEOUT))
        rig.world.sign_out(person)
        faucet.drop(5)
        with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            next(call)

    def test_ends_a_stream_that_cannot_be_judged_with_when_to_come_again(self, rig: SyncRig, faucet: Faucet) -> None:
        """An answer has gone out by then, so no header may follow: a status with RetryInfo must all the same."""
        workspace, person = rig.world.member("notes.read")
        call = rig.stub.Count(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)
        faucet.drop(1)
        next(call)

        def down() -> None:
            raise DependencyUnavailable("tenancy")

        rig.hub.up = False
        rig.world.grants.hook = down
        faucet.drop(2)
        with refused(StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE") as refusal:
            next(call)
        assert refusal.retry_seconds == 1

    def test_a_stream_that_is_ended_gives_back_at_once_what_it_holds(self, rig: SyncRig, faucet: Faucet) -> None:
        workspace, person = rig.world.member("notes.read")
        gc.disable()
        try:
            call = rig.stub.Count(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)
            faucet.drop(1)
            next(call)
            rig.world.remove(workspace, person)
            faucet.drop(2)
            with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
                next(call)
            assert faucet.closed.wait(5), "the handler is still open"
        finally:
            gc.enable()
        assert faucet.callers[-1] == person.user_id


class TestDownload:
    """HTTP tells no status after the first byte: an answer that fails half way must not look whole there."""

    def _received(self, rig: SyncRig, *metadata: tuple[str, str]) -> list[bytes]:
        def fail(*_: Any) -> Iterator[Any]:
            yield HttpBody(data=b"half")
            raise DependencyUnavailable("blobs")

        rig.servicer.stream = fail
        workspace, person = rig.world.member("notes.read")
        assert rig.channel is not None
        download = rig.channel.unary_stream("/plinth.scratch.v1.ScratchService/Download", bytes, bytes)
        ask = pb.AskOfNote(name=note_of(workspace)).SerializeToString()
        received: list[bytes] = []
        with refused(StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"):
            for message in download(ask, metadata=(*person.metadata, *metadata), timeout=TIMEOUT):
                received.append(message)  # noqa: PERF402  # what came before the refusal counts
        return received

    def test_that_fails_half_way_says_so_by_grpc(self, rig: SyncRig) -> None:
        assert [HttpBody.FromString(message).data for message in self._received(rig)] == [b"half"]

    def test_that_fails_half_way_ends_for_the_transcoder_with_what_it_cannot_read(self, rig: SyncRig) -> None:
        _, last = self._received(rig, ("x-envoy-original-path", "/v1/notes/1:download"))
        with pytest.raises(DecodeError):
            HttpBody.FromString(last)
