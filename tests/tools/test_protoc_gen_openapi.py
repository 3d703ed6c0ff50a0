"""The OpenAPI document that protoc-gen-openapi writes."""

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.kernel.cookies import Cookie
from tests.tools.conftest import Compile
from tests.tools.contracts import http, method, policy, service
from tools import deps
from tools.openapi_rules import portable
from tools.protoc_gen_openapi import generate

UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
READ = policy('permission: "pets.read" read_only: true')
WRITE = policy('permission: "pets.write"')
PETS = (
    service(
        method("GetPet", READ + http('get: "/v1/{name=workspaces/*/pets/*}"'), returns="GetPetResponse"),
        method(
            "ListPets",
            READ + http('get: "/v1/{parent=workspaces/*}/pets"'),
            takes="ListPetsRequest",
            returns="GetPetResponse",
        ),
        method(
            "CreatePet",
            WRITE + http('post: "/v1/{parent=workspaces/*}/pets" body: "pet"'),
            takes="CreatePetRequest",
            returns="GetPetResponse",
        ),
        method(
            "UpdatePet",
            WRITE + http('patch: "/v1/{pet.name=workspaces/*/pets/*}" body: "pet"'),
            takes="UpdatePetRequest",
            returns="GetPetResponse",
        ),
        method(
            "SellPet",
            WRITE + http('post: "/v1/{name=workspaces/*/pets/*}:sell" body: "*"'),
            takes="SellPetRequest",
            returns="GetPetResponse",
        ),
        method(
            "GetLogo",
            policy("public: true read_only: true") + http('get: "/logo"'),
            takes="Nothing",
            returns="google.api.HttpBody",
        ),
        method("WatchPet", READ, returns="stream Pet"),
        method(
            "WatchPetSse",
            READ + http('get: "/v1/{name=workspaces/*/pets/*}:watch"'),
            returns="stream google.api.HttpBody",
        ),
        method(
            "UploadPhotos",
            WRITE + http('post: "/v1/{parent=workspaces/*}/photos:upload" body: "content"'),
            takes="stream UploadPhotosRequest",
            returns="GetPetResponse",
        ),
        method(
            "SetPhoto",
            policy('permission: "pets.write" max_request_bytes: 5000000')
            + http('post: "/v1/{parent=workspaces/*}/photos:set" body: "content"'),
            takes="UploadPhotosRequest",
            returns="GetPetResponse",
        ),
        method("Me", policy("authenticated: true") + http('get: "/v1/me"'), takes="Nothing", returns="Secret"),
        method("Verify", policy('internal: {callers: ["*"]}'), takes="Nothing", returns="Nothing"),
    )
    + r"""
// What a pet is.
enum Kind {
  // Not said.
  KIND_UNSPECIFIED = 0;
  // It barks.
  KIND_DOG = 1;
}
// A pet.
message Pet {
  option (google.api.resource) = {type: "plinth/Pet" pattern: "workspaces/{workspace}/pets/{good_pet}"};
  string name = 1 [(google.api.field_behavior) = IDENTIFIER];
  // What it answers to.
  string display_name = 2 [
    (google.api.field_behavior) = REQUIRED,
    (buf.validate.field).string = {max_len: 20 pattern: "^[^\\p{Cc}]+$"},
    (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE
  ];
  Kind kind = 3 [(buf.validate.field).enum.defined_only = true];
  int64 chip = 4;
  int32 age = 5 [(buf.validate.field).int32 = {gte: 0 lt: 50}];
  repeated string tags = 6 [(buf.validate.field).repeated = {max_items: 3 unique: true items: {string: {max_len: 5}}}];
  map<string, double> weights = 7 [(buf.validate.field).map.max_pairs = 2];
  map<string, string> facts = 14 [
    (buf.validate.field).map = {keys: {string: {pattern: "^[a-z]+$"}} values: {string: {max_len: 9}}}
  ];
  bytes small_photo = 15 [(buf.validate.field).bytes.max_len = 4];
  google.protobuf.Timestamp born = 8 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.protobuf.Duration naps = 9;
  google.protobuf.Struct extra = 10;
  bytes photo = 11;
  repeated Pet friends = 12;
  uint64 steps = 13;
  string motto = 16 [(buf.validate.field).string = {max_len: 20 [plinth.options.v1.line]: true}];
  // Also called.
  repeated string nicknames = 17 [(buf.validate.field).repeated.items.string = {[plinth.options.v1.title]: true}];
}
message Collar {
  string badge = 1 [(buf.validate.field).string = {pattern: "^[A-Z]" [plinth.options.v1.line]: true}];
  string colour = 2 [(buf.validate.field).string = {[plinth.options.v1.title]: false}];
  map<string, string> engraved = 3 [(buf.validate.field).map.keys.string = {[plinth.options.v1.title]: true}];
}
message GetPetRequest {
  string name = 1 [(buf.validate.field).string.pattern = "^workspaces/UUID/pets/(rex|UUID)$"];
}
// The pet.
message GetPetResponse { Pet pet = 1; Collar collar = 2; }
message ListPetsRequest {
  string parent = 1 [(buf.validate.field).string.pattern = "^workspaces/UUID$"];
  int32 page_size = 2 [(buf.validate.field).int32.gte = 0];
  string order_by = 3 [(buf.validate.field).string.min_len = 1];
  Filter filter = 4;
  repeated Kind kinds = 5;
  google.protobuf.Timestamp born_after = 6;
}
message Filter { string colour_name = 1; Filter not = 2; }
message CreatePetRequest {
  string parent = 1;
  Pet pet = 2 [(buf.validate.field).required = true];
  string request_id = 3 [(buf.validate.field).string.uuid = true, (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE];
}
message UpdatePetRequest {
  Pet pet = 1 [(buf.validate.field).required = true];
  google.protobuf.FieldMask update_mask = 2 [(buf.validate.field).field_mask = {in: ["display_name", "*"]}];
}
message SellPetRequest {
  string name = 1;
  // What for.
  string price = 2 [
    debug_redact = true,
    (buf.validate.field).cel = {id: "price" message: "must be fair" expression: "this != '0'"}
  ];
}
message UploadPhotosRequest {
  string parent = 1;
  string display_name = 2 [(buf.validate.field).string.min_len = 1];
  repeated string tags = 3;
  map<string, string> facts = 4;
  // The photo.
  google.api.HttpBody content = 5;
}
message Secret { string token = 1 [debug_redact = true]; }
message Nothing {}
""".replace("UUID", UUID)
)


