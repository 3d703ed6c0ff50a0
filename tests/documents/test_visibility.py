"""Who sees which documents: on every way to read and to write."""

from collections.abc import Callable

import grpc
import pytest

from plinth.documents.v1 import document_pb2
from plinth.documents.v1 import document_service_pb2 as pb
from plinth.events.v1 import job_service_pb2
from plinth.identity.v1 import api_key_pb2
from plinth.identity.v1 import api_key_service_pb2 as api_keys
from services.runtime import Runtime
from tests.documents.shelf import Kind, Shelf, text
from tests.support.errors import refused
from tests.support.people import Person
from tests.support.stubs import Stubs, with_token

CODE = grpc.StatusCode


def resolved(shelf: Shelf, runtime: Runtime, person: Person, role: str, sees_all: bool, *names: str) -> list[str]:
    """What the domain search is told that a person may see."""
    stubs = Stubs(with_token(shelf.team.people.channel, runtime.tokens.issue("search")))
    request = pb.ResolveDocumentsRequest(
        parent=shelf.workspace, documents=names, user=person.name, role=shelf.team.role(role), sees_all=sees_all
    )
    return [document.display_name for document in stubs.documents.ResolveDocuments(request).documents]


def gettable(shelf: Shelf, person: Person, document: document_pb2.Document) -> bool:
    try:
        shelf.get(document, person)
    except grpc.RpcError:
        return False
    return True


def test_author_owner_roles_and_members_see_it_wherever_they_look(shelf: Shelf, runtime: Runtime) -> None:
    team = shelf.team
    other = team.people.member(team.owner, shelf.workspace)
    documents = [
        shelf.create(person=team.member, name="all"),
        shelf.create(person=team.member, name="admins", visibility=shelf.visible("admin")),
        shelf.create(person=team.member, name="members", visibility=shelf.visible("member", "viewer")),
        shelf.create(person=team.member, name="other", visibility=shelf.visible(other)),
        shelf.create(person=team.owner, name="nobody", visibility=shelf.visible(team.owner)),
    ]
    for person, role, sees in (
        (team.owner, "owner", ["all", "admins", "members", "other", "nobody"]),
        (team.member, "member", ["all", "admins", "members", "other"]),
        (team.admin, "admin", ["all", "admins"]),
        (team.viewer, "viewer", ["all", "members"]),
        (other, "member", ["all", "members", "other"]),
    ):
        assert shelf.listed(person) == sees
        assert [one.display_name for one in documents if gettable(shelf, person, one)] == sees
        names = [one.name for one in documents]
        assert sorted(resolved(shelf, runtime, person, role, role == "owner", *names)) == sorted(sees)


def test_who_may_not_see_it_finds_no_way_in(shelf: Shelf) -> None:
    hidden = shelf.create(person=shelf.team.member, name="hidden.txt", visibility=shelf.visible(shelf.team.member))
    admin = shelf.team.admin
    stubs = admin.stubs.documents
    for way in (
        lambda: shelf.get(hidden, admin),
        lambda: shelf.read(hidden, admin),
        lambda: shelf.read(hidden, admin, version=1),
        lambda: shelf.versions(hidden, admin),
        lambda: shelf.update(hidden, "display_name", person=admin),
        lambda: shelf.delete(hidden, admin),
        lambda: stubs.ReprocessDocument(pb.ReprocessDocumentRequest(name=hidden.name)),
    ):
        with refused(CODE.NOT_FOUND, "NOT_FOUND"):
            way()
    for name_taken in (
        lambda: shelf.create(person=admin, name="hidden.txt"),
        lambda: shelf.upload([b"x"], admin, name="hidden.txt"),
        lambda: shelf.start(5, admin, name="hidden.txt"),
    ):
        with refused(CODE.ALREADY_EXISTS, "DOCUMENT_NAME_TAKEN"):
            name_taken()
    assert shelf.get(hidden) == hidden


def test_who_does_not_own_the_workspace_sees_no_job_of_an_ingestion(shelf: Shelf) -> None:
    """However hidden the document is by then: it says in which state the file is, and why it failed."""
    document = shelf.create(person=shelf.team.member)
    request = job_service_pb2.ListJobsRequest(parent=shelf.workspace)
    [job] = shelf.owner.stubs.jobs.ListJobs(request).jobs
    assert job.subject == document.ingestion
    for person in (shelf.team.admin, shelf.team.member, shelf.team.viewer):
        assert not person.stubs.jobs.ListJobs(request).jobs
    with refused(CODE.NOT_FOUND, "NOT_FOUND"):
        shelf.team.admin.stubs.jobs.CancelJob(job_service_pb2.CancelJobRequest(name=job.name))


def test_an_upload_that_began_before_the_document_was_hidden_adds_no_version(shelf: Shelf) -> None:
    admin = shelf.team.admin
    upload = shelf.append(shelf.start(5, admin, name="plan.txt"), 0, b"01234", admin)
    shelf.create(person=shelf.team.member, name="plan.txt", visibility=shelf.visible(shelf.team.member))
    with refused(CODE.ALREADY_EXISTS, "DOCUMENT_NAME_TAKEN"):
        shelf.finish(upload, admin)


