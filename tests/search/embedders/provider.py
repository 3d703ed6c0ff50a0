"""A provider of embeddings on a real socket, which speaks OpenAI's protocol, and misbehaves when told to."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import SecretStr

from services.kernel.config import Settings
from services.search.embedders.openai import Endpoint

KEY = "test-key-of-nobody"
DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, object]

    @property
    def texts(self) -> list[str]:
        """What was to be embedded."""
        texts = self.body["input"]
        assert isinstance(texts, list)
        return texts


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: "Provider"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.server.asked.append(asked)
        manner = self.server.manners.pop(0) if self.server.manners else embedding()
        manner(self, asked)

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


# What the provider does with a request after it has read it.
Manner = Callable[[Handler, Asked], None]


class Provider(ThreadingHTTPServer):
    """`manners` are those of the next requests, one each; the others are answered with their vectors."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[Asked] = []
        self.manners: list[Manner] = []
        self.stopping = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""

    @property
    def url(self) -> str:
        """The base URL, as it is set."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def endpoint(self, **more: object) -> Endpoint:
        """Where an embedder finds it."""
        given = {"url": self.url, "key": SecretStr(KEY), "model": "test-model", "dimensions": DIMENSIONS, **more}
        return Endpoint(**given)  # type: ignore[arg-type]  # each test gives what it is about

    def settings(self, settings: Settings, **more: object) -> Settings:
        """The same settings, of an instance that asks it."""
        given = {
            "embedder_url": self.url,
            "embedder_key": KEY,
            "embedder_model": "test-model",
            "embedder_dimensions": DIMENSIONS,
            **more,
        }
        return Settings(**settings.model_dump() | given)


def numbers(text: str) -> list[float]:
    """The vector of a text, of any length."""
    return [1.0, float(len(text)), float(text.count("e")), float(ord(text[0]))]


def embedding(vector: Callable[[str], Sequence[object]] = numbers) -> Manner:
    """The vectors, the last text's first, as the protocol allows."""

    def manner(handler: Handler, asked: Asked) -> None:
        items = [{"object": "embedding", "index": at, "embedding": vector(text)} for at, text in enumerate(asked.texts)]
        answer = {"object": "list", "data": items[::-1], "model": asked.body["model"], "usage": {"total_tokens": 1}}
        handler.answer(200, json.dumps(answer).encode(), {})

    return manner


def saying(status: int, content: str = "", **headers: str) -> Manner:
    """This answer, whatever was asked; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, asked: handler.answer(status, content.encode(), named)


def failing(status: int, code: str = "", **headers: str) -> Manner:
    """An error in the protocol's form, whose message repeats the key, as some do."""
    return saying(status, json.dumps({"error": {"message": f"No: {KEY}", "type": "error", "code": code}}), **headers)


def hanging(handler: Handler, asked: Asked) -> None:
    """No answer until the provider stops."""
    del asked
    handler.server.stopping.wait(10)


def dripping(handler: Handler, asked: Asked) -> None:
    """An answer that never ends, a byte at a time."""
    del asked
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    while not handler.server.stopping.wait(0.02):
        handler.wfile.write(b" ")


def hanging_up(handler: Handler, asked: Asked) -> None:
    """The connection ends amid the answer."""
    del asked
    handler.send_response(200)
    handler.send_header("content-length", "100")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.close_connection = True


@contextmanager
def running() -> Iterator[Provider]:
    """A provider, until the block ends."""
    with Provider() as provider:
        thread = threading.Thread(target=provider.serve_forever, args=(0.02,))
        thread.start()
        yield provider
        provider.stopping.set()
        provider.shutdown()
        thread.join()
