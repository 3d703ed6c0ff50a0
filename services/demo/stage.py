"""Where the story is told: makes calls by REST and by gRPC, and shows each with its answer."""

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import grpc
import httpx
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from rich.console import Console
from rich.text import Text

from services.administration import read_mail
from services.kernel.config import Settings

# Values of these are shown as dots: who watches over a shoulder learns nothing.
_SECRETS = frozenset({"password", "accessToken", "refreshToken", "token", "secret"})
_MAX_LINES = 14
_MAIL_SECONDS = 5.0
_WAIT_SECONDS = 15.0

Json = dict[str, Any]


class Surprise(Exception):
    """The mesh did not do what the story says."""


class Stage:
    """Calls and shows. Every method raises Surprise for another outcome than the expected one."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._settings = settings
        self._http = httpx.Client(base_url=url, timeout=20.0)
        self._channel = _channel(url)
        # A demo may be told again on the same mesh, so its people are new each time.
        self._cast = secrets.token_hex(3)
        self._began = time.monotonic()
        self._calls = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._channel.close()

    @property
    def channel(self) -> grpc.Channel:
        """To the edge, for stubs."""
        return self._channel

    def address(self, name: str) -> str:
        """The e-mail address of someone in this telling."""
        return f"{name.lower()}.{self._cast}@example.com"

    def chapter(self, title: str) -> None:
        """A headline."""
        self._console.print(Text(f"\n━━ {title} ", "bold magenta"))

    def say(self, text: str) -> None:
        """What happens next, and why."""
        self._console.print(Text(f"\n{text}", "bold"))

    def rest(
        self, method: str, path: str, body: Json | None = None, *, token: str = "", expect: int = 200, reason: str = ""
    ) -> Json:
        """A REST call; its JSON. `expect` is the HTTP status, `reason` the ErrorInfo's of a refusal."""
        self._show(Text(f"{method} {path}", "cyan"), body)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            response = self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise Surprise(f"{method} {path}: nobody answers ({error})") from None
        answer: Json = response.json() if response.content else {}
        told = next((str(d["reason"]) for d in answer.get("details", ()) if "reason" in d), "")
        self._answer(str(response.status_code), response.status_code == expect and told == reason, answer)
        if response.status_code != expect or told != reason:
            raise Surprise(f"{method} {path}: expected {expect} {reason}, got {response.status_code} {told}")
        return answer

    def grpc(
        self, method: Callable[..., Any], name: str, request: Message, *, token: str = "", reason: str = ""
    ) -> Any:
        """A gRPC call on a stub's method; its response, or None where it is refused with `reason` as expected."""
        self._show(Text(f"gRPC {name}", "cyan"), MessageToDict(request))
        try:
            answer = method(request, metadata=[("authorization", f"Bearer {token}")] if token else [], timeout=20.0)
        except grpc.RpcError as error:
            told = _reason(error)
            self._answer(error.code().name, bool(reason) and told == reason, {"message": error.details()})
            if told != reason:
                raise Surprise(f"{name}: expected {reason or 'an answer'}, got {told}") from None
            return None
        self._answer("OK", not reason, MessageToDict(answer))
        if reason:
            raise Surprise(f"{name}: expected {reason}, got an answer")
        return answer

    def until(self, path: str, holds: Callable[[Json], bool], what: str, *, token: str) -> Json:
        """What a GET answers once it holds; it is asked again and again, and shown once."""
        deadline = time.monotonic() + _WAIT_SECONDS
        headers = {"authorization": f"Bearer {token}"}
        while time.monotonic() < deadline:
            response = self._http.get(path, headers=headers)
            if response.status_code == 200 and holds(response.json()):
                self._show(Text(f"GET {path}", "cyan"), None)
                self._answer("200", True, response.json())
                return dict(response.json())
            time.sleep(0.05)
        raise Surprise(f"GET {path}: not within {_WAIT_SECONDS:g} s: {what}")

    @contextmanager
    def sse(self, path: str, *, token: str) -> Iterator[Callable[[], Json]]:
        """A stream of server-sent events, connected; each call of what it gives waits for the next, and shows it."""
        self._show(Text(f"GET {path}", "cyan"), None)
        with self._http.stream("GET", path, headers={"authorization": f"Bearer {token}"}) as response:
            if response.status_code != 200:
                raise Surprise(f"GET {path}: expected a stream, got {response.status_code}")
            lines = response.iter_lines()
            _next_frame(lines)

            def told() -> Json:
                frame = _next_frame(lines)
                self._answer(f"{frame['event']} (id {frame['id']})", True, json.loads(frame["data"]))
                return frame

            yield told

    def watch(
        self,
        method: Callable[..., Any],
        name: str,
        request: Message,
        *,
        token: str = "",
        enough: Callable[[list[Any]], bool],
    ) -> list[Any]:
        """The messages of a server stream, up to the one with which there are enough."""
        self._show(Text(f"gRPC {name} …", "cyan"), MessageToDict(request))
        messages: list[Any] = []
        stream = method(request, metadata=[("authorization", f"Bearer {token}")] if token else [], timeout=20.0)
        try:
            for message in stream:
                messages.append(message)
                if enough(messages):
                    break
        except grpc.RpcError as error:
            raise Surprise(f"{name}: ended after {len(messages)} messages ({_reason(error)})") from None
        finally:
            stream.cancel()
        self._answer(f"{len(messages)} messages", True, MessageToDict(messages[-1]) if messages else {})
        return messages

    def mail(self, address: str) -> str:
        """The newest mail to this address, waiting for it."""
        deadline = time.monotonic() + _MAIL_SECONDS
        while time.monotonic() < deadline:
            texts = read_mail(self._settings, recipient=address, count=1)
            if texts:
                self._console.print(Text(f"  ✉ {address}: {texts[0].subject}", "yellow"))
                return texts[0].text
            time.sleep(0.05)
        raise Surprise(f"no mail came to {address}")

    def check(self, holds: bool, what: str) -> None:
        """Something that must be so."""
        if not holds:
            raise Surprise(f"it is not so that {what}")
        self._console.print(Text(f"  ✓ {what}", "green"))

    def fail(self, text: str) -> None:
        """The story ended badly."""
        self._console.print(Text(f"\n✗ {text}", "bold red"))

    def end(self) -> None:
        """The story ended well."""
        seconds = time.monotonic() - self._began
        self._console.print(Text(f"\n✓ {self._calls} calls in {seconds:.1f} s, every one as told.", "bold green"))

    def _show(self, headline: Text, body: Json | None) -> None:
        self._calls += 1
        self._console.print(Text.assemble("  → ", headline))
        if body:
            self._console.print(Text(_indented(body), "dim"))

    def _answer(self, status: str, expected: bool, answer: Json) -> None:
        self._console.print(Text.assemble("  ← ", Text(status, "green" if expected else "bold red")))
        if answer:
            self._console.print(Text(_indented(answer)))


def _next_frame(lines: Iterator[str]) -> dict[str, str]:
    """The fields of the next event that has data; heartbeats are passed over."""
    frame: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            frame[name] = value
        elif "data" in frame:
            return frame
        else:
            frame = {}
    raise Surprise("the stream ended")


def _channel(url: str) -> grpc.Channel:
    """To the edge; over TLS it trusts what SSL_CERT_FILE names, as the REST calls do."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return grpc.insecure_channel(parts.netloc)
    roots = os.environ.get("SSL_CERT_FILE")
    return grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(Path(roots).read_bytes() if roots else None))


def _reason(error: Any) -> str:  # a grpc.RpcError that is a grpc.Call too
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return str(error.code().name)


def _indented(value: Json) -> str:
    lines = json.dumps(_without_secrets(value), indent=2, ensure_ascii=False).splitlines()
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES - 1], f"… {len(lines) - _MAX_LINES + 1} more lines"]
    return "\n".join(f"    {line}" for line in lines)


def _without_secrets(value: Any) -> Any:
    match value:
        case dict():
            return {k: "•••" if k in _SECRETS and v else _without_secrets(v) for k, v in value.items()}
        case list():
            return [_without_secrets(item) for item in value]
        case _:
            return value
