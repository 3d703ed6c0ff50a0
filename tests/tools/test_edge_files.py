"""Files through a real Envoy with the generated configuration: raw bodies up, streamed bodies down."""

from __future__ import annotations

import base64
import queue
import socket
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2_grpc

from tests.tools.conftest import compile_text
from tests.tools.contracts import http, method, policy, service
from tests.tools.envoys import running_edge
from tools.contract import DEFAULT_REQUEST_BYTES

MEBIBYTE = 1 << 20
CONTRACT = (
    service(
        method(
            "UploadPhotos",
            policy("public: true timeout: {seconds: 600}")
            + http('post: "/v1/{parent=pets/*}/photos:upload" body: "content"'),
            takes="stream UploadPhotosRequest",
        ),
        method(
            "AppendPhoto",
            policy("public: true max_request_bytes: 9437184")
            + http('patch: "/v1/{name=pets/*/photos/*}" body: "content"'),
            takes="AppendPhotoRequest",
        ),
        method(
            "CreatePhoto",
            policy("public: true max_request_bytes: 12582912") + http('post: "/v1/{parent=pets/*}/photos" body: "pet"'),
            takes="CreatePhotoRequest",
        ),
        method("SellPet", policy("public: true") + http('post: "/v1/{name=pets/*}:sell" body: "*"')),
        method(
            "DownloadPhoto",
            policy("public: true read_only: true") + http('get: "/v1/{name=pets/*}:download"'),
            returns="stream google.api.HttpBody",
        ),
    )
    + """
message Pet { string name = 1; int64 size = 2; bytes photo = 3; }
message GetPetRequest { string name = 1; }
message UploadPhotosRequest {
  string parent = 1;
  string display_name = 2;
  repeated string tags = 3;
  google.api.HttpBody content = 4;
}
message AppendPhotoRequest { string name = 1; int64 offset = 2; google.api.HttpBody content = 3; }
message CreatePhotoRequest { string parent = 1; Pet pet = 2; }
"""
)
UPLOAD = "/v1/pets/1/photos:upload"


@dataclass
class Uploaded:
    """What a server saw of an upload."""

    first: Any
    later: set[tuple[str, str, str]]
    size: int
    largest: int


