"""The domains as processes of their own, and a channel that finds the right one: for the same tests, run apart."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc

from services.mesh.supervisor import Supervisor
from services.wiring import ALL_DOMAINS


class RoutedChannel(grpc.Channel):
    """Sends each method to the process that serves its domain, as the edge does."""

    def __init__(self, by_package: dict[str, grpc.Channel]) -> None:
        self._by_package = by_package

    def _channel(self, method: str) -> Any:  # a grpc.Channel, whose stubs know less than it can do
        return self._by_package[method.split(".v1.")[0]]

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._channel(method).unary_unary(method, *args, **kwargs)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._channel(method).unary_stream(method, *args, **kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._channel(method).stream_unary(method, *args, **kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._channel(method).stream_stream(method, *args, **kwargs)

    def subscribe(self, callback: Callable[[Any], None], try_to_connect: bool | None = None) -> None:
        callback(grpc.ChannelConnectivity.READY)

    def unsubscribe(self, callback: Callable[[Any], None]) -> None:
        """Nothing was kept."""

    def close(self) -> None:
        for channel in self._by_package.values():
            channel.close()


@contextmanager
def domains_apart(app_url: str, owner_url: str, environment: dict[str, str]) -> Iterator[Supervisor]:
    """A server process for each domain, on a database that is there already."""
    mesh = Supervisor.ephemeral(
        lambda _: None,
        database_url=app_url,
        migrate_database_url=owner_url,
        domains=[(domain,) for domain in ALL_DOMAINS],
        env=environment,
        # Nothing is to change by itself while a test compares what was with what is.
        worker=False,
    )
    with mesh:
        yield mesh


@contextmanager
def routed(mesh: Supervisor, options: Any = None) -> Iterator[RoutedChannel]:
    """A channel to all of them."""
    with ExitStack() as stack:
        channels = {
            f"/plinth.{domain}": stack.enter_context(grpc.insecure_channel(mesh.serve_address_of(domain), options))
            for domain in ALL_DOMAINS
        }
        yield RoutedChannel(channels)
