"""What a browser meets: JSON, statuses, headers."""

import json
from uuid import uuid4

import httpx
import pytest

from interceptors.policy import Access
from plinth.tenancy.v1 import role_pb2, role_service_pb2
from services.wiring import all_policies
from tests.e2e.conftest import ORIGIN, Edge

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

INTERNAL = [policy for policy in all_policies().values() if policy.access is Access.INTERNAL]


def reason_of(answer: httpx.Response, status: int) -> str:
    """The reason in the body of a refusal, which must have this status and exactly one ErrorInfo."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"code", "message", "details"}
    [info] = [detail for detail in body["details"] if detail["@type"].endswith("google.rpc.ErrorInfo")]
    assert info["domain"] == "plinth"
    return str(info["reason"])


class TestShapes:
    def test_a_resource_stands_under_its_name_in_lower_camel_case(self, any_edge: Edge) -> None:
        owner = any_edge.people.new("ada")
        answer = any_edge.call("POST", "/v1/workspaces", {"displayName": "Acme"}, owner)
        assert answer.status_code == 200
        assert set(answer.json()) == {"workspace"}
        workspace = answer.json()["workspace"]
        assert set(workspace) == {"name", "displayName", "etag", "createTime", "updateTime"}
        assert any_edge.get(f"/v1/{workspace['name']}", owner) == {"workspace": workspace}

    def test_a_list_stands_under_its_plural_with_the_token_of_the_next_page(self, any_edge: Edge) -> None:
        owner, workspace = any_edge.new_workspace()
        page = any_edge.get(f"/v1/{workspace}/roles?pageSize=3", owner)
        assert set(page) == {"roles", "nextPageToken"}
        assert [role["displayName"] for role in page["roles"]] == ["Owner", "Admin", "Member"]
        rest = any_edge.get(f"/v1/{workspace}/roles?pageSize=3&pageToken={page['nextPageToken']}", owner)
        assert [role["displayName"] for role in rest["roles"]] == ["Viewer"]
        assert rest["nextPageToken"] == ""

    @pytest.mark.parametrize(
        ("asked", "found"), [("while+disabled*", "while disabled"), ("while%2B*", "while+enabled")]
    )
    def test_a_plus_in_a_query_is_a_space_and_its_code_a_plus(self, edge: Edge, asked: str, found: str) -> None:
        owner, workspace = edge.new_workspace()
        for name in ("while disabled", "while+enabled"):
            assert edge.call("POST", f"/v1/{workspace}/projects", {"displayName": name}, owner).status_code == 200
        page = edge.get(f"/v1/{workspace}/projects?filter=display_name%3D%22{asked}%22", owner)
        assert [project["displayName"] for project in page["projects"]] == [found]

    def test_an_update_takes_a_mask_and_an_etag(self, any_edge: Edge) -> None:
        owner, workspace = any_edge.new_workspace()
        etag = any_edge.get(f"/v1/{workspace}", owner)["workspace"]["etag"]
        body = {"displayName": "Renamed", "etag": etag}
        answer = any_edge.call("PATCH", f"/v1/{workspace}?updateMask=displayName", body, owner)
        assert answer.json()["workspace"]["displayName"] == "Renamed"
        stale = any_edge.call("PATCH", f"/v1/{workspace}?updateMask=displayName", body, owner)
        assert reason_of(stale, 409) == "ETAG_MISMATCH"

    def test_is_about_what_its_url_names_whatever_else_it_says(self, any_edge: Edge) -> None:
        owner, workspace = any_edge.new_workspace()
        other = any_edge.people.workspace_of(owner, "Other").name
        for answer in (
            any_edge.call("DELETE", f"/v1/{workspace}?name={other}&etag=1", None, owner),
            any_edge.call("GET", f"/v1/{workspace}/roles?parent={other}", None, owner),
            any_edge.call(
                "PATCH", f"/v1/{workspace}?updateMask=displayName", {"name": other, "displayName": "X"}, owner
            ),
        ):
            assert reason_of(answer, 400) == "NAME_INVALID"
            assert "must be what the URL names" in answer.text
        assert any_edge.get(f"/v1/{other}", owner)["workspace"]["displayName"] == "Other"

    @pytest.mark.parametrize("size", [9_000, 14_000, 24_000])
    def test_a_long_header_is_taken_every_time(self, edge: Edge, size: int) -> None:
        person = edge.people.new()
        for _ in range(5):
            assert edge.call("GET", "/v1/me", None, person, {"x-long": "a" * size}).status_code == 200

    def test_the_public_keys_are_where_everybody_looks_for_them(self, any_edge: Edge) -> None:
        answer = any_edge.call("GET", "/.well-known/jwks.json")
        assert answer.headers["content-type"] == "application/json"
        for key in answer.json()["keys"]:
            assert key["kty"] == "EC"
            assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}

    def test_a_request_id_in_the_query_makes_a_repeat_harmless(self, any_edge: Edge) -> None:
        owner = any_edge.people.new("ada")
        path = f"/v1/workspaces?requestId={uuid4()}"
        first = any_edge.call("POST", path, {"displayName": "Once"}, owner)
        assert any_edge.call("POST", path, {"displayName": "Once"}, owner).json() == first.json()
        assert len(any_edge.get("/v1/workspaces", owner)["workspaces"]) == 1
        assert reason_of(any_edge.call("POST", path, {"displayName": "Twice"}, owner), 400) == "REQUEST_ID_REUSED"


class TestRefusals:
    def test_each_status_has_its_http_twin(self, any_edge: Edge) -> None:
        owner, workspace = any_edge.new_workspace()
        viewer = any_edge.people.member(owner, workspace, "viewer")
        invites = f"/v1/{workspace}/invites"
        ben = {"email": any_edge.people.address(), "role": f"{workspace}/roles/member"}
        assert any_edge.call("POST", invites, ben, owner).status_code == 200
        assert reason_of(any_edge.call("GET", "/v1/me"), 401) == "CREDENTIALS_MISSING"
        assert reason_of(any_edge.call("POST", invites, ben, viewer), 403) == "PERMISSION_DENIED"
        assert reason_of(any_edge.call("GET", f"/v1/workspaces/{uuid4()}", person=owner), 404) == "NOT_FOUND"
        assert reason_of(any_edge.call("GET", "/v1/workspaces/1", person=owner), 400) == "NAME_INVALID"
        assert reason_of(any_edge.call("POST", f"/v1/{workspace}:leave", {}, owner), 400) == "LAST_OWNER"
        assert reason_of(any_edge.call("POST", invites, ben, owner), 409) == "INVITE_PENDING"
        stale = any_edge.call("DELETE", f"/v1/{workspace}?etag=ffff", person=owner)
        assert reason_of(stale, 409) == "ETAG_MISMATCH"

    def test_bad_fields_are_listed_by_name(self, edge: Edge) -> None:
        owner = edge.people.new("ada")
        answer = edge.call("POST", "/v1/workspaces", {"displayName": "x" * 300}, owner)
        assert reason_of(answer, 400) == "FIELDS_INVALID"
        [bad] = [d for d in answer.json()["details"] if d["@type"].endswith("google.rpc.BadRequest")]
        assert {violation["field"] for violation in bad["fieldViolations"]} == {"workspace.display_name"}

    def test_who_calls_too_often_is_told_when_to_come_back(self, edge: Edge) -> None:
        """Three exports at once are let through, and one every other second from then on."""
        person = edge.people.new("ada")
        answers = [edge.call("GET", "/v1/me:export", person=person) for _ in range(4)]
        assert [answer.status_code for answer in answers[:3]] == [200] * 3
        assert reason_of(answers[3], 429) == "RATE_LIMITED"
        assert 1 <= int(answers[3].headers["retry-after"]) <= 2
        assert edge.call("GET", "/v1/me", person=person).status_code == 200

    @pytest.mark.parametrize(
        ("method", "path", "status", "reason"),
        [
            ("GET", "/v1/nothing", 404, "NOT_FOUND"),
            ("POST", "/v1/workspaces:sell", 404, "NOT_FOUND"),
            ("PUT", "/v1/workspaces", 404, "NOT_FOUND"),
            ("GET", "/v1/workspaces?colour=red", 400, "FIELDS_INVALID"),
            ("GET", "/v1/workspaces?pageSize=many", 400, "FIELDS_INVALID"),
        ],
    )
    def test_what_the_contract_does_not_know_is_refused(
        self, edge: Edge, method: str, path: str, status: int, reason: str
    ) -> None:
        assert reason_of(edge.call(method, path, person=edge.people.new()), status) == reason

    def test_a_body_that_is_no_json_or_too_large_is_refused(self, edge: Edge) -> None:
        for content in ('{"displayName":', "[]", '{"displayName": {}}'):
            assert reason_of(edge.rest.post("/v1/workspaces", content=content), 400) == "FIELDS_INVALID"
        large = json.dumps({"displayName": "x" * (5 << 20)})
        assert reason_of(edge.rest.post("/v1/workspaces", content=large), 413) == "FIELDS_INVALID"

    @pytest.mark.parametrize("policy", INTERNAL, ids=lambda policy: policy.full_name)
    def test_an_internal_method_is_not_there(self, edge: Edge, policy: object) -> None:
        path = getattr(policy, "path", "")
        answer = edge.rest.post(path, content="{}", headers={"content-type": "application/json"})
        assert reason_of(answer, 404) == "NOT_FOUND"


class TestExport:
    def test_the_audit_log_streams_as_json_lines(self, any_edge: Edge) -> None:
        owner, workspace = any_edge.new_workspace()
        for number in range(3):
            role = role_pb2.Role(display_name=f"Role {number}", permissions=["members.read"])
            owner.stubs.roles.CreateRole(role_service_pb2.CreateRoleRequest(parent=workspace, role=role))
        answer = any_edge.call("GET", f"/v1/{workspace}/auditEvents:export", person=owner)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        events = [json.loads(line) for line in answer.text.splitlines()]
        listed = any_edge.get(f"/v1/{workspace}/auditEvents", owner)["auditEvents"]
        assert [event["name"] for event in events] == [event["name"] for event in listed]
        assert [event["action"] for event in events[:3]] == ["plinth.tenancy.role.created.v1"] * 3


class TestHeaders:
    def test_the_trace_and_the_id_of_a_call_stand_in_the_audit_log(self, any_edge: Edge) -> None:
        owner = any_edge.people.new("ada")
        trace = "0af7651916cd43dd8448eb211c80319c"
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "user-agent": "a test/1"}
        answer = any_edge.call("POST", "/v1/workspaces", {"displayName": "Traced"}, owner, headers)
        events = any_edge.get(f"/v1/{answer.json()['workspace']['name']}/auditEvents", owner)["auditEvents"]
        for event in events:
            assert event["traceId"] == trace
            assert event["requestId"] == answer.headers["x-request-id"]
            assert (event["source"], event["userAgent"]) == ("127.0.0.1", "a test/1")
        assert events

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("x!y", "1"),
            ("x~y", "1"),
            ("x-bin", "no base64"),
            ("grpc-encoding", "none of ours"),
            ("grpc-timeout", "soon"),
            ("grpc-internal-encoding-request", "gzip"),
        ],
    )
    def test_headers_that_grpc_cannot_carry_are_passed_over(self, edge: Edge, name: str, value: str) -> None:
        answer = edge.call("GET", "/v1/me", person=edge.people.new("ada"), headers={name: value})
        assert answer.status_code == 200

    def test_a_page_of_a_named_origin_may_call(self, edge: Edge) -> None:
        asking = {"origin": ORIGIN, "access-control-request-method": "PATCH"}
        answer = edge.rest.options("/v1/workspaces", headers=asking)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        refused = edge.call("GET", "/v1/me", headers={"origin": ORIGIN})
        assert refused.headers["access-control-allow-origin"] == ORIGIN
        assert "retry-after" in refused.headers["access-control-expose-headers"]

    def test_a_page_of_another_origin_may_not(self, edge: Edge) -> None:
        asking = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        assert "access-control-allow-origin" not in edge.rest.options("/v1/workspaces", headers=asking).headers
