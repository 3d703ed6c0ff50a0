"""A stub call inside one process: no socket, no second thread, and otherwise like any other."""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_status import rpc_status

from interceptors.local import LocalChannel, LocalMesh, LocalRpcError
from services.kernel.caller import Caller, current_caller
from services.kernel.clock import SystemClock
from services.kernel.db import Database, Session
from services.kernel.deadline import seconds_left
from services.kernel.errors import CallDeadlineExceeded, ResourceNotFound
from services.kernel.feed import InvalidationHub
from services.kernel.ids import new_id
from services.kernel.mail import Mailbox
from services.kernel.unit_of_work import Resources, StubCallInUnitOfWork, Units
from tests.support.acting import acting, deadline
from tests.support.errors import refusal_of, refused
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import SERVICE, pb, pb_grpc
from tests.support.world import note_of

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def mesh(rig: SyncRig) -> LocalMesh:
    """The scratch service, as it lives beside its neighbours in one process."""
    mesh = LocalMesh()
    pb_grpc.add_ScratchServiceServicer_to_server(rig.servicer, mesh)
    mesh.route_through(rig.chain.intercept)
    return mesh


@pytest.fixture
def tenancy(mesh: LocalMesh) -> Any:
    """A stub of the domain tenancy."""
    return pb_grpc.ScratchServiceStub(mesh.channel("tenancy"))


def _see(rig: SyncRig, look: Callable[[Any], object]) -> list[Any]:
    """What `look` sees inside of each call from now on."""
    seen: list[Any] = []

    def handle(request: Any, context: Any) -> Any:
        del context
        seen.append(look(request))
        return pb.Answer(text=request.text)

    rig.servicer.unary = handle
    return seen


