"""Sends one webhook: to a judged address, in bounded time and memory, and following no redirect.

The deadline is one for all of it, resolving, connecting, TLS, sending and reading, so that a receiver that answers byte
by byte gains nothing; of an answer no more than 64 KiB is ever held.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from services.events.model.attempts import BODY_KEPT, Exchange, Failure, failure_of
from services.events.model.signing import SIGNATURE
from services.events.webhooks.guard import AddressGuard, Target, UrlRefused
from services.kernel.clock import Clock

TIMEOUT = timedelta(seconds=20)
_ANSWER_BYTES = 64 * 1024
_BODY_BYTES = 16 * 1024
_HEADERS_KEPT = 50
_VALUE_KEPT = 256


class Sender:
    """Calls endpoints. One of it serves all threads of a process."""

    def __init__(
        self, guard: AddressGuard, clock: Clock, *, trust: ssl.SSLContext | None = None, timeout: timedelta = TIMEOUT
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._trust = trust or ssl.create_default_context()
        self._timeout = timeout

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """POST the body. Whatever the receiver does ends in an Exchange, within the timeout."""
        began, start = self._clock.now(), time.monotonic()
        call = _Call(start + self._timeout.total_seconds(), self._trust)
        made = Exchange(began, timedelta(0), {name: headers[name] for name in headers if name != SIGNATURE})
        try:
            target = self._guard.target(url)
            made = call.run(target, headers, body, made)
        except UrlRefused as error:
            made = replace(made, failure=Failure.ADDRESS_REFUSED, error=f"The URL {error}.")
        except OSError:
            made = replace(made, failure=Failure.DNS, error="The host could not be resolved.")
        return replace(made, latency=timedelta(seconds=time.monotonic() - start))


class _Call:
    """One request, under one deadline (monotonic seconds)."""

    def __init__(self, deadline: float, trust: ssl.SSLContext) -> None:
        self._deadline = deadline
        self._trust = trust

    def left(self) -> float:
        """Seconds until the deadline. Raises TimeoutError when it has passed."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def run(self, target: Target, headers: Mapping[str, str], body: bytes, made: Exchange) -> Exchange:
        """`made`, completed by what came of it."""
        try:
            connected, address = self._connect(target)
        except TimeoutError:
            return replace(made, failure=Failure.TIMEOUT, error="The host could not be reached in time.")
        except OSError as error:
            return replace(made, failure=Failure.CONNECTION, error=f"The host could not be reached: {_words(error)}.")
        with connected:
            made = replace(made, address=address)
            try:
                connection = self._secured(connected, target) if target.tls else connected
            except TimeoutError:
                return replace(made, failure=Failure.TIMEOUT, error="The TLS handshake was not done in time.")
            except ssl.SSLCertVerificationError as error:
                text = f"The certificate does not hold: {error.verify_message}."
                return replace(made, failure=Failure.TLS, error=text)
            except OSError as error:
                return replace(made, failure=Failure.TLS, error=f"The TLS handshake failed: {_words(error)}.")
            with connection:
                return self._exchange(connection, target, headers, body, made)

    def _connect(self, target: Target) -> tuple[socket.socket, str]:
        """A connection to the first address that takes one, and that address; each has its share of the time.

        Raises OSError.
        """
        addresses = list(target.addresses)
        while True:
            address = addresses.pop(0)
            try:
                share = self.left() / (len(addresses) + 1)
                return socket.create_connection((address, target.port), share), address
            except OSError:
                if not addresses:
                    raise

    def _secured(self, connected: socket.socket, target: Target) -> socket.socket:
        connected.settimeout(self.left())
        return self._trust.wrap_socket(connected, server_hostname=target.host)

    def _exchange(
        self, connection: socket.socket, target: Target, headers: Mapping[str, str], body: bytes, made: Exchange
    ) -> Exchange:
        client = http.client.HTTPConnection(target.host, target.port)
        # As a connection that is there already, so that the client makes none of its own.
        client.sock = _Wire(connection, self)
        try:
            client.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
            client.putheader("host", target.authority)
            for name, value in headers.items():
                client.putheader(name, value)
            client.putheader("content-length", str(len(body)))
            client.putheader("connection", "close")
            client.endheaders(body)
            response = client.getresponse()
            failure = failure_of(response.status)
            made = replace(made, status=response.status, response_headers=_kept(response), failure=failure)
            content = response.read(_BODY_BYTES)
            made = replace(made, response_body=content[:BODY_KEPT])
            if len(content) < _BODY_BYTES and response.length:
                raise http.client.IncompleteRead(b"", response.length)
        except TimeoutError:
            return replace(made, failure=made.failure or Failure.TIMEOUT, error="The answer was not complete in time.")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return replace(
                made, failure=made.failure or Failure.PROTOCOL, error=f"The exchange broke: {_words(error)}."
            )
        finally:
            client.close()
        return replace(made, error="" if made.failure is None else f"The answer was {response.status}.")


class _Wire:
    """What http.client takes for a socket: each step on it ends at the call's deadline."""

    def __init__(self, connection: socket.socket, call: _Call) -> None:
        self._connection = connection
        self._call = call

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._call.left())
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode
        return io.BufferedReader(_Reader(self._connection, self._call))

    def close(self) -> None:
        """The answer is still to be read when http.client closes; who opened the connection closes it."""


class _Reader(io.RawIOBase):
    """Reads until the deadline, or until the answer has been long enough."""

    def __init__(self, connection: socket.socket, call: _Call) -> None:
        self._connection = connection
        self._call = call
        self._bytes_left = _ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # its type, a writable buffer, has no name before Python 3.12
        if self._bytes_left <= 0:
            raise OSError("the answer is too long")
        self._connection.settimeout(self._call.left())
        count = self._connection.recv_into(memoryview(buffer)[: self._bytes_left])
        self._bytes_left -= count
        return count


def _kept(response: http.client.HTTPResponse) -> dict[str, str]:
    """The headers as the delivery log keeps them: names in lower case, and nothing that its text cannot hold."""
    headers: dict[str, str] = {}
    for name, value in response.getheaders()[:_HEADERS_KEPT]:
        headers.setdefault(_printable(name).lower(), _printable(value))
    return headers


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text[:_VALUE_KEPT])


def _words(error: Exception) -> str:
    """What went wrong, without the addresses and memory that an exception's own text may show."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__
