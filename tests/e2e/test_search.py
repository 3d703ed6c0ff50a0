"""From an uploaded file to the passage that answers, over REST, and who never sees it."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Edge, Json
from tests.e2e.test_documents import document_of, send
from tests.e2e.test_rest import reason_of
from tests.support.people import Person
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

LEASE = b"# Lease of the warehouse\n\n## Ending the lease\n\nEither party may terminate it with three months' notice.\n"
HANDBOOK = b"Everybody has thirty days of paid vacation a year. Notice of it is given a month before."
PART = 1 << 18
PAGE = (
    b"<!doctype html><title>Moon</title><!--"
    + b"-" * PART
    + b"""-->
<h1>Landing</h1><p>The eagle has landed, and the tenant of the moon is one.</p>"""
)
SECRET = b"The severance of the tenant is confidential: a notice of termination comes with a golden parachute."
INDEXED = "INGESTION_STATE_INDEXED"
CHUNK = "00000000-0000-4000-8000-000000000000"
TRACE, UPLOAD_TRACE = "5bd66ef5095369c7b0d1f8f4bd33716a", "1f8f4bd33716a5bd66ef5095369c7b0d"


@dataclass
class Office:
    """A workspace as its people see it over REST; without anybody named, it is the owner."""

    edge: Edge
    owner: Person
    workspace: str
    documents: dict[str, Json] = field(default_factory=dict)

    def upload(self, name: str, content: bytes, trace: str = "", **query: str) -> None:
        """A file as the body of a request."""
        headers = {"authorization": f"Bearer {self.owner.access_token}", "content-type": "application/octet-stream"}
        headers |= traced(trace) if trace else {}
        path = f"/v1/{self.workspace}/documents:upload"
        answer = self.edge.rest.post(path, content=content, params={"displayName": name, **query}, headers=headers)
        self.documents[name] = document_of(answer)

    def upload_in_json(self, name: str, content: bytes) -> None:
        """The same in base64."""
        body = {"displayName": name, "content": base64.b64encode(content).decode()}
        self.documents[name] = document_of(self.post("documents", body, separator="/"))

    def upload_in_parts(self, name: str, content: bytes) -> None:
        """The same in parts."""
        body = {"upload": {"displayName": name, "sizeBytes": len(content)}}
        upload = self.post("documents:startUpload", body, separator="/").json()["upload"]["name"]
        for offset in range(0, len(content), PART):
            part = content[offset : offset + PART]
            answer = send(self.edge, self.owner, "PATCH", f"/v1/{upload}", part, offset=str(offset))
            assert answer.status_code == 200, answer.text
        self.documents[name] = document_of(self.edge.call("POST", f"/v1/{upload}:finish", {}, self.owner))

    def states(self, name: str) -> list[str]:
        """What a page hears of the ingestion, up to its end."""
        ingestion = self.documents[name]["ingestion"]
        headers = {"authorization": f"Bearer {self.owner.access_token}"}
        with self.edge.rest.stream("GET", f"/v1/{ingestion}:watch", headers=headers, timeout=60.0) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            told = [
                json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: ")
            ]
        return [message["state"] for message in told]

    def all_are_found(self) -> None:
        """Return when they are."""
        assert {name: self.states(name)[-1] for name in self.documents} == dict.fromkeys(self.documents, INDEXED)

    def post(self, method: str, body: Json, person: Person | None = None, *, separator: str = ":") -> httpx.Response:
        """A call of the workspace's."""
        return self.edge.call("POST", f"/v1/{self.workspace}{separator}{method}", body, person or self.owner)

    def search(self, query: str, person: Person | None = None, **fields: Any) -> Json:
        """A page of hits."""
        answer = self.post("search", {"query": query, **fields}, person)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def names(self, query: str, person: Person | None = None) -> list[str]:
        """Whose hits they are."""
        return [hit["displayName"] for hit in self.search(query, person)["hits"]]

    def suggest(self, typed: str, person: Person | None = None) -> list[str]:
        """What typing may become."""
        answer = self.edge.get(f"/v1/{self.workspace}:suggest?query={typed}", person or self.owner)
        return [one["text"] for one in answer["suggestions"]]

    def index(self, person: Person | None = None) -> Json:
        """What the index says of itself, without what names the workspace or a moment."""
        index: Json = self.edge.get(f"/v1/{self.workspace}/index", person or self.owner)["index"]
        return {key: value for key, value in index.items() if key not in ("name", "updateTime", "live", "building")}

    def told(self, person: Person | None = None) -> list[object]:
        """All that search tells somebody, without what names the workspace."""
        found = self.search("the tenant's vacaton notice", person)
        explained = [
            self.post("explainHit", {"query": "notice", "chunk": hit["chunk"]}, person) for hit in found["hits"]
        ]
        return [
            [(hit["displayName"], hit["snippet"], hit["score"], hit["parts"]) for hit in found["hits"]],
            [{key: answer.json()[key] for key in ("terms", "passageCount", "averageLength")} for answer in explained],
            (found["correctedQuery"], found["lexicalMatches"], found["mode"]),
            [self.suggest(typed, person) for typed in ("te", "conf", "sever", "sal")],
            self.search("confidental", person)["correctedQuery"],
        ]


