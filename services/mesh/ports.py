"""Loopback ports: which are free, and how to keep one for a child."""

import errno
import socket
import time

from services.mesh.errors import MeshError, PortTaken

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.02


class Reservation:
    """A port that is kept for a child, until `close`.

    It is a bound socket that never listens. The kernel hands its port to nobody, neither for port 0 nor for an outgoing
    connection; but a server that sets SO_REUSEADDR, as gRPC, Envoy and PostgreSQL do, binds it and listens. So no one
    slips in before the child has started, nor while it is started again. (Binding port 0 and letting go would leave
    that gap.)

    `port` 0 takes any free one. Raises PortTaken when somebody listens there and goes on for `patience` seconds (the
    children of a killed supervisor need a moment to go), MeshError when the port may not be opened.
    """

    def __init__(
        self,
        port: int = 0,
        what: str = "a child",
        *,
        host: str = LOOPBACK,
        hint: str = "choose another one",
        patience: float = 0.0,
    ) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                if port:
                    require_free(port, what, host=host, hint=hint)
                break
            except PortTaken:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(POLL_SECONDS)
        self._socket = _bound(port, host)
        self.host = host
        self.port = int(self._socket.getsockname()[1])

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    def close(self) -> None:
        """Let the port go."""
        self._socket.close()


def free_port(host: str = LOOPBACK) -> int:
    """A port that nobody uses at this moment; nothing keeps it so."""
    reservation = Reservation(host=host)
    reservation.close()
    return reservation.port


def require_free(port: int, what: str, *, host: str = LOOPBACK, hint: str = "choose another one") -> None:
    """Raise PortTaken when somebody listens on the port, MeshError when it may not be opened (privileged ports)."""
    try:
        with _bound(port, host) as probe:
            # Two sockets with SO_REUSEADDR may both bind; only listening tells them apart.
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(port, what, hint) from None
        reason = error.strerror or str(error)
        raise MeshError(f"Port {port} for {what} cannot be opened on {host}: {reason}. Choose another one.") from error


def _bound(port: int, host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # As servers do: connections of an earlier run in TIME_WAIT are not in the way.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
