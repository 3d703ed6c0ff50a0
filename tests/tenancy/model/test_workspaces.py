"""Soft deletion, grants, and a roster that never loses its last owner."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from services.tenancy.errors import LastOwner
from services.tenancy.model.roles import ADMIN, BUILT_IN, MEMBER, OWNER, VIEWER, Catalogue
from services.tenancy.model.workspaces import (
    PURGE_AFTER,
    Member,
    Membership,
    Person,
    Workspace,
    require_other_owner,
)

WORKSPACE = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CATALOGUE = Catalogue(["workspace.read", "workspace.manage", "workspace.delete", "workspace.own", "projects.read"])


def living() -> Workspace:
    return Workspace(WORKSPACE, "Acme", 1, NOW, NOW)


def membership(workspace: Workspace, role: str) -> Membership:
    permissions = CATALOGUE.held_by(role)
    assert permissions is not None
    return Membership(workspace, Member(WORKSPACE, UUID(int=2), role, 1, NOW, NOW), permissions)


class TestSoftDelete:
    def test_deleted_twice_is_deleted_once(self) -> None:
        deleted = living().after_delete(NOW)
        assert deleted.after_delete(NOW + timedelta(days=1)) is deleted

    def test_undelete_brings_back_all_but_the_version(self) -> None:
        back = living().after_delete(NOW).after_undelete(NOW)
        assert (back.delete_time, back.purge_time, back.version) == (None, None, 3)

    def test_is_gone_for_good_after_thirty_days(self) -> None:
        deleted = living().after_delete(NOW)
        assert not deleted.gone(NOW + PURGE_AFTER - timedelta(seconds=1))
        assert deleted.gone(NOW + PURGE_AFTER)

    def test_same_name_changes_nothing(self) -> None:
        workspace = living()
        assert workspace.renamed("Acme", NOW) is workspace


class TestGrant:
    @pytest.mark.parametrize("role", BUILT_IN)
    def test_in_a_living_workspace_is_what_the_role_holds(self, role: str) -> None:
        grant = membership(living(), role).grant(NOW)
        assert grant is not None
        assert grant.permissions == CATALOGUE.held_by(role)
        assert grant.role == role

    def test_in_a_deleted_one_lets_an_owner_find_it_and_bring_it_back(self) -> None:
        grant = membership(living().after_delete(NOW), OWNER).grant(NOW)
        assert grant is not None
        assert grant.permissions == {"workspace.read", "workspace.delete"}

    @pytest.mark.parametrize("role", [ADMIN, MEMBER, VIEWER])
    def test_in_a_deleted_one_is_none_for_everybody_else(self, role: str) -> None:
        assert membership(living().after_delete(NOW), role).grant(NOW) is None

    def test_in_one_that_is_gone_is_none_even_for_its_owner(self) -> None:
        assert membership(living().after_delete(NOW), OWNER).grant(NOW + PURGE_AFTER) is None


class TestPerson:
    @pytest.mark.parametrize("other", ["ada@example.com", "ADA@Example.COM"])
    def test_address_is_theirs_whatever_its_case(self, other: str) -> None:
        assert Person(UUID(int=1), "Ada@example.com", True, "Ada").has_email(other)

    @pytest.mark.parametrize("other", ["ada@example.org", "ada+1@example.com", " ada@example.com", ""])
    def test_address_is_not_theirs_otherwise(self, other: str) -> None:
        assert not Person(UUID(int=1), "ada@example.com", True, "Ada").has_email(other)


class Roster(RuleBasedStateMachine):
    """People join, change roles and go, in any order; the guard alone stands between them and an orphaned workspace."""

    people = Bundle("people")

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[UUID, Member] = {}
        self.count = 0

    @initialize(target=people)
    def found(self) -> UUID:
        return self._add(OWNER)

    @rule(target=people, role=st.sampled_from(BUILT_IN))
    def join(self, role: str) -> UUID:
        return self._add(role)

    @rule(person=consumes(people))
    def go(self, person: UUID) -> None:
        if person in self.members and self._allowed(person):
            del self.members[person]

    @rule(person=people, role=st.sampled_from(BUILT_IN))
    def change_role(self, person: UUID, role: str) -> None:
        if person not in self.members or role == self.members[person].role:
            return
        if self._allowed(person):
            self.members[person] = self.members[person].with_role(role, NOW)

    @invariant()
    def an_owner_is_there(self) -> None:
        assert not self.members or self._owners()

    def _add(self, role: str) -> UUID:
        self.count += 1
        person = UUID(int=self.count)
        self.members[person] = Member(WORKSPACE, person, role, 1, NOW, NOW)
        return person

    def _owners(self) -> list[UUID]:
        return [member.user_id for member in self.members.values() if member.role == OWNER]

    def _allowed(self, person: UUID) -> bool:
        """The guard lets go exactly those who are no owner, or not the only one."""
        member, owners = self.members[person], self._owners()
        try:
            require_other_owner(member, owners)
        except LastOwner:
            assert owners == [person]
            return False
        assert owners != [person]
        return True


TestRoster = Roster.TestCase
