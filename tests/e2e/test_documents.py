"""Files over REST: a raw body, base64, parts; and what a browser is told when it takes one away."""

import base64
import hashlib
import secrets
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.conftest import Edge, Json
from tests.e2e.test_rest import reason_of
from tests.support.people import Person

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

PART = 3 << 20


def send(
    edge: Edge, person: Person, method: str, path: str, content: "bytes | Iterator[bytes]", **query: str
) -> httpx.Response:
    """A call whose body is a file, or a part of one."""
    headers = {"authorization": f"Bearer {person.access_token}", "content-type": "application/octet-stream"}
    return edge.rest.request(method, path, content=content, params=query, headers=headers)


def document_of(answer: httpx.Response) -> Json:
    assert answer.status_code == 200, answer.text
    document: Json = answer.json()["document"]
    return document


def test_a_raw_body_of_any_length_is_a_file(any_edge: Edge) -> None:
    owner, workspace = any_edge.new_workspace()
    content = secrets.token_bytes(6 << 20)
    path = f"/v1/{workspace}/documents:upload"
    made: Json = {}
    for body in (content, iter([content[: 1 << 20], content[1 << 20 :]])):
        made = document_of(send(any_edge, owner, "POST", path, body, displayName="Big file.bin", tags="raw"))
        assert (made["displayName"], made["tags"], made["sizeBytes"]) == ("Big file.bin", ["raw"], str(len(content)))
        assert (made["sha256"], made["version"]) == (hashlib.sha256(content).hexdigest(), 1)
    answer = any_edge.call("GET", f"/v1/{made['name']}:download", person=owner)
    assert (answer.status_code, answer.content) == (200, content)


def test_who_may_see_it_is_in_the_query(any_edge: Edge) -> None:
    owner, workspace = any_edge.new_workspace()
    query = {"displayName": "few.txt", "visibility.kind": "KIND_MEMBERS", "visibility.members": owner.name}
    made = document_of(send(any_edge, owner, "POST", f"/v1/{workspace}/documents:upload", b"for me", **query))
    assert made["visibility"] == {"kind": "KIND_MEMBERS", "roles": [], "members": [owner.name]}


def test_a_small_file_travels_in_base64(any_edge: Edge) -> None:
    owner, workspace = any_edge.new_workspace()
    content = secrets.token_bytes(5 << 20)
    body = {
        "displayName": "small.bin",
        "metadata": {"year": "2025"},
        "content": base64.b64encode(content).decode(),
    }
    made = document_of(any_edge.call("POST", f"/v1/{workspace}/documents", body, owner))
    assert (made["metadata"], made["content"]) == ({"year": "2025"}, "")
    assert any_edge.call("GET", f"/v1/{made['name']}:download", person=owner).content == content
    listed = any_edge.get(f"/v1/{workspace}/documents?filter=metadata.year%3D%222025%22", owner)["documents"]
    assert [document["name"] for document in listed] == [made["name"]]


def test_a_large_file_goes_on_where_it_broke(any_edge: Edge) -> None:
    owner, workspace = any_edge.new_workspace()
    content = secrets.token_bytes(2 * PART + 1000)
    body = {"displayName": "large.bin", "sizeBytes": len(content)}
    started = any_edge.call("POST", f"/v1/{workspace}/documents:startUpload", {"upload": body}, owner)
    name = started.json()["upload"]["name"]
    assert send(any_edge, owner, "PATCH", f"/v1/{name}", content[:PART], offset="0").status_code == 200
    # The client forgets what it has sent, and asks.
    lost = send(any_edge, owner, "PATCH", f"/v1/{name}", content[: PART + 1], offset="0")
    assert reason_of(lost, 409) == "UPLOAD_OFFSET_MISMATCH"
    while (at := int(any_edge.get(f"/v1/{name}", owner)["upload"]["receivedBytes"])) < len(content):
        part = send(any_edge, owner, "PATCH", f"/v1/{name}", content[at : at + PART], offset=str(at))
        assert part.status_code == 200, part.text
    finish = {"sha256": hashlib.sha256(content).hexdigest()}
    made = document_of(any_edge.call("POST", f"/v1/{name}:finish", finish, owner))
    assert any_edge.call("GET", f"/v1/{made['name']}:download", person=owner).content == content


def test_a_browser_keeps_what_it_downloads_and_never_runs_it(any_edge: Edge) -> None:
    owner, workspace = any_edge.new_workspace()
    page = b"<!doctype html><script>alert(document.cookie)</script>"
    made = document_of(
        send(any_edge, owner, "POST", f"/v1/{workspace}/documents:upload", page, displayName='Zoë "1".html')
    )
    answer = any_edge.call("GET", f"/v1/{made['name']}:download", person=owner)
    assert answer.content == page
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Zo_ _1_.html\"; filename*=UTF-8''Zo%C3%AB%20%221%22.html"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(page).digest()).decode()}:"
    assert reason_of(any_edge.call("GET", f"/v1/{made['name']}:download?version=2", person=owner), 404) == "NOT_FOUND"


def test_refusals_are_like_any_other(any_edge: Edge) -> None:
    owner, workspace = any_edge.new_workspace()
    path = f"/v1/{workspace}/documents:upload"
    viewer = any_edge.people.member(owner, workspace, "viewer")
    assert reason_of(send(any_edge, viewer, "POST", path, b"x", displayName="x"), 403) == "PERMISSION_DENIED"
    assert reason_of(send(any_edge, owner, "POST", path, b"", displayName="x"), 400) == "DOCUMENT_EMPTY"
    assert reason_of(send(any_edge, owner, "POST", path, b"x"), 400) == "FIELDS_INVALID"
