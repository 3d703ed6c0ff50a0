"""One's own account: seen, changed, taken along, deleted."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from plinth.identity.v1 import api_key_pb2, api_key_service_pb2, user_pb2
from plinth.identity.v1 import auth_service_pb2 as auth
from plinth.identity.v1 import user_service_pb2 as users
from services.identity.errors import SignInRequired
from services.kernel.etags import etag_of
from tests.identity.island import Island
from tests.support.errors import refused
from tests.support.people import People, Person


def me(person: Person) -> user_pb2.User:
    return person.stubs.users.GetMe(users.GetMeRequest()).user


def update(person: Person, display_name: str, etag: str, *paths: str) -> user_pb2.User:
    request = users.UpdateMeRequest(
        user=user_pb2.User(display_name=display_name, etag=etag), update_mask=FieldMask(paths=paths)
    )
    return person.stubs.users.UpdateMe(request).user


class TestUpdate:
    def test_the_name_changes_and_the_etag_with_it(self, people: People) -> None:
        person = people.new()
        before = me(person)
        after = update(person, "Ada", before.etag, "display_name")
        assert (after.display_name, after.email) == ("Ada", before.email)
        assert after.etag != before.etag
        assert me(person) == after

    def test_it_can_be_emptied_by_name(self, people: People) -> None:
        person = people.new()
        assert update(person, "", me(person).etag).display_name == "Somebody"
        assert update(person, "", me(person).etag, "display_name").display_name == ""

    def test_what_is_so_already_changes_nothing(self, people: People) -> None:
        person = people.new()
        before = me(person)
        assert update(person, before.display_name, before.etag) == before

    def test_a_stale_etag_is_refused(self, people: People) -> None:
        person = people.new()
        etag = me(person).etag
        update(person, "Ada", etag)
        with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
            update(person, "Eve", etag)
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "ETAG_REQUIRED"):
            update(person, "Eve", "")

    def test_no_other_field_can_be_changed(self, people: People) -> None:
        person = people.new()
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID"):
            update(person, "Eve", me(person).etag, "email_verified")

    def test_control_characters_are_refused(self, people: People) -> None:
        person = people.new()
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            update(person, "Eve\u0000", me(person).etag)
        assert refusal.fields == ["user.display_name"]


class TestExport:
    def test_it_holds_all_there_is_and_no_secret(self, people: People) -> None:
        person = people.new()
        workspace = people.workspace_of(person).name
        key = api_key_pb2.ApiKey(display_name="ci", permissions=["members.read"])
        created = person.stubs.api_keys.CreateApiKey(
            api_key_service_pb2.CreateApiKeyRequest(parent=workspace, api_key=key)
        )
        people.stubs.auth.StartPasswordReset(auth.StartPasswordResetRequest(email=person.email))
        data = person.stubs.users.ExportMe(users.ExportMeRequest())
        assert data.user == me(person)
        assert [record.session.current for record in data.sessions] == [True]
        assert [k.name for k in data.api_keys] == [created.api_key.name]
        assert [link.purpose for link in data.pending_links] == ["reset_password"]
        assert len(data.known_sources) == 1
        assert created.secret not in str(data)


class TestDelete:
    def test_the_user_is_gone_and_the_address_free(self, people: People) -> None:
        person = people.new()
        person.stubs.users.DeleteMe(users.DeleteMeRequest(etag=me(person).etag))
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            person.stubs.users.GetMe(users.GetMeRequest())
        with refused(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"):
            people.sign_in(person.email)
        people.register(person.email)
        assert people.sign_in(person.email).user_id != person.user_id

    def test_a_sole_owner_cannot_go(self, people: People) -> None:
        person = people.new()
        people.workspace_of(person)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "SOLE_OWNER"):
            person.stubs.users.DeleteMe(users.DeleteMeRequest(etag=me(person).etag))
        assert me(person).name == person.name

    def test_a_member_leaves_and_their_keys_end(self, people: People) -> None:
        owner = people.new("owner")
        workspace = people.workspace_of(owner).name
        admin = people.member(owner, workspace, "admin")
        key = api_key_pb2.ApiKey(display_name="ci", permissions=["members.read"])
        admin.stubs.api_keys.CreateApiKey(api_key_service_pb2.CreateApiKeyRequest(parent=workspace, api_key=key))
        admin.stubs.users.DeleteMe(users.DeleteMeRequest(etag=me(admin).etag))
        listed = owner.stubs.api_keys.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(parent=workspace)).api_keys
        assert [k.HasField("revoke_time") for k in listed] == [True]

    def test_an_etag_is_required(self, people: People) -> None:
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "ETAG_REQUIRED"):
            people.new().stubs.users.DeleteMe(users.DeleteMeRequest())

    def test_a_sign_in_of_long_ago_does_not_do(self, island: Island) -> None:
        person = island.new()
        island.later(minutes=15, seconds=1)
        with pytest.raises(SignInRequired), island.acting(person):
            island.services.profile.delete(etag_of(person.user.version))
