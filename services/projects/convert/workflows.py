"""Between workflows and their protobuf messages."""

from collections.abc import Iterable
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask

from plinth.projects.v1 import workflow_pb2
from services.kernel.errors import ResourceNotFound
from services.kernel.etags import etag_of
from services.kernel.names import WORKSPACE
from services.kernel.wire import in_mask, masked_text, timestamp
from services.projects.model.names import ROLE, WORKFLOW
from services.projects.model.workflows import (
    Category,
    Definition,
    State,
    Subject,
    Transition,
    Workflow,
    WorkflowPatch,
    WorkflowVersion,
)

_CATEGORIES = {category: workflow_pb2.StateCategory.Value(f"STATE_CATEGORY_{category.name}") for category in Category}
_MODEL_CATEGORIES = {int(value): category for category, value in _CATEGORIES.items()}
_SUBJECTS = {subject: workflow_pb2.WorkflowSubject.Value(f"WORKFLOW_SUBJECT_{subject.name}") for subject in Subject}
_MODEL_SUBJECTS = {int(value): subject for subject, value in _SUBJECTS.items()}


def workspace_in(parent: str) -> UUID:
    """The workspace in the field `parent`. Raises NameInvalid."""
    (workspace_id,) = WORKSPACE.ids(parent, field="parent")
    return workspace_id


def workflow_in(name: str, *, field: str = "name") -> tuple[UUID, UUID]:
    """The workspace and the id of a workflow's name. Raises NameInvalid, which blames `field`."""
    workspace_id, workflow_id = WORKFLOW.ids(name, field=field)
    return workspace_id, workflow_id


def category_to_proto(category: Category) -> workflow_pb2.StateCategory.ValueType:
    """What a state means."""
    return _CATEGORIES[category]


def subject_from_proto(subject: int) -> Subject:
    """What a workflow is for; projects where nothing is said."""
    return _MODEL_SUBJECTS.get(subject, Subject.PROJECT)


def workflow_to_proto(workflow: Workflow) -> workflow_pb2.Workflow:
    """A workflow."""
    return workflow_pb2.Workflow(
        name=workflow.name,
        display_name=workflow.display_name,
        description=workflow.description,
        subject=_SUBJECTS[workflow.subject],
        states=_states(workflow.definition),
        initial_state=workflow.definition.initial_state,
        transitions=_transitions(workflow.workspace_id, workflow.definition),
        is_default=workflow.is_default,
        version=workflow.definition_version,
        etag=etag_of(workflow.version),
        create_time=timestamp(workflow.create_time),
        update_time=timestamp(workflow.update_time),
    )


def version_to_proto(version: WorkflowVersion) -> workflow_pb2.WorkflowVersion:
    """A workflow as it was."""
    return workflow_pb2.WorkflowVersion(
        name=version.name,
        version=version.version,
        states=_states(version.definition),
        initial_state=version.definition.initial_state,
        transitions=_transitions(version.workspace_id, version.definition),
        create_time=timestamp(version.create_time),
    )


def definition_from_proto(workspace_id: UUID, workflow: workflow_pb2.Workflow) -> Definition:
    """States and transitions. Raises NameInvalid, or ResourceNotFound for another workspace's role."""
    return Definition(
        _model_states(workflow.states), workflow.initial_state, _model_transitions(workspace_id, workflow.transitions)
    )


def workflow_patch_from_proto(workspace_id: UUID, workflow: workflow_pb2.Workflow, mask: FieldMask) -> WorkflowPatch:
    """What to change of a workflow. Raises as `definition_from_proto`."""
    transitions = _model_transitions(workspace_id, workflow.transitions)
    return WorkflowPatch(
        display_name=masked_text(workflow, mask, "display_name"),
        description=masked_text(workflow, mask, "description"),
        states=_model_states(workflow.states) if _given(workflow, mask, "states") else None,
        initial_state=masked_text(workflow, mask, "initial_state"),
        transitions=transitions if _given(workflow, mask, "transitions") else None,
        is_default=workflow.is_default if _given(workflow, mask, "is_default") else None,
        migrations=tuple((one.from_state, one.to_state) for one in workflow.state_migrations),
    )


def _given(workflow: workflow_pb2.Workflow, mask: FieldMask, field: str) -> bool:
    return in_mask(mask, field, populated=bool(getattr(workflow, field)))


def _states(definition: Definition) -> list[workflow_pb2.WorkflowState]:
    return [
        workflow_pb2.WorkflowState(
            id=state.state_id, display_name=state.display_name, category=_CATEGORIES[state.category]
        )
        for state in definition.states
    ]


def _transitions(workspace_id: UUID, definition: Definition) -> list[workflow_pb2.WorkflowTransition]:
    return [
        workflow_pb2.WorkflowTransition(
            from_state=transition.from_state,
            to_state=transition.to_state,
            roles=[ROLE.format(workspace=workspace_id, role=role) for role in sorted(transition.roles)],
            author_allowed=transition.author_allowed,
            assignee_allowed=transition.assignee_allowed,
            guard=transition.guard,
            required_approvals=transition.required_approvals,
        )
        for transition in definition.transitions
    ]


def _model_states(states: Iterable[workflow_pb2.WorkflowState]) -> tuple[State, ...]:
    return tuple(State(state.id, state.display_name or state.id, _MODEL_CATEGORIES[state.category]) for state in states)


def _model_transitions(
    workspace_id: UUID, transitions: Iterable[workflow_pb2.WorkflowTransition]
) -> tuple[Transition, ...]:
    return tuple(
        Transition(
            transition.from_state,
            transition.to_state,
            frozenset(_role_in(workspace_id, role, f"workflow.transitions[{n}].roles") for role in transition.roles),
            transition.author_allowed,
            transition.assignee_allowed,
            transition.guard,
            transition.required_approvals,
        )
        for n, transition in enumerate(transitions)
    )


def _role_in(workspace_id: UUID, name: str, field: str) -> str:
    parts = ROLE.parse(name, field=field)
    if UUID(parts["workspace"]) != workspace_id:
        raise ResourceNotFound(name)
    return parts["role"]
