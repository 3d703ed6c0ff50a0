"""What the generators read, and what they refuse to read."""

from datetime import timedelta

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from services.wiring import all_policies
from tests.tools.conftest import Compile, CompileError
from tests.tools.contracts import MESSAGES, http, method, policy, service
from tools.contract import Access, Contract, ContractError, read

PHOTOS = "message Photos { string name = 1; google.api.HttpBody content = 2; }"


def contract_of(compile_proto: Compile, *methods: str) -> Contract:
    request = compile_proto(service(*methods) + MESSAGES + PHOTOS)
    return read(request.proto_file, request.file_to_generate)


class TestPolicy:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("", "plinth.pets.v1.PetService.GetPet has no policy"),
            (policy("read_only: true"), "has a policy without access"),
            (policy("public: false"), "states `public: false`, which is no access"),
            (policy("authenticated: false"), "states `authenticated: false`"),
            (policy('permission: ""'), 'names permission ""'),
            (policy('permission: "Pets.Read"'), 'names permission "Pets.Read"'),
            (policy("internal: {}"), "lists no callers"),
            (policy("public: true timeout: {}"), "must be positive"),
            (policy('internal: {callers: ["*"]}') + http('get: "/v1/pets"'), "is internal and has a REST path"),
        ],
    )
    def test_a_method_that_does_not_say_who_may_call_it_fails_generation(
        self, compile_proto: Compile, options: str, said: str
    ) -> None:
        with pytest.raises(ContractError, match=r"PetService\.GetPet") as raised:
            contract_of(compile_proto, method("GetPet", options))
        assert said in str(raised.value)

    def test_a_method_with_two_kinds_of_access_does_not_even_compile(self, compile_proto: Compile) -> None:
        with pytest.raises(CompileError):
            contract_of(compile_proto, method("GetPet", policy('public: true permission: "pets.read"')))

    def test_every_fault_is_told_at_once(self, compile_proto: Compile) -> None:
        with pytest.raises(ContractError) as raised:
            contract_of(compile_proto, method("GetPet", ""), method("ListPets", policy("meter: 'calls'")))
        assert "GetPet has no policy" in str(raised.value)
        assert "ListPets has a policy without access" in str(raised.value)

    @pytest.mark.parametrize("access", list(Access))
    def test_each_kind_of_access_is_read(self, compile_proto: Compile, access: Access) -> None:
        text = {Access.PERMISSION: 'permission: "pets.read"', Access.INTERNAL: 'internal: {callers: ["*"]}'}
        stated = text.get(access, f"{access}: true")
        [found] = contract_of(compile_proto, method("GetPet", policy(stated))).methods
        assert found.access is access
        assert found.permission == ("pets.read" if access is Access.PERMISSION else "")


class TestBothReaders:
    """The generators read the contract with this module, the servers with `interceptors.policy`."""

    def test_say_the_same_of_every_method(self) -> None:
        files: dict[str, FileDescriptorProto] = {}
        policies = all_policies()
        for service_name in sorted({served.service for served in policies.values()}):
            _collect(descriptor_pool.Default().FindFileContainingSymbol(service_name), files)
        ours = [name for name in files if name.startswith("plinth/")]
        generated = {found.path: found for found in read(files.values(), ours).methods}
        assert set(generated) == set(policies)
        for path, found in generated.items():
            served = policies[path]
            timeout = None if found.timeout is None else found.timeout.total_seconds()
            assert (path, timeout, found.max_request_bytes, found.access, found.permission, found.read_only) == (
                path,
                served.timeout,
                served.max_request_bytes,
                served.access.value,
                served.permission,
                served.read_only,
            )


def _collect(file: FileDescriptor, into: dict[str, FileDescriptorProto]) -> None:
    """A file after everything that it imports."""
    if file.name not in into:
        for imported in file.dependencies:
            _collect(imported, into)
        into[file.name] = FileDescriptorProto()
        file.CopyToProto(into[file.name])


class TestTimeout:
    def test_a_call_has_fifteen_seconds_unless_the_policy_says_otherwise(self, compile_proto: Compile) -> None:
        found = contract_of(
            compile_proto,
            method("GetPet", policy("public: true")),
            method("ListPets", policy("public: true timeout: {seconds: 2 nanos: 500000000}")),
        )
        timeouts = {method.descriptor.name: method.timeout for method in found.methods}
        assert timeouts == {"GetPet": timedelta(seconds=15), "ListPets": timedelta(seconds=2.5)}

    def test_so_has_a_stream_but_a_watch_has_none(self, compile_proto: Compile) -> None:
        found = contract_of(
            compile_proto,
            method("WatchPet", policy("public: true"), returns="stream Pet"),
            method("WatchPets", policy("public: true timeout: {seconds: 2}"), returns="stream Pet"),
            method("StreamPets", policy("public: true"), returns="stream Pet"),
            method("ExportPets", policy("public: true timeout: {seconds: 300}"), returns="stream Pet"),
        )
        timeouts = {method.descriptor.name: method.timeout for method in found.methods}
        assert timeouts == {
            "WatchPet": None,
            "WatchPets": None,
            "StreamPets": timedelta(seconds=15),
            "ExportPets": timedelta(minutes=5),
        }

    def test_a_watch_that_is_no_stream_fails_generation(self, compile_proto: Compile) -> None:
        with pytest.raises(ContractError, match="is no server stream"):
            contract_of(compile_proto, method("WatchPet", policy("public: true")))


