"""The cookies of a browser that is signed in: what they are called, how they are read, set and taken away (RFC 6265).

No script sees them (HttpOnly), no other site sends them (SameSite=Strict), and nothing but TLS carries them (Secure;
browsers count a loopback address as safe). The prefix of the access token's cookie has the browser refuse one that
another host of the same domain has set (RFC 6265bis §4.1.3).
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Cookie(Enum):
    """A cookie: its name, and the paths that it is sent to."""

    ACCESS = ("__Host-plinth", "/")
    # Sent where it is exchanged, and nowhere else.
    REFRESH = ("__Secure-plinth-refresh", "/v1/auth:refresh")

    @property
    def key(self) -> str:
        """The name that the browser knows it by."""
        return self.value[0]

    def find(self, metadata: Iterable[tuple[str, str | bytes]]) -> str:
        """Its value in a call's metadata; empty where there is none. HTTP/2 may split the header (RFC 9113 §8.2.3)."""
        for header, pairs in metadata:
            if header == "cookie" and isinstance(pairs, str):
                for pair in pairs.split(";"):
                    name, _, value = pair.strip().partition("=")
                    if name == self.key:
                        return value
        return ""

    def set(self, value: str, expire_time: datetime) -> tuple[str, str]:
        """The header that gives it to the browser, until then."""
        until = format_datetime(expire_time.astimezone(UTC), usegmt=True)
        path = self.value[1]
        return "set-cookie", f"{self.key}={value}; Path={path}; Expires={until}; Secure; HttpOnly; SameSite=Strict"

    def clear(self) -> tuple[str, str]:
        """The header that takes it away."""
        return self.set("", _LONG_AGO)
