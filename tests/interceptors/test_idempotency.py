"""request_id through the whole chain: one effect, one answer, and no way past auth and access."""

from collections.abc import Iterator
from typing import Any

import grpc
import psycopg
import pytest
from grpc import StatusCode

from plinth.tenancy.v1 import events_pb2
from services.kernel.clock import SystemClock
from services.kernel.db import Database, Session
from services.kernel.feed import InvalidationHub
from services.kernel.ids import new_id
from services.kernel.mail import Mailbox
from services.kernel.unit_of_work import Resources, Units
from tests.support.acting import at_once
from tests.support.errors import refused
from tests.support.rigs import TIMEOUT, SyncRig
from tests.support.scratch import pb
from tests.support.world import note_of


class Notes:
    """A handler that writes one event a call, on a real database."""

    def __init__(self, units: Units[Session], owner_url: str) -> None:
        self._units = units
        self._owner_url = owner_url
        self.subject = str(new_id())
        self.failures = 0

    def __call__(self, request: Any, context: Any) -> Any:
        del context
        with self._units() as uow:
            uow.emit(self.subject, events_pb2.WorkspaceCreated(display_name=request.text))
            uow.commit()
        if self.failures:
            self.failures -= 1
            raise ValueError("after the effect, before the answer")
        return pb.Answer(text=str(new_id()))

    def written(self) -> int:
        with psycopg.connect(self._owner_url) as connection:
            return len(connection.execute("select 1 from kernel.audit where resource = %s", [self.subject]).fetchall())


@pytest.fixture
def notes(rig: SyncRig, app_url: str, owner_url: str) -> Iterator[Notes]:
    database = Database(app_url, pool_size=4)
    resources = Resources(database, SystemClock(), InvalidationHub(), Mailbox(rig.keyring))
    notes = Notes(Units(resources, "tenancy", lambda session: session), owner_url)
    rig.servicer.unary = notes
    yield notes
    database.close()


class TestRequestId:
    def test_fifty_calls_at_once_have_one_effect_and_one_answer(self, rig: SyncRig, notes: Notes) -> None:
        workspace, person = rig.world.member("notes.read")
        ask = pb.AskOfNote(name=note_of(workspace), request_id=str(new_id()))
        answers = at_once(50, lambda: rig.stub.GetNote(ask, metadata=person.metadata, timeout=TIMEOUT).text)
        assert len(set(answers)) == 1
        assert notes.written() == 1

    def test_without_one_each_call_counts(self, rig: SyncRig, notes: Notes) -> None:
        workspace, person = rig.world.member("notes.read")
        ask = pb.AskOfNote(name=note_of(workspace))
        answers = {rig.stub.GetNote(ask, metadata=person.metadata, timeout=TIMEOUT).text for _ in range(2)}
        assert (len(answers), notes.written()) == (2, 2)

    def test_of_somebody_else_is_another(self, rig: SyncRig, notes: Notes) -> None:
        workspace, person = rig.world.member("notes.read")
        other = rig.world.person()
        rig.world.grant(workspace, other, "notes.read")
        ask = pb.AskOfNote(name=note_of(workspace), request_id=str(new_id()))
        for who in (person, other):
            rig.stub.GetNote(ask, metadata=who.metadata, timeout=TIMEOUT)
        assert notes.written() == 2

    def test_with_another_payload_is_refused(self, rig: SyncRig, notes: Notes) -> None:
        workspace, person = rig.world.member("notes.read")
        name, request_id = note_of(workspace), str(new_id())
        rig.stub.GetNote(pb.AskOfNote(name=name, request_id=request_id), metadata=person.metadata, timeout=TIMEOUT)
        with refused(StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED") as refusal:
            rig.stub.GetNote(
                pb.AskOfNote(name=name, request_id=request_id, text="b"), metadata=person.metadata, timeout=TIMEOUT
            )
        assert refusal.fields == ["request_id"]
        assert notes.written() == 1

    def test_gives_the_answer_to_nobody_who_may_no_longer_ask(self, rig: SyncRig, notes: Notes) -> None:
        workspace, person = rig.world.member("notes.read")
        ask = pb.AskOfNote(name=note_of(workspace), request_id=str(new_id()))
        rig.stub.GetNote(ask, metadata=person.metadata, timeout=TIMEOUT)
        rig.world.remove(workspace, person)
        with refused(StatusCode.NOT_FOUND, "NOT_FOUND"):
            rig.stub.GetNote(ask, metadata=person.metadata, timeout=TIMEOUT)
        assert notes.written() == 1

    def test_of_a_call_that_failed_after_its_effect_has_had_none(self, rig: SyncRig, notes: Notes) -> None:
        workspace, person = rig.world.member("notes.read")
        ask = pb.AskOfNote(name=note_of(workspace), request_id=str(new_id()))
        notes.failures = 1
        with pytest.raises(grpc.RpcError):
            rig.stub.GetNote(ask, metadata=person.metadata, timeout=TIMEOUT)
        assert notes.written() == 0
        rig.stub.GetNote(ask, metadata=person.metadata, timeout=TIMEOUT)
        assert notes.written() == 1
