"""The errors of projects. Resources are given by name, as the client knows them."""

from services.kernel.errors import AlreadyExists, FailedPrecondition, FieldViolation, InvalidArgument, PermissionDenied


class ProjectNameTaken(AlreadyExists):
    """Another living project of the workspace is called that."""

    reason = "PROJECT_NAME_TAKEN"

    def __init__(self, display_name: str) -> None:
        super().__init__("Another project has this name.", display_name=display_name)


class ProjectDeleted(FailedPrecondition):
    """The project is deleted: nothing in it changes until it is brought back."""

    reason = "PROJECT_DELETED"

    def __init__(self, project: str) -> None:
        super().__init__("The project is deleted: undelete it first.", project=project)


class StateUnknown(InvalidArgument):
    """The workflow has no such state."""

    reason = "STATE_UNKNOWN"

    def __init__(self, state: str) -> None:
        violation = FieldViolation("to_state", "is not a state of the workflow")
        super().__init__("The workflow has no such state.", violations=[violation], state=state)


class TransitionUnknown(FailedPrecondition):
    """The workflow has no move between these states."""

    reason = "TRANSITION_UNKNOWN"

    def __init__(self, from_state: str, to_state: str) -> None:
        super().__init__(
            f"The workflow has no transition from {from_state} to {to_state}.", from_state=from_state, to_state=to_state
        )


class TransitionRoleDenied(PermissionDenied):
    """The workflow gives this move to other roles, and the caller is no exception."""

    reason = "TRANSITION_ROLE_DENIED"

    def __init__(self, from_state: str, to_state: str) -> None:
        super().__init__(
            f"Your role may not make the transition from {from_state} to {to_state}.",
            from_state=from_state,
            to_state=to_state,
        )


class GuardRefused(FailedPrecondition):
    """The guard of the move is not true, or cannot be told."""

    reason = "GUARD_REFUSED"

    def __init__(self, guard: str) -> None:
        super().__init__("The guard of the transition does not hold.", guard=guard)


class WorkflowNameTaken(AlreadyExists):
    """Another workflow of the workspace is called that."""

    reason = "WORKFLOW_NAME_TAKEN"

    def __init__(self, display_name: str) -> None:
        super().__init__("Another workflow has this name.", display_name=display_name)


class WorkflowLimitReached(FailedPrecondition):
    """The workspace has as many workflows as it may."""

    reason = "WORKFLOW_LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        super().__init__("The workspace has as many workflows as it may.", limit=str(limit))


class WorkflowInUse(FailedPrecondition):
    """Projects or tasks follow the workflow, deleted projects included."""

    reason = "WORKFLOW_IN_USE"

    def __init__(self, workflow: str) -> None:
        super().__init__("The workflow is in use.", workflow=workflow)


class WorkflowIsDefault(FailedPrecondition):
    """New projects (or tasks) take this workflow."""

    reason = "WORKFLOW_IS_DEFAULT"

    def __init__(self, workflow: str) -> None:
        super().__init__("The workflow is the default: make another one the default first.", workflow=workflow)


class WorkflowSubjectMismatch(FailedPrecondition):
    """The workflow is for `subject`, which is not what it was named for."""

    reason = "WORKFLOW_SUBJECT_MISMATCH"

    def __init__(self, workflow: str, subject: str) -> None:
        super().__init__(f"The workflow is for {subject}s.", workflow=workflow, subject=subject)


class StateInUse(FailedPrecondition):
    """A removed state still has `count` projects or tasks, and nothing says where they go."""

    reason = "STATE_IN_USE"

    def __init__(self, state: str, count: int) -> None:
        super().__init__(
            f"{count} are in the state {state}: say in state_migrations where they go.", state=state, count=str(count)
        )


class AssigneeNotMember(FailedPrecondition):
    """Only members of the workspace can be assigned."""

    reason = "ASSIGNEE_NOT_MEMBER"

    def __init__(self, assignee: str) -> None:
        super().__init__("The assignee is not a member of the workspace.", assignee=assignee)


class ApprovalClosed(FailedPrecondition):
    """The approval was approved or rejected, was superseded, or expired; `state` says which."""

    reason = "APPROVAL_CLOSED"

    def __init__(self, approval: str, state: str) -> None:
        super().__init__("The approval is no longer open.", approval=approval, state=f"STATE_{state.upper()}")


class ApprovalDecided(FailedPrecondition):
    """The caller has decided otherwise before."""

    reason = "APPROVAL_DECIDED"

    def __init__(self, approval: str) -> None:
        super().__init__("You have decided otherwise before.", approval=approval)


class SelfApproval(PermissionDenied):
    """Nobody decides about their own request."""

    reason = "SELF_APPROVAL"

    def __init__(self, approval: str) -> None:
        super().__init__("Somebody else has to decide about your own request.", approval=approval)