def document_of(compile_proto: Compile, text: str) -> dict[str, Any]:
    response = generate(compile_proto(text))
    assert not response.error
    [file] = response.file
    assert file.name == "openapi.json"
    made: dict[str, Any] = json.loads(file.content)
    return made


@pytest.fixture
def pets(compile_proto: Compile) -> dict[str, Any]:
    return document_of(compile_proto, PETS)


def operation(document: dict[str, Any], name: str) -> dict[str, Any]:
    for item in document["paths"].values():
        for found in item.values():
            if found["operationId"] == f"pets.PetService.{name}":
                chosen: dict[str, Any] = found
                return chosen
    raise KeyError(name)


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][f"pets.v1.{name}"]
    return found


def parameters(document: dict[str, Any], name: str, place: str) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in operation(document, name).get("parameters", []) if item["in"] == place}


class TestDocument:
    def test_it_is_valid(self, pets: dict[str, Any]) -> None:
        OpenAPIV31SpecValidator(pets).validate()

    def test_plinth_s_own_is_valid(self) -> None:
        OpenAPIV31SpecValidator(json.loads((deps.ROOT / "docs/openapi.json").read_text())).validate()

    def test_two_methods_on_one_path_fail_generation(self, compile_proto: Compile) -> None:
        same = READ + http('get: "/v1/{name=pets/*}"')
        text = service(method("GetPet", same), method("SeePet", same))
        messages = "message Pet {} message GetPetRequest { string name = 1; }"
        assert "has a path that is taken" in generate(compile_proto(text + messages)).error

    def test_a_binding_to_no_field_fails_generation(self, compile_proto: Compile) -> None:
        text = service(method("GetPet", READ + http('get: "/v1/{title=pets/*}"')))
        messages = "message Pet {} message GetPetRequest { string name = 1; }"
        assert "binds `title`" in generate(compile_proto(text + messages)).error


class TestPaths:
    def test_templates_are_expanded_with_the_resource_s_own_words(self, pets: dict[str, Any]) -> None:
        assert set(pets["paths"]) == {
            "/logo",
            "/v1/me",
            "/v1/workspaces/{workspace}/pets",
            "/v1/workspaces/{workspace}/pets/{goodPet}",
            "/v1/workspaces/{workspace}/pets/{goodPet}:sell",
            "/v1/workspaces/{workspace}/pets/{goodPet}:watch",
            "/v1/workspaces/{workspace}/photos:set",
            "/v1/workspaces/{workspace}/photos:upload",
        }

    def test_each_id_has_its_part_of_the_name_s_pattern(self, pets: dict[str, Any]) -> None:
        found = parameters(pets, "GetPet", "path")
        assert {name: item["schema"]["pattern"] for name, item in found.items()} == {
            "workspace": f"^{UUID}$",
            "goodPet": f"^(rex|{UUID})$",
        }
        assert all(item["required"] for item in found.values())

    def test_internal_methods_are_left_out(self, pets: dict[str, Any]) -> None:
        with pytest.raises(KeyError):
            operation(pets, "Verify")


