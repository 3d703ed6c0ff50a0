"""Audiences: as many as there are different visibilities now, and who belongs to which."""

from services.kernel.ids import new_id
from tests.search.library import AUTHOR, HIDDEN, SHOWN, Library


def seen_by(library: Library, role: str = "viewer") -> tuple[int, ...] | None:
    with library.acting(), library.services.units() as uow:
        return uow.repo.audiences.seen_by(library.workspace_id, new_id(), role)


def audiences(library: Library) -> list[int]:
    return [audience_id for audience_id, _ in library.rows("audiences", "audience_id", "roles")]


class TestSeenBy:
    def test_is_all_where_nothing_is_hidden(self, library: Library) -> None:
        assert seen_by(library) is None
        library.publish(["red fox"])
        assert seen_by(library) is None

    def test_is_what_the_role_or_the_person_belongs_to(self, library: Library) -> None:
        for roles in (["admin"], ["member"], ["admin", "member"]):
            names = [f"{library.workspace}/roles/{role}" for role in roles]
            library.publish(["red fox"], everyone=False, roles=names)
        assert seen_by(library) == (0,)
        assert seen_by(library, "admin") == (0, 1, 3)
        with library.acting(), library.services.units() as uow:
            assert uow.repo.audiences.seen_by(library.workspace_id, AUTHOR, "viewer") is None


class TestEmpty:
    def test_go_with_their_last_document(self, library: Library) -> None:
        documents = [new_id(), new_id()]
        for document in documents:
            library.publish(["red fox"], document)
            library.change(document, HIDDEN)
        assert audiences(library) == [1]
        library.delete(documents[0])
        assert audiences(library) == [1]
        library.change(documents[1], SHOWN, hours=2)
        assert audiences(library) == []
        assert seen_by(library) is None

    def test_of_the_same_people_later_have_another_number(self, library: Library) -> None:
        for number in (1, 2):
            document = new_id()
            library.publish(["red fox"], document)
            library.change(document, HIDDEN)
            assert audiences(library) == [number]
            library.delete(document)
