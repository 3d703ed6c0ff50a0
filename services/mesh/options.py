"""How a mesh is laid out."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.mesh.envoy import Tls
from services.mesh.ports import LOOPBACK

ENVOY_DIR = Path(__file__).resolve().parents[2] / "deploy" / "envoy"


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """What one may choose about a mesh; times are in seconds.

    `port` is the edge's, 0 for any free one; all else listens on free loopback ports. `database_url` (the app's login)
    and `migrate_database_url` (the owner's) name a server that runs elsewhere; empty, PostgreSQL is embedded in
    `<data_dir>/postgres`, and `fast` gives up its durability, for tests. `domains` has an entry for each server
    process: the domains it serves, none for all. `env` is set in the children beside our own environment. `cli` is
    what starts the roles `serve`, `streams` and `worker`; without `worker`, workers run elsewhere. `follow_logs` shows
    the lines of the children's logs on the report.
    """

    data_dir: Path
    host: str = LOOPBACK
    port: int = 0
    database_url: str = ""
    migrate_database_url: str = ""
    fast: bool = False
    domains: Sequence[Sequence[str]] = ((),)
    env: Mapping[str, str] = field(default_factory=dict)
    cli: Sequence[str] = (sys.executable, "-m", "services.cli")
    envoy_template: Path = ENVOY_DIR / "envoy.json"
    image: Path = ENVOY_DIR / "image.binpb"
    tls: Tls | None = None
    cors_origins: Sequence[str] = ()
    concurrency: int = 2
    worker: bool = True
    drain_seconds: float = 10.0
    start_seconds: float = 30.0
    follow_logs: bool = False

    def server_names(self) -> list[str]:
        """A name for each server process: `serve`, `serve-identity`, `serve-2` for a second of the same kind."""
        names: list[str] = []
        for group in self.domains:
            name = "-".join(("serve", *group))
            names.append(name if name not in names else f"{name}-{len(names) + 1}")
        return names

    def servers_of(self, domain: str, addresses: Sequence[str]) -> list[str]:
        """Those of the server processes' addresses (in the order of `domains`) that serve the domain."""
        pairs = zip(self.domains, addresses, strict=True)
        return [address for group, address in pairs if not group or domain in group]
