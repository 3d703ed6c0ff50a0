"""The chain that explains a permission."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.tenancy.model.access import StepKind, Subject, explain
from services.tenancy.model.roles import BUILT_IN, VIEWER, Catalogue, Role

WORKSPACE, USER = UUID(int=1), UUID(int=2)
PERMISSIONS = ["projects.read", "projects.write", "projects.delete", "workspace.own", "audit.read"]
CATALOGUE = Catalogue(PERMISSIONS)


class TestExplain:
    @given(st.sampled_from(BUILT_IN), st.sampled_from([*PERMISSIONS, "no.such"]))
    def test_verdict_is_what_the_role_holds(self, role_id: str, permission: str) -> None:
        role = CATALOGUE.built_in(WORKSPACE, role_id)
        steps = explain(CATALOGUE, Subject(WORKSPACE, USER, role), permission)
        assert steps[-1].kind is StepKind.VERDICT
        assert steps[-1].passed == (permission in role.permissions)

    def test_says_by_which_rule(self) -> None:
        role = CATALOGUE.built_in(WORKSPACE, VIEWER)
        steps = explain(CATALOGUE, Subject(WORKSPACE, USER, role), "projects.write")
        assert [step.kind for step in steps] == [
            StepKind.MEMBERSHIP,
            StepKind.ROLE,
            StepKind.PERMISSION,
            StepKind.VERDICT,
        ]
        assert "every .write is for members and above" in steps[2].explanation

    def test_no_member_ends_at_the_first_step(self) -> None:
        steps = explain(CATALOGUE, Subject(WORKSPACE, USER, None), "projects.read")
        assert [(step.kind, step.passed) for step in steps] == [
            (StepKind.MEMBERSHIP, False),
            (StepKind.VERDICT, False),
        ]

    def test_a_custom_role_is_named_by_what_it_lists(self) -> None:
        role = Role(WORKSPACE, str(UUID(int=7)), "Auditor", "", frozenset({"audit.read"}))
        steps = explain(CATALOGUE, Subject(WORKSPACE, USER, role), "audit.read")
        assert steps[-1].passed
        assert "Auditor" in steps[1].explanation

    def test_an_api_key_must_hold_it_too(self) -> None:
        role = CATALOGUE.built_in(WORKSPACE, VIEWER)
        subject = Subject(WORKSPACE, USER, role, "workspaces/1/apiKeys/2", frozenset())
        steps = explain(CATALOGUE, subject, "projects.read")
        assert [step.kind for step in steps if not step.passed] == [StepKind.API_KEY, StepKind.VERDICT]