class TestCall:
    def test_runs_on_the_thread_of_its_caller_through_the_chain(self, rig: SyncRig, tenancy: Any) -> None:
        seen = _see(rig, lambda _: threading.get_ident())
        assert tenancy.Tell(pb.Ask(text="hello")).text == "hello"
        assert seen == [threading.get_ident()]
        (line,) = rig.log
        assert (line["principal"], line["source"], line["code"]) == ("services/tenancy", "local", "OK")

    def test_is_a_call_of_its_service_and_no_other(self, rig: SyncRig, mesh: LocalMesh, tenancy: Any) -> None:
        seen = _see(rig, lambda _: current_caller().service)
        tenancy.Tell(pb.Ask())
        assert seen == ["tenancy"]
        with refused(StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
            pb_grpc.ScratchServiceStub(mesh.channel("identity")).Tell(pb.Ask())

    def test_is_judged_like_any_other(self, tenancy: Any) -> None:
        with refused(StatusCode.PERMISSION_DENIED, "METHOD_DENIED"):
            tenancy.GetNote(pb.AskOfNote(name=note_of(new_id())))
        with refused(StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            tenancy.Tell(pb.Ask(text="x" * 11))
        assert refusal.fields == ["text"]

    def test_neither_side_sees_what_the_other_does_to_the_request(self, rig: SyncRig, tenancy: Any) -> None:
        def spoil(request: Any, context: Any) -> Any:
            del context
            request.text = "spoiled"
            return pb.Answer()

        rig.servicer.unary = spoil
        request = pb.Ask(text="as it was")
        tenancy.Tell(request)
        assert request.text == "as it was"

    def test_sees_nothing_of_its_callers_context(self, rig: SyncRig, tenancy: Any) -> None:
        secret: contextvars.ContextVar[str] = contextvars.ContextVar("secret", default="nothing")
        secret.set("something")
        seen = _see(rig, lambda _: (secret.get(), current_caller().user_id))
        with acting(Caller(user_id=new_id())) as caller:
            tenancy.Tell(pb.Ask())
            assert current_caller() is caller
        assert seen == [("nothing", None)]


class TestInheritance:
    def test_takes_on_the_trace_and_the_request_id(self, rig: SyncRig, tenancy: Any) -> None:
        seen = _see(rig, lambda _: (current_caller().trace_id, current_caller().request_id))
        with acting(Caller(traceparent=TRACEPARENT, request_id="request-1")):
            tenancy.Tell(pb.Ask())
        assert seen == [(TRACEPARENT.split("-")[1], "request-1")]
        (span,) = rig.exporter.get_finished_spans()
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == TRACEPARENT.split("-")[2]

    @pytest.mark.parametrize(
        ("outer", "own", "at_most"), [(3.0, None, 3.0), (3.0, 1.0, 1.0), (1.0, 3.0, 1.0), (None, 2.0, 2.0)]
    )
    def test_has_the_smaller_of_the_deadlines(
        self, rig: SyncRig, tenancy: Any, outer: float | None, own: float | None, at_most: float
    ) -> None:
        seen = _see(rig, lambda _: seconds_left(1000))
        with deadline(None if outer is None else time.monotonic() + outer):
            tenancy.Tell(pb.Ask(), timeout=own)
        assert at_most - 0.9 < seen[0] <= at_most

    def test_past_the_deadline_is_not_begun(self, rig: SyncRig, tenancy: Any) -> None:
        with deadline(time.monotonic() - 1), pytest.raises(CallDeadlineExceeded):
            tenancy.Tell(pb.Ask())
        assert rig.servicer.called == []

    def test_past_the_deadline_the_client_hears_of_it_and_of_nothing_else(self, rig: SyncRig, tenancy: Any) -> None:
        def handle(*_: Any) -> Any:
            with deadline(time.monotonic() - 1):
                return tenancy.Tell(pb.Ask())

        rig.servicer.unary = handle
        person = rig.world.person()
        with refused(StatusCode.DEADLINE_EXCEEDED, CallDeadlineExceeded.reason):
            rig.stub.GetSelf(pb.Ask(), metadata=person.metadata, timeout=TIMEOUT)

    def test_what_the_chain_itself_asks_ends_with_the_call(self, rig: SyncRig) -> None:
        left: list[float] = []
        workspace, person = rig.world.member("notes.read")
        rig.world.sessions.hook = lambda: left.append(seconds_left(1000))
        rig.stub.GetNote(pb.AskOfNote(name=note_of(workspace)), metadata=person.metadata, timeout=2)
        assert len(left) == 1
        assert 0.5 < left[0] <= 2.1


class TestError:
    def test_is_one_that_clients_of_grpc_understand(self, rig: SyncRig, tenancy: Any) -> None:
        def fail(*_: Any) -> Any:
            raise ResourceNotFound("users/1")

        rig.servicer.unary = fail
        with pytest.raises(grpc.RpcError) as raised:
            tenancy.Tell(pb.Ask())
        error: Any = raised.value
        assert isinstance(error, grpc.Call)
        status = rpc_status.from_call(error)
        assert status is not None
        assert status.code == StatusCode.NOT_FOUND.value[0]
        refusal = refusal_of(raised.value)
        assert (refusal.code, refusal.reason, refusal.metadata) == (
            StatusCode.NOT_FOUND,
            "NOT_FOUND",
            {"resource": "users/1"},
        )

    def test_of_a_method_that_is_not_here_is_unimplemented(self, mesh: LocalMesh) -> None:
        with pytest.raises(LocalRpcError) as raised:
            mesh.call(f"/{SERVICE}/NoSuchMethod", pb.Ask(), "tenancy", None)
        assert raised.value.code() is StatusCode.UNIMPLEMENTED

    def test_of_a_stream_says_to_open_it_over_a_socket(self, tenancy: Any) -> None:
        for call, ask in ((tenancy.Count, pb.AskOfNote()), (tenancy.Upload, iter(())), (tenancy.Converse, iter(()))):
            with pytest.raises(LocalRpcError, match="is a stream"):
                call(ask)

    def test_before_the_chain_is_there_no_call_passes(self, rig: SyncRig) -> None:
        early = LocalMesh()
        pb_grpc.add_ScratchServiceServicer_to_server(rig.servicer, early)
        with pytest.raises(RuntimeError):
            pb_grpc.ScratchServiceStub(early.channel("tenancy")).Ping(pb.Ask())
        assert rig.servicer.called == []


class TestInsideOfACall:
    def test_works_with_a_pool_of_one_thread(self) -> None:
        with SyncRig(threads=1) as rig:
            mesh = LocalMesh()
            pb_grpc.add_ScratchServiceServicer_to_server(rig.servicer, mesh)
            mesh.route_through(rig.chain.intercept)
            tenancy = pb_grpc.ScratchServiceStub(mesh.channel("tenancy"))
            callers: list[str] = []

            def handle(request: Any, context: Any) -> Any:
                del context
                callers.append(current_caller().principal)
                answer = pb.Answer(text=request.text)
                if request.text == "outer":
                    answer = tenancy.Tell(pb.Ask(text="inner"))
                    callers.append(current_caller().principal)
                return answer

            rig.servicer.unary = handle
            person = rig.world.person()
            answer = rig.stub.GetSelf(pb.Ask(text="outer"), metadata=person.metadata, timeout=TIMEOUT)
            assert answer.text == "inner"
            assert callers == [f"users/{person.user_id}", "services/tenancy", f"users/{person.user_id}"]
            outer, inner = sorted(rig.log, key=lambda line: str(line["principal"]), reverse=True)
            assert outer["trace_id"] == inner["trace_id"]
            assert outer["request_id"] == inner["request_id"]

    @pytest.fixture
    def units(self, app_url: str, rig: SyncRig) -> Iterator[Units[Session]]:
        database = Database(app_url, pool_size=1)
        resources = Resources(database, SystemClock(), InvalidationHub(), Mailbox(rig.keyring))
        yield Units(resources, "tenancy", lambda session: session)
        database.close()

    def test_raises_while_a_unit_of_work_is_open(self, rig: SyncRig, tenancy: Any, units: Units[Session]) -> None:
        with units.system(), pytest.raises(StubCallInUnitOfWork):
            tenancy.Tell(pb.Ask())
        assert rig.servicer.called == []
        tenancy.Tell(pb.Ask())
        assert rig.servicer.called == ["Tell"]

    def test_the_called_may_open_its_own_unit_of_work(self, rig: SyncRig, tenancy: Any, units: Units[Session]) -> None:
        def handle(*_: Any) -> Any:
            with units.system():
                return pb.Answer(text="done")

        rig.servicer.unary = handle
        assert tenancy.Tell(pb.Ask()).text == "done"


class TestChannel:
    def test_is_always_ready_and_has_nothing_to_close(self, mesh: LocalMesh) -> None:
        states: list[grpc.ChannelConnectivity] = []
        channel = LocalChannel(mesh, "tenancy")
        channel.subscribe(states.append)
        channel.unsubscribe(states.append)
        channel.close()
        assert states == [grpc.ChannelConnectivity.READY]
        assert pb_grpc.ScratchServiceStub(channel).Ping(pb.Ask(text="still")).text == "still"
