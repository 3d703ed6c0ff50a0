"""What a sender makes of receivers of every kind. Whatever hung with its receiver would hang the test."""

import resource
import socket
import ssl
import time
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from services.events.model.attempts import BODY_KEPT, Exchange, Failure
from services.events.webhooks.guard import AddressGuard, resolve
from services.events.webhooks.sender import Sender
from services.kernel.clock import SystemClock
from tests.events.webhooks.receivers import (
    Authority,
    Manner,
    Receiver,
    answering,
    dripping,
    flooding,
    hanging,
    receiver,
    saying,
)

HERE = (IPv4Network("127.0.0.1/32"), IPv6Network("::1/128"))
HEADERS = {"content-type": "application/cloudevents+json", "webhook-id": "0199", "webhook-signature": "v1,secret"}
BODY = b'{"type":"plinth.tested.v1"}'
SOON = timedelta(milliseconds=400)


def sender(
    timeout: timedelta = timedelta(seconds=20),
    trust: ssl.SSLContext | None = None,
    resolver: Callable[[str, int], list[str]] | None = None,
) -> Sender:
    """A sender that may go to this machine."""
    guard = AddressGuard(HERE, plain_http=True, resolver=resolver or resolve)
    return Sender(guard, SystemClock(), trust=trust, timeout=timeout)


def sent_to(manner: Manner, timeout: timedelta = timedelta(seconds=20)) -> tuple[Exchange, Receiver]:
    """What becomes of one request to a receiver with such manners."""
    with receiver(manner) as there:
        return sender(timeout).send(there.url(), HEADERS, BODY), there


class TestDelivered:
    def test_the_request_is_what_was_signed_and_the_exchange_tells_of_it(self) -> None:
        made, there = sent_to(answering("200 OK", "X-Answer: yes", body=b"thanks"))
        (request,) = there.received
        assert request.request_line == "POST /hook HTTP/1.1"
        assert request.body == BODY
        assert request.headers == HEADERS | {
            "host": f"127.0.0.1:{there.port}",
            "content-length": str(len(BODY)),
            "connection": "close",
        }
        assert (made.status, made.failure, made.error) == (200, None, "")
        assert (made.address, made.response_body) == ("127.0.0.1", b"thanks")
        assert made.response_headers == {"x-answer": "yes", "content-length": "6"}
        assert made.latency > timedelta(0)

    def test_no_signature_is_kept(self) -> None:
        made, _ = sent_to(answering("200 OK"))
        assert "webhook-signature" not in made.request_headers
        assert made.request_headers["webhook-id"] == "0199"

    @pytest.mark.parametrize("status", ["201 Created", "202 Accepted", "204 No Content", "299 Fine"])
    def test_every_2xx_is_a_delivery(self, status: str) -> None:
        assert sent_to(answering(status))[0].failure is None

    def test_a_chunked_answer_is_read(self) -> None:
        raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        assert sent_to(saying(raw))[0].response_body == b"hello"

    def test_the_next_address_is_tried_where_one_does_not_answer(self) -> None:
        def both(host: str, port: int) -> list[str]:
            del host, port
            return ["::1", "127.0.0.1"]

        with receiver(answering("200 OK")) as there:
            made = sender(resolver=both).send(there.url("two.example.com"), HEADERS, BODY)
        assert (made.failure, made.address) == (None, "127.0.0.1")


class TestRefused:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433"])
    def test_nothing_leaves_for_an_address_inside(self, host: str) -> None:
        with receiver(answering("200 OK")) as there:
            strict = Sender(AddressGuard(plain_http=True), SystemClock())
            made = strict.send(there.url(host), HEADERS, BODY)
            assert (made.failure, made.address, made.status) == (Failure.ADDRESS_REFUSED, "", None)
            assert there.connections == 0

    def test_http_is_refused_where_it_is_not_allowed(self) -> None:
        with receiver(answering("200 OK")) as there:
            made = Sender(AddressGuard(HERE), SystemClock()).send(there.url(), HEADERS, BODY)
            assert made.failure is Failure.ADDRESS_REFUSED
            assert there.connections == 0

    def test_the_connection_goes_to_the_address_that_was_judged(self) -> None:
        """The name leads here when it is checked, and elsewhere a moment later."""
        asked: list[str] = []

        def rebinding(host: str, port: int) -> list[str]:
            del port
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

        with receiver(answering("200 OK")) as good, receiver(answering("200 OK"), address="127.0.0.2") as bad:
            made = sender(resolver=rebinding).send(good.url("rebinds.example.com"), HEADERS, BODY)
            assert (made.failure, made.address) == (None, "127.0.0.1")
            assert good.received[0].headers["host"] == f"rebinds.example.com:{good.port}"
            assert (asked, bad.connections) == (["rebinds.example.com"], 0)


