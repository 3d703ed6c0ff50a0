"""A chapter on documents and search: from a file to the passage that answers, and who never sees it."""

import base64

from plinth.documents.v1 import ingestion_pb2, ingestion_service_pb2, ingestion_service_pb2_grpc
from services.demo.cast import join, token_in
from services.demo.stage import Json, Stage

_LEASE = """\
# Lease of the warehouse

## Rent

The rent is due on the third working day of each month.

## Ending the lease

Either party may terminate it with three months' notice in writing.
"""
_PLAN = "The new warehouse in Rotterdam is to be rented from May. Nobody outside of the board knows of it yet."


def tell(stage: Stage) -> None:
    """From an upload to hits, past a slip of the pen and a document that is for one person alone."""
    stage.chapter("Documents and search")
    stage.say("Radia founds a workspace, and Barbara joins as a member.")
    radia, barbara = join(stage, "Radia"), join(stage, "Barbara")
    workspace = stage.rest("POST", "/v1/workspaces", {"displayName": "Bridges"}, token=radia)["workspace"]["name"]
    invite = {"email": stage.address("Barbara"), "role": f"{workspace}/roles/member"}
    stage.rest("POST", f"/v1/{workspace}/invites", invite, token=radia)
    stage.rest("POST", "/v1/invites:accept", {"token": token_in(stage.mail(stage.address("Barbara")))}, token=barbara)

    stage.say("Radia uploads a file. A worker reads it, and she watches how far it is.")
    _upload(stage, radia, workspace, "Lease.md", _LEASE, {})

    stage.say("Barbara asks in her own words, with a slip. She finds the passage, and where it stands.")
    asked = {"query": "how do we terminate the leese"}
    found = stage.rest("POST", f"/v1/{workspace}:search", asked, token=barbara)
    [hit, *_] = found["hits"]
    stage.check(hit["position"]["headings"][-1] == "Ending the lease", "the first hit is the passage on ending it")
    stage.check(found["correctedQuery"] == "how do we terminate the lease", "the slip was taken for what it is")

    stage.say("She asks why that one, and is told word by word.")
    explain = {"query": found["correctedQuery"], "chunk": hit["chunk"]}
    stage.rest("POST", f"/v1/{workspace}:explainHit", explain, token=barbara)

    stage.say("Radia uploads a plan that is for herself alone.")
    me = stage.rest("GET", "/v1/me", token=radia)["user"]["name"]
    hidden = {"visibility": {"kind": "KIND_MEMBERS", "members": [me]}}
    plan = _upload(stage, radia, workspace, "Plan.txt", _PLAN, hidden)

    stage.say("She finds it. For Barbara it is not there: no hit, no completion, no correction, no name.")
    rotterdam = {"query": "Rotterdam"}
    mine = stage.rest("POST", f"/v1/{workspace}:search", rotterdam, token=radia)["hits"]
    stage.check([one["document"] for one in mine] == [plan], "Radia finds her plan")
    theirs = stage.rest("POST", f"/v1/{workspace}:search", {"query": "Roterdam"}, token=barbara)
    stage.check((theirs["hits"], theirs["correctedQuery"]) == ([], ""), "Barbara finds nothing")
    typed = stage.rest("GET", f"/v1/{workspace}:suggest?query=rot", token=barbara)
    stage.check(typed["suggestions"] == [], "nothing she types is completed by it")
    stage.rest("GET", f"/v1/{plan}", token=barbara, expect=404, reason="NOT_FOUND")

    stage.say("Radia deletes it. From then on nobody finds it.")
    etag = stage.rest("GET", f"/v1/{plan}", token=radia)["document"]["etag"]
    stage.rest("DELETE", f"/v1/{plan}?etag={etag}", token=radia)
    gone = stage.rest("POST", f"/v1/{workspace}:search", rotterdam, token=radia)
    stage.check(gone["hits"] == [], "it is gone")


def _upload(stage: Stage, token: str, workspace: str, name: str, text: str, fields: Json) -> str:
    """The name of a document, which can be found."""
    body = {"displayName": name, "content": base64.b64encode(text.encode()).decode(), **fields}
    document = stage.rest("POST", f"/v1/{workspace}/documents", body, token=token)["document"]
    stage.watch(
        ingestion_service_pb2_grpc.IngestionServiceStub(stage.channel).WatchIngestion,
        "plinth.documents.v1.IngestionService/WatchIngestion",
        ingestion_service_pb2.WatchIngestionRequest(name=document["ingestion"]),
        token=token,
        enough=lambda messages: bool(messages[-1].ingestion.state == ingestion_pb2.INGESTION_STATE_INDEXED),
    )
    return str(document["name"])
