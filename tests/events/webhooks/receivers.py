"""Receivers of webhooks on real sockets, each with manners of its own."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

# What a receiver does with a connection after it has read the request; it may look at the Receiver's `stopping`.
Manner = Callable[[socket.socket, "Receiver"], None]


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came."""

    request_line: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """What arrived, and how the next ones are answered."""

    port: int
    manner: Manner
    received: list[Received] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    stopping: threading.Event = field(default_factory=threading.Event)
    connections: int = 0
    bytes_sent: int = 0

    def url(self, host: str = "127.0.0.1", scheme: str = "http", path: str = "/hook") -> str:
        """Where it listens."""
        return f"{scheme}://{host}:{self.port}{path}"


def answering(status: str, *headers: str, body: bytes = b"") -> Manner:
    """Answers at once, e.g. `answering("200 OK")`."""

    def answer(connection: socket.socket, receiver: Receiver) -> None:
        del receiver
        head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}"))
        connection.sendall(head.encode("latin-1") + b"\r\n" + body)

    return answer


def saying(raw: bytes) -> Manner:
    """Sends these bytes and hangs up."""

    def say(connection: socket.socket, receiver: Receiver) -> None:
        del receiver
        connection.sendall(raw)

    return say


def hanging(connection: socket.socket, receiver: Receiver) -> None:
    """Never answers."""
    del connection
    receiver.stopping.wait(60)


def dripping(prefix: bytes) -> Manner:
    """Sends the prefix, and then one byte after the other, for ever, often enough to keep any single read going."""

    def drip(connection: socket.socket, receiver: Receiver) -> None:
        connection.sendall(prefix)
        while not receiver.stopping.wait(0.02):
            connection.sendall(b"a")

    return drip


def flooding(head: bytes, block: bytes, total: int) -> Manner:
    """Sends the head and then `total` bytes, and counts how many it got rid of."""

    def flood(connection: socket.socket, receiver: Receiver) -> None:
        connection.sendall(head)
        while receiver.bytes_sent < total and not receiver.stopping.is_set():
            connection.sendall(block)
            receiver.bytes_sent += len(block)

    return flood


@contextmanager
def receiver(manner: Manner, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[Receiver]:
    """A receiver that listens until the block ends."""
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as listening:
        made = Receiver(listening.getsockname()[1], manner)
        threads: list[threading.Thread] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                made.connections += 1
                threads.append(threading.Thread(target=_serve, args=(connection, made, tls)))
                threads[-1].start()

        accepting = threading.Thread(target=serve)
        accepting.start()
        try:
            yield made
        finally:
            made.stopping.set()
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
            for thread in threads:
                thread.join(10)


def _serve(connection: socket.socket, made: Receiver, tls: ssl.SSLContext | None) -> None:
    # A client that hangs up, will not shake hands or speaks TLS to plain HTTP is what many of the tests are about.
    try:
        with connection:
            connection.settimeout(30)
            secured = tls.wrap_socket(connection, server_side=True) if tls is not None else connection
            with secured:
                made.received.append(_read(secured))
                made.arrived.release()
                made.manner(secured, made)
    except (OSError, KeyError, ValueError):
        return


def _read(connection: socket.socket) -> Received:
    with connection.makefile("rb") as stream:
        line, headers = stream.readline().decode().strip(), {}
        while head := stream.readline().strip():
            name, _, value = head.decode("latin-1").partition(": ")
            headers[name] = value
        return Received(line, headers, stream.read(int(headers["content-length"])))


class Authority:
    """A certificate authority of the tests' own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        ca = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key, timedelta(days=1)).add_extension(ca, critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._certificate = builder.add_extension(usage, critical=True).sign(self._key, SHA256())

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        return ssl.create_default_context(cadata=self._certificate.public_bytes(Encoding.PEM).decode())

    def server(self, folder: Path, host: str, lifetime: timedelta = timedelta(days=1)) -> ssl.SSLContext:
        """A server's context with a certificate for the host."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        builder = self._builder(subject, key, lifetime)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        certificate = builder.sign(self._key, SHA256())
        file = folder / "server.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(identifier, critical=False)
        )
