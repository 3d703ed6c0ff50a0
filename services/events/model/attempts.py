"""One attempt to deliver: what was sent, what came back, and what that means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from services.events.model.schedule import parse_retry_after

# As much of an answer's body as the delivery log keeps.
BODY_KEPT = 4096


class Failure(StrEnum):
    """Why an attempt did not deliver."""

    ADDRESS_REFUSED = "address_refused"  # the URL leads to where webhooks may not go; nothing was sent
    DNS = "dns"  # the host has no address
    CONNECTION = "connection"  # no connection
    TLS = "tls"  # the receiver's certificate does not hold, or the handshake failed
    TIMEOUT = "timeout"  # no complete answer in time
    PROTOCOL = "protocol"  # the connection broke, or what came back is not HTTP
    REDIRECT = "redirect"  # 3xx, which is never followed
    GONE = "gone"  # 410: the receiver wants nothing more
    STATUS = "status"  # any other status that is not 2xx


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer, as the delivery log shows them.

    `address` is where the connection went; empty: there was none. `status` is None without an answer, `failure` None
    for a delivery; `error` explains a failure to the endpoint's owner. `request_headers` holds no signature.
    """

    time: datetime
    latency: timedelta
    request_headers: Mapping[str, str]
    address: str = ""
    status: int | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytes = b""
    failure: Failure | None = None
    error: str = ""

    @property
    def retry_after(self) -> timedelta | None:
        """How long the receiver asked to be left alone; None: it did not ask."""
        value = self.response_headers.get("retry-after")
        return parse_retry_after(value, self.time) if value is not None else None


def failure_of(status: int) -> Failure | None:
    """What a status means, after Standard Webhooks; None: delivered."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Failure.REDIRECT
    return Failure.GONE if status == 410 else Failure.STATUS
