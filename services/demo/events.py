"""A chapter on events: what happened, as it happens, once more, and a webhook whose receiver is away."""

from datetime import UTC, datetime, timedelta

from services.demo.cast import join
from services.demo.stage import Stage

_RENAMED = "plinth.tenancy.workspace.updated.v1"


def tell(stage: Stage) -> None:
    """From a name that changes to a delivery that is tried again."""
    stage.chapter("Events, webhooks and jobs")
    began = datetime.now(UTC) - timedelta(minutes=1)
    grace = join(stage, "Grace")
    workspace = stage.rest("POST", "/v1/workspaces", {"displayName": "Compilers"}, token=grace)["workspace"]
    name = str(workspace["name"])

    stage.say("Grace watches her workspace, as a page does it. She renames it, and the page hears of it.")
    with stage.sse(f"/v1/{name}/events:watch?types=plinth.tenancy.workspace.*", token=grace) as told:
        stage.rest("PATCH", f"/v1/{name}", {"displayName": "Flow-Matic", "etag": str(workspace["etag"])}, token=grace)
        heard = told()
        stage.check(heard["event"] == _RENAMED, "the stream told of the new name")

    stage.say("While the page was away, more happened. It comes back with the last id it heard, and misses nothing.")
    etag = str(stage.rest("GET", f"/v1/{name}", token=grace)["workspace"]["etag"])
    stage.rest("PATCH", f"/v1/{name}", {"displayName": "COBOL", "etag": etag}, token=grace)
    with stage.sse(f"/v1/{name}/events:watch?types={_RENAMED}&cursor={heard['id']}", token=grace) as told:
        stage.check("COBOL" in told()["data"], "the stream told of what was missed")

    stage.say("A webhook endpoint on the inside of the network is refused before any packet leaves.")
    stage.rest(
        "POST",
        f"/v1/{name}/webhookEndpoints",
        {"url": "https://169.254.169.254/latest/meta-data/"},
        token=grace,
        expect=400,
        reason="WEBHOOK_URL_REFUSED",
    )

    stage.say("One on the outside is made, with a secret that is shown this once.")
    made = stage.rest(
        "POST",
        f"/v1/{name}/webhookEndpoints",
        {"url": "https://hooks.invalid/plinth", "types": ["plinth.tenancy.*"]},
        token=grace,
    )
    endpoint = str(made["webhookEndpoint"]["name"])

    stage.say("It is told of nothing that was before it; Grace has that sent too. A durable job does it.")
    job = stage.rest(
        "POST",
        f"/v1/{name}/events:replay",
        {"since": began.isoformat().replace("+00:00", "Z"), "target": endpoint, "types": [_RENAMED]},
        token=grace,
    )["job"]
    stage.until(
        f"/v1/{job}",
        lambda answer: bool(answer["job"]["state"] == "STATE_SUCCEEDED"),
        "the replay is done",
        token=grace,
    )

    stage.say("Nobody lives at that address. The delivery log says so, and when it is tried again.")
    log = stage.until(
        f"/v1/{endpoint}/deliveries",
        lambda answer: any(one.get("attempts") for one in answer["deliveries"]),
        "an attempt to deliver",
        token=grace,
    )
    stage.check(len(log["deliveries"]) == 2, "each of the two events has one delivery")

    stage.say("She disables the endpoint, and what waited for it is cancelled.")
    stage.rest("POST", f"/v1/{endpoint}:disable", {}, token=grace)
    stage.until(
        f"/v1/{endpoint}/deliveries",
        lambda answer: all(one["state"] == "STATE_CANCELLED" for one in answer["deliveries"]),
        "every delivery is cancelled",
        token=grace,
    )
