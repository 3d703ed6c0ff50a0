"""One thread serves two tenants in turn, with streams, cancellations and failures between, tracing on: nothing of a
call survives it. The same run without the reset finds what it looks for, so the test can fail.
"""

import contextlib
import contextvars
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
import pytest
from opentelemetry import trace
from sqlalchemy import func, select

from interceptors import chain as chain_module
from interceptors.admission import StampingPool
from interceptors.call import Call
from services.kernel.caller import current_caller
from services.kernel.clock import SystemClock
from services.kernel.db import Database, Session, compiled
from services.kernel.deadline import seconds_left
from services.kernel.feed import InvalidationHub
from services.kernel.mail import Mailbox
from services.kernel.unit_of_work import Resources, Units, forbid_open_unit
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import pb
from tests.support.waiting import until
from tests.support.world import Person, note_of

_SEEN = compiled(
    select(func.current_setting("plinth.workspace", True).label("w"), func.current_setting("role").label("r"))
)
_ROUNDS = 12


@dataclass
class Findings:
    """What was left behind on the thread or on the connection, and what was wrong inside a call."""

    leaks: list[str] = field(default_factory=list)
    calls: int = 0

    def look_before(self) -> None:
        """Between two calls, on the thread that serves them."""
        with contextlib.suppress(LookupError):
            self.leaks.append(f"caller {current_caller()}")
        if seconds_left(1e9) != 1e9:
            self.leaks.append("deadline")
        try:
            forbid_open_unit()
        except RuntimeError:
            self.leaks.append("unit of work")
        if trace.get_current_span().get_span_context().is_valid:
            self.leaks.append("span")

    def expect(self, what: str, found: object, wanted: object) -> None:
        self.calls += 1
        if found != wanted:
            self.leaks.append(f"{what}: {found} in a call of {wanted}")


class Handlers:
    """Handlers that use a connection of the one in the pool, and say in which tenant they find themselves."""

    def __init__(self, units: Units[Session], findings: Findings) -> None:
        self._units = units
        self._findings = findings

    def _check(self, request: Any) -> None:
        workspace = UUID(request.name.split("/")[1])
        caller = current_caller()
        self._findings.expect("workspace", caller.workspace_id, workspace)
        self._findings.expect("trace", caller.trace_id != "", True)
        with self._units() as uow:
            seen = uow.session.first(_SEEN, lambda w, r: (w, r))
            self._findings.expect("setting", seen, (str(workspace), "plinth_tenancy"))
            if request.text == "fail":
                raise ValueError("on purpose")
            if request.text == "commit":
                uow.commit()

    def unary(self, request: Any, context: Any) -> Any:
        del context
        self._check(request)
        return pb.Answer(text=request.text)

    def stream(self, request: Any, context: Any) -> Iterator[Any]:
        del context
        for number in itertools.count():
            if request.count and number >= request.count:
                break
            self._check(request)
            yield pb.Answer(number=number, text="x" * 2000)


@pytest.fixture
def units(app_url: str) -> Iterator[Units[Session]]:
    database = Database(app_url, pool_size=1)
    with SyncRig() as unused:
        resources = Resources(database, SystemClock(), InvalidationHub(), Mailbox(unused.keyring))
    yield Units(resources, "tenancy", lambda session: session)
    database.close()


class WithoutContexts(StampingPool):
    """gRPC begins each call in a context of its own. Without it, as older releases did, only the chain's resets and
    the database's transactions keep one call from the next.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert isinstance(getattr(fn, "__self__", None), contextvars.Context), "gRPC has changed how it serves"
        return super().submit(*args, **kwargs)


def _alternate(units: Units[Session], monkeypatch: pytest.MonkeyPatch, pool: type[StampingPool]) -> Findings:
    findings = Findings()
    entered = Call.__init__

    def looking(call: Any, *args: Any) -> None:
        findings.look_before()
        entered(call, *args)

    monkeypatch.setattr(Call, "__init__", looking)
    with SyncRig(threads=1, pool=pool, trace_ratio=1.0) as rig:
        handlers = Handlers(units, findings)
        rig.servicer.unary, rig.servicer.stream = handlers.unary, handlers.stream
        tenants = [rig.world.member("notes.read") for _ in range(2)]
        for workspace, person in tenants * _ROUNDS:
            _one_round(rig, workspace, person)
        until(lambda: len(rig.log) == len(tenants) * _ROUNDS * 6, "a line for each call")
    return findings


def _one_round(rig: SyncRig, workspace: UUID, person: Person) -> None:
    """A call, a failure, a commit, a stream to its end, one that is cancelled, and one that runs out of time."""
    ask = {"metadata": person.metadata, "timeout": TIMEOUT}
    name = note_of(workspace)
    rig.stub.GetNote(pb.AskOfNote(name=name), **ask)
    with pytest.raises(grpc.RpcError):
        rig.stub.GetNote(pb.AskOfNote(name=name, text="fail"), **ask)
    rig.stub.GetNote(pb.AskOfNote(name=name, text="commit"), **ask)
    assert len(list(rig.stub.Count(pb.AskOfNote(name=name, count=3), **ask))) == 3
    cancelled = rig.stub.Count(pb.AskOfNote(name=name), **ask)
    next(cancelled)
    cancelled.cancel()
    with pytest.raises(grpc.RpcError):
        list(rig.stub.Count(pb.AskOfNote(name=name, text="fail"), **ask))


class TestReuse:
    @pytest.mark.parametrize("pool", [StampingPool, WithoutContexts])
    def test_nothing_of_a_call_survives_it(
        self, units: Units[Session], monkeypatch: pytest.MonkeyPatch, pool: type[StampingPool]
    ) -> None:
        findings = _alternate(units, monkeypatch, pool)
        assert findings.leaks == []
        assert findings.calls > 2 * _ROUNDS * 6

    @pytest.mark.parametrize(("reset", "leak"), [("reset_caller", "caller"), ("reset_deadline", "deadline")])
    def test_without_the_reset_it_is_found(
        self, units: Units[Session], monkeypatch: pytest.MonkeyPatch, reset: str, leak: str
    ) -> None:
        monkeypatch.setattr(chain_module, reset, lambda _: None)
        assert any(found.startswith(leak) for found in _alternate(units, monkeypatch, WithoutContexts).leaks)

    def test_all_calls_were_served_by_one_thread(self) -> None:
        served: set[int] = set()

        def remember(request: Any, context: Any) -> Any:
            del request, context
            served.add(threading.get_ident())
            return pb.Answer()

        with SyncRig(threads=1) as rig:
            rig.servicer.unary = remember
            for _ in range(10):
                rig.stub.Ping(pb.Ask(), timeout=TIMEOUT)
        assert len(served) == 1
