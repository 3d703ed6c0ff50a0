"""Keys for programs."""

import uuid
from datetime import UTC, datetime, timedelta

import grpc
import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from plinth.identity.v1 import api_key_pb2, api_key_service_pb2
from plinth.identity.v1 import user_service_pb2 as users
from plinth.tenancy.v1 import (
    access_service_pb2,
    invite_service_pb2,
    member_pb2,
    member_service_pb2,
    workspace_service_pb2,
)
from tests.support.errors import refused
from tests.support.people import People, Person
from tests.support.stubs import Stubs, WithMetadata, with_token


@pytest.fixture
def owner(people: People) -> Person:
    return people.new("owner")


@pytest.fixture
def workspace(people: People, owner: Person) -> str:
    return people.workspace_of(owner).name


def create(
    person: Person, workspace: str, *permissions: str, expire_time: datetime | None = None, request_id: str = ""
) -> api_key_service_pb2.CreateApiKeyResponse:
    key = api_key_pb2.ApiKey(display_name="ci", permissions=permissions or ("workspace.read", "members.read"))
    if expire_time is not None:
        key.expire_time.FromDatetime(expire_time)
    return person.stubs.api_keys.CreateApiKey(
        api_key_service_pb2.CreateApiKeyRequest(parent=workspace, api_key=key, request_id=request_id)
    )


def with_key(people: People, secret: str) -> Stubs:
    return Stubs(with_token(people.channel, secret))


def read(stubs: Stubs, workspace: str) -> None:
    stubs.workspaces.GetWorkspace(workspace_service_pb2.GetWorkspaceRequest(name=workspace))


def membership(owner: Person, workspace: str, person: Person) -> member_pb2.Member:
    request = member_service_pb2.GetMemberRequest(name=f"{workspace}/members/{person.user_id}")
    return owner.stubs.members.GetMember(request).member


class TestCreate:
    def test_the_key_is_shown_once_and_stored_as_a_hash(
        self, people: People, owner: Person, workspace: str, owner_url: str
    ) -> None:
        created = create(owner, workspace)
        assert created.secret.startswith(created.api_key.prefix)
        listed = owner.stubs.api_keys.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(parent=workspace))
        assert list(listed.api_keys) == [created.api_key]
        with psycopg.connect(owner_url) as connection:
            rows = connection.execute("select k::text from identity.api_keys k").fetchall()
            answers = connection.execute("select i::text from kernel.idempotency i").fetchall()
        assert not [row for (row,) in rows + answers if created.secret[4:] in row]

    def test_it_works_by_either_header(self, people: People, owner: Person, workspace: str) -> None:
        secret = create(owner, workspace).secret
        read(with_key(people, secret), workspace)
        read(Stubs(grpc.intercept_channel(people.channel, WithMetadata(("x-api-key", secret)))), workspace)

    def test_it_may_do_no_more_than_it_was_given(self, people: People, owner: Person, workspace: str) -> None:
        stubs = with_key(people, create(owner, workspace, "workspace.read").secret)
        read(stubs, workspace)
        with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
            stubs.members.ListMembers(member_service_pb2.ListMembersRequest(parent=workspace))

    def test_it_may_do_what_it_was_given_and_its_creator_may_now(
        self, people: People, owner: Person, workspace: str
    ) -> None:
        admin = people.member(owner, workspace, "admin")
        stubs = with_key(people, create(admin, workspace, "workspace.read", "members.invite").secret)
        request = access_service_pb2.TestPermissionsRequest(
            name=workspace, permissions=["workspace.read", "members.invite", "members.read"]
        )
        for role, held in (
            ("admin", ["workspace.read", "members.invite"]),
            ("viewer", ["workspace.read"]),
            ("owner", ["workspace.read", "members.invite"]),
        ):
            wanted = membership(owner, workspace, admin)
            wanted.role = f"{workspace}/roles/{role}"
            owner.stubs.members.UpdateMember(member_service_pb2.UpdateMemberRequest(member=wanted))
            assert list(stubs.access.TestPermissions(request).permissions) == held
            invites = invite_service_pb2.ListInvitesRequest(parent=workspace)
            if "members.invite" in held:
                stubs.invites.ListInvites(invites)
            else:
                with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"):
                    stubs.invites.ListInvites(invites)

    def test_it_may_do_nothing_once_its_creator_was_removed(
        self, people: People, owner: Person, workspace: str
    ) -> None:
        admin = people.member(owner, workspace, "admin")
        stubs = with_key(people, create(admin, workspace).secret)
        read(stubs, workspace)
        member = membership(owner, workspace, admin)
        owner.stubs.members.RemoveMember(member_service_pb2.RemoveMemberRequest(name=member.name, etag=member.etag))
        with refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
            read(stubs, workspace)

    def test_nobody_gives_away_what_they_lack(self, people: People, owner: Person, workspace: str) -> None:
        admin = people.member(owner, workspace, "admin")
        with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSIONS_EXCEED_GRANT") as refusal:
            create(admin, workspace, "workspace.read", "workspace.delete")
        assert refusal.metadata["permissions"] == "workspace.delete"

    def test_a_key_makes_no_keys(self, people: People, owner: Person, workspace: str) -> None:
        secret = create(owner, workspace, "apikeys.manage").secret
        key = api_key_pb2.ApiKey(display_name="child", permissions=["apikeys.manage"])
        with refused(grpc.StatusCode.PERMISSION_DENIED, "SESSION_REQUIRED"):
            with_key(people, secret).api_keys.CreateApiKey(
                api_key_service_pb2.CreateApiKeyRequest(parent=workspace, api_key=key)
            )

    def test_it_is_no_person(self, people: People, owner: Person, workspace: str) -> None:
        stubs = with_key(people, create(owner, workspace).secret)
        with refused(grpc.StatusCode.PERMISSION_DENIED, "SESSION_REQUIRED"):
            stubs.users.GetMe(users.GetMeRequest())

    def test_it_is_of_one_workspace(self, people: People, owner: Person, workspace: str) -> None:
        other = people.workspace_of(owner, "Other").name
        with refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
            read(with_key(people, create(owner, workspace).secret), other)

    def test_it_ends_within_a_year(self, owner: Person, workspace: str) -> None:
        now = datetime.now(UTC)
        assert create(owner, workspace).api_key.expire_time.ToDatetime(UTC) - now > timedelta(days=89)
        for expire_time in (now - timedelta(seconds=1), now + timedelta(days=367)):
            with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
                create(owner, workspace, expire_time=expire_time)
            assert refusal.fields == ["api_key.expire_time"]

    def test_a_moment_that_is_none_is_refused(self, owner: Person, workspace: str) -> None:
        key = api_key_pb2.ApiKey(
            display_name="ci", permissions=["workspace.read"], expire_time=Timestamp(seconds=2**62)
        )
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"):
            owner.stubs.api_keys.CreateApiKey(api_key_service_pb2.CreateApiKeyRequest(parent=workspace, api_key=key))

    def test_a_repeated_request_id_shows_the_same_key(self, owner: Person, workspace: str) -> None:
        request_id = str(uuid.uuid4())
        assert create(owner, workspace, request_id=request_id) == create(owner, workspace, request_id=request_id)
        listed = owner.stubs.api_keys.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(parent=workspace))
        assert len(listed.api_keys) == 1