class TestTwins:
    """A stream for browsers stands beside the same one for gRPC."""

    SSE = "stream google.api.HttpBody"

    def test_it_is_known_by_its_name(self, compile_proto: Compile) -> None:
        found = contract_of(
            compile_proto,
            method("WatchPet", policy("public: true"), returns="stream Pet"),
            method("WatchPetSse", policy("public: true"), returns=self.SSE),
        )
        assert {method.descriptor.name: method.sends_events for method in found.methods} == {
            "WatchPet": False,
            "WatchPetSse": True,
        }

    def test_one_without_the_other_fails_generation(self, compile_proto: Compile) -> None:
        with pytest.raises(ContractError, match="has no twin for gRPC: add WatchPet"):
            contract_of(compile_proto, method("WatchPetSse", policy("public: true"), returns=self.SSE))

    def test_one_that_answers_anything_else_fails_generation(self, compile_proto: Compile) -> None:
        with pytest.raises(ContractError, match=r"does not answer google\.api\.HttpBody"):
            contract_of(
                compile_proto,
                method("WatchPet", policy("public: true"), returns="stream Pet"),
                method("WatchPetSse", policy("public: true"), returns="stream Pet"),
            )


class TestRequests:
    def test_are_of_4_mib_unless_their_policy_says_otherwise(self, compile_proto: Compile) -> None:
        larger = policy("public: true max_request_bytes: 9000000")
        found = contract_of(compile_proto, method("AddPet", larger), method("GetPet", policy("public: true"))).methods
        assert [method.max_request_bytes for method in found] == [9_000_000, 4 << 20]

    @pytest.mark.parametrize("size", [-1, (16 << 20) + 1])
    def test_of_a_size_that_no_server_takes_fail_generation(self, compile_proto: Compile, size: int) -> None:
        with pytest.raises(ContractError, match="no server takes that"):
            contract_of(compile_proto, method("AddPet", policy(f"public: true max_request_bytes: {size}")))

    def test_that_stream_have_bytes_for_their_body(self, compile_proto: Compile) -> None:
        bound = policy("public: true") + http('post: "/v1/pets:upload" body: "content"')
        [found] = contract_of(compile_proto, method("UploadPet", bound, takes="stream Photos")).methods
        assert found.uploads

    @pytest.mark.parametrize("body", ['body: "*"', 'body: "name"', ""])
    def test_that_stream_and_bind_anything_else_fail_generation(self, compile_proto: Compile, body: str) -> None:
        bound = policy("public: true") + http(f'post: "/v1/pets:upload" {body}')
        with pytest.raises(ContractError, match=r"bind a field of type google\.api\.HttpBody"):
            contract_of(compile_proto, method("UploadPet", bound, takes="stream Photos"))

    def test_that_stream_to_a_watch_fail_generation(self, compile_proto: Compile) -> None:
        both = method("WatchPet", policy("public: true"), takes="stream Photos", returns="stream Pet")
        with pytest.raises(ContractError, match="is named Watch…, and takes a stream"):
            contract_of(compile_proto, both)


class TestBindings:
    def test_further_rest_forms_follow_the_first(self, compile_proto: Compile) -> None:
        rule = 'get: "/v1/{name=pets/*}" additional_bindings { post: "/v1/pets:get" body: "*" }'
        [found] = contract_of(compile_proto, method("GetPet", policy("public: true") + http(rule))).methods
        assert [(b.verb, b.path, b.body) for b in found.bindings] == [
            ("GET", "/v1/{name=pets/*}", ""),
            ("POST", "/v1/pets:get", "*"),
        ]


class TestComments:
    def test_the_comment_above_anything_is_found_by_its_full_name(self, compile_proto: Compile) -> None:
        found = contract_of(compile_proto, method("GetPet", policy("public: true")))
        assert found.comments["plinth.pets.v1.Pet"] == "A pet."
        assert found.comments["plinth.pets.v1.PetService.GetPet"] == "GetPets."
