"""Which permissions the built-in roles hold, and what keeps a custom one in bounds."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.errors import FieldsInvalid, NameInvalid, ResourceNotFound
from services.tenancy.errors import RoleAboveOwn, RoleBuiltIn
from services.tenancy.model.names import ROLE
from services.tenancy.model.roles import (
    ADMIN,
    BUILT_IN,
    MEMBER,
    OWNER,
    VIEWER,
    Catalogue,
    Role,
    RolePatch,
    role_id_in,
    rule_of,
)

HERE, THERE = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 1, 1, tzinfo=UTC)

RESOURCES = ["workspace", "members", "roles", "projects", "audit", "billing", "ai", "search", "analytics", "usage"]
VERBS = [
    "read", "write", "transition", "run", "query", "manage", "invite", "delete", "decide", "approve", "replay", "own",
    "purge",
]  # fmt: skip
permissions = st.builds("{}.{}".format, st.sampled_from(RESOURCES), st.sampled_from(VERBS))
catalogues = st.frozensets(permissions).map(Catalogue)


def held(catalogue: Catalogue, role: str) -> frozenset[str]:
    found = catalogue.held_by(role)
    assert found is not None
    return found


class TestBuiltInRoles:
    @given(catalogues)
    def test_each_holds_all_that_the_lower_one_holds(self, catalogue: Catalogue) -> None:
        owner, admin, member, viewer = (held(catalogue, role) for role in BUILT_IN)
        assert viewer <= member <= admin <= owner == catalogue.permissions

    @given(permissions)
    def test_follow_the_rules_of_the_contract(self, permission: str) -> None:
        resource, verb = permission.split(".")
        closed = resource in ("audit", "billing")
        viewer = (verb == "read" and not closed) or permission == "search.query"
        member = viewer or (verb in ("write", "transition") and not closed) or permission == "ai.run"
        admin = permission not in ("workspace.delete", "workspace.own") and (
            member or closed or verb in ("manage", "invite", "delete", "decide", "approve", "replay")
        )
        catalogue = Catalogue([permission])
        actual = {role for role in BUILT_IN if permission in held(catalogue, role)}
        expected = {OWNER}
        expected |= {ADMIN} if admin else set()
        expected |= {MEMBER} if member else set()
        expected |= {VIEWER} if viewer else set()
        assert actual == expected

    @pytest.mark.parametrize(
        ("permission", "lowest"),
        [
            ("projects.read", VIEWER),
            ("search.query", VIEWER),
            ("audit.read", ADMIN),
            ("billing.read", ADMIN),
            ("billing.manage", ADMIN),
            ("projects.write", MEMBER),
            ("tasks.transition", MEMBER),
            ("ai.run", MEMBER),
            ("analytics.write", MEMBER),
            ("members.invite", ADMIN),
            ("projects.delete", ADMIN),
            ("approvals.decide", ADMIN),
            ("ai.approve", ADMIN),
            ("events.replay", ADMIN),
            ("workspace.manage", ADMIN),
            ("workspace.delete", OWNER),
            ("workspace.own", OWNER),
            ("anything.unheardof", OWNER),
        ],
    )
    def test_lowest_role_that_holds(self, permission: str, lowest: str) -> None:
        assert rule_of(permission).role == lowest

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(RoleBuiltIn):
            Catalogue([]).built_in(HERE, VIEWER).require_custom()


class TestCustomRole:
    @staticmethod
    def role(*names: str) -> Role:
        return Role(HERE, str(UUID(int=9)), "Custom", "", frozenset(names), 1, NOW, NOW)

    @given(st.frozensets(permissions), st.frozensets(permissions))
    def test_is_within_reach_exactly_when_its_permissions_are_a_subset(
        self, wanted: frozenset[str], own: frozenset[str]
    ) -> None:
        role = self.role(*wanted)
        if wanted <= own:
            role.require_within(own)
        else:
            with pytest.raises(RoleAboveOwn) as raised:
                role.require_within(own)
            assert raised.value.metadata["missing"] in wanted - own

    @given(catalogues, st.frozensets(permissions, min_size=1))
    def test_holds_only_what_the_contract_knows_and_never_ownership(
        self, catalogue: Catalogue, wanted: frozenset[str]
    ) -> None:
        if wanted <= catalogue.permissions and "workspace.own" not in wanted:
            catalogue.check(wanted)
        else:
            with pytest.raises(FieldsInvalid) as raised:
                catalogue.check(wanted)
            assert raised.value.violations[0].field == "role.permissions"

    def test_holds_something(self) -> None:
        with pytest.raises(FieldsInvalid):
            Catalogue(["projects.read"]).check(frozenset())

    def test_patch_that_changes_nothing_keeps_the_version(self) -> None:
        role = self.role("projects.read")
        assert role.changed(RolePatch(), NOW) is role
        assert role.changed(RolePatch(display_name="Custom", permissions=role.permissions), NOW) is role

    def test_patch_changes_what_it_names(self) -> None:
        role = self.role("projects.read")
        after = role.changed(RolePatch(description="For audits"), NOW)
        assert (after.description, after.display_name, after.permissions) == (
            "For audits",
            role.display_name,
            role.permissions,
        )
        assert after.version == role.version + 1


class TestRoleNames:
    def test_of_another_workspace_is_not_found(self) -> None:
        with pytest.raises(ResourceNotFound):
            role_id_in(HERE, ROLE.format(workspace=THERE, role="viewer"), field="role")

    def test_that_does_not_parse_blames_the_field(self) -> None:
        with pytest.raises(NameInvalid) as raised:
            role_id_in(HERE, "roles/viewer", field="member.role")
        assert raised.value.violations[0].field == "member.role"
