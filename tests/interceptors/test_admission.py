"""Overload: what waited too long is refused with when to come again, wave after wave, and nothing is lost."""

import threading
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from sqlalchemy import literal, select

from interceptors import admission
from interceptors.local import LocalMesh
from services.kernel.clock import SystemClock
from services.kernel.db import Database, compiled
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox
from services.kernel.unit_of_work import Resources, Units
from tests.support.errors import refusal_of, refused
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import pb, pb_grpc
from tests.support.waiting import until
from tests.support.world import bearer

_ONE = compiled(select(literal(1).label("one")))


class HeldTime:
    """What the stage takes for the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Gate:
    """A handler that stops at a gate."""

    def __init__(self) -> None:
        self._inside = threading.Semaphore(0)
        self._open = threading.Semaphore(0)

    def __call__(self, request: Any, context: Any) -> Any:
        del context
        self._inside.release()
        assert self._open.acquire(timeout=TIMEOUT)
        return pb.Answer(text=request.text)

    def until_inside(self, count: int) -> None:
        for _ in range(count):
            assert self._inside.acquire(timeout=TIMEOUT)

    def let_through(self, count: int) -> None:
        self._open.release(count)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldTime:
    held = HeldTime()
    monkeypatch.setattr(admission, "time", types.SimpleNamespace(monotonic=held.monotonic))
    return held


def _queued(rig: SyncRig) -> int:
    return rig._pool._work_queue.qsize()


class TestQueue:
    def test_refuses_what_waited_too_long_in_every_wave(self, held: HeldTime) -> None:
        gate = Gate()
        with SyncRig(threads=2, max_queue_seconds=1.0) as rig:
            rig.servicer.unary = gate
            for wave in range(3):
                at_work = [rig.stub.Ping.future(pb.Ask(text="first"), timeout=TIMEOUT) for _ in range(2)]
                gate.until_inside(2)
                late = [rig.stub.Ping.future(pb.Ask(text="late"), timeout=TIMEOUT) for _ in range(10)]
                until(lambda: _queued(rig) == 10, f"ten calls in the queue of wave {wave}")
                held.now += 1.5
                gate.let_through(2)
                assert [call.result().text for call in at_work] == ["first"] * 2
                for call in late:
                    refusal = refusal_of(call.exception())
                    assert (refusal.code, refusal.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
                    assert refusal.retry_seconds is not None
            gate.let_through(1)
            assert rig.stub.Ping(pb.Ask(text="after"), timeout=TIMEOUT).text == "after"
            assert len(rig.servicer.called) == 7

    def test_serves_what_waited_no_longer_than_it_may(self, held: HeldTime) -> None:
        gate = Gate()
        with SyncRig(threads=1, max_queue_seconds=1.0) as rig:
            rig.servicer.unary = gate
            calls = [rig.stub.Ping.future(pb.Ask(text=str(number)), timeout=TIMEOUT) for number in range(5)]
            gate.until_inside(1)
            until(lambda: _queued(rig) == 4, "four calls in the queue")
            held.now += 0.9
            gate.let_through(5)
            assert sorted(call.result().text for call in calls) == ["0", "1", "2", "3", "4"]

    def test_does_not_begin_what_nobody_waits_for_any_more(self) -> None:
        gate = Gate()
        with SyncRig(threads=1) as rig:
            rig.servicer.unary = gate
            first = rig.stub.Ping.future(pb.Ask(), timeout=TIMEOUT)
            gate.until_inside(1)
            with pytest.raises(grpc.RpcError) as raised:
                rig.stub.Ping(pb.Ask(), timeout=0.1)
            assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
            gate.let_through(1)
            first.result()
            gate.let_through(1)
            rig.stub.Ping(pb.Ask(), timeout=TIMEOUT)
            assert rig.servicer.called == ["Ping", "Ping"]

    def test_a_pool_forgets_the_arrival_of_work_that_failed(self) -> None:
        with admission.StampingPool(1) as pool:
            pool.submit(lambda: 1 / 0).exception(10)
            assert pool.submit(lambda: hasattr(admission._arrival, "time")).result(10) is True
        assert not hasattr(admission._arrival, "time")


class TestDraining:
    def test_refuses_what_is_new_and_ends_what_it_has_begun(self, rig: SyncRig) -> None:
        gate = Gate()
        rig.servicer.unary = gate
        begun = rig.stub.Ping.future(pb.Ask(text="begun"), timeout=TIMEOUT)
        gate.until_inside(1)
        rig.stages.admission.drain()
        with refused(StatusCode.UNAVAILABLE, "SHUTTING_DOWN") as refusal:
            rig.stub.Ping(pb.Ask(), timeout=TIMEOUT)
        assert refusal.retry_seconds is not None
        gate.let_through(1)
        assert begun.result().text == "begun"

    def test_lets_pass_what_a_call_that_has_begun_still_asks(self, rig: SyncRig) -> None:
        mesh = LocalMesh()
        pb_grpc.add_ScratchServiceServicer_to_server(rig.servicer, mesh)
        mesh.route_through(rig.chain.intercept)
        rig.stages.admission.drain()
        assert pb_grpc.ScratchServiceStub(mesh.channel("tenancy")).Tell(pb.Ask(text="a")).text == "a"


class TestBurst:
    @pytest.fixture
    def units(self, app_url: str) -> Iterator[Units[Any]]:
        database = Database(app_url, pool_size=4)
        with SyncRig() as unused:
            resources = Resources(database, SystemClock(), InvalidationHub(), Mailbox(unused.keyring))
        yield Units(resources, "tenancy", lambda session: session)
        database.close()

    def test_of_a_thousand_calls_each_is_answered_or_told_when_to_come_again(self, units: Units[Any]) -> None:
        def read(request: Any, context: Any) -> Any:
            del context
            with units.system() as uow:
                uow.session.first(_ONE, dict)
            return pb.Answer(text=request.text)

        with SyncRig(threads=6, max_queue_seconds=0.2) as rig:
            rig.servicer.unary = read
            people = [rig.world.person() for _ in range(10)]
            calls = [
                rig.stub.GetSelf.future(pb.Ask(), metadata=bearer(people[number % 10].token), timeout=TIMEOUT)
                for number in range(1000)
            ]
            outcomes: Counter[str] = Counter()
            for call in calls:
                error = call.exception()
                refusal = refusal_of(error) if error is not None else None
                outcomes[refusal.reason if refusal is not None else "answered"] += 1
                assert refusal is None or refusal.retry_seconds is not None, refusal
            assert outcomes.total() == 1000
            assert set(outcomes) <= {"answered", "OVERLOADED"}
            assert outcomes["answered"] > 0
            for person in people:
                rig.stub.GetSelf(pb.Ask(), metadata=person.metadata, timeout=TIMEOUT)
            until(lambda: len(rig.log) == 1010, "a line for each call")