def traced(trace: str) -> dict[str, str]:
    """The header of a call that is part of a trace."""
    return {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}


@pytest.fixture(scope="module", params=["whole", "divided"])
def office(request: pytest.FixtureRequest) -> Office:
    """With a document by each way of upload, which can be found; whatever the mesh's layout."""
    edge: Edge = request.getfixturevalue(request.param)
    office = Office(edge, *edge.new_workspace())
    office.upload("lease.md", LEASE, UPLOAD_TRACE, tags="legal")
    office.upload_in_json("handbook.txt", HANDBOOK)
    office.upload_in_parts("moon.html", PAGE)
    office.all_are_found()
    return office


@pytest.fixture(scope="module")
def rivals(office: Office) -> Office:
    """Others with the same documents, and nothing besides."""
    rivals = Office(office.edge, *office.edge.new_workspace())
    for name, content in (("lease.md", LEASE), ("handbook.txt", HANDBOOK), ("moon.html", PAGE)):
        rivals.upload(name, content)
    rivals.all_are_found()
    return rivals


def test_what_was_uploaded_is_found_shown_explained_and_given_back(office: Office) -> None:
    found = office.search("ending a lease")
    hit = found["hits"][0]
    assert (hit["displayName"], hit["position"]["headings"]) == (
        "lease.md",
        ["Lease of the warehouse", "Ending the lease"],
    )
    lights = [hit["snippet"][light["start"] : light["end"]] for light in hit["highlights"]]
    assert {"Lease", "Ending"} <= set(lights)
    assert office.names("vacaton days") == ["handbook.txt"]
    assert office.names('"the eagle has landed"') == ["moon.html"]
    assert office.suggest("vac") == ["vacation"]
    assert office.suggest("lea") == ["lease.md", "lease"]
    explained = office.post("explainHit", {"query": "ending a lease", "chunk": hit["chunk"]}).json()
    assert [term["word"] for term in explained["terms"]] == ["ending", "lease"]
    assert explained["hit"]["score"] == hit["score"]
    answer = office.edge.call("GET", f"/v1/{hit['document']}:download", person=office.owner)
    assert answer.content == LEASE


