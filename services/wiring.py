"""Puts the domains of a process together: who is served here, who is called where, and the chain over all of it."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import grpc
import structlog
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection
from prometheus_client.registry import Collector

from interceptors.access import AccessControl
from interceptors.auth import Auth
from interceptors.chain import Chain, Stages, build_stages
from interceptors.local import LocalMesh
from interceptors.outgoing import open_channel
from interceptors.policy import Access, PolicyTable
from interceptors.ports import Quota
from interceptors.quota import Unmetered
from services.adapters import (
    StubApiKeys,
    StubFeed,
    StubGrants,
    StubKeys,
    StubSessions,
    follow_grants,
    follow_revocations,
)
from services.domains import DOMAINS, Domain, Surroundings, service_names
from services.gauges import ProcessGauges
from services.kernel.config import ConfigError
from services.kernel.errors import Unavailable
from services.kernel.feed import InvalidationHub
from services.kernel.log_stream import LogStreams
from services.kernel.secrets import DecryptionError
from services.runtime import Runtime

ALL_DOMAINS = tuple(DOMAINS)
# The chain itself asks identity and tenancy under this name.
CHAIN = "chain"
STREAMS = "streams"
_log = structlog.get_logger("plinth.wiring")


def all_policies() -> PolicyTable:
    """The policies of every service of the contract. Raises PolicyError for a method without one."""
    return PolicyTable.of(descriptor_pool.Default(), [name for domain in DOMAINS for name in service_names(domain)])


def reflected_services(policies: PolicyTable) -> list[str]:
    """What reflection tells of: every service that somebody outside may call."""
    public = {policy.service for policy in policies.values() if policy.access is not Access.INTERNAL}
    return [*sorted(public), reflection.SERVICE_NAME]


class Mesh:
    """The domains of one process, with the chain, and the ways to the others. Without a `quota`, nothing is metered."""

    def __init__(self, runtime: Runtime, domains: Sequence[str], quota: Quota | None = None) -> None:
        unknown = set(domains) - set(DOMAINS)
        if unknown or not domains:
            raise ConfigError(f"--domains: {', '.join(sorted(unknown)) or 'empty'}; there are {', '.join(DOMAINS)}")
        self._runtime = runtime
        self._domains = tuple(domains)
        self._local = LocalMesh()
        self._exit = ExitStack()
        self._channels: dict[tuple[str, str], grpc.Channel] = {}
        self.hub: InvalidationHub = runtime.hub
        self.policies = all_policies()
        self.service_names = [name for domain in domains for name in service_names(domain)]
        identity, tenancy = self.channel(CHAIN, "identity"), self.channel(CHAIN, "tenancy")
        auth = Auth(StubKeys(identity), StubSessions(identity), StubApiKeys(identity), runtime.tokens, self.hub)
        self.stages: Stages = build_stages(
            runtime.settings,
            runtime.keyring,
            runtime.provider,
            runtime.writer,
            auth,
            AccessControl(StubGrants(tenancy), auth, self.hub),
            quota or Unmetered(),
        )
        self.stages.validation.warm([policy.request_class() for policy in self.policies.values()])
        self.collectors: list[Collector] = [self.stages.metrics, ProcessGauges(self.hub, runtime.database)]
        self._local.route_through(Chain(self.policies, self.stages.in_order()).intercept)
        self.served: list[Domain] = [DOMAINS[domain](self._around(domain)) for domain in domains]
        self.register(self._local)
        works = [domain.work() for domain in self.served]
        self.subscriptions = [subscription for work in works for subscription in work.subscriptions]
        self.job_handlers = [handler for work in works for handler in work.job_handlers]
        self.collectors += [collector for work in works for collector in work.collectors]

    def __enter__(self) -> Self:
        for source, follow in (("identity", follow_revocations), ("tenancy", follow_grants)):
            if source not in self._domains:
                feed = StubFeed(source, self.hub, follow(self._remote(CHAIN, STREAMS)))
                feed.start()
                self._exit.callback(feed.stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._exit.close()
        for channel in self._channels.values():
            channel.close()

    def check(self) -> None:
        """Refuse to serve what cannot work: before any call does. Raises ConfigError."""
        try:
            for domain in self.served:
                domain.check()
        except DecryptionError:
            raise ConfigError(
                "PLINTH_MASTER_KEYS: none of the keys opens what this database holds. "
                "Bring back the key that it was used with (by default the file master.key in the data directory)."
            ) from None
        except Unavailable as error:
            # It may come back; until then every call says so.
            _log.warning("not_checked", reason=error.reason)

    def register(self, server: Any) -> None:  # a grpc.Server, or the local mesh that registers like one
        """Add the unary methods of this process's domains."""
        for domain in self.served:
            domain.register(server)

    def register_watches(self, server: Any, stopping: asyncio.Event, log: LogStreams) -> None:  # a grpc.aio.Server
        """Add the `Watch…` methods of this process's domains; they end when `stopping` is set, or with the log."""
        for domain in self.served:
            domain.register_watches(server, stopping, log)

    def channel(self, service: str, domain: str) -> grpc.Channel:
        """How `service` calls `domain`: on its own thread where it lives in this process, else over a socket."""
        return self._local.channel(service) if domain in self._domains else self._remote(service, domain)

    def _around(self, service: str) -> Surroundings:
        return Surroundings(
            self._runtime,
            lambda domain: self.channel(service, domain),
            self.policies.permissions,
            lambda: self.subscriptions,
        )

    def _remote(self, service: str, peer: str) -> grpc.Channel:
        address = self._runtime.settings.peers.get(peer)
        if address is None:
            raise ConfigError(f"PLINTH_PEERS: says not where {peer} listens, which this process does not serve")
        channel = self._channels.get((service, peer))
        if channel is None:
            max_bytes = self._runtime.settings.max_message_bytes
            channel = open_channel(address, self._runtime.tokens, service, max_bytes=max_bytes)
            self._channels[service, peer] = channel
        return channel
