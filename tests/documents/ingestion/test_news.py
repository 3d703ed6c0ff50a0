"""What the event log says of documents, and who reads it: of a document that not everybody may see, nobody does."""

import asyncio
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from plinth.documents.v1 import events_pb2 as told
from plinth.documents.v1.document_pb2 import Document, Visibility
from plinth.events.v1 import event_pb2, webhook_endpoint_pb2
from plinth.events.v1 import event_service_pb2 as events
from plinth.events.v1 import webhook_service_pb2 as webhooks
from plinth.tenancy.v1 import audit_service_pb2 as audit
from plinth.tenancy.v1 import workspace_service_pb2 as workspaces
from services.events.watch import EventWatcher
from services.kernel.event_log import PostgresEventLog
from services.kernel.events import Event
from services.kernel.log_stream import LogStreams
from services.runtime import Runtime
from tests.documents.ingestion.workspace import IngestionWorkspace, Reason, State, killed_parsers, long_file
from tests.documents.shelf import Kind, Shelf, text
from tests.events.office import RENAMED
from tests.support.errors import refused
from tests.support.event_log import tailing
from tests.support.people import Person
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("ingestion"), pytest.mark.usefixtures("worker")]

CODE = grpc.StatusCode
UNREADABLE = bytes(range(256)) * 8


class Story:
    """What the log says of one workspace."""

    def __init__(self, shelf: Shelf, source: PostgresEventLog) -> None:
        self.shelf = shelf
        self.source = source

    def end(self) -> None:
        """Until here: what has happened is in the log, and webhooks have been given theirs."""
        workspace = self.shelf.team.get(self.shelf.owner)
        workspace.display_name = "The end"
        request = workspaces.UpdateWorkspaceRequest(workspace=workspace)
        self.shelf.owner.stubs.workspaces.UpdateWorkspace(request)
        until(lambda: self.logged()[-1].type == RENAMED, "the end in the log")

    def logged(self) -> list[Event]:
        """All events, as subscribers in the mesh get them."""
        return self.source.read(0, 1_000, workspace_id=self.shelf.workspace_id)

    def about(self, kind: type[Message]) -> list[Any]:
        """The messages of one kind."""
        return [event.message() for event in self.logged() if event.data_schema == kind.DESCRIPTOR.full_name]

    def listed(self, person: Person) -> list[event_pb2.Event]:
        """What a person reads, oldest first."""
        request = events.ListEventsRequest(parent=self.shelf.workspace, page_size=500)
        return list(reversed(person.stubs.events.ListEvents(request).events))

    def watched(self) -> list[event_pb2.Event]:
        """What a stream tells from the very first event to the end."""
        request = events.WatchEventsRequest(parent=self.shelf.workspace, cursor="0")

        async def watch() -> list[event_pb2.Event]:
            streams, found = LogStreams(self.source, tail), list[event_pb2.Event]()
            async with asyncio.timeout(60):
                async for message in EventWatcher(streams).WatchEvents(request, None):
                    if message.HasField("event"):
                        found.append(message.event)
                    if found and found[-1].type == RENAMED:
                        break
            streams.end()
            return found

        with tailing(self.source) as tail:
            return asyncio.run(watch())

    def endpoint(self) -> str:
        """A webhook endpoint that asks for everything."""
        wanted = webhook_endpoint_pb2.WebhookEndpoint(url="https://hooks.example.com/")
        request = webhooks.CreateWebhookEndpointRequest(parent=self.shelf.workspace, webhook_endpoint=wanted)
        return self.shelf.owner.stubs.webhooks.CreateWebhookEndpoint(request).webhook_endpoint.name

    def sent(self, endpoint: str) -> list[str]:
        """The types that it is sent, once the end is among them."""

        def found() -> list[str]:
            request = webhooks.ListDeliveriesRequest(parent=endpoint, page_size=500)
            answer = self.shelf.owner.stubs.webhooks.ListDeliveries(request)
            return [one.event_type for one in answer.deliveries]

        until(lambda: RENAMED in found(), "the end at the webhook")
        return found()


@pytest.fixture
def story(works: IngestionWorkspace, runtime: Runtime) -> Iterator[Story]:
    source = PostgresEventLog(runtime.database, runtime.database.connect)
    yield Story(works.shelf, source)
    source.close()


def of_documents(types: list[str]) -> list[str]:
    """Those of the domain, without its package and version."""
    begin = "plinth.documents."
    return [one.removeprefix(begin).removesuffix(".v1") for one in types if one.startswith(begin)]