def test_no_one_else_is_told_anything(office: Office, rivals: Office) -> None:
    alone = rivals.told(), rivals.index()
    assert (office.told(), office.index()) == alone
    member, viewer = (office.edge.people.member(office.owner, office.workspace, role) for role in ("member", "viewer"))
    kind = {"visibility.kind": "KIND_MEMBERS", "visibility.members": member.name}
    office.upload("Salaries.txt", SECRET, **kind)
    office.all_are_found()
    # Another tenant, who has the same documents.
    assert (rivals.told(), rivals.index()) == alone
    for method, body in (("search", {"query": "notice"}), ("explainHit", {"query": "notice", "chunk": CHUNK})):
        assert reason_of(office.post(method, body, rivals.owner), 404) == "NOT_FOUND"
    for path in (":suggest?query=no", "/index", "/documents", "/ingestions"):
        answer = office.edge.call("GET", f"/v1/{office.workspace}{path}", person=rivals.owner)
        assert reason_of(answer, 404) == "NOT_FOUND"
    # How long it took, with all that is hidden, is in no header.
    headers = office.post("search", {"query": "notice"}, viewer).headers
    assert not [name for name in headers if "tim" in name]
    # Somebody of the workspace, who may not see it.
    assert office.names("severance parachute", member) == ["Salaries.txt"]
    assert office.suggest("sal", member) == ["Salaries.txt"]
    assert (office.index(member)["documentCount"], office.index(viewer)["documentCount"]) == (4, 3)
    assert office.names("severance parachute", viewer) == []
    assert office.suggest("sal", viewer) == office.suggest("sever", viewer) == []
    assert office.search("severence", viewer)["correctedQuery"] == ""
    assert office.search("notice", viewer)["lexicalMatches"] == office.search("notice")["lexicalMatches"] - 1
    assert "Salaries" not in json.dumps(office.edge.get(f"/v1/{office.workspace}/documents", viewer))
    assert "Salaries" not in json.dumps(office.edge.get(f"/v1/{office.workspace}/events", office.owner))
    path = f"/v1/{office.documents['Salaries.txt']['name']}:download"
    assert reason_of(office.edge.call("GET", path, person=viewer), 404) == "NOT_FOUND"


def test_what_was_done_is_on_record(office: Office) -> None:
    headers = {"authorization": f"Bearer {office.owner.access_token}", **traced(TRACE)}
    office.edge.rest.post(f"/v1/{office.workspace}:search", json={"query": "lease"}, headers=headers)
    document = office.documents["lease.md"]["name"]

    def types() -> list[str]:
        events = office.edge.get(f"/v1/{office.workspace}/events?pageSize=100", office.owner)["events"]
        return [event["type"].removeprefix("plinth.documents.") for event in events if event["subject"] == document]

    until(lambda: set(types()) >= {"document.created.v1", "document.indexed.v1"}, "events of the document")
    audited = office.edge.get(f"/v1/{office.workspace}/auditEvents?pageSize=100", office.owner)["auditEvents"]
    [uploaded] = [
        one
        for one in audited
        if one["action"] == "plinth.documents.document.created.v1" and one["traceId"] == UPLOAD_TRACE
    ]
    assert (uploaded["resource"], uploaded["actor"]) == (document, office.owner.name)
    spans = office.edge.spans
    until(lambda: "plinth.search.v1.SearchService/Search" in spans.names(TRACE), "the trace of the search")
    until(lambda: "job documents.ingest" in spans.names(UPLOAD_TRACE), "the trace of the upload, with its ingestion")
    parts = {"plinth.documents.v1.DocumentService/UploadDocument", "ingestion parsed", "ingestion indexed"}
    assert parts <= set(spans.names(UPLOAD_TRACE))
    lines = office.edge.metrics()
    for wanted in ('method="Search"', 'plinth_ingestion_stages_total{outcome="passed",stage="indexed"}'):
        assert any(wanted in line for line in lines)


def test_what_is_deleted_is_found_no_more(office: Office) -> None:
    office.upload("draft.txt", b"A draft about quokkas.")
    office.all_are_found()
    draft = office.documents.pop("draft.txt")
    assert office.names("quokkas") == ["draft.txt"]
    name, etag = draft["name"], office.edge.get(f"/v1/{draft['name']}", office.owner)["document"]["etag"]
    assert office.edge.call("DELETE", f"/v1/{name}?etag={etag}", person=office.owner).status_code == 200
    assert office.names("quokkas") == []
    until(lambda: office.suggest("quok") == [], "the words to be forgotten")
    assert reason_of(office.edge.call("GET", f"/v1/{name}:download", person=office.owner), 404) == "NOT_FOUND"
