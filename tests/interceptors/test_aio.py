"""Streams on the event loop: ended within a second of a revocation, and leaving nothing behind."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from interceptors import aio as aio_module
from services.kernel.caller import current_caller
from services.kernel.errors import DependencyUnavailable
from services.kernel.feed import GrantChanged
from services.kernel.ids import new_id
from services.kernel.names import WORKSPACE
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, AioRig
from tests.support.scratch import pb
from tests.support.waiting import SLOWNESS_SECONDS, until
from tests.support.world import Person, note_of


class Idle:
    """A handler that answers once and then waits for ever, as a Watch does; it knows who called."""

    def __init__(self) -> None:
        self.callers: list[Any] = []
        self.ended = 0

    async def __call__(self, request: Any, context: Any) -> AsyncIterator[Any]:
        del request, context
        self.callers.append(current_caller().user_id)
        try:
            yield pb.Answer(text="open")
            self.callers.append(current_caller().user_id)
            await asyncio.Event().wait()
        finally:
            self.callers.append(current_caller().user_id)
            self.ended += 1


@pytest.fixture
def idle(aio_rig: AioRig) -> Idle:
    idle = Idle()
    aio_rig.servicer.stream = idle
    return idle


def _watch(rig: AioRig, workspace: Any, person: Person) -> Any:
    call = rig.stub.WatchNote(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)
    assert next(call).text == "open"
    return call


def _empty(rig: AioRig) -> None:
    until(lambda: rig.chain.open_streams() == 0, "an empty registry of open streams")


class TestRecheck:
    @pytest.mark.parametrize(
        ("change", "code", "reason"),
        [
            (lambda world, workspace, person: world.remove(workspace, person), StatusCode.NOT_FOUND, "NOT_FOUND"),
            (
                lambda world, workspace, person: world.grant(workspace, person),
                StatusCode.PERMISSION_DENIED,
                "PERMISSION_DENIED",
            ),
            (lambda world, _, person: world.sign_out(person), StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"),
        ],
        ids=["removed", "cut down", "signed out"],
    )
    def test_ends_an_idle_stream_within_a_second_of_the_change(
        self, aio_rig: AioRig, idle: Idle, change: Callable[[Any, Any, Any], None], code: StatusCode, reason: str
    ) -> None:
        workspace, person = aio_rig.world.member("notes.read")
        call = _watch(aio_rig, workspace, person)
        change(aio_rig.world, workspace, person)
        begun = time.monotonic()
        with refused(code, reason):
            next(call)
        assert time.monotonic() - begun < 1 + SLOWNESS_SECONDS
        _empty(aio_rig)
        assert idle.ended == 1

    def test_each_answer_is_made_by_the_grant_that_was_judged_last(self, aio_rig: AioRig) -> None:
        async def tell(request: Any, context: Any) -> AsyncIterator[Any]:
            while True:
                yield pb.Answer(text=" ".join(sorted(current_caller().require_grant().permissions)))

        aio_rig.servicer.stream = tell
        workspace, person = aio_rig.world.member("notes.read")
        call = aio_rig.stub.WatchNote(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=TIMEOUT)
        assert next(call).text == "notes.read"
        aio_rig.world.grant(workspace, person, "notes.read", "notes.write")
        until(lambda: next(call).text == "notes.read notes.write", "what was granted meanwhile")
        call.cancel()
        _empty(aio_rig)

    def test_ends_nobody_elses(self, aio_rig: AioRig, idle: Idle) -> None:
        workspace, person = aio_rig.world.member("notes.read")
        other, bystander = aio_rig.world.member("notes.read")
        calls = [_watch(aio_rig, workspace, person), _watch(aio_rig, other, bystander)]
        aio_rig.world.remove(workspace, person)
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            next(calls[0])
        assert calls[1].is_active()
        assert aio_rig.chain.open_streams() == 1
        calls[1].cancel()
        _empty(aio_rig)
        assert idle.ended == 2

    def test_reads_all_the_time_while_the_feed_is_silent(self, aio_rig: AioRig, idle: Idle) -> None:
        workspace, person = aio_rig.world.member("notes.read")
        call = _watch(aio_rig, workspace, person)
        aio_rig.hub.up = False
        aio_rig.world.remove(workspace, person, tell=False)
        begun = time.monotonic()
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            next(call)
        assert time.monotonic() - begun < 1 + SLOWNESS_SECONDS
        assert idle.ended == 1

    @pytest.mark.parametrize("error", [DependencyUnavailable("tenancy"), grpc.RpcError(), ValueError("a bug")])
    @pytest.mark.usefixtures("idle")
    def test_ends_who_cannot_be_judged_and_goes_on_judging_the_others(self, aio_rig: AioRig, error: Exception) -> None:
        workspace, person = aio_rig.world.member("notes.read")
        call = _watch(aio_rig, workspace, person)

        def fail() -> None:
            raise error

        aio_rig.world.grants.hook = fail
        aio_rig.hub.publish(None)
        with pytest.raises(grpc.RpcError):
            next(call)
        aio_rig.world.grants.hook = lambda: None
        again = _watch(aio_rig, workspace, person)
        aio_rig.world.remove(workspace, person)
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            next(again)

    @pytest.mark.usefixtures("idle")
    def test_ends_who_cannot_be_judged_in_time_and_holds_up_no_other(
        self, aio_rig: AioRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(aio_module, "MAX_SILENCE_SECONDS", 0.2)
        stuck_place, stuck = aio_rig.world.member("notes.read")
        workspace, person = aio_rig.world.member("notes.read")
        calls = [_watch(aio_rig, stuck_place, stuck), _watch(aio_rig, workspace, person)]
        sticking, release = threading.Event(), threading.Event()

        def stick() -> None:
            if aio_rig.world.grants.asked[stuck_place, stuck.user_id] == 2 and not sticking.is_set():
                sticking.set()
                release.wait(TIMEOUT)

        aio_rig.world.grants.hook = stick
        aio_rig.hub.publish(GrantChanged(stuck_place, stuck.user_id))
        assert sticking.wait(5)
        aio_rig.world.sign_out(person)
        try:
            with refused(StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
                next(calls[1])
            with refused(StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"):
                next(calls[0])
        finally:
            release.set()

    def test_misses_no_change_between_the_judgement_and_the_opening(self) -> None:
        class RevokedMeanwhile:
            """A quota that takes the right away just after access has let the call in."""

            def __init__(self) -> None:
                self.revoke: Callable[[], None] = lambda: None

            def reserve(self, *_: Any) -> Callable[[bool], None]:
                self.revoke()
                return lambda _: None

        quota, idle = RevokedMeanwhile(), Idle()
        rig = AioRig(quota=quota)
        rig.servicer.stream = idle
        with rig:
            workspace, person = rig.world.member("notes.read")
            quota.revoke = lambda: rig.world.remove(workspace, person)
            call = rig.stub.WatchExports(
                pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace)),
                metadata=person.metadata,
                timeout=TIMEOUT,
            )
            with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
                for _ in call:
                    pass


class TestCancel:
    def test_reaches_the_handler_and_empties_the_registry(self, aio_rig: AioRig, idle: Idle) -> None:
        workspace, person = aio_rig.world.member("notes.read")
        calls = [_watch(aio_rig, workspace, person) for _ in range(10)]
        assert aio_rig.chain.open_streams() == 10
        for call in calls:
            call.cancel()
        _empty(aio_rig)
        until(lambda: idle.ended == 10, "the end of each handler")
        until(lambda: len(aio_rig.log) == 10, "ten lines")
        assert {line["code"] for line in aio_rig.log} == {"CANCELLED"}
        assert set(idle.callers) == {person.user_id}

    def test_is_passed_on_to_grpc(self, aio_rig: AioRig, idle: Idle, monkeypatch: pytest.MonkeyPatch) -> None:
        passed_on: list[type[BaseException]] = []
        leave = aio_module.AioChain._leave

        async def watch(chain: Any, call: Any) -> None:
            try:
                await leave(chain, call)
            except BaseException as error:
                passed_on.append(type(error))
                raise

        monkeypatch.setattr(aio_module.AioChain, "_leave", watch)
        workspace, person = aio_rig.world.member("notes.read")
        _watch(aio_rig, workspace, person).cancel()
        until(lambda: passed_on, "the end of the call")
        assert passed_on[0] in (asyncio.CancelledError, GeneratorExit)
        assert idle.ended == 1

    def test_while_a_stage_still_waits_leaves_every_stage_once(self) -> None:
        looking, go_on = threading.Event(), threading.Event()
        settled: list[bool] = []

        class Counted:
            def reserve(self, *_: Any) -> Callable[[bool], None]:
                return settled.append

        def wait() -> None:
            looking.set()
            go_on.wait(TIMEOUT)

        with AioRig(quota=Counted()) as rig:
            workspace, person = rig.world.member("notes.read")
            rig.world.grants.hook = wait
            call = rig.stub.WatchExports(
                pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace)),
                metadata=person.metadata,
                timeout=TIMEOUT,
            )
            assert looking.wait(10)
            call.cancel()
            until(lambda: _cancelling(rig), "the cancellation")
            go_on.set()
            until(lambda: [line["code"] for line in rig.log] == ["CANCELLED"], "the line of the call")
            assert settled == [False]
            assert rig.servicer.called == []
            assert "plinth_rpc_in_flight 0" in _in_flight(rig)


def _cancelling(rig: AioRig) -> bool:
    return any(task.cancelling() for task in asyncio.all_tasks(rig.loop))


def _in_flight(rig: AioRig) -> str:
    (sample,) = [s for m in rig.stages.metrics.collect() for s in m.samples if s.name == "plinth_rpc_in_flight"]
    return f"{sample.name} {sample.value:g}"


class TestClientStream:
    def test_is_judged_on_its_first_message(self, aio_rig: AioRig) -> None:
        workspace, person = aio_rig.world.member("notes.write")
        asks = [pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace), text=text) for text in "abc"]
        assert aio_rig.stub.Upload(iter(asks), metadata=person.metadata, timeout=TIMEOUT).text == "abc"
        answers = aio_rig.stub.Converse(iter(asks), metadata=person.metadata, timeout=TIMEOUT)
        assert [answer.text for answer in answers] == ["a", "b", "c"]
        elsewhere = pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=new_id()))
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            aio_rig.stub.Upload(iter([elsewhere, *asks]), metadata=person.metadata, timeout=TIMEOUT)

    def test_without_a_token_it_is_refused_before_any_message(self, aio_rig: AioRig) -> None:
        never = threading.Event()

        def silent() -> Iterator[Any]:
            never.wait(TIMEOUT)
            yield from ()

        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            aio_rig.stub.Upload(silent(), timeout=TIMEOUT)
        never.set()

    def test_whose_first_message_never_comes_is_cut_off(self, aio_rig: AioRig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(aio_module, "FIRST_MESSAGE_SECONDS", 0.1)
        never = threading.Event()

        def silent() -> Iterator[Any]:
            never.wait(TIMEOUT)
            yield from ()

        _, person = aio_rig.world.member("notes.write")
        with refused(StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"):
            aio_rig.stub.Upload(silent(), metadata=person.metadata, timeout=TIMEOUT)
        never.set()
