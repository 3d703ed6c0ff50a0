"""Why somebody may or may not do something: the chain from membership to verdict, one step after the other."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from services.kernel.names import WORKSPACE
from services.tenancy.model.names import MEMBER
from services.tenancy.model.roles import Catalogue, Role, rule_of


class StepKind(StrEnum):
    """What a step looks at."""

    MEMBERSHIP = "membership"
    ROLE = "role"
    PERMISSION = "permission"
    API_KEY = "api_key"
    VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain: what was looked at, whether the chain goes on, and what was found, for people."""

    kind: StepKind
    passed: bool
    resource: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose access is explained: a member's, through an API key when `key` names one, which holds `key_permissions`."""

    workspace_id: UUID
    user_id: UUID
    role: Role | None
    key: str = ""
    key_permissions: frozenset[str] = frozenset()


def explain(catalogue: Catalogue, subject: Subject, permission: str) -> list[Step]:
    """The chain for one permission; its last step is the verdict. A user without a role is no member."""
    workspace = WORKSPACE.format(workspace=subject.workspace_id)
    member = MEMBER.format(workspace=subject.workspace_id, member=subject.user_id)
    role = subject.role
    if role is None:
        steps = [Step(StepKind.MEMBERSHIP, False, member, "The user is not a member of the workspace.")]
    else:
        kind = "built-in" if role.built_in else "custom"
        steps = [
            Step(StepKind.MEMBERSHIP, True, member, "The user is a member of the workspace."),
            Step(StepKind.ROLE, True, role.name, f"The member has the {kind} role {role.display_name}."),
            _permission_step(catalogue, role, permission),
        ]
        if subject.key and steps[-1].passed:
            holds = permission in subject.key_permissions
            text = f"The API key {'holds' if holds else 'does not hold'} {permission}."
            steps.append(Step(StepKind.API_KEY, holds, subject.key, text))
    granted = all(step.passed for step in steps)
    verdict = f"{permission} is {'granted' if granted else 'denied'}."
    return [*steps, Step(StepKind.VERDICT, granted, workspace, verdict)]


def _permission_step(catalogue: Catalogue, role: Role, permission: str) -> Step:
    holds = permission in role.permissions
    if permission not in catalogue.permissions:
        text = f"{permission} is not a permission of Plinth."
    elif role.built_in:
        text = f"The role {'holds' if holds else 'does not hold'} it: {rule_of(permission).text}."
    else:
        text = f"The custom role {'lists' if holds else 'does not list'} {permission}."
    return Step(StepKind.PERMISSION, holds, role.name, text)
