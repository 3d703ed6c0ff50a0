"""Where servers listen."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from services.kernel.config import ConfigError
from services.serve import bind


@pytest.fixture
def server() -> Iterator[grpc.Server]:
    made = grpc.server(ThreadPoolExecutor(1))
    yield made
    made.stop(None).wait()


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0"])
def test_an_address_with_port_0_gets_a_free_one(server: grpc.Server, address: str) -> None:
    assert bind(server, address) > 0


def test_a_path_is_an_address_too(server: grpc.Server, tmp_path: Path) -> None:
    bind(server, f"unix:{tmp_path}/server")
    server.start()
    assert (tmp_path / "server").is_socket()


@pytest.mark.parametrize(
    "address", ["", "nonsense", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", ":8081", "::1:8081", "unix:", "a:b:1"]
)
def test_what_is_no_address_is_refused(server: grpc.Server, address: str) -> None:
    with pytest.raises(ConfigError, match=r"--address: '.*' is neither host:port, .* nor unix:/path"):
        bind(server, address)