class TestQuery:
    def test_what_neither_path_nor_body_binds_rides_in_the_query(self, pets: dict[str, Any]) -> None:
        assert set(parameters(pets, "ListPets", "query")) == {
            "pageSize",
            "orderBy",
            "filter.colourName",
            "filter.not.colourName",
            "filter.not.not.colourName",
            "kinds",
            "bornAfter",
        }
        assert set(parameters(pets, "CreatePet", "query")) == {"requestId"}
        assert set(parameters(pets, "UpdatePet", "query")) == {"updateMask"}
        assert parameters(pets, "SellPet", "query") == {}

    def test_only_what_the_server_insists_on_is_required(self, pets: dict[str, Any]) -> None:
        assert {name for name, item in parameters(pets, "ListPets", "query").items() if item["required"]} == {"orderBy"}

    def test_a_field_mask_lists_its_fields(self, pets: dict[str, Any]) -> None:
        [mask] = parameters(pets, "UpdatePet", "query").values()
        assert mask["schema"]["pattern"] == r"^((displayName|\*)(,(displayName|\*))*)?$"


class TestBody:
    def test_the_bound_field_is_the_body(self, pets: dict[str, Any]) -> None:
        body = operation(pets, "CreatePet")["requestBody"]
        assert body["required"] is True
        assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/pets.v1.Pet"}
        assert schema(pets, "Pet")["required"] == ["displayName"]

    def test_an_update_may_leave_out_what_stays(self, pets: dict[str, Any]) -> None:
        body = operation(pets, "UpdatePet")["requestBody"]["content"]["application/json"]["schema"]
        assert body == {"$ref": "#/components/schemas/pets.v1.Pet.Update"}
        assert "required" not in schema(pets, "Pet.Update")

    def test_a_body_of_all_else_lacks_what_the_path_says_and_may_be_absent(self, pets: dict[str, Any]) -> None:
        body = operation(pets, "SellPet")["requestBody"]
        assert body["required"] is False
        assert set(body["content"]["application/json"]["schema"]["properties"]) == {"price"}

    def test_a_body_of_bytes_is_of_any_type_and_the_rest_rides_in_the_query(self, pets: dict[str, Any]) -> None:
        for name, bound in (("UploadPhotos", {}), ("SetPhoto", {"maxLength": 5_000_000})):
            assert operation(pets, name)["requestBody"] == {
                "required": True,
                "description": "The photo.",
                "content": {"*/*": {"schema": {"type": "string", "format": "binary"} | bound}},
            }
            # The transcoder reads no map out of a query.
            query = parameters(pets, name, "query")
            assert {name: item["required"] for name, item in query.items()} == {"displayName": True, "tags": False}