class TestRedirected:
    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Again", "308 Again"])
    def test_no_redirect_is_followed(self, status: str) -> None:
        with receiver(answering("200 OK")) as target:
            made, there = sent_to(answering(status, f"location: {target.url()}"))
            assert (made.failure, made.status) == (Failure.REDIRECT, int(status[:3]))
            assert (there.connections, target.connections) == (1, 0)

    def test_not_to_cloud_metadata_either_and_no_packet_leaves_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connected: list[str] = []
        connect = socket.socket.connect

        def watched(self: socket.socket, address: tuple[str, int]) -> None:
            connected.append(address[0])
            connect(self, address)

        monkeypatch.setattr(socket.socket, "connect", watched)
        made, _ = sent_to(answering("302 Found", "location: http://169.254.169.254/latest/meta-data/"))
        assert made.failure is Failure.REDIRECT
        assert made.response_headers["location"] == "http://169.254.169.254/latest/meta-data/"
        assert connected == ["127.0.0.1"]


class TestRejected:
    @pytest.mark.parametrize("status", ["400 No", "404 No", "429 Slow", "500 Oops", "503 Later", "199 What"])
    def test_any_other_status_is_a_failure(self, status: str) -> None:
        made, _ = sent_to(answering(status))
        assert (made.failure, made.status, made.error) == (
            Failure.STATUS,
            int(status[:3]),
            f"The answer was {status[:3]}.",
        )

    def test_410_means_gone(self) -> None:
        assert sent_to(answering("410 Gone"))[0].failure is Failure.GONE

    def test_retry_after_is_told(self) -> None:
        assert sent_to(answering("429 Slow", "Retry-After: 90"))[0].retry_after == timedelta(seconds=90)
        assert sent_to(answering("429 Slow"))[0].retry_after is None


class TestBoundedTime:
    @pytest.mark.parametrize(
        "manner",
        [
            hanging,
            dripping(b""),
            dripping(b"HTTP/1.1 200 OK\r\nx-header: "),
            dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"),
            dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFF\r\n"),
            dripping(b"HTTP/1.1 200 OK\r\n\r\n"),
        ],
        ids=["nothing", "status line", "header", "body", "chunk", "body without a length"],
    )
    def test_who_answers_byte_by_byte_or_not_at_all_is_given_up(self, manner: Manner) -> None:
        made, _ = sent_to(manner, SOON)
        assert made.failure is Failure.TIMEOUT

    def test_so_is_who_does_not_read(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            made = sender(SOON).send(url, HEADERS, b"a" * 50_000_000)
        assert made.failure is Failure.TIMEOUT

    def test_so_is_who_does_not_shake_hands(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            made = sender(SOON).send(f"https://127.0.0.1:{listening.getsockname()[1]}/", HEADERS, BODY)
        assert (made.failure, made.address) == (Failure.TIMEOUT, "127.0.0.1")

    def test_a_host_that_resolves_slowly_leaves_no_more_time(self) -> None:
        def late(host: str, port: int) -> list[str]:
            del host, port
            until = time.monotonic() + SOON.total_seconds()
            while time.monotonic() < until:
                pass
            return ["127.0.0.1"]

        with receiver(answering("200 OK")) as there:
            made = sender(SOON, resolver=late).send(there.url("late.example.com"), HEADERS, BODY)
            assert made.failure is Failure.TIMEOUT
            assert there.connections == 0


class TestBoundedMemory:
    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n", 200),
            (b"HTTP/1.1 500 Oops\r\n\r\n", 500),
            (b"HTTP/1.1 200 OK\r\nx-long: ", None),
            (b"", None),
        ],
        ids=["length", "no length", "endless header", "endless status line"],
    )
    def test_a_gigabyte_is_not_read(self, head: bytes, status: int | None) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        made, there = sent_to(flooding(head, b"a" * 65536, 2**30))
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert made.status == status
        assert made.failure == {200: None, 500: Failure.STATUS, None: Failure.PROTOCOL}[status]
        assert len(made.response_body) <= BODY_KEPT
        # What the kernel's buffers took beside the 64 KiB that are read.
        assert there.bytes_sent < 64 * 2**20
        assert grown_kib < 64 * 1024

    def test_of_many_and_long_headers_little_is_kept(self) -> None:
        headers = [f"x-{number}: {'v' * 500}" for number in range(80)]
        made, _ = sent_to(answering("200 OK", *headers))
        assert len(made.response_headers) <= 50
        assert all(len(value) <= 256 for value in made.response_headers.values())

    def test_what_a_text_column_cannot_hold_is_replaced(self) -> None:
        made, _ = sent_to(saying(b"HTTP/1.1 200 OK\r\nX-Odd: a\x00b\xe9\x1b\r\ncontent-length: 0\r\n\r\n"))
        assert made.response_headers["x-odd"] == "a�bé�"