class TestList:
    def test_it_pages_to_the_end_the_latest_first(self, owner: Person, workspace: str) -> None:
        made = [create(owner, workspace).api_key.name for _ in range(5)]
        found, token = [], ""
        while True:
            page = owner.stubs.api_keys.ListApiKeys(
                api_key_service_pb2.ListApiKeysRequest(parent=workspace, page_size=2, page_token=token)
            )
            found += [key.name for key in page.api_keys]
            token = page.next_page_token
            if not token:
                break
        assert found == made[::-1]

    def test_the_use_is_noted(self, people: People, owner: Person, workspace: str) -> None:
        read(with_key(people, create(owner, workspace).secret), workspace)
        listed = owner.stubs.api_keys.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(parent=workspace))
        assert listed.api_keys[0].HasField("last_used_time")


class TestRevoke:
    def test_the_next_call_of_a_revoked_key_is_refused(self, people: People, owner: Person, workspace: str) -> None:
        created = create(owner, workspace)
        stubs = with_key(people, created.secret)
        read(stubs, workspace)
        for _ in range(2):
            answer = owner.stubs.api_keys.RevokeApiKey(
                api_key_service_pb2.RevokeApiKeyRequest(name=created.api_key.name)
            )
            assert answer.api_key.HasField("revoke_time")
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            read(stubs, workspace)

    def test_one_of_another_workspace_is_not_found(self, people: People, owner: Person, workspace: str) -> None:
        stranger = people.new("stranger")
        theirs = create(stranger, people.workspace_of(stranger).name).api_key.name
        disguised = f"{workspace}/apiKeys/{theirs.rpartition('/')[2]}"
        for name in (theirs, disguised):
            with refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
                owner.stubs.api_keys.RevokeApiKey(api_key_service_pb2.RevokeApiKeyRequest(name=name))

    def test_a_secret_that_was_never_issued_is_refused(self, people: People, workspace: str) -> None:
        for secret in ("plk_" + "A" * 43, "plk_", "plk_!~ -"):
            with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
                read(with_key(people, secret), workspace)
