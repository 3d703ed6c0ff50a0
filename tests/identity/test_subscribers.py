"""API keys end with the membership and with the workspace that they hang on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

import grpc
import psycopg
import pytest

from plinth.identity.v1 import api_key_pb2, api_key_service_pb2
from plinth.tenancy.v1 import workspace_service_pb2
from services.kernel.caller import Caller
from services.kernel.event_log import PostgresEventLog
from services.kernel.events import Event
from services.kernel.sequencer import Sequencer
from services.kernel.subscriptions import Subscription
from services.kernel.unit_of_work import UnitOfWork, Units
from services.runtime import Runtime
from services.tenancy.repository import TenancyRepositories
from services.tenancy.service import Housekeeping
from services.wiring import Mesh
from tests.projects.worker import working
from tests.support.acting import acting
from tests.support.errors import refusal_of
from tests.support.event_log import read_all
from tests.support.people import People, Person
from tests.support.stubs import Stubs, with_token
from tests.support.waiting import until
from tests.tenancy.team import Team

# A purge takes from the whole database: two at once would take from each other's tests. And one process consumes a
# subscription at a time.
pytestmark = pytest.mark.xdist_group("purge")
REMOVED, PURGED = "plinth.tenancy.member.removed.v1", "plinth.tenancy.workspace.purged.v1"


@dataclass
class Office:
    """A workspace, the keys that its people make, and a worker that comes and goes."""

    team: Team
    runtime: Runtime
    subscriptions: list[Subscription[Any]]

    @property
    def workspace_id(self) -> UUID:
        return UUID(self.team.workspace.removeprefix("workspaces/"))

    def key(self, person: Person) -> api_key_service_pb2.CreateApiKeyResponse:
        key = api_key_pb2.ApiKey(display_name="ci", permissions=["workspace.read"])
        request = api_key_service_pb2.CreateApiKeyRequest(parent=self.team.workspace, api_key=key)
        return person.stubs.api_keys.CreateApiKey(request)

    def read(self, key: api_key_service_pb2.CreateApiKeyResponse) -> None:
        stubs = Stubs(with_token(self.team.people.channel, key.secret))
        stubs.workspaces.GetWorkspace(workspace_service_pb2.GetWorkspaceRequest(name=self.team.workspace))

    def refuses(self, key: api_key_service_pb2.CreateApiKeyResponse) -> bool:
        """Whether the key is unknown to the chain, which knew it a moment ago."""
        try:
            self.read(key)
        except grpc.RpcError as error:
            return refusal_of(error).reason == "TOKEN_INVALID"
        return False

    def elsewhere(self, owner: Person) -> Self:
        """Another workspace, of this person."""
        return replace(self, team=replace(self.team, workspace=self.team.people.workspace_of(owner).name))

    def join_again(self, person: Person) -> None:
        self.team.people.join(self.team.owner, self.team.workspace, person, "admin")

    def keys(self) -> dict[str, bool]:
        """Names of the workspace's keys that are stored, and whether they are revoked."""
        rows = self.team.database.execute(
            "select format('workspaces/%%s/apiKeys/%%s', workspace_id, id), revoke_time is not null"
            " from identity.api_keys where workspace_id = %s",
            [self.workspace_id],
        )
        return dict(rows.fetchall())

    def told(self) -> list[tuple[str, str, str | None]]:
        """Which keys the audit log says were revoked, by whom and why; oldest first."""
        rows = self.team.database.execute(
            "select resource, actor, detail ->> 'reason' from kernel.audit"
            " where workspace_id = %s and action = 'plinth.identity.api_key.revoked.v1' order by id",
            [self.workspace_id],
        )
        return rows.fetchall()

    def event(self, type: str) -> Event:
        """The newest event of this type in the log, once it has come there."""
        log = PostgresEventLog(self.runtime.database, self.runtime.database.connect)
        found: list[Event] = []

        def come() -> bool:
            found[:] = [one for one in read_all(log, 0, workspace_id=self.workspace_id) if one.type == type]
            return bool(found)

        until(come, f"{type} in the log")
        log.close()
        return found[-1]

    @contextmanager
    def working(self) -> Iterator[None]:
        """A worker is there. It leaves others' workspaces alone: their tests look at what happens without one."""

        def narrowed(subscription: Subscription[Any]) -> Subscription[Any]:
            def handle(uow: UnitOfWork[Any], event: Event) -> None:
                if event.workspace_id == self.workspace_id:
                    subscription.handle(uow, event)

            return replace(subscription, handle=handle)

        with working(self.runtime, [narrowed(one) for one in self.subscriptions]):
            yield

    def handle(self, event: Event) -> None:
        """Handle an event once more, as after a replay."""
        [subscription] = [one for one in self.subscriptions if event.type in one.types]
        caller = Caller(service="identity", workspace_id=self.workspace_id)
        with acting(caller), subscription.units() as uow:
            subscription.handle(uow, event)
            uow.commit()