class TestBroken:
    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        ],
        ids=["nothing", "ssh", "no status", "short", "bad chunk", "200 headers"],
    )
    def test_what_is_not_an_answer_is_a_failure(self, raw: bytes) -> None:
        made, _ = sent_to(saying(raw))
        assert made.failure is Failure.PROTOCOL
        assert made.error

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        made = sender().send(f"http://127.0.0.1:{port}/", HEADERS, BODY)
        assert (made.failure, made.address) == (Failure.CONNECTION, "")

    def test_no_such_host(self) -> None:
        assert sender().send("http://does-not-exist.invalid/", HEADERS, BODY).failure is Failure.DNS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def here() -> Callable[[str, int], list[str]]:
    """A resolver to which every host is this machine."""
    return lambda host, port: ["127.0.0.1"]


class TestTls:
    def test_the_certificate_is_the_hosts_although_the_address_is_pinned(
        self, authority: Authority, tmp_path: Path, here: Callable[[str, int], list[str]]
    ) -> None:
        with receiver(answering("200 OK"), authority.server(tmp_path, "hooks.example.com")) as there:
            url = there.url("hooks.example.com", "https")
            made = sender(trust=authority.trust(), resolver=here).send(url, HEADERS, BODY)
        assert (made.failure, made.status, made.address) == (None, 200, "127.0.0.1")

    @pytest.mark.parametrize(
        ("host", "lifetime", "trusted", "words"),
        [
            ("other.example.com", timedelta(days=1), True, "ostname"),
            ("hooks.example.com", timedelta(days=-1), True, "expired"),
            ("hooks.example.com", timedelta(days=1), False, "certificate"),
        ],
        ids=["another host", "expired", "unknown authority"],
    )
    def test_a_bad_certificate_gets_nothing(
        self,
        authority: Authority,
        tmp_path: Path,
        here: Callable[[str, int], list[str]],
        host: str,
        lifetime: timedelta,
        trusted: bool,
        words: str,
    ) -> None:
        with receiver(answering("200 OK"), authority.server(tmp_path, host, lifetime)) as there:
            trust = authority.trust() if trusted else None
            made = sender(trust=trust, resolver=here).send(there.url("hooks.example.com", "https"), HEADERS, BODY)
            assert (made.failure, made.status) == (Failure.TLS, None)
            assert words in made.error
            assert there.received == []

    def test_a_receiver_without_tls_gets_nothing_either(self, here: Callable[[str, int], list[str]]) -> None:
        with receiver(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as there:
            made = sender(SOON, resolver=here).send(there.url("hooks.example.com", "https"), HEADERS, BODY)
        assert made.failure in (Failure.TLS, Failure.TIMEOUT)
