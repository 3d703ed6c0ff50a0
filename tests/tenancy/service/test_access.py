"""Grants, their explanation, and the stream of their changes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import grpc
import pytest

from plinth.tenancy.v1 import access_pb2, access_service_pb2_grpc
from plinth.tenancy.v1 import access_service_pb2 as access
from services.kernel.errors import DependencyUnavailable
from services.kernel.feed import GrantChanged, InvalidationHub
from services.runtime import Runtime
from services.tenancy.watch import AccessWatcher
from services.wiring import Mesh
from tests.support.errors import refused
from tests.support.people import Person
from tests.tenancy.team import Team

CODE = grpc.StatusCode
STEP = access_pb2.AccessStep


def explain(team: Team, asker: Person, permission: str, about: Person | None = None) -> access.ExplainAccessResponse:
    request = access.ExplainAccessRequest(
        name=team.workspace, permission=permission, member=team.name_of(about) if about else ""
    )
    return asker.stubs.access.ExplainAccess(request)


def grant_of(mesh: Mesh, workspace: str, person: Person) -> access_pb2.Grant | None:
    stub = access_service_pb2_grpc.AccessServiceStub(mesh.channel("projects", "tenancy"))
    answer = stub.GetGrant(access.GetGrantRequest(workspace=workspace, user=person.name))
    return answer.grant if answer.HasField("grant") else None


class TestTestPermissions:
    def test_answers_those_held_in_the_order_asked(self, team: Team) -> None:
        asked = ["members.manage", "workspace.read", "workspace.fly", "members.read"]
        assert team.held(team.viewer, *asked) == ["workspace.read", "members.read"]

    def test_is_for_members(self, team: Team, other_team: Team) -> None:
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.held(other_team.owner, "workspace.read")


class TestExplainAccess:
    def test_shows_the_chain_that_denies(self, team: Team) -> None:
        answer = explain(team, team.admin, "members.manage", team.viewer)
        assert not answer.granted
        assert [(step.kind, step.passed) for step in answer.steps] == [
            (STEP.KIND_MEMBERSHIP, True),
            (STEP.KIND_ROLE, True),
            (STEP.KIND_PERMISSION, False),
            (STEP.KIND_VERDICT, False),
        ]
        assert [step.resource for step in answer.steps] == [
            team.name_of(team.viewer),
            team.role("viewer"),
            team.role("viewer"),
            team.workspace,
        ]

    def test_shows_the_callers_own_chain_by_default(self, team: Team) -> None:
        answer = explain(team, team.viewer, "members.read")
        assert answer.granted
        assert answer.steps[0].resource == team.name_of(team.viewer)

    def test_somebody_who_is_no_member_fails_at_the_first_step(self, team: Team, other_team: Team) -> None:
        answer = explain(team, team.owner, "workspace.read", other_team.owner)
        assert [step.kind for step in answer.steps] == [STEP.KIND_MEMBERSHIP, STEP.KIND_VERDICT]

    def test_member_of_another_workspace_is_not_found(self, team: Team, other_team: Team) -> None:
        request = access.ExplainAccessRequest(
            name=team.workspace, permission="workspace.read", member=other_team.name_of(other_team.owner)
        )
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            team.owner.stubs.access.ExplainAccess(request)


class TestGetGrant:
    def test_tells_role_and_permissions(self, team: Team, mesh: Mesh) -> None:
        grant = grant_of(mesh, team.workspace, team.viewer)
        assert grant is not None
        assert (grant.workspace, grant.user, grant.role) == (team.workspace, team.viewer.name, "viewer")
        assert "workspace.read" in grant.permissions

    def test_tells_of_none_for_a_stranger_or_an_unknown_workspace(
        self, team: Team, other_team: Team, mesh: Mesh
    ) -> None:
        assert grant_of(mesh, team.workspace, other_team.owner) is None
        assert grant_of(mesh, f"workspaces/{UUID(int=1)}", team.owner) is None

    def test_is_not_offered_to_people(self, team: Team) -> None:
        request = access.GetGrantRequest(workspace=team.workspace, user=team.owner.name)
        with refused(CODE.PERMISSION_DENIED, "METHOD_DENIED"):
            team.owner.stubs.access.GetGrant(request)


class TestWatchGrants:
    @staticmethod
    async def messages(hub: InvalidationHub, stopping: asyncio.Event) -> AsyncIterator[access.WatchGrantsResponse]:
        context: Any = None  # the watcher does not use it
        async for message in AccessWatcher(hub, stopping).WatchGrants(access.WatchGrantsRequest(), context):
            yield message

    def test_tells_of_a_change_made_by_a_call(self, team: Team, runtime: Runtime) -> None:
        member = team.member

        async def follow() -> list[access_pb2.GrantChange]:
            stopping = asyncio.Event()
            messages = self.messages(runtime.hub, stopping)
            assert (await anext(messages)).reset
            assert not (await anext(messages)).changes
            await asyncio.to_thread(team.remove, team.owner, member)
            async with asyncio.timeout(5):
                async for message in messages:
                    changes = [change for change in message.changes if change.workspace == team.workspace]
                    if changes:
                        stopping.set()
                        return changes
            raise AssertionError("the stream ended")

        (change, *_) = asyncio.run(follow())
        assert change.user == member.name

    def test_beats_while_nothing_happens(self, runtime: Runtime) -> None:
        async def beats() -> int:
            stopping = asyncio.Event()
            messages = self.messages(runtime.hub, stopping)
            loop = asyncio.get_running_loop()
            await anext(messages)
            began, count = loop.time(), 0
            async for _ in messages:
                count += 1
                if count == 4:
                    stopping.set()
            assert loop.time() - began < 4
            return count

        assert asyncio.run(beats()) == 4

    def test_change_of_a_whole_workspace_names_no_user(self) -> None:
        hub = InvalidationHub()
        hub.expect("test")
        hub.beat("test", float("inf"))

        async def follow() -> access.WatchGrantsResponse:
            messages = self.messages(hub, asyncio.Event())
            await anext(messages)
            await anext(messages)
            hub.publish(GrantChanged(UUID(int=7)))
            async for message in messages:
                if message.changes:
                    return message
            raise AssertionError("the stream ended")

        (change,) = asyncio.run(follow()).changes
        assert (change.workspace, change.user) == (f"workspaces/{UUID(int=7)}", "")

    def test_says_reset_when_something_may_have_been_missed(self) -> None:
        hub = InvalidationHub()
        hub.expect("test")
        hub.beat("test", float("inf"))

        async def follow() -> bool:
            messages = self.messages(hub, asyncio.Event())
            await anext(messages)
            await anext(messages)
            hub.publish(None)
            return (await anext(messages)).reset

        assert asyncio.run(follow())

    def test_ends_when_the_feed_is_cut(self) -> None:
        hub = InvalidationHub()
        hub.expect("test")

        async def follow() -> None:
            async for _ in self.messages(hub, asyncio.Event()):
                pass

        with pytest.raises(DependencyUnavailable):
            asyncio.run(follow())
