"""Streams of the event log as clients of the edge see them: until a session ends, and over a restart."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator

import grpc
import httpx
import pytest

from plinth.events.v1 import event_service_pb2
from plinth.identity.v1 import auth_service_pb2
from plinth.projects.v1 import activity_service_pb2, project_pb2, project_service_pb2
from tests.e2e.conftest import Edge
from tests.e2e.test_rest import reason_of
from tests.support.errors import refused
from tests.support.people import Person
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

Message = activity_service_pb2.WatchActivityResponse


def watch(owner: Person, workspace: str, cursor: str = "") -> Iterator[Message]:
    """The workspace's activity, by gRPC; the first message says that the stream is open."""
    request = activity_service_pb2.WatchActivityRequest(parent=workspace, cursor=cursor)
    return iter(owner.stubs.activity.WatchActivity(request))


@contextlib.contextmanager
def past_retention(edge: Edge) -> Iterator[str]:
    """As if the first event were no longer kept: a cursor from before it."""
    forget = "update kernel.event_retention set dropped = %s"
    with edge.database() as connection:
        connection.execute(forget, [1])
    try:
        yield "0"
    finally:
        with edge.database() as connection:
            connection.execute(forget, [0])


def create(owner: Person, workspace: str, name: str) -> None:
    project = project_pb2.Project(display_name=name)
    owner.stubs.projects.CreateProject(project_service_pb2.CreateProjectRequest(parent=workspace, project=project))


def up_to(name: str, stream: Iterable[Message]) -> list[Message]:
    """What was done, up to the making of the project of this name."""
    done: list[Message] = []
    for message in stream:
        if message.HasField("activity"):
            done.append(message)
            if name in [change.new_value for change in message.activity.changes]:
                break
    return done


def test_a_stop_of_the_streams_process_tells_clients_to_come_back_and_they_miss_nothing(edge: Edge) -> None:
    owner, workspace = edge.new_workspace()
    create(owner, workspace, "Before")
    stream = watch(owner, workspace, "0")
    told = up_to("Before", stream)
    pid = edge.mesh.pids["streams"]
    os.kill(pid, signal.SIGTERM)
    with refused(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN") as refusal:
        up_to("Never", stream)
    assert refusal.retry_seconds == 1
    until(lambda: edge.mesh.pids.get("streams") != pid, "the process has ended")
    create(owner, workspace, "Meanwhile")

    def tell_the_rest() -> bool:
        edge.mesh.look_after()
        with contextlib.suppress(grpc.RpcError):
            told.extend(up_to("Meanwhile", watch(owner, workspace, told[-1].cursor)))
        return "Meanwhile" in [change.new_value for change in told[-1].activity.changes]

    until(tell_the_rest, "a stream that goes on")
    request = activity_service_pb2.ListActivityRequest(parent=workspace)

    def listed() -> list[str]:
        return [activity.name for activity in owner.stubs.activity.ListActivity(request).activities][::-1]

    until(lambda: len(listed()) >= len(told), "the projection has caught up")
    assert [message.activity.name for message in told] == listed()


def test_both_forms_tell_the_same_with_the_same_cursors(edge: Edge) -> None:
    owner, workspace = edge.new_workspace()
    for name in ("First", "Second"):
        create(owner, workspace, name)
    told = [message.cursor for message in up_to("Second", watch(owner, workspace, "0"))]
    headers = {"authorization": f"Bearer {owner.access_token}", "last-event-id": "0"}
    ids: list[str] = []
    with edge.rest.stream("GET", f"/v1/{workspace}/activity:watch", headers=headers) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        for line in answer.iter_lines():
            ids += [line.removeprefix("id: ")] if line.startswith("id: ") else []
            if told[-1] in ids:
                break
    # The first is that of `connected`.
    assert ids[1:] == told


@pytest.mark.parametrize("cursor", ["yesterday", "999999999999"])
def test_a_cursor_that_leads_nowhere_is_refused_with_a_reason(edge: Edge, cursor: str) -> None:
    owner, workspace = edge.new_workspace()
    path = f"/v1/{workspace}/activity:watch"
    assert reason_of(edge.call("GET", f"{path}?cursor={cursor}", person=owner), 400) == "CURSOR_INVALID"
    by_header = edge.call("GET", path, person=owner, headers={"last-event-id": cursor})
    assert reason_of(by_header, 400) == "CURSOR_INVALID"


@pytest.fixture
def expired(edge: Edge) -> Iterator[str]:
    """A cursor from before what the log keeps."""
    with past_retention(edge) as cursor:
        yield cursor


def test_a_cursor_past_retention_is_refused_with_a_reason_over_grpc(edge: Edge, expired: str) -> None:
    owner, workspace = edge.new_workspace()
    events = event_service_pb2.WatchEventsRequest(parent=workspace, cursor=expired)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "CURSOR_EXPIRED"):
        list(owner.stubs.events.WatchEvents(events))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "CURSOR_EXPIRED"):
        list(watch(owner, workspace, expired))


@pytest.mark.parametrize("stream", ["activity:watch", "events:watch"])
def test_and_over_sse(edge: Edge, expired: str, stream: str) -> None:
    owner, workspace = edge.new_workspace()
    path = f"/v1/{workspace}/{stream}"
    assert reason_of(edge.call("GET", f"{path}?cursor={expired}", person=owner), 400) == "CURSOR_EXPIRED"
    by_header = edge.call("GET", path, person=owner, headers={"last-event-id": expired})
    assert reason_of(by_header, 400) == "CURSOR_EXPIRED"


def test_while_nothing_happens_it_says_that_it_is_there(edge: Edge) -> None:
    owner, workspace = edge.new_workspace()
    headers = {"authorization": f"Bearer {owner.access_token}"}
    with edge.rest.stream("GET", f"/v1/{workspace}/activity:watch", headers=headers) as answer:
        heartbeat = next(chunk for chunk in answer.iter_raw() if chunk.startswith(b":"))
    assert heartbeat.startswith(b":\n\nid: ")


def test_it_ends_with_the_session(edge: Edge) -> None:
    owner, workspace = edge.new_workspace()
    path, headers = f"/v1/{workspace}/activity:watch", {"authorization": f"Bearer {owner.access_token}"}
    with edge.rest.stream("GET", path, headers=headers) as answer:
        chunks = answer.iter_raw()
        assert b"event: connected" in next(chunks)
        owner.stubs.auth.SignOut(auth_service_pb2.SignOutRequest())
        with contextlib.suppress(httpx.RemoteProtocolError):
            assert list(chunks) == []
    assert reason_of(edge.call("GET", path, person=owner), 401) == "TOKEN_INVALID"