class TestHidden:
    @pytest.fixture
    def hidden(self, works: IngestionWorkspace, story: Story) -> tuple[Document, str]:
        """A document for one member, to which everything happens; and an endpoint that was there before."""
        shelf, endpoint = works.shelf, story.endpoint()
        only = shelf.visible(shelf.team.member)
        document = shelf.create(
            UNREADABLE, name="Bluebird.txt", tags=["Bluebird"], metadata={"client": "Bluebird"}, visibility=only
        )
        works.retry(works.ended(document).name)
        works.ended(document)
        document = shelf.create(text(), name="Bluebird.txt")
        works.ended(document)
        document.metadata["phase"] = "Bluebird 2"
        return shelf.update(document, "metadata"), endpoint

    def test_nobody_reads_hears_or_is_sent_anything_about_it(
        self, works: IngestionWorkspace, story: Story, hidden: tuple[Document, str]
    ) -> None:
        document, endpoint = hidden
        shelf = works.shelf
        assert works.index().document_count == 1
        shelf.delete(document)
        story.end()
        secrets = ("Bluebird", document.name, document.ingestion)
        for reader in (shelf.team.viewer, shelf.team.member, shelf.team.admin, shelf.owner):
            read = story.listed(reader)
            assert RENAMED in {event.type for event in read}
            assert not [secret for secret in secrets for event in read if secret in str(event)]
        heard = story.watched()
        assert not [secret for secret in secrets for event in heard if secret in str(event)]
        assert of_documents([event.type for event in heard]) == []
        assert of_documents(story.sent(endpoint)) == []
        # Who is in the mesh has heard of all of it: search has let it go.
        inside = [event for event in story.logged() if event.type.startswith("plinth.documents.")]
        assert all(event.restricted for event in inside)
        assert set(of_documents([event.type for event in inside])) == {
            *("document.created", "document_version.added", "document.updated", "document.deleted"),
            *("document.indexed", "ingestion.advanced"),
        }
        until(lambda: works.index().document_count == 0, "an index without it")
        for event in inside[:1]:
            with refused(CODE.NOT_FOUND, "NOT_FOUND"):
                request = events.GetEventRequest(name=f"{shelf.workspace}/events/{event.id}")
                shelf.team.viewer.stubs.events.GetEvent(request)

    def test_the_audit_log_tells_an_admin_who_did_what_and_an_owner_what_it_was(
        self, works: IngestionWorkspace, hidden: tuple[Document, str]
    ) -> None:
        team = works.shelf.team

        def rows(person: Person) -> list[Any]:
            request = audit.ListAuditEventsRequest(parent=works.shelf.workspace, page_size=500)
            found = person.stubs.audit.ListAuditEvents(request).audit_events
            return [row for row in reversed(found) if row.action.startswith("plinth.documents.")]

        seen, known = rows(team.admin), rows(team.owner)
        # What the worker did by itself is in neither.
        deeds = ["created", "advanced", "added", "updated"]
        assert [row.action.split(".")[-2] for row in seen] == deeds
        assert {row.actor for row in seen} == {team.owner.name}
        assert [dict(row.detail) for row in seen] == [{}] * len(deeds)
        assert "Bluebird" in str(known[0].detail)
        assert [(row.name, row.resource) for row in known] == [(row.name, row.resource) for row in seen]


def test_what_was_told_while_it_was_for_everyone_stays_and_the_change_is_not_told(
    works: IngestionWorkspace, story: Story
) -> None:
    shelf = works.shelf
    document = shelf.create(text(), name="open.txt")
    works.ended(document)
    document = shelf.get(document)
    document.display_name = "closed.txt"
    document.visibility.CopyFrom(shelf.visible(shelf.team.member))
    document = shelf.update(document, "display_name", "visibility")
    document.tags.append("closed")
    document = shelf.update(document, "tags")
    # And back: what tells of it holds what was true before, too.
    document.visibility.CopyFrom(Visibility(kind=Kind.KIND_EVERYONE))
    document = shelf.update(document, "visibility")
    document.display_name = "open again.txt"
    shelf.update(document, "display_name")
    story.end()
    read = [event for event in story.listed(shelf.team.viewer) if event.type.startswith("plinth.documents.document.")]
    assert [event.data["displayName"] for event in read if "displayName" in event.data] == [
        "open.txt",
        "open again.txt",
    ]
    assert len(story.about(told.DocumentUpdated)) == 4


class TestFields:
    def test_a_new_version_says_who_added_what(self, works: IngestionWorkspace, story: Story) -> None:
        shelf = works.shelf
        first = shelf.create(text(), name="notes.txt")
        works.ended(first)
        second = shelf.create(text("more"), shelf.team.member, name="notes.txt")
        works.ended(second)
        story.end()
        assert story.about(told.DocumentVersionAdded) == [
            told.DocumentVersionAdded(
                document=first.name,
                version=2,
                author=shelf.team.member.name,
                media_type="text/plain",
                size_bytes=second.size_bytes,
                sha256=second.sha256,
            )
        ]

    def test_what_can_be_found_says_of_which_version_and_how_large_it_is(
        self, works: IngestionWorkspace, story: Story
    ) -> None:
        document = works.shelf.create(b"# Moon\n\nThe eagle has landed.", name="moon.md")
        works.ended(document)
        story.end()
        [indexed] = story.about(told.DocumentIndexed)
        assert (indexed.document, indexed.version) == (document.name, 1)
        assert indexed.ingestion == document.ingestion
        assert (indexed.page_count, indexed.size_bytes, indexed.chunk_count) == (0, document.size_bytes, 1)

    def test_a_failure_says_why_and_when_it_is_tried_again(self, works: IngestionWorkspace, story: Story) -> None:
        with killed_parsers(only=1):
            document = works.shelf.create(long_file())
            works.ended(document)
        story.end()
        moves = [one.ingestion for one in story.about(told.IngestionAdvanced)]
        [failed] = [move for move in moves if move.state == State.INGESTION_STATE_FAILED_RETRYING]
        assert failed.name == document.ingestion
        assert failed.reason == Reason.INGESTION_REASON_PARSER_CRASHED
        assert failed.stage == State.INGESTION_STATE_SCANNED
        assert failed.message
        assert failed.retry_time.ToDatetime(UTC) >= failed.update_time.ToDatetime(UTC)
        assert not failed.HasField("end_time")

    def test_the_end_of_one_that_cannot_be_read_says_so(self, works: IngestionWorkspace, story: Story) -> None:
        document = works.shelf.create(UNREADABLE, name="odd.bin")
        works.ended(document)
        story.end()
        last = story.about(told.IngestionAdvanced)[-1].ingestion
        assert (last.name, last.state) == (document.ingestion, State.INGESTION_STATE_DEAD)
        assert last.reason == Reason.INGESTION_REASON_UNSUPPORTED
        assert "cannot be read" in last.message
        assert last.HasField("end_time")
        assert not last.HasField("retry_time")
        assert story.about(told.DocumentIndexed) == []
