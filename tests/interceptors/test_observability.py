"""What a call leaves to be seen: a line, a span and a count; and what it never leaves: a secret."""

import threading
import time
from typing import Any

import grpc
import orjson
import pytest
from grpc import StatusCode
from opentelemetry.trace import SpanKind
from opentelemetry.trace import StatusCode as SpanStatus
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from interceptors.call import source_of
from interceptors.outgoing import open_channel
from services.kernel.caller import Caller, current_caller
from services.kernel.names import WORKSPACE
from tests.support.acting import acting, at_once, deadline
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, Rig, SyncRig
from tests.support.scratch import SERVICE, pb, pb_grpc
from tests.support.waiting import until
from tests.support.world import bearer, note_of

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01"


def _see_callers(rig: SyncRig) -> list[Caller]:
    seen: list[Caller] = []

    def handle(request: Any, context: Any) -> Any:
        del request, context
        seen.append(current_caller())
        return pb.Answer()

    rig.servicer.unary = handle
    return seen


class TestAccessLog:
    def test_says_who_did_what_where_and_what_came_of_it(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        metadata = [*person.metadata, ("x-request-id", "request-1"), ("traceparent", SAMPLED)]
        either.stub.GetNote(pb.AskOfNote(name=note_of(workspace)), metadata=metadata, timeout=TIMEOUT)
        (line,) = either.log
        assert line.pop("time")
        assert line.pop("milliseconds") >= 0
        assert line == {
            "level": "info",
            "event": "rpc",
            "method": f"{SERVICE}.GetNote",
            "code": "OK",
            "reason": "",
            "principal": f"users/{person.user_id}",
            "workspace": str(workspace),
            "source": "127.0.0.1",
            "request_id": "request-1",
            "trace_id": TRACE_ID,
        }

    def test_tells_refusals_with_their_reason(self, either: Rig) -> None:
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            either.stub.GetSelf(pb.Ask(), timeout=TIMEOUT)
        (line,) = either.log
        assert (line["code"], line["reason"], line["principal"]) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING", "")

    def test_holds_no_credential_and_no_field_of_a_request(self, either: Rig) -> None:
        workspace, person = either.world.member("notes.read")
        key = either.world.api_key(workspace, person, "notes.read")
        ask = pb.AskOfNote(name=note_of(workspace), text="hunter2")
        for metadata in (person.metadata, bearer(key), [("x-api-key", key)], bearer("wrong-token-of-mine")):
            try:
                either.stub.GetNote(ask, metadata=metadata, timeout=TIMEOUT)
            except grpc.RpcError as error:
                assert error.code() is StatusCode.UNAUTHENTICATED  # noqa: PT017
        written = orjson.dumps(either.log)
        assert len(either.log) == 4
        for secret in (person.token, person.token.split(".")[2], key, "wrong-token-of-mine", "hunter2"):
            assert secret.encode() not in written

    @pytest.mark.parametrize("given", ["x" * 129, ""])
    def test_takes_no_request_id_that_is_none(self, rig: SyncRig, given: str) -> None:
        rig.stub.Ping(pb.Ask(), metadata=[("x-request-id", given)], timeout=TIMEOUT)
        assert rig.log[0]["request_id"] not in ("", given)


class Connection:
    """What the chain sees of a connection from `address`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def invocation_metadata(self) -> Any:
        return ()

    def peer(self) -> str:
        return self._address

    def time_remaining(self) -> float | None:
        return None


class TestSource:
    @pytest.mark.parametrize(
        ("metadata", "peer", "source"),
        [
            ({}, "ipv4:203.0.113.9:4711", "203.0.113.9"),
            ({}, "ipv6:[2001:db8::1]:4711", "2001:db8::1"),
            ({}, "ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
            ({}, "unix:", "unix"),
            ({}, "local:", "local"),
            ({"x-envoy-external-address": "198.51.100.1"}, "ipv4:127.0.0.1:1", "198.51.100.1"),
            ({"x-forwarded-for": "198.51.100.1"}, "ipv4:127.0.0.1:1", "127.0.0.1"),
        ],
    )
    def test_is_what_the_edge_saw_or_the_other_end(self, metadata: dict[str, str], peer: str, source: str) -> None:
        assert source_of(metadata, Connection(peer)) == source


class TestTracing:
    def test_goes_on_with_the_trace_of_the_client(self, rig: SyncRig) -> None:
        seen = _see_callers(rig)
        rig.stub.Ping(pb.Ask(), metadata=[("traceparent", SAMPLED)], timeout=TIMEOUT)
        until(rig.exporter.get_finished_spans, "the span")
        (span,) = rig.exporter.get_finished_spans()
        assert span.name == f"{SERVICE}/Ping"
        assert span.kind is SpanKind.SERVER
        assert span.parent is not None
        assert f"{span.context.trace_id:032x}" == TRACE_ID
        assert f"{span.parent.span_id:016x}" == SPAN_ID
        assert seen[0].traceparent == f"00-{TRACE_ID}-{span.context.span_id:016x}-01"

    def test_records_nothing_of_a_trace_that_the_client_does_not_record(self, rig: SyncRig) -> None:
        seen = _see_callers(rig)
        rig.stub.Ping(pb.Ask(), metadata=[("traceparent", SAMPLED[:-1] + "0")], timeout=TIMEOUT)
        until(lambda: rig.log, "the line")
        assert rig.exporter.get_finished_spans() == ()
        assert seen[0].trace_id == TRACE_ID
        assert seen[0].traceparent.endswith("-00")

    def test_of_a_trace_that_the_draw_leaves_out_there_are_the_ids_alone(self) -> None:
        with SyncRig(trace_ratio=0.0) as rig:
            seen = _see_callers(rig)
            rig.stub.Ping(pb.Ask(), timeout=TIMEOUT)
            until(lambda: rig.log, "the line")
            assert rig.exporter.get_finished_spans() == ()
            assert seen[0].traceparent == f"00-{seen[0].trace_id}-{seen[0].traceparent[36:52]}-00"
            assert rig.log[0]["trace_id"] == seen[0].trace_id

    @pytest.mark.parametrize("broken", ["", "00", "00-0-0-01", f"ff-{TRACE_ID}-{SPAN_ID}-01", "x" * 1000])
    def test_begins_its_own_where_the_clients_is_none(self, rig: SyncRig, broken: str) -> None:
        rig.stub.Ping(pb.Ask(), metadata=[("traceparent", broken)], timeout=TIMEOUT)
        assert len(rig.log[0]["trace_id"]) == 32
        assert rig.log[0]["trace_id"] not in (TRACE_ID, "0" * 32)

    def test_marks_faults_of_ours_and_no_others(self, rig: SyncRig) -> None:
        def fail(*_: Any) -> Any:
            raise ValueError

        rig.servicer.unary = fail
        with refused(StatusCode.INTERNAL, "INTERNAL"):
            rig.stub.Ping(pb.Ask(), timeout=TIMEOUT)
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
            rig.stub.GetSelf(pb.Ask(), timeout=TIMEOUT)
        until(lambda: len(rig.exporter.get_finished_spans()) == 2, "both spans")
        fault, refusal = rig.exporter.get_finished_spans()
        assert (fault.status.status_code, refusal.status.status_code) == (SpanStatus.ERROR, SpanStatus.UNSET)
        assert fault.attributes is not None
        assert fault.attributes["rpc.grpc.status_code"] == StatusCode.INTERNAL.value[0]

    def test_is_passed_on_to_the_services_that_a_call_asks(self, rig: SyncRig) -> None:
        seen = _see_callers(rig)
        with (
            open_channel(f"127.0.0.1:{rig.port}", rig.tokens, "tenancy", max_bytes=1024) as channel,
            acting(Caller(traceparent=SAMPLED, request_id="request-1")),
        ):
            pb_grpc.ScratchServiceStub(channel).Tell(pb.Ask(), timeout=TIMEOUT)
        assert (seen[0].service, seen[0].trace_id, seen[0].request_id) == ("tenancy", TRACE_ID, "request-1")

    def test_so_is_the_deadline(self, rig: SyncRig) -> None:
        left: list[float] = []

        def handle(request: Any, context: Any) -> Any:
            del request
            left.append(context.time_remaining())
            return pb.Answer()

        rig.servicer.unary = handle
        with open_channel(f"127.0.0.1:{rig.port}", rig.tokens, "tenancy", max_bytes=1024) as channel:
            stub = pb_grpc.ScratchServiceStub(channel)
            with deadline(time.monotonic() + 2):
                stub.Tell(pb.Ask(), timeout=10)
            stub.Tell(pb.Ask())
        assert 0 < left[0] <= 2.1
        assert 10 < left[1] <= 15.1, "without one, no call between services waits for ever"


class TestMetrics:
    @staticmethod
    def _scraped(rig: Rig) -> dict[str, float]:
        registry = CollectorRegistry()
        registry.register(rig.stages.metrics)
        lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def _find(self, scraped: dict[str, float], kind: str, **labels: str) -> float:
        (found,) = [
            value
            for name, value in scraped.items()
            if name.startswith(f"plinth_rpc_duration_seconds_{kind}{{")
            and all(f'{key}="{wanted}"' in name for key, wanted in labels.items())
        ]
        return found

    def test_count_every_call_of_every_thread_and_refusals_too(self, either: Rig) -> None:
        person = either.world.person()

        def ask() -> None:
            for _ in range(10):
                either.stub.GetSelf(pb.Ask(), metadata=person.metadata, timeout=TIMEOUT)

        at_once(4, ask)
        for _ in range(3):
            with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING"):
                either.stub.GetSelf(pb.Ask(), timeout=TIMEOUT)
        until(lambda: len(either.log) == 43, "a line for each call")
        scraped = self._scraped(either)
        for code, count in (("OK", 40), ("UNAUTHENTICATED", 3)):
            labels = {"method": "GetSelf", "code": code, "service": SERVICE}
            assert self._find(scraped, "count", **labels) == count
            assert self._find(scraped, "bucket", le="+Inf", **labels) == count
            assert self._find(scraped, "sum", **labels) > 0
            buckets = [value for name, value in scraped.items() if "_bucket" in name and f'code="{code}"' in name]
            assert buckets == sorted(buckets)
            assert len(buckets) == 17

    def test_tell_how_many_calls_are_under_way(self, rig: SyncRig) -> None:
        inside, leave = threading.Event(), threading.Event()

        def wait(*_: Any) -> Any:
            inside.set()
            assert leave.wait(TIMEOUT)
            return pb.Answer()

        rig.servicer.unary = wait
        call = rig.stub.Ping.future(pb.Ask(), timeout=TIMEOUT)
        assert inside.wait(10)
        assert self._scraped(rig)["plinth_rpc_in_flight"] == 1
        leave.set()
        call.result()
        until(lambda: self._scraped(rig)["plinth_rpc_in_flight"] == 0, "none under way")

    def test_have_no_label_without_bound(self, rig: SyncRig) -> None:
        for _ in range(5):
            workspace, person = rig.world.member("notes.read")
            ask = pb.AskOfWorkspace(parent=WORKSPACE.format(workspace=workspace))
            rig.stub.Visit(ask, metadata=person.metadata, timeout=TIMEOUT)
        until(lambda: len(rig.log) == 5, "five lines")
        assert len([name for name in self._scraped(rig) if "_count{" in name]) == 1
