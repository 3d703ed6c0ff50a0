"""One use case, one unit of work, one commit: all of it or nothing, and no call to others from inside."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from plinth.tenancy.v1 import events_pb2
from services.kernel.caller import Caller
from services.kernel.clock import FrozenClock
from services.kernel.db import Session
from services.kernel.feed import GrantChanged, Invalidation, InvalidationHub, SessionRevoked
from services.kernel.ids import new_id
from services.kernel.mail import Mail
from services.kernel.names import WORKSPACE
from services.kernel.outbox import event_type
from services.kernel.unit_of_work import Resources, StubCallInUnitOfWork, Units, forbid_open_unit
from tests.kernel.conftest import Owner

EVENT = events_pb2.WorkspaceCreated(display_name="Acme")


def _count(owner: Owner, table: str, workspace: UUID | None) -> int:
    # The two names are constants of this file.
    row = owner.execute(f"select count(*) as n from kernel.{table} where workspace_id = %s", [workspace]).fetchone()  # noqa: S608
    assert row is not None
    return int(row["n"])


class TestCommit:
    def test_event_audit_and_mail_come_with_it(self, units: Units[Session], caller: Caller, owner: Owner) -> None:
        recipient = f"{new_id()}@example.com"
        with units() as uow:
            uow.emit("workspaces/1", EVENT)
            uow.mail(Mail(recipient, "Hello", "text", "invite"))
            assert _count(owner, "outbox", caller.workspace_id) == 0
            uow.commit()
        assert _count(owner, "outbox", caller.workspace_id) == 1
        assert _count(owner, "audit", caller.workspace_id) == 1
        assert len(owner.execute("select 1 from kernel.mail where recipient = %s", [recipient]).fetchall()) == 1

    def test_what_a_machine_does_by_itself_leaves_an_event_and_no_audit_row(
        self, units: Units[Session], caller: Caller, owner: Owner
    ) -> None:
        with units() as uow:
            uow.emit("workspaces/1", EVENT, audited=False)
            uow.emit("workspaces/2", EVENT)
            uow.emit("workspaces/3", EVENT, audited=False)
            uow.commit()
        assert _count(owner, "outbox", caller.workspace_id) == 3
        left = owner.execute("select resource from kernel.audit where workspace_id = %s", [caller.workspace_id])
        assert left.fetchall() == [{"resource": "workspaces/2"}]

    def test_without_it_nothing_stays(self, units: Units[Session], caller: Caller, owner: Owner) -> None:
        with units() as uow:
            uow.emit("workspaces/1", EVENT)
        assert _count(owner, "outbox", caller.workspace_id) == 0
        assert _count(owner, "audit", caller.workspace_id) == 0

    def test_a_failure_before_it_leaves_nothing(
        self, units: Units[Session], caller: Caller, owner: Owner, hub: InvalidationHub
    ) -> None:
        heard: list[Invalidation | None] = []
        hub.subscribe(heard.append)

        def fail() -> None:
            with units() as uow:
                uow.emit("workspaces/1", EVENT)
                uow.invalidate(GrantChanged(caller.require_workspace()))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert _count(owner, "outbox", caller.workspace_id) == 0
        assert heard == []

    def test_a_failure_after_it_does_not_undo_it(self, units: Units[Session], caller: Caller, owner: Owner) -> None:
        def fail() -> None:
            with units() as uow:
                uow.emit("workspaces/1", EVENT)
                uow.commit()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert _count(owner, "outbox", caller.workspace_id) == 1

    def test_what_waits_for_it_runs_after_it_and_once(
        self, units: Units[Session], caller: Caller, owner: Owner, hub: InvalidationHub
    ) -> None:
        seen: list[int] = []
        hub.subscribe(lambda _: seen.append(_count(owner, "outbox", caller.workspace_id)))
        with units() as uow:
            uow.emit("workspaces/1", EVENT)
            uow.invalidate(SessionRevoked(new_id()))
            assert seen == []
            uow.commit()
            assert seen == [1]
        assert seen == [1]

    def test_this_process_hears_of_invalidations_before_commit_returns(
        self, units: Units[Session], caller: Caller, hub: InvalidationHub
    ) -> None:
        heard: list[Invalidation | None] = []
        hub.subscribe(heard.append)
        told: list[Invalidation] = [GrantChanged(caller.require_workspace(), new_id()), SessionRevoked(new_id())]
        with units() as uow:
            uow.invalidate(*told)
            assert heard == []
            uow.commit()
            assert heard == told

    @pytest.mark.usefixtures("caller")
    def test_a_mail_wakes_the_sender_after_it_only(self, units: Units[Session], resources: Resources) -> None:
        with units() as uow:
            uow.mail(Mail("a@example.com", "s", "t", "invite"))
            assert not resources.mailbox.waiting.is_set()
            uow.commit()
        assert resources.mailbox.waiting.is_set()


class TestNesting:
    def test_a_second_unit_inside_the_first_is_refused(self, units: Units[Session], caller: Caller) -> None:
        with units(), pytest.raises(RuntimeError, match="open already"), units.user(caller.user_id):
            pass

    def test_after_the_first_a_second_may_follow(self, units: Units[Session], caller: Caller) -> None:
        for _ in range(2):
            with units() as uow:
                assert uow.session.scope.workspace_id == caller.workspace_id

    def test_a_refused_unit_does_not_close_the_first(self, units: Units[Session], caller: Caller, owner: Owner) -> None:
        with units() as uow:
            with pytest.raises(RuntimeError), units():
                pass
            with pytest.raises(StubCallInUnitOfWork):
                forbid_open_unit()
            uow.emit("workspaces/1", EVENT)
            uow.commit()
        assert _count(owner, "outbox", caller.workspace_id) == 1

    @pytest.mark.usefixtures("caller")
    def test_no_stub_call_leaves_from_inside(self, units: Units[Session]) -> None:
        forbid_open_unit()
        with units(), pytest.raises(StubCallInUnitOfWork):
            forbid_open_unit()
        forbid_open_unit()

    @pytest.mark.usefixtures("caller")
    def test_a_unit_that_cannot_begin_is_not_open(self, resources: Resources) -> None:
        def broken(_: Session) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), Units(resources, "tenancy", broken)():
            pass
        forbid_open_unit()


class TestScopes:
    def test_a_tenants_unit_is_in_the_callers_workspace(self, units: Units[Session], caller: Caller) -> None:
        with units() as uow:
            assert (uow.session.scope.role, uow.session.scope.workspace_id, uow.session.scope.user_id) == (
                "plinth_tenancy",
                caller.workspace_id,
                caller.user_id,
            )

    def test_a_users_unit_is_in_no_workspace(self, units: Units[Session], caller: Caller) -> None:
        with units.user() as uow:
            assert (uow.session.scope.workspace_id, uow.session.scope.user_id) == (None, caller.user_id)

    @pytest.mark.usefixtures("caller")
    def test_a_system_unit_is_nobodys(self, units: Units[Session]) -> None:
        with units.system() as uow:
            scope = uow.session.scope
        assert (scope.role, scope.workspace_id, scope.user_id) == ("plinth_tenancy_system", None, None)

    @pytest.mark.parametrize("open_unit", [Units.__call__, Units.user])
    def test_without_a_caller_there_is_no_unit(
        self, units: Units[Session], open_unit: Callable[[Units[Session]], Any]
    ) -> None:
        with pytest.raises(LookupError):
            open_unit(units)


class TestEmit:
    def test_tells_what_happened_to_what_by_whom_and_from_where(
        self, units: Units[Session], caller: Caller, owner: Owner, clock: FrozenClock
    ) -> None:
        subject = WORKSPACE.format(workspace=caller.require_workspace())
        with units() as uow:
            uow.emit(subject, EVENT)
            uow.commit()
        event = owner.execute("select * from kernel.outbox where workspace_id = %s", [caller.workspace_id]).fetchone()
        audit = owner.execute("select * from kernel.audit where workspace_id = %s", [caller.workspace_id]).fetchone()
        assert event is not None
        assert audit is not None
        assert event["id"] == audit["id"]
        assert event["time"] == audit["time"] == clock.now()
        assert event["type"] == audit["action"] == "plinth.tenancy.workspace.created.v1"
        assert event["subject"] == audit["resource"] == subject
        assert event["actor"] == audit["actor"] == f"users/{caller.user_id}"
        assert event["source"] == "//plinth/tenancy"
        assert event["data_schema"] == "plinth.tenancy.v1.WorkspaceCreated"
        assert events_pb2.WorkspaceCreated.FromString(event["data"]) == EVENT
        assert event["traceparent"] == caller.traceparent
        assert audit["detail"] == {"displayName": "Acme"}
        assert audit["actor_type"] == "user"
        assert (audit["source"], audit["user_agent"]) == (caller.source, caller.user_agent)
        assert (audit["request_id"], audit["trace_id"]) == (caller.request_id, caller.trace_id)

    def test_events_of_one_unit_keep_their_order(self, units: Units[Session], caller: Caller, owner: Owner) -> None:
        with units() as uow:
            for name in ("first", "second", "third"):
                uow.emit(name, EVENT)
            uow.commit()
        rows = owner.execute(
            "select subject from kernel.outbox where workspace_id = %s order by sequence", [caller.workspace_id]
        ).fetchall()
        assert [row["subject"] for row in rows] == ["first", "second", "third"]

    def test_the_words_of_a_noun_are_joined_and_the_verb_is_last(self) -> None:
        assert event_type(events_pb2.MemberRemoved.DESCRIPTOR) == "plinth.tenancy.member.removed.v1"

    @pytest.mark.usefixtures("caller")
    def test_a_users_unit_says_which_workspace_it_is_about(self, units: Units[Session], owner: Owner) -> None:
        workspace = new_id()
        with units.user() as uow:
            uow.emit("x", EVENT, workspace_id=workspace)
            uow.commit()
        assert _count(owner, "outbox", workspace) == 1