@dataclass
class Photos:
    """A server that measures what it is sent, and sends what the test says."""

    pool: DescriptorPool
    begun: queue.SimpleQueue[int] = field(default_factory=queue.SimpleQueue)
    uploads: queue.SimpleQueue[Uploaded | Exception] = field(default_factory=queue.SimpleQueue)
    refuse_at: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    parts: list[bytes] = field(default_factory=list)
    broken: bool = False

    def kind(self, name: str) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def pet(self, size: int, name: str = "") -> Any:
        return self.kind("plinth.pets.v1.Pet")(size=size, name=name)

    def upload(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        if self.refuse_at is not None:
            size = 0
            while size < self.refuse_at:
                size += len(next(requests).content.data)
            context.abort(grpc.StatusCode.NOT_FOUND, "No.")
        return self.pet(self._read(requests).size)

    def _read(self, requests: Iterator[Any]) -> Uploaded:
        seen = Uploaded(None, set(), 0, 0)
        try:
            for request in requests:
                self.begun.put(seen.size)
                if seen.first is None:
                    seen.first = request
                else:
                    seen.later.add((request.parent, request.display_name, request.content.content_type))
                seen.size += len(request.content.data)
                seen.largest = max(seen.largest, len(request.content.data))
            # A connection that was cut may look like an end, until one looks again.
            next(requests, None)
        except grpc.RpcError as error:
            self.uploads.put(error)
            raise
        self.uploads.put(seen)
        return seen

    def append(self, request: Any, context: grpc.ServicerContext) -> Any:
        encoding = str(dict(context.invocation_metadata())["content-encoding"])
        told = f"{request.name} {request.offset} {request.content.content_type} {encoding}"
        return self.pet(len(request.content.data), told)

    def create(self, request: Any, _: object) -> Any:
        return self.pet(len(request.pet.photo), request.parent)

    def sell(self, request: Any, _: object) -> Any:
        return self.pet(0, request.name)

    def download(self, _: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.send_initial_metadata(self.headers)
        body = self.kind("google.api.HttpBody")
        for number, part in enumerate(self.parts):
            yield body(content_type="text/html" if number == 0 else "", data=part).SerializeToString()
        if self.broken:
            # As the chain ends the answers of a download that failed.
            yield b"\xff"
            context.abort(grpc.StatusCode.UNAVAILABLE, "No.")


def handlers(photos: Photos) -> dict[str, Any]:
    def taking(name: str) -> Callable[[bytes], Any]:
        parse: Callable[[bytes], Any] = photos.kind(f"plinth.pets.v1.{name}").FromString
        return parse

    def write(message: Any) -> bytes:
        return bytes(message.SerializeToString())

    unary, upload = grpc.unary_unary_rpc_method_handler, grpc.stream_unary_rpc_method_handler
    return {
        "UploadPhotos": upload(photos.upload, taking("UploadPhotosRequest"), write),
        "AppendPhoto": unary(photos.append, taking("AppendPhotoRequest"), write),
        "CreatePhoto": unary(photos.create, taking("CreatePhotoRequest"), write),
        "SellPet": unary(photos.sell, taking("GetPetRequest"), write),
        "DownloadPhoto": grpc.unary_stream_rpc_method_handler(photos.download, taking("GetPetRequest")),
    }


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Photos]]:
    folder = tmp_path_factory.mktemp("edge")
    request = compile_text(CONTRACT, folder)
    pool = DescriptorPool()
    for file in request.proto_file:
        pool.AddSerializedFile(file.SerializeToString())
    photos = Photos(pool)
    sizes = [(f"grpc.max_{way}_message_length", 16 * MEBIBYTE) for way in ("receive", "send")]
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0), *sizes])
    served = grpc.method_handlers_generic_handler("plinth.pets.v1.PetService", handlers(photos))
    server.add_generic_rpc_handlers((served,))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with running_edge(request, folder, port) as url:
        yield url, photos
    server.stop(0)


@pytest.fixture(autouse=True)
def photos(edge: tuple[str, Photos]) -> Photos:
    photos = edge[1]
    photos.refuse_at, photos.headers, photos.parts, photos.broken = None, (), [], False
    photos.begun, photos.uploads = queue.SimpleQueue(), queue.SimpleQueue()
    return photos


@pytest.fixture
def client(edge: tuple[str, Photos], photos: Photos) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=edge[0], timeout=20) as made:
        yield made


def pieces(count: int, size: int = MEBIBYTE) -> Iterator[bytes]:
    for _ in range(count):
        yield b"x" * size