@pytest.fixture(scope="module")
def owner_database(owner_url: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def office(
    people: People, runtime: Runtime, mesh: Mesh, sequencer: Sequencer, owner_database: "psycopg.Connection[Any]"
) -> Office:
    owner = people.new("owner")
    subscriptions = [one for one in mesh.subscriptions if one.domain == "identity"]
    return Office(Team(people, owner, people.workspace_of(owner).name, owner_database), runtime, subscriptions)


class TestMembership:
    def test_whoever_is_removed_and_invited_again_gets_no_key_back_and_keeps_the_new_one(self, office: Office) -> None:
        admin = office.team.admin
        old = office.key(admin)
        office.read(old)
        office.team.remove(office.team.owner, admin)
        office.join_again(admin)
        new = office.key(admin)
        office.read(old)
        with office.working():
            until(lambda: office.refuses(old), "the end of the old key")
        office.read(new)
        assert office.keys() == {old.api_key.name: True, new.api_key.name: False}

    def test_whoever_leaves_leaves_no_key_behind(self, office: Office) -> None:
        key = office.key(office.team.admin)
        with office.working():
            office.team.leave(office.team.admin)
            until(lambda: office.keys()[key.api_key.name], "the end of the key")

    def test_the_audit_log_says_that_it_was_the_mesh_and_why(self, office: Office) -> None:
        key = office.key(office.team.admin)
        with office.working():
            office.team.remove(office.team.owner, office.team.admin)
            until(office.told, "the end of the key")
        assert office.told() == [(key.api_key.name, "services/identity", "REVOKE_REASON_MEMBERSHIP_ENDED")]
        assert office.event("plinth.identity.api_key.revoked.v1").subject == key.api_key.name

    def test_keys_of_others_and_of_other_workspaces_live_on(self, office: Office) -> None:
        admin = office.team.admin
        gone, owners = office.key(admin), office.key(office.team.owner)
        elsewhere = office.elsewhere(admin)
        kept = elsewhere.key(admin)
        with office.working():
            office.team.remove(office.team.owner, admin)
            until(lambda: office.keys()[gone.api_key.name], "the end of the key")
        office.read(owners)
        elsewhere.read(kept)

    def test_an_event_that_comes_again_later_changes_nothing(self, office: Office) -> None:
        admin = office.team.admin
        office.key(admin)
        with office.working():
            office.team.remove(office.team.owner, admin)
            until(office.told, "the end of the key")
        office.join_again(admin)
        new = office.key(admin)
        keys, told = office.keys(), office.told()
        for _ in range(2):
            office.handle(office.event(REMOVED))
        assert (office.keys(), office.told()) == (keys, told)
        office.read(new)


class TestWorkspace:
    @pytest.fixture
    def purged(self, office: Office) -> Office:
        """Where two keys were made, and one of them revoked; the workspace is gone, and no worker was there."""
        for key in (office.key(office.team.owner), office.key(office.team.owner)):
            office.read(key)
        request = api_key_service_pb2.RevokeApiKeyRequest(name=key.api_key.name)
        office.team.owner.stubs.api_keys.RevokeApiKey(request)
        office.team.delete()
        office.team.database.execute(
            "update tenancy.workspaces set purge_time = now() where workspace_id = %s", [office.workspace_id]
        )
        Housekeeping(Units(office.runtime.resources, "tenancy", TenancyRepositories), office.runtime.clock).purge()
        return office

    def test_nothing_of_a_purged_one_stays(self, purged: Office) -> None:
        keys = purged.keys()
        assert sorted(keys.values()) == [False, True]
        with purged.working():
            until(lambda: not purged.keys(), "the end of the keys")
        [by_person, by_mesh] = purged.told()
        assert by_person[1:] == (purged.team.owner.name, None)
        assert by_mesh[1:] == ("services/identity", "REVOKE_REASON_WORKSPACE_PURGED")
        assert {by_person[0]: True, by_mesh[0]: False} == keys

    def test_an_event_that_comes_again_changes_nothing(self, purged: Office) -> None:
        with purged.working():
            until(lambda: not purged.keys(), "the end of the keys")
        told = purged.told()
        purged.handle(purged.event(PURGED))
        assert purged.told() == told

    def test_another_one_keeps_its_keys(self, purged: Office) -> None:
        elsewhere = purged.elsewhere(purged.team.owner)
        key = elsewhere.key(purged.team.owner)
        with purged.working():
            until(lambda: not purged.keys(), "the end of the keys")
        elsewhere.read(key)
