"""Use cases of WorkflowService."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from plinth.projects.v1 import events_pb2
from services.kernel.caller import acting_itself
from services.kernel.clock import Clock
from services.kernel.errors import PageTokenInvalid, ResourceNotFound
from services.kernel.etags import check_etag
from services.kernel.ids import new_id
from services.kernel.paging import Pager
from services.projects.errors import (
    WorkflowInUse,
    WorkflowIsDefault,
    WorkflowLimitReached,
    WorkflowSubjectMismatch,
)
from services.projects.model.default_workflows import default_definition, default_display_name
from services.projects.model.engine import Move
from services.projects.model.names import WORKFLOW
from services.projects.model.workflows import (
    MAX_WORKFLOWS,
    Definition,
    Subject,
    Workflow,
    WorkflowPatch,
    WorkflowVersion,
)
from services.projects.repository.items import ItemRepository
from services.projects.service import news
from services.projects.service.moving import supersede
from services.projects.service.units import SERVICE, ProjectsUnitOfWork, ProjectsUnits

_NEWEST = 2**31 - 1


class WorkflowService:
    """Workflows: which states there are, and who may move what between them."""

    def __init__(self, units: ProjectsUnits, clock: Clock, pager: Pager) -> None:
        self._units = units
        self._clock = clock
        self._pager = pager

    def create(
        self,
        workspace_id: UUID,
        display_name: str,
        description: str,
        subject: Subject,
        definition: Definition,
        *,
        is_default: bool,
    ) -> Workflow:
        """A new workflow. Raises FieldsInvalid, WorkflowNameTaken or WorkflowLimitReached."""
        definition.check(subject)
        now = self._clock.now()
        with self._units() as uow:
            uow.repo.workflows.exclude(workspace_id)
            _make_defaults(uow, workspace_id, now)
            workflow = Workflow(
                workspace_id, new_id(), display_name, description, subject, is_default, definition, 1, 1, now, now
            )
            if uow.repo.workflows.count(workspace_id) >= MAX_WORKFLOWS:
                raise WorkflowLimitReached(MAX_WORKFLOWS)
            if is_default:
                _take_default(uow, workflow, now)
            uow.repo.workflows.add(workflow)
            uow.emit(workflow.name, news.workflow_created(workflow))
            uow.commit()
        return workflow

    def get(self, workspace_id: UUID, workflow_id: UUID) -> Workflow:
        """The workflow, as its newest version has it. Raises ResourceNotFound."""
        with self._units() as uow:
            return _found(uow.repo.workflows.get(workspace_id, workflow_id), workspace_id, workflow_id)

    def list_workflows(self, workspace_id: UUID, page_size: int, page_token: str) -> tuple[list[Workflow], str]:
        """A page of workflows, oldest first, and the token of the next. Raises PageTokenInvalid."""
        page = self._pager.page(page_token, page_size, "ListWorkflows", str(workspace_id))
        with self._units() as uow:
            made = _make_defaults(uow, workspace_id, self._clock.now())
            found = uow.repo.workflows.list_by_id(workspace_id, page.after_id(), page.count)
            if made:
                uow.commit()
        return self._pager.cut(page, found, lambda workflow: (workflow.workflow_id,))

    def list_versions(
        self, workspace_id: UUID, workflow_id: UUID, page_size: int, page_token: str
    ) -> tuple[list[WorkflowVersion], str]:
        """A page of a workflow's versions, newest first. Raises ResourceNotFound or PageTokenInvalid."""
        page = self._pager.page(page_token, page_size, "ListWorkflowVersions", str(workspace_id), str(workflow_id))
        before = page.after[0] if page.after else _NEWEST
        if not isinstance(before, int):
            raise PageTokenInvalid
        with self._units() as uow:
            _found(uow.repo.workflows.get(workspace_id, workflow_id), workspace_id, workflow_id)
            found = uow.repo.workflows.list_versions(workspace_id, workflow_id, before, page.count)
        return self._pager.cut(page, found, lambda version: (version.version,))

    def update(self, workspace_id: UUID, workflow_id: UUID, etag: str, patch: WorkflowPatch) -> Workflow:
        """The workflow after the patch; what is in a removed state goes where the patch says.

        Raises ResourceNotFound, EtagRequired, EtagMismatch, FieldsInvalid, StateInUse or WorkflowNameTaken.
        """
        now = self._clock.now()
        with self._units() as uow:
            before = self._locked(uow, workspace_id, workflow_id, etag)
            after = before.changed(patch, now)
            if after is not before:
                migrations = dict(patch.migrations)
                items = _items(uow, after)
                after.require_places(before, migrations, lambda state: items.count_in_state(before, state))
                if after.is_default and not before.is_default:
                    _take_default(uow, after, now)
                uow.repo.workflows.save(after, new_definition=after.definition_version > before.definition_version)
                uow.emit(after.name, news.workflow_updated(before, after, patch.migrations))
                _move_along(uow, before, after, migrations, now)
                uow.commit()
        return after

    def delete(self, workspace_id: UUID, workflow_id: UUID, etag: str) -> None:
        """Delete a workflow that nothing follows. Raises as `update`, WorkflowIsDefault and WorkflowInUse."""
        with self._units() as uow:
            workflow = self._locked(uow, workspace_id, workflow_id, etag)
            if workflow.is_default:
                raise WorkflowIsDefault(workflow.name)
            if uow.repo.workflows.in_use(workflow):
                raise WorkflowInUse(workflow.name)
            uow.repo.workflows.remove(workflow)
            deleted = events_pb2.WorkflowDeleted(workflow=workflow.name, display_name=workflow.display_name)
            uow.emit(workflow.name, deleted)
            uow.commit()

    def _locked(self, uow: ProjectsUnitOfWork, workspace_id: UUID, workflow_id: UUID, etag: str) -> Workflow:
        uow.repo.workflows.exclude(workspace_id)
        workflow = _found(uow.repo.workflows.lock(workspace_id, workflow_id), workspace_id, workflow_id)
        check_etag(etag, workflow.version, workflow.name)
        return workflow


