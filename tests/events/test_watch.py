"""Events as they happen: a streams process tells of them."""

from collections.abc import Iterator
from typing import Any

import grpc
import orjson
import pytest

from plinth.events.v1 import event_service_pb2 as events
from plinth.events.v1 import event_service_pb2_grpc
from services.kernel.config import Settings
from tests.events.office import RENAMED, Office
from tests.support.errors import refused
from tests.support.streams import running_streams
from tests.support.stubs import with_token

CODE = grpc.StatusCode
SECONDS = 20.0
Stub = Any  # its streams are iterators and calls at once, which no type says


@pytest.fixture(scope="module")
def channel(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """To a streams process on the run's database."""
    with (
        running_streams(settings, tmp_path_factory.mktemp("streams")) as address,
        grpc.insecure_channel(address) as opened,
    ):
        yield opened


@pytest.fixture
def stub(channel: grpc.Channel, office: Office) -> Stub:
    """As the owner of the office."""
    return event_service_pb2_grpc.EventServiceStub(with_token(channel, office.owner.access_token))


class TestWatchEvents:
    def test_begins_with_a_cursor_and_tells_what_happens_from_then_on(self, stub: Stub, office: Office) -> None:
        office.renamed("Before")
        stream = stub.WatchEvents(events.WatchEventsRequest(parent=office.workspace), timeout=SECONDS)
        first = next(stream)
        assert first.cursor
        assert not first.HasField("event")
        made = office.renamed("One", "Two")
        told = [next(stream), next(stream)]
        assert [message.event for message in told] == made
        assert [message.cursor for message in told] == [event.cursor for event in made]
        stream.cancel()

    def test_goes_on_behind_the_cursor_without_a_gap(self, stub: Stub, office: Office) -> None:
        first, *missed = office.renamed("One", "Two", "Three")
        request = events.WatchEventsRequest(parent=office.workspace, cursor=first.cursor)
        stream = stub.WatchEvents(request, timeout=SECONDS)
        assert [next(stream).event for _ in missed] == missed
        [live] = office.renamed("Four")
        assert next(stream).event == live
        stream.cancel()

    def test_tells_of_the_types_that_were_asked_for(self, stub: Stub, office: Office) -> None:
        [start] = office.renamed("One")
        for types in ([RENAMED], ["plinth.tenancy.workspace.*", "plinth.billing.*"]):
            request = events.WatchEventsRequest(parent=office.workspace, cursor=start.cursor, types=types)
            stream = stub.WatchEvents(request, timeout=SECONDS)
            next(stream)
            office.endpoint()
            [renamed] = office.renamed(f"Beside {types[0]}")
            told = next(message for message in stream if message.HasField("event"))
            stream.cancel()
            assert told.event == renamed
            start = renamed

    def test_another_workspaces_events_are_not_told(self, stub: Stub, office: Office, other_office: Office) -> None:
        stream = stub.WatchEvents(events.WatchEventsRequest(parent=office.workspace), timeout=SECONDS)
        next(stream)
        other_office.renamed("Rivals too")
        [mine] = office.renamed("Mine")
        assert next(message for message in stream if message.HasField("event")).event == mine
        stream.cancel()
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            next(stub.WatchEvents(events.WatchEventsRequest(parent=other_office.workspace), timeout=SECONDS))

    @pytest.mark.parametrize("cursor", ["yesterday", "-1", "999999999999"])
    def test_a_cursor_that_no_stream_gave_is_refused(self, stub: Stub, office: Office, cursor: str) -> None:
        request = events.WatchEventsRequest(parent=office.workspace, cursor=cursor)
        with refused(CODE.INVALID_ARGUMENT, "CURSOR_INVALID"):
            next(stub.WatchEvents(request, timeout=SECONDS))


class TestWatchEventsSse:
    def test_a_browser_that_comes_back_with_its_last_event_id_misses_nothing(self, stub: Stub, office: Office) -> None:
        first, second = office.renamed("One", "Two")
        request = events.WatchEventsSseRequest(parent=office.workspace, cursor="0", types=[RENAMED])
        metadata = (("last-event-id", first.cursor),)
        stream = stub.WatchEventsSse(request, timeout=SECONDS, metadata=metadata)
        body = next(stream)
        stream.cancel()
        assert body.content_type == "text/event-stream"
        frames = [frame.split("\n") for frame in body.data.decode().strip().split("\n\n")]
        assert [frame for frame in frames if frame[0].startswith("retry: ")]
        told = [dict(line.split(": ", 1) for line in frame) for frame in frames]
        [shown] = [frame for frame in told if frame.get("event") == RENAMED]
        assert shown["id"] == second.cursor
        assert orjson.loads(shown["data"])["name"] == second.name
        assert orjson.loads(shown["data"])["data"]["displayName"] == "Two"