class TestSchemas:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("chip", {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}),
            ("steps", {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"}),
            (
                "age",
                {
                    "type": "integer",
                    "format": "int32",
                    "minimum": 0,
                    "maximum": (1 << 31) - 1,
                    "exclusiveMaximum": 50,
                },
            ),
            (
                "tags",
                {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3, "uniqueItems": True},
            ),
            (
                "weights",
                {
                    "type": "object",
                    "additionalProperties": {"type": "number", "format": "double"},
                    "maxProperties": 2,
                },
            ),
            ("born", {"type": "string", "format": "date-time", "readOnly": True}),
            ("naps", {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"}),
            ("extra", {"type": "object"}),
            ("photo", {"type": "string", "contentEncoding": "base64"}),
            ("smallPhoto", {"type": "string", "contentEncoding": "base64", "maxLength": 8}),
            (
                "facts",
                {
                    "type": "object",
                    "additionalProperties": {"type": "string", "maxLength": 9},
                    "propertyNames": {"pattern": "^[a-z]+$"},
                },
            ),
            ("friends", {"type": "array", "items": {"$ref": "#/components/schemas/pets.v1.Pet"}}),
            ("kind", {"$ref": "#/components/schemas/pets.v1.Kind"}),
            ("name", {"type": "string", "readOnly": True}),
            (
                "displayName",
                {
                    "type": "string",
                    "anyOf": [{"const": ""}, {"maxLength": 20, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"}],
                    "description": "What it answers to.",
                },
            ),
        ],
    )
    def test_each_field_is_as_protojson_writes_it_within_its_rules(
        self, pets: dict[str, Any], name: str, expected: dict[str, Any]
    ) -> None:
        assert schema(pets, "Pet")["properties"][name] == expected

    def test_a_rule_of_ours_is_said_as_its_pattern_and_what_that_cannot_say_is_told(self, pets: dict[str, Any]) -> None:
        found = schema(pets, "Pet")["properties"]
        line = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
        assert found["motto"] == {"type": "string", "maxLength": 20, "pattern": f"^{line}*$"}
        assert re.fullmatch(found["nicknames"]["items"]["pattern"], "two words")
        assert not re.fullmatch(found["nicknames"]["items"]["pattern"], "a space behind ")
        assert found["nicknames"]["description"] == "Also called.\nRule: must have a character that can be seen."
        found = schema(pets, "Collar")["properties"]
        assert found["badge"] == {"type": "string", "pattern": "^[A-Z]", "allOf": [{"pattern": f"^{line}*$"}]}
        assert found["colour"] == {"type": "string"}
        assert found["engraved"]["description"] == "Rule: must have a character that can be seen."

    def test_an_enum_is_its_names(self, pets: dict[str, Any]) -> None:
        kind = schema(pets, "Kind")
        assert kind["enum"] == ["KIND_UNSPECIFIED", "KIND_DOG"]
        assert "- `KIND_DOG`: It barks." in kind["description"]

    def test_a_secret_that_is_only_sent_is_write_only(self, pets: dict[str, Any]) -> None:
        body = operation(pets, "SellPet")["requestBody"]["content"]["application/json"]["schema"]
        price = body["properties"]["price"]
        assert (price["format"], price["writeOnly"]) == ("password", True)
        assert schema(pets, "Secret")["properties"]["token"] == {"type": "string", "format": "password"}

    def test_a_rule_that_json_schema_cannot_say_is_told(self, pets: dict[str, Any]) -> None:
        body = operation(pets, "SellPet")["requestBody"]["content"]["application/json"]["schema"]
        assert body["properties"]["price"]["description"] == "What for.\nRule: must be fair."

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("^[a-z]+$", "^[a-z]+$"),
            (r"^[^\p{Cc}\p{Zl}]*$", r"^[^\x00-\x1f\x7f-\x9f\u2028]*$"),
            (r"[\x{202A}-\x{202E}]", r"[\u202a-\u202e]"),
            (r"^\p{Greek}$", ""),
        ],
    )
    def test_patterns_are_put_in_words_that_json_schema_knows(self, pattern: str, expected: str) -> None:
        assert portable(pattern) == expected


class TestAnswers:
    def test_what_a_stream_of_events_answers(self, pets: dict[str, Any]) -> None:
        assert list(operation(pets, "WatchPetSse")["responses"]["200"]["content"]) == ["text/event-stream"]
        assert list(operation(pets, "GetLogo")["responses"]["200"]["content"]) == ["*/*"]

    def test_a_stream_of_events_goes_on_behind_the_last_one_received(self, pets: dict[str, Any]) -> None:
        headers = [found for found in operation(pets, "WatchPetSse")["parameters"] if found["in"] == "header"]
        assert [(found["name"], found["required"]) for found in headers] == [("Last-Event-ID", False)]

    def test_errors_are_those_that_the_method_can_give(self, pets: dict[str, Any]) -> None:
        always = {"200", "400", "429", "500", "503", "504", "default"}
        assert set(operation(pets, "GetLogo")["responses"]) == always
        assert set(operation(pets, "GetPet")["responses"]) == always | {"401", "403", "404"}
        assert set(operation(pets, "CreatePet")["responses"]) == always | {"401", "403", "404", "409", "413"}

    def test_an_error_is_a_status_with_the_contract_s_reasons(self, pets: dict[str, Any]) -> None:
        content = pets["components"]["responses"]["429"]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/google.rpc.Status"}
        assert "Retry-After" in pets["components"]["responses"]["429"]["headers"]
        own = json.loads((deps.ROOT / "docs/openapi.json").read_text())
        reasons = own["components"]["schemas"]["google.rpc.ErrorInfo"]["properties"]["reason"]["enum"]
        assert {"ETAG_MISMATCH", "NOT_FOUND"} <= set(reasons)
        assert not {"UNSPECIFIED", "ERROR_REASON_NOT_FOUND"} & set(reasons)

    def test_who_may_call_is_told(self, pets: dict[str, Any]) -> None:
        assert operation(pets, "GetLogo")["security"] == []
        assert operation(pets, "Me")["security"] == [{"bearer": []}, {"cookie": []}]
        assert operation(pets, "GetPet")["security"] == [{"bearer": []}, {"apiKey": []}, {"cookie": []}]
        scheme = pets["components"]["securitySchemes"]["cookie"]
        assert (scheme["in"], scheme["name"]) == ("cookie", Cookie.ACCESS.key)
        assert "`pets.read`" in operation(pets, "GetPet")["description"]
