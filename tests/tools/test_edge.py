"""What a client meets at a real Envoy that runs the generated configuration, with a tiny server behind it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import status_pb2
from grpc_health.v1 import health, health_pb2_grpc

from tests.tools.conftest import compile_text
from tests.tools.contracts import http, method, policy, service
from tests.tools.envoys import ORIGIN, running_edge
from tools.contract import DEFAULT_REQUEST_BYTES

CONTRACT = (
    service(
        method("GetPet", policy("public: true read_only: true") + http('get: "/v1/{name=pets/*}"')),
        method("AddPet", policy("public: true timeout: {seconds: 1}") + http('post: "/v1/pets" body: "pet"')),
        method("VerifyPet", policy('internal: {callers: ["*"]}')),
        method("WatchPet", policy("public: true read_only: true"), returns="stream Pet"),
        method(
            "WatchPetSse",
            policy("public: true read_only: true") + http('get: "/v1/pets:watch"'),
            returns="stream google.api.HttpBody",
        ),
    )
    + """
message Pet { string name = 1; int32 age = 2; }
message GetPetRequest { string name = 1; Pet pet = 2; }
"""
)


@dataclass
class Pets:
    """A server that notes what reaches it, and answers as the test says."""

    pool: DescriptorPool
    calls: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    deadline: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
    fail_with: tuple[grpc.StatusCode, tuple[tuple[str, str], ...]] | None = None
    next_chunk: threading.Event = field(default_factory=threading.Event)

    def reset(self) -> None:
        self.calls.clear()
        self.headers = ()
        self.fail_with = None
        self.next_chunk.clear()

    def make(self, full_name: str, /, **fields: Any) -> bytes:
        kind = message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))
        return bytes(kind(**fields).SerializeToString())

    def unary(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        self.note(context)
        if self.fail_with:
            code, trailers = self.fail_with
            context.set_trailing_metadata(trailers)
            context.abort(code, "No.")
        context.send_initial_metadata(self.headers)
        return self.make("plinth.pets.v1.Pet", name="pets/1")

    def stream(self, _: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.note(context)
        for data in (b": hello\n\n", b"id: 1\ndata: {}\n\n"):
            yield self.make("google.api.HttpBody", content_type="text/event-stream", data=data)
            # The second is not sent before the client has seen the first.
            assert self.next_chunk.wait(10)

    def note(self, context: grpc.ServicerContext) -> None:
        self.metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        self.deadline = context.time_remaining()
        self.calls.append(self.metadata.get("x-envoy-original-path", ""))


@dataclass
class Edge:
    url: str
    pets: Pets
    server: grpc.Server


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("edge")
    request = compile_text(CONTRACT, folder)
    pool = DescriptorPool()
    for file in request.proto_file:
        pool.AddSerializedFile(file.SerializeToString())
    pets = Pets(pool)
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    unary = grpc.unary_unary_rpc_method_handler(pets.unary)
    handlers = {"GetPet": unary, "AddPet": unary, "VerifyPet": unary}
    watching = {"WatchPetSse": grpc.unary_stream_rpc_method_handler(pets.stream)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("plinth.pets.v1.PetService", handlers | watching),)
    )
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with running_edge(request, folder, port) as url:
        yield Edge(url, pets, server)
    server.stop(0)


@pytest.fixture
def client(edge: Edge) -> Iterator[httpx.Client]:
    edge.pets.reset()
    with httpx.Client(base_url=edge.url, timeout=10) as made:
        yield made


@pytest.fixture
def channel(edge: Edge) -> Iterator[grpc.Channel]:
    edge.pets.reset()
    with grpc.insecure_channel(edge.url.removeprefix("http://")) as made:
        yield made


def refusal(channel: grpc.Channel, name: str) -> grpc.RpcError:
    """The error of a call by gRPC."""
    call = channel.unary_unary(f"/plinth.pets.v1.PetService/{name}", bytes, bytes)
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", timeout=10)
    return raised.value


class TestRest:
    def test_a_call_is_answered_in_json_with_every_field(self, client: httpx.Client) -> None:
        answer = client.get("/v1/pets/1")
        assert (answer.status_code, answer.json()) == (200, {"name": "pets/1", "age": 0})

    @pytest.mark.parametrize(
        ("verb", "path", "body", "status", "code", "reason", "said"),
        [
            ("GET", "/v1/nothing", "", 404, 5, "NOT_FOUND", "/v1/nothing"),
            ("GET", "/v1/pets/1:sell", "", 404, 5, "NOT_FOUND", ":sell"),
            ("GET", "/v1/pets/1?colour=red", "", 400, 3, "FIELDS_INVALID", "colour"),
            ("POST", "/v1/pets", '{"name":', 400, 3, "FIELDS_INVALID", "end of string"),
            ("POST", "/v1/pets", '{"age": "old"}', 400, 3, "FIELDS_INVALID", "age"),
            (
                "POST",
                "/v1/pets",
                json.dumps({"name": "x" * DEFAULT_REQUEST_BYTES}),
                413,
                3,
                "FIELDS_INVALID",
                "too large",
            ),
            ("GET", "/v1%2Fpets", "", 400, 3, "FIELDS_INVALID", "cannot be read"),
            ("POST", "/plinth.pets.v1.PetService/VerifyPet", "{}", 404, 5, "NOT_FOUND", "VerifyPet"),
        ],
    )
    def test_what_envoy_refuses_is_refused_like_everything_else(
        self, client: httpx.Client, verb: str, path: str, body: str, status: int, code: int, reason: str, said: str
    ) -> None:
        answer = client.request(verb, path, content=body)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["code"] == code
        assert said in answer.json()["message"]
        [info] = answer.json()["details"]
        assert (info["reason"], info["domain"]) == (reason, "plinth")

    def test_headers_that_are_too_large_are_refused(self, client: httpx.Client) -> None:
        assert client.get("/v1/pets/1", headers={"x-long": "x" * 40_000}).status_code == 431

    @pytest.mark.parametrize(("code", "status"), [(grpc.StatusCode.ABORTED, 409), (grpc.StatusCode.UNAVAILABLE, 503)])
    def test_retry_after_of_the_server_arrives(
        self, edge: Edge, client: httpx.Client, code: grpc.StatusCode, status: int
    ) -> None:
        edge.pets.fail_with = (code, (("retry-after", "7"),))
        answer = client.get("/v1/pets/1")
        assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")

    def test_a_read_is_tried_again_and_a_write_is_not(self, edge: Edge, client: httpx.Client) -> None:
        edge.pets.fail_with = (grpc.StatusCode.UNAVAILABLE, ())
        client.get("/v1/pets/1")
        assert len(edge.pets.calls) == 3
        edge.pets.calls.clear()
        client.post("/v1/pets", json={})
        assert len(edge.pets.calls) == 1

    def test_the_server_knows_the_deadline_of_a_rest_call(self, edge: Edge, client: httpx.Client) -> None:
        client.post("/v1/pets", json={})
        assert edge.pets.deadline is not None
        assert 0.5 < edge.pets.deadline <= 0.9

    def test_what_a_client_says_of_itself_is_not_believed(self, edge: Edge, client: httpx.Client) -> None:
        edge.pets.fail_with = (grpc.StatusCode.INTERNAL, ())
        lies = {"x-envoy-external-address": "6.6.6.6", "x-envoy-retry-on": "5xx", "x-envoy-internal": "true"}
        client.post("/v1/pets", json={}, headers=lies | {"x-envoy-max-retries": "9"})
        assert len(edge.pets.calls) == 1
        assert edge.pets.metadata["x-envoy-external-address"] == "127.0.0.1"
        assert "x-envoy-internal" not in edge.pets.metadata

    def test_the_trace_of_the_caller_goes_on(self, edge: Edge, client: httpx.Client) -> None:
        trace = f"00-{'a' * 32}-{'b' * 16}-01"
        client.get("/v1/pets/1", headers={"traceparent": trace, "tracestate": "x=1"})
        assert (edge.pets.metadata["traceparent"], edge.pets.metadata["tracestate"]) == (trace, "x=1")


class TestSse:
    def test_each_event_arrives_at_once_and_the_last_id_goes_up(self, edge: Edge, client: httpx.Client) -> None:
        with client.stream("GET", "/v1/pets:watch", headers={"last-event-id": "41"}) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
            chunks = answer.iter_raw()
            assert next(chunks) == b": hello\n\n"
            edge.pets.next_chunk.set()
            assert next(chunks) == b"id: 1\ndata: {}\n\n"
        assert edge.pets.metadata["last-event-id"] == "41"
        # grpcio says "no deadline" with a number beyond all bounds.
        assert edge.pets.deadline is None or edge.pets.deadline > 1e9


class TestCookies:
    SET = (
        ("set-cookie", "__Host-a=1; Path=/; Expires=Thu, 01 Jan 2099 00:00:00 GMT; Secure; HttpOnly"),
        ("set-cookie", "__Secure-b=2; Path=/v1/auth:refresh; Secure; HttpOnly; SameSite=Strict"),
    )

    def test_each_that_the_server_sets_arrives_as_a_header_of_its_own(self, edge: Edge, client: httpx.Client) -> None:
        edge.pets.headers = self.SET
        answer = client.post("/v1/pets", json={})
        assert answer.headers.get_list("set-cookie") == [value for _, value in self.SET]

    def test_the_server_learns_the_browser_s_and_where_the_page_is_from(self, edge: Edge, client: httpx.Client) -> None:
        sent = {"cookie": "a=1; b=2", "origin": ORIGIN, "sec-fetch-site": "same-site"}
        client.post("/v1/pets", json={}, headers=sent)
        assert sent.items() <= edge.pets.metadata.items()


class TestCors:
    def test_a_named_origin_may_ask_and_read(self, client: httpx.Client) -> None:
        asking = {"origin": ORIGIN, "access-control-request-method": "POST"}
        asked = client.options("/v1/pets", headers=asking)
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, ORIGIN)
        # A page of that origin may be signed in by cookie.
        assert asked.headers["access-control-allow-credentials"] == "true"
        assert "authorization" in asked.headers["access-control-allow-headers"]
        answer = client.get("/v1/pets/1", headers={"origin": ORIGIN})
        assert "retry-after" in answer.headers["access-control-expose-headers"]

    def test_another_origin_may_not(self, client: httpx.Client) -> None:
        asking = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        assert "access-control-allow-origin" not in client.options("/v1/pets", headers=asking).headers


class TestGrpc:
    def test_a_method_is_called(self, edge: Edge, channel: grpc.Channel) -> None:
        call = channel.unary_unary("/plinth.pets.v1.PetService/GetPet", bytes, bytes)
        assert b"pets/1" in call(b"", timeout=10)

    @pytest.mark.parametrize("name", ["VerifyPet", "NoSuchMethod"])
    def test_an_internal_method_is_as_absent_as_an_unknown_one(
        self, edge: Edge, channel: grpc.Channel, name: str
    ) -> None:
        error = refusal(channel, name)
        assert isinstance(error, grpc.Call)
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert not edge.pets.calls

    def test_grpc_web_is_understood(self, edge: Edge, client: httpx.Client) -> None:
        headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
        answer = client.post("/plinth.pets.v1.PetService/GetPet", content=b"\0" * 5, headers=headers)
        assert answer.headers["content-type"] == "application/grpc-web+proto"
        assert b"pets/1" in answer.content
        assert b"grpc-status:0" in answer.content.replace(b" ", b"")


class TestServerAway:
    """Last, for the server does not come back."""

    def test_everybody_is_told_when_to_come_back(self, edge: Edge, client: httpx.Client, channel: grpc.Channel) -> None:
        edge.server.stop(0).wait()
        answer = client.post("/v1/pets", json={})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        reason, retry = answer.json()["details"]
        assert (reason["reason"], retry["retryDelay"]) == ("DEPENDENCY_UNAVAILABLE", "1s")
        assert "upstream" not in answer.text

        error = refusal(channel, "AddPet")
        assert isinstance(error, grpc.Call)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        trailer = {str(key): value for key, value in error.trailing_metadata() or ()}
        status = status_pb2.Status.FromString(_bytes(trailer["grpc-status-details-bin"]))
        assert [detail.TypeName() for detail in status.details] == ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"]


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else base64.b64decode(value)