def workflow_for(
    uow: ProjectsUnitOfWork, workspace_id: UUID, workflow_id: UUID | None, subject: Subject, now: datetime
) -> Workflow:
    """The workflow that a new item follows, by default the workspace's own; the unit must `share` workflows.

    Raises ResourceNotFound or WorkflowSubjectMismatch.
    """
    if workflow_id is None:
        return _default(uow, workspace_id, subject, now)[0]
    workflow = _found(uow.repo.workflows.get(workspace_id, workflow_id), workspace_id, workflow_id)
    if workflow.subject is not subject:
        raise WorkflowSubjectMismatch(workflow.name, workflow.subject)
    return workflow


def _found(workflow: Workflow | None, workspace_id: UUID, workflow_id: UUID) -> Workflow:
    if workflow is None:
        raise ResourceNotFound(WORKFLOW.format(workspace=workspace_id, workflow=workflow_id))
    return workflow


def _make_defaults(uow: ProjectsUnitOfWork, workspace_id: UUID, now: datetime) -> bool:
    """Both of them, before a workspace has workflows of its own, whose names might meet theirs: whether one was new."""
    made = [_default(uow, workspace_id, subject, now)[1] for subject in Subject]
    return any(made)


def _default(uow: ProjectsUnitOfWork, workspace_id: UUID, subject: Subject, now: datetime) -> tuple[Workflow, bool]:
    """The default, and whether it had to be made."""
    workflow = uow.repo.workflows.get_default(workspace_id, subject)
    if workflow is not None:
        return workflow, False
    name, definition = default_display_name(subject), default_definition(subject)
    made = Workflow(workspace_id, new_id(), name, "", subject, True, definition, 1, 1, now, now)
    if uow.repo.workflows.add_default(made):
        with acting_itself(SERVICE):
            uow.emit(made.name, news.workflow_created(made))
        return made, True
    # Somebody else was first, and has committed: the insert waited for it.
    workflow = uow.repo.workflows.get_default(workspace_id, subject)
    if workflow is None:
        raise LookupError(f"workspace {workspace_id} has no default workflow for a {subject}")
    return workflow, False


def _take_default(uow: ProjectsUnitOfWork, taker: Workflow, now: datetime) -> None:
    before = uow.repo.workflows.lock_default(taker.workspace_id, taker.subject)
    if before is not None:
        after = replace(before, is_default=False, version=before.version + 1, update_time=now)
        uow.repo.workflows.save(after, new_definition=False)
        uow.emit(after.name, news.workflow_updated(before, after))


def _items(uow: ProjectsUnitOfWork, workflow: Workflow) -> ItemRepository:
    return uow.repo.projects if workflow.subject is Subject.PROJECT else uow.repo.tasks


def _move_along(
    uow: ProjectsUnitOfWork, before: Workflow, after: Workflow, migrations: dict[str, str], now: datetime
) -> None:
    """Bring what follows the workflow to its new version."""
    items, old, new = _items(uow, after), before.definition.by_id, after.definition.by_id
    for move in (Move(old[a], new[b], 0, after.definition_version) for a, b in migrations.items()):
        for name in items.migrate(after, move.from_state.state_id, move.to_state, now):
            uow.emit(name, news.transitioned(after.subject, name, move, migrated=True))
    for state in after.recategorized_since(before):
        items.recategorize(after, state)
    for target_id in after.definition.stranded(uow.repo.workflows.waiting(after)):
        supersede(uow, after.workspace_id, target_id, now)