def test_who_may_no_longer_see_it_does_not_find_it_from_now_on(shelf: Shelf) -> None:
    document = shelf.create(person=shelf.team.member)
    document.visibility.CopyFrom(shelf.visible("viewer"))
    shelf.update(document, "visibility", person=shelf.team.admin)
    with refused(CODE.NOT_FOUND, "NOT_FOUND"):
        shelf.get(document, shelf.team.admin)
    assert gettable(shelf, shelf.team.viewer, document)
    assert gettable(shelf, shelf.team.member, document)


def test_a_key_sees_what_its_creator_sees(shelf: Shelf) -> None:
    shelf.create(person=shelf.team.member, name="hidden.txt", visibility=shelf.visible(shelf.team.member))
    shelf.create(name="open.txt")
    for creator, sees in ((shelf.owner, ["hidden.txt", "open.txt"]), (shelf.team.admin, ["open.txt"])):
        key = api_key_pb2.ApiKey(display_name="Reader", permissions=["documents.read"])
        created = creator.stubs.api_keys.CreateApiKey(api_keys.CreateApiKeyRequest(parent=shelf.workspace, api_key=key))
        stubs = Stubs(with_token(shelf.team.people.channel, created.secret))
        found = stubs.documents.ListDocuments(pb.ListDocumentsRequest(parent=shelf.workspace)).documents
        assert [document.display_name for document in found] == sees


def test_a_custom_role_is_one_like_any_other(shelf: Shelf) -> None:
    role = shelf.team.new_role(shelf.owner, "documents.read")
    document = shelf.create(visibility=document_pb2.Visibility(kind=Kind.KIND_ROLES, roles=[role.name]))
    person = shelf.team.people.member(shelf.owner, shelf.workspace)
    assert not gettable(shelf, person, document)
    shelf.team.set_role(shelf.owner, person, role.name.rpartition("/")[2])
    assert gettable(shelf, person, document)


@pytest.mark.parametrize(
    ("kind", "roles", "members"),
    [
        (Kind.KIND_ROLES, 0, 0),
        (Kind.KIND_MEMBERS, 0, 0),
        (Kind.KIND_EVERYONE, 1, 0),
        (Kind.KIND_ROLES, 1, 1),
        (Kind.KIND_MEMBERS, 1, 1),
    ],
)
def test_a_visibility_that_means_nobody_or_two_things_is_refused(
    shelf: Shelf, kind: Kind.ValueType, roles: int, members: int
) -> None:
    visibility = document_pb2.Visibility(
        kind=kind, roles=[shelf.team.role("admin")] * roles, members=[shelf.owner.name] * members
    )
    with refused(CODE.INVALID_ARGUMENT, "VISIBILITY_INVALID"):
        shelf.create(visibility=visibility)
    with refused(CODE.INVALID_ARGUMENT, "VISIBILITY_INVALID"):
        shelf.start(5, visibility=visibility)
    document = shelf.create()
    document.visibility.CopyFrom(visibility)
    with refused(CODE.INVALID_ARGUMENT, "VISIBILITY_INVALID"):
        shelf.update(document, "visibility")


@pytest.mark.parametrize("members", [0, 1])
def test_a_visibility_that_does_not_say_who_is_refused_and_never_everyone(shelf: Shelf, members: int) -> None:
    silent = document_pb2.Visibility(members=[shelf.owner.name] * members)
    document = shelf.create(visibility=shelf.visible("admin"))
    document.visibility.CopyFrom(silent)
    ways: list[tuple[str, Callable[[], object]]] = [
        ("document.visibility.kind", lambda: shelf.create(visibility=silent)),
        ("visibility.kind", lambda: shelf.upload([text()], visibility=silent)),
        ("upload.visibility.kind", lambda: shelf.start(5, visibility=silent)),
        ("document.visibility.kind", lambda: shelf.update(document, "visibility")),
    ]
    for field, way in ways:
        with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID") as refusal:
            way()
        assert refusal.fields == [field]
    document.ClearField("visibility")
    with refused(CODE.INVALID_ARGUMENT, "FIELDS_INVALID"):
        shelf.update(document, "visibility")
    assert shelf.get(document).visibility == shelf.visible("admin")


def test_a_role_of_another_workspace_is_refused(shelf: Shelf, other_shelf: Shelf) -> None:
    with refused(CODE.INVALID_ARGUMENT, "VISIBILITY_INVALID"):
        shelf.create(visibility=other_shelf.visible("admin"))


def test_a_document_of_another_workspace_is_not_there(shelf: Shelf, other_shelf: Shelf, runtime: Runtime) -> None:
    theirs = other_shelf.create()
    assert resolved(shelf, runtime, shelf.owner, "owner", True, theirs.name) == []
    with refused(CODE.NOT_FOUND, "NOT_FOUND"):
        other_shelf.get(theirs, shelf.owner)
