"""Where a webhook may go: the guard against requests that are forged through us (SSRF).

A host is resolved once, every address that it has is judged, and the connection goes to one of the judged addresses:
a name that changes its mind between check and connect changes nothing. Only globally routed unicast addresses pass,
after the special-purpose registries of IANA (RFC 6890 and its successors); what an operator allows passes besides.
"""

import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from queue import Empty, SimpleQueue
from urllib.parse import SplitResult, urlsplit

from services.kernel.config import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
# Host and port to addresses. Raises OSError; may take as long as it likes.
Resolve = Callable[[str, int], Sequence[str]]

_DEFAULT_PORTS = {"https": 443, "http": 80}
_MAX_URL = 2048
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_RESOLVE_SECONDS = 5.0
# More than a receiver has use for; the connection tries them one after the other.
_MAX_ADDRESSES = 4

# What `ipaddress` calls global differs between versions of Python, so the registries stand here.
_REFUSED_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a carrier's NAT; cloud metadata of Alibaba
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the platform's own services, in Azure
            "169.254.0.0/16",  # link-local; cloud metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; metadata of Oracle's cloud
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# Outside of it lie loopback, link-local, site-local, unique local, multicast, IPv4-mapped and -compatible addresses,
# and both prefixes of NAT64.
_GLOBAL_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, with Teredo, ORCHID and benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which wraps any IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)


class UrlRefused(Exception):
    """A webhook may not go there; the message says why, in words that its owner may read."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes: to these addresses and no others, under this host name."""

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...]

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted and the receiver's certificate checked."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the system resolves it. Raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class AddressGuard:
    """Judges URLs, and the addresses behind them.

    `allowed` are networks that pass although they are not public; `ports` the only ports, where that is not empty;
    `plain_http` lets `http` pass.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        ports: frozenset[int] = frozenset(),
        plain_http: bool = False,
        resolver: Resolve = resolve,
        resolve_seconds: float = _RESOLVE_SECONDS,
    ) -> None:
        self._allowed = tuple(allowed)
        self._ports = ports
        self._plain_http = plain_http
        self._resolve = resolver
        self._resolve_seconds = resolve_seconds

    def check_url(self, url: str) -> None:
        """Let pass only a URL that webhooks may go to as it stands; nothing is resolved. Raises UrlRefused."""
        _, host, _ = self._parsed(url)
        literal = _literal(host)
        if literal is not None:
            self._judge(literal)

    def target(self, url: str) -> Target:
        """Resolve the host of a URL, once, and judge all that it has. Raises UrlRefused, or OSError where it fails.

        One bad address condemns the host: a name that has both kinds wants to be resolved until the bad one comes.
        """
        parts, host, port = self._parsed(url)
        addresses = [ip_address(text) for text in dict.fromkeys(self._resolved(host, port))]
        if not addresses:
            raise OSError("the host has no address")
        for address in addresses:
            self._judge(address)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(parts.scheme, host, port, path, tuple(map(str, addresses[:_MAX_ADDRESSES])))

    def _parsed(self, url: str) -> tuple[SplitResult, str, int]:
        if len(url) > _MAX_URL or not _PRINTABLE.fullmatch(url) or "\\" in url:
            raise UrlRefused("must be a URL of printable ASCII characters, at most 2,048")
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise UrlRefused("is not a URL") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise UrlRefused("must be an https URL")
        if parts.scheme == "http" and not self._plain_http:
            raise UrlRefused("must be an https URL; http is not allowed here")
        if not host:
            raise UrlRefused("must name a host")
        if "@" in parts.netloc:
            raise UrlRefused("must not hold a user name or password")
        if "#" in url:
            raise UrlRefused("must not hold a fragment")
        port = _DEFAULT_PORTS[parts.scheme] if port is None else port
        if port == 0 or (self._ports and port not in self._ports):
            raise UrlRefused("names a port that webhooks may not go to")
        return parts, host, port

    def _resolved(self, host: str, port: int) -> Sequence[str]:
        """The system's resolver knows no deadline, so it works on a thread that can be left behind."""
        results: SimpleQueue[Sequence[str] | OSError] = SimpleQueue()

        def work() -> None:
            try:
                results.put(self._resolve(host, port))
            except OSError as error:
                results.put(error)
            except UnicodeError:
                results.put(OSError("the host name is not one"))

        threading.Thread(target=work, name="plinth-resolve", daemon=True).start()
        try:
            result = results.get(timeout=self._resolve_seconds)
        except Empty:
            raise TimeoutError("the host could not be resolved in time") from None
        if isinstance(result, OSError):
            raise result
        return result

    def _judge(self, address: Address) -> None:
        if any(address in network for network in self._allowed if network.version == address.version):
            return
        if isinstance(address, IPv4Address):
            refused = any(address in network for network in _REFUSED_V4)
        else:
            # A scope id (fe80::1%eth0) belongs to link-local addresses alone, which are no part of what is global.
            refused = address not in _GLOBAL_V6 or any(address in network for network in _REFUSED_V6)
        if refused:
            raise UrlRefused("leads to an address that is not public")


def guard_of(settings: Settings) -> AddressGuard:
    """The guard as PLINTH_WEBHOOK_ALLOW, PLINTH_WEBHOOK_ALLOW_HTTP and PLINTH_WEBHOOK_PORTS set it."""
    return AddressGuard(settings.webhook_allow, ports=settings.webhook_ports, plain_http=settings.webhook_allow_http)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