class TestUpload:
    def test_the_query_and_the_type_come_first_and_the_body_in_pieces(
        self, client: httpx.Client, photos: Photos
    ) -> None:
        query = "displayName=Rex+at+home&tags=a&tags=b"
        answer = client.post(f"{UPLOAD}?{query}", content=pieces(20), headers={"content-type": "image/png"})
        assert (answer.status_code, answer.json()["size"]) == (200, str(20 * MEBIBYTE))
        seen = photos.uploads.get(timeout=10)
        assert isinstance(seen, Uploaded)
        assert (seen.first.parent, seen.first.display_name, list(seen.first.tags)) == (
            "pets/1",
            "Rex at home",
            ["a", "b"],
        )
        assert seen.first.content.content_type == "image/png"
        assert seen.later == {("", "", "")}
        assert seen.largest < DEFAULT_REQUEST_BYTES

    def test_json_is_bytes_like_any_others(self, client: httpx.Client, photos: Photos) -> None:
        client.post(UPLOAD, json={"a": 1})
        seen = photos.uploads.get(timeout=10)
        assert isinstance(seen, Uploaded)
        assert seen.first.content.content_type == "application/json"
        assert seen.first.content.data in (b'{"a":1}', b'{"a": 1}')

    def test_no_bytes_are_one_message(self, client: httpx.Client) -> None:
        assert client.post(UPLOAD).json()["size"] == "0"

    def test_an_unknown_parameter_is_refused(self, client: httpx.Client) -> None:
        assert client.post(f"{UPLOAD}?colour=red", content=b"x").status_code == 400

    @pytest.mark.parametrize("at", [0, 3 * MEBIBYTE])
    def test_a_refusal_reaches_who_is_still_sending(self, client: httpx.Client, photos: Photos, at: int) -> None:
        photos.refuse_at = at
        answer = client.post(UPLOAD, content=pieces(30), headers={"content-length": str(30 * MEBIBYTE)})
        assert (answer.status_code, answer.json()["code"]) == (404, 5)

    @pytest.mark.parametrize("head", ["content-length: 100000", "transfer-encoding: chunked"])
    def test_a_connection_that_is_cut_is_no_end(self, edge: tuple[str, Photos], photos: Photos, head: str) -> None:
        host, _, port = edge[0].removeprefix("http://").partition(":")
        body = b"5\r\nhello\r\n" if "chunked" in head else b"hello"
        for _ in range(25):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(f"POST {UPLOAD} HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n".encode() + body)
                photos.begun.get(timeout=10)
            assert isinstance(photos.uploads.get(timeout=10), grpc.RpcError)

    def test_who_asks_before_sending_is_told_to_go_on(self, edge: tuple[str, Photos]) -> None:
        host, _, port = edge[0].removeprefix("http://").partition(":")
        head = f"POST {UPLOAD} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue")
            connection.sendall(b"hi")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


class TestLimits:
    def test_a_body_may_be_as_long_as_its_method_takes(self, client: httpx.Client) -> None:
        headers = {"content-type": "a/b", "content-encoding": "gzip"}
        answer = client.patch("/v1/pets/1/photos/2?offset=7", content=b"x" * 9437184, headers=headers)
        assert answer.json() == {"name": "pets/1/photos/2 7 a/b gzip", "size": "9437184", "photo": ""}
        assert client.patch("/v1/pets/1/photos/2", content=b"x" * 9437185).status_code == 413

    def test_base64_counts_as_it_is_sent(self, client: httpx.Client) -> None:
        photo = base64.b64encode(b"x" * 8 * MEBIBYTE).decode()
        answer = client.post("/v1/pets/1/photos", json={"photo": photo})
        assert (answer.json()["name"], answer.json()["size"]) == ("pets/1", str(8 * MEBIBYTE))

    @pytest.mark.parametrize(
        ("verb", "path"),
        [
            ("POST", "/v1/pets/1:sell"),
            ("POST", "/v1/pets/1/photos/2"),
            ("PATCH", "/v1/pets/1/photos/2:crop"),
            ("PATCH", "/v1/pets/1/photos/2/more"),
            ("PUT", UPLOAD),
        ],
    )
    def test_no_other_body_is_longer_for_it(self, client: httpx.Client, verb: str, path: str) -> None:
        assert client.request(verb, path, content=b"x" * (DEFAULT_REQUEST_BYTES + 1)).status_code == 413


class TestDownload:
    def test_it_arrives_as_it_is_and_is_saved_rather_than_shown(self, client: httpx.Client, photos: Photos) -> None:
        photos.parts = [b"<script>", b"x" * 3 * MEBIBYTE, b"</script>"]
        answer = client.get("/v1/pets/1:download")
        assert answer.content == b"".join(photos.parts)
        assert answer.headers["content-type"] == "text/html"
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["cache-control"] == "no-store"

    def test_the_server_names_the_file(self, client: httpx.Client, photos: Photos) -> None:
        named = "attachment; filename=\"r_ml.html\"; filename*=UTF-8''r%C3%A4ml.html"
        photos.parts, photos.headers = [b"x"], (("content-disposition", named),)
        assert client.get("/v1/pets/1:download").headers["content-disposition"] == named

    def test_one_that_breaks_off_does_not_look_whole(self, client: httpx.Client, photos: Photos) -> None:
        photos.parts, photos.broken = [b"half"], True
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/v1/pets/1:download")
