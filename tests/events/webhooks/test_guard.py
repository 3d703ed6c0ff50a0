"""Where a webhook may go, and where it may not."""

import threading
from ipaddress import IPv4Network, IPv6Network

import pytest

from services.events.webhooks.guard import AddressGuard, Target, UrlRefused, guard_of, resolve
from services.kernel.config import ConfigError, load_settings

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.8.8.8",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a9fe:a9fe",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450:4001::200e"]


def guarding(*addresses: str, **options: object) -> AddressGuard:
    """A guard to whose resolver every host has these addresses."""
    return AddressGuard(resolver=lambda host, port: addresses, **options)  # type: ignore[arg-type]


class TestAddresses:
    @pytest.mark.parametrize("address", PRIVATE)
    def test_what_is_not_public_is_refused(self, address: str) -> None:
        with pytest.raises(UrlRefused, match="not public"):
            guarding(address).target("https://hooks.example.com/")

    @pytest.mark.parametrize("address", PUBLIC)
    def test_what_is_public_passes(self, address: str) -> None:
        assert guarding(address).target("https://hooks.example.com/").addresses == (address,)

    @pytest.mark.parametrize("address", PRIVATE)
    def test_one_bad_address_condemns_the_host(self, address: str) -> None:
        with pytest.raises(UrlRefused):
            guarding("1.1.1.1", address).target("https://hooks.example.com/")

    @pytest.mark.parametrize(
        "host", ["2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "127.0.0.1", "localhost", "[::1]"]
    )
    def test_no_way_of_writing_it_hides_loopback(self, host: str) -> None:
        with pytest.raises(UrlRefused, match="not public"):
            AddressGuard().target(f"https://{host}/")

    def test_an_address_in_the_url_is_judged_without_resolving(self) -> None:
        with pytest.raises(UrlRefused, match="not public"):
            guarding().check_url("https://[::ffff:10.0.0.1]/")
        guarding().check_url("https://1.1.1.1/")


class TestAllowed:
    def test_what_is_allowed_passes_and_nothing_beside_it(self) -> None:
        allowed = load_settings(webhook_allow="10.1.0.0/16, 127.0.0.1,fd00::/8").webhook_allow
        assert allowed == (IPv4Network("10.1.0.0/16"), IPv4Network("127.0.0.1/32"), IPv6Network("fd00::/8"))
        for address in ("10.1.2.3", "127.0.0.1", "fd00::1"):
            assert guarding(address, allowed=allowed).target("https://inside/").addresses == (address,)
        for address in ("10.2.0.1", "127.0.0.2", "fe80::1", "::ffff:10.1.2.3"):
            with pytest.raises(UrlRefused):
                guarding(address, allowed=allowed).target("https://inside/")

    @pytest.mark.parametrize("text", ["10.1.2.3/16", "example.com", "10.0.0.0/33"])
    def test_what_is_no_network_stops_the_start(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"PLINTH_WEBHOOK_ALLOW: .*networks such as"):
            load_settings(webhook_allow=text)

    def test_the_guard_is_as_the_settings_say(self) -> None:
        settings = load_settings(webhook_allow="127.0.0.1", webhook_allow_http=True, webhook_ports="8080, 8443")
        assert guard_of(settings).target("http://127.0.0.1:8080/").addresses == ("127.0.0.1",)
        for url in ("http://127.0.0.1/", "http://127.0.0.2:8080/"):
            with pytest.raises(UrlRefused):
                guard_of(settings).target(url)
        with pytest.raises(UrlRefused):
            guard_of(load_settings(webhook_allow="127.0.0.1")).target("http://127.0.0.1:8080/")


class TestUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "hooks.example.com",
            "//hooks.example.com/",
            "ftp://hooks.example.com/",
            "file:///etc/passwd",
            "gopher://hooks.example.com/",
            "http://hooks.example.com/",
            "https://",
            "https:///path",
            "https://user@hooks.example.com/",
            "https://user:password@hooks.example.com/",
            "https://hooks.example.com@169.254.169.254/",
            "https://hooks.example.com/#part",
            "https://hooks.example.com:0/",
            "https://hooks.example.com:65536/",
            "https://hooks.example.com:port/",
            "https://hooks.example.com\\@127.0.0.1/",
            "https://hooks.example.com/\r\nhost: other",
            "https://hooks.example.com/ space",
            "https://höks.example.com/",
            "https://[::1/",
            "https://hooks.example.com/" + "a" * 2048,
        ],
    )
    def test_what_is_no_plain_https_url_is_refused(self, url: str) -> None:
        with pytest.raises(UrlRefused):
            guarding("1.1.1.1").check_url(url)
        with pytest.raises(UrlRefused):
            guarding("1.1.1.1").target(url)

    def test_what_the_request_is_made_of(self) -> None:
        guard = guarding("1.1.1.1", "1.0.0.1", "1.1.1.1", plain_http=True)
        assert guard.target("https://Hooks.Example.com:8443/a/b?c=d") == Target(
            "https", "hooks.example.com", 8443, "/a/b?c=d", ("1.1.1.1", "1.0.0.1")
        )
        assert guard.target("https://hooks.example.com:8443").authority == "hooks.example.com:8443"
        assert guard.target("https://hooks.example.com:443").authority == "hooks.example.com"
        assert guard.target("http://hooks.example.com").path == "/"
        assert guard.target("http://[2606:4700::1]:81/").authority == "[2606:4700::1]:81"

    def test_ports_can_be_restricted(self) -> None:
        guard = guarding("1.1.1.1", ports=frozenset({443, 8443}))
        guard.check_url("https://hooks.example.com/")
        guard.check_url("https://hooks.example.com:8443/")
        with pytest.raises(UrlRefused, match="port"):
            guard.check_url("https://hooks.example.com:6379/")


class TestResolving:
    def test_happens_once(self) -> None:
        asked: list[str] = []

        def resolver(host: str, port: int) -> list[str]:
            asked.append(f"{host}:{port}")
            return ["1.1.1.1"] if len(asked) == 1 else ["127.0.0.1"]

        assert AddressGuard(resolver=resolver).target("https://rebinds.example.com/").addresses == ("1.1.1.1",)
        assert asked == ["rebinds.example.com:443"]

    def test_a_resolver_that_hangs_is_left_behind(self) -> None:
        release = threading.Event()

        def resolver(host: str, port: int) -> list[str]:
            del host, port
            release.wait(30)
            return ["1.1.1.1"]

        with pytest.raises(TimeoutError):
            AddressGuard(resolver=resolver, resolve_seconds=0.05).target("https://slow.example.com/")
        release.set()

    @pytest.mark.parametrize("host", ["does-not-exist.invalid", "a" * 64 + ".example", "a..example"])
    def test_a_host_that_has_no_address_is_an_error(self, host: str) -> None:
        with pytest.raises(OSError, match=r"\S"):
            AddressGuard().target(f"https://{host}/")

    def test_no_address_at_all_is_an_error(self) -> None:
        with pytest.raises(OSError, match="no address"):
            guarding().target("https://hooks.example.com/")

    def test_the_systems_resolver_knows_this_machine(self) -> None:
        assert "127.0.0.1" in resolve("localhost", 80)
