"""A workspace with people, workflows, projects and tasks, as the tests of projects use them."""

import secrets
from dataclasses import dataclass
from types import SimpleNamespace
from uuid import UUID

from psycopg.rows import class_row

from plinth.projects.v1 import approval_pb2, project_pb2, task_pb2, workflow_pb2
from plinth.projects.v1 import approval_service_pb2 as approvals
from plinth.projects.v1 import project_service_pb2 as projects
from plinth.projects.v1 import task_service_pb2 as tasks
from plinth.projects.v1 import workflow_service_pb2 as workflows
from services.kernel.events import Event
from tests.support.people import Person
from tests.support.waiting import until
from tests.tenancy.team import Team

PROJECT, TASK = workflow_pb2.WORKFLOW_SUBJECT_PROJECT, workflow_pb2.WORKFLOW_SUBJECT_TASK
APPROVE, REJECT = approval_pb2.DECISION_APPROVE, approval_pb2.DECISION_REJECT
State = approval_pb2.Approval.State


class _Logged(SimpleNamespace):
    """A row of the log, which has a column that events have not."""


@dataclass
class Board:
    """What people do in one workspace, each in a line. Without anybody named, it is the owner who does it."""

    team: Team

    @property
    def workspace(self) -> str:
        """The name of the workspace."""
        return self.team.workspace

    @property
    def workspace_id(self) -> UUID:
        """Its id."""
        return UUID(self.workspace.removeprefix("workspaces/"))

    @property
    def owner(self) -> Person:
        """Who founded it."""
        return self.team.owner

    def workflow(
        self, subject: workflow_pb2.WorkflowSubject.ValueType, *transitions: workflow_pb2.WorkflowTransition
    ) -> str:
        """A workflow of the states todo, review and done, with these transitions, by its name."""
        states = [
            workflow_pb2.WorkflowState(id="todo", display_name="To do", category=workflow_pb2.STATE_CATEGORY_UNSTARTED),
            workflow_pb2.WorkflowState(
                id="review", display_name="Review", category=workflow_pb2.STATE_CATEGORY_STARTED
            ),
            workflow_pb2.WorkflowState(id="done", display_name="Done", category=workflow_pb2.STATE_CATEGORY_COMPLETED),
        ]
        wanted = workflow_pb2.Workflow(
            display_name=f"Flow {secrets.token_hex(4)}",
            subject=subject,
            states=states,
            initial_state="todo",
            transitions=transitions,
        )
        request = workflows.CreateWorkflowRequest(parent=self.workspace, workflow=wanted)
        return self.owner.stubs.workflows.CreateWorkflow(request).workflow.name

    def reviewed(self, subject: workflow_pb2.WorkflowSubject.ValueType, approvals_needed: int = 2) -> str:
        """A workflow where todo leads to review, both lead to done, and that needs so many approvals from review."""
        return self.workflow(
            subject,
            workflow_pb2.WorkflowTransition(from_state="todo", to_state="review"),
            workflow_pb2.WorkflowTransition(from_state="review", to_state="todo"),
            workflow_pb2.WorkflowTransition(from_state="todo", to_state="done"),
            workflow_pb2.WorkflowTransition(from_state="review", to_state="done", required_approvals=approvals_needed),
        )

    def guarded(self, subject: workflow_pb2.WorkflowSubject.ValueType, guard: str) -> str:
        """A workflow where one approval leads from todo to done, as long as the guard holds."""
        return self.workflow(
            subject,
            workflow_pb2.WorkflowTransition(from_state="todo", to_state="done", guard=guard, required_approvals=1),
        )

    def person(self, role: str) -> Person:
        """One more person with this role."""
        return self.team.people.member(self.owner, self.workspace, role)

    def project(
        self, person: Person | None = None, *, workflow: str = "", display_name: str = ""
    ) -> project_pb2.Project:
        """A new project."""
        wanted = project_pb2.Project(display_name=display_name or f"Project {secrets.token_hex(4)}", workflow=workflow)
        request = projects.CreateProjectRequest(parent=self.workspace, project=wanted)
        return (person or self.owner).stubs.projects.CreateProject(request).project

    def get_project(self, project: project_pb2.Project) -> project_pb2.Project:
        """The project as it is now."""
        return self.owner.stubs.projects.GetProject(projects.GetProjectRequest(name=project.name)).project

    def move_project(
        self, project: project_pb2.Project, to_state: str, person: Person | None = None, comment: str = ""
    ) -> projects.TransitionProjectResponse:
        """Move a project as it is now."""
        etag = self.get_project(project).etag
        request = projects.TransitionProjectRequest(name=project.name, to_state=to_state, etag=etag, comment=comment)
        return (person or self.owner).stubs.projects.TransitionProject(request)

    def delete_project(self, project: project_pb2.Project) -> project_pb2.Project:
        """Delete a project as it is now."""
        request = projects.DeleteProjectRequest(name=project.name, etag=self.get_project(project).etag)
        return self.owner.stubs.projects.DeleteProject(request).project

    def task(
        self,
        project: project_pb2.Project,
        person: Person | None = None,
        *,
        display_name: str = "Task",
        workflow: str = "",
        assignee: str = "",
        request_id: str = "",
    ) -> task_pb2.Task:
        """A new task, the last of its project."""
        wanted = task_pb2.Task(display_name=display_name, workflow=workflow, assignee=assignee)
        request = tasks.CreateTaskRequest(parent=project.name, task=wanted, request_id=request_id)
        return (person or self.owner).stubs.tasks.CreateTask(request).task

    def get_task(self, task: task_pb2.Task) -> task_pb2.Task:
        """The task as it is now."""
        return self.owner.stubs.tasks.GetTask(tasks.GetTaskRequest(name=task.name)).task

    def listed(self, project: project_pb2.Project, filter: str = "", order_by: str = "") -> list[str]:
        """The display names of a project's tasks."""
        request = tasks.ListTasksRequest(parent=project.name, filter=filter, order_by=order_by, page_size=500)
        return [task.display_name for task in self.owner.stubs.tasks.ListTasks(request).tasks]

    def update_task(self, task: task_pb2.Task, *mask: str, person: Person | None = None) -> task_pb2.Task:
        """Write a task's new values."""
        request = tasks.UpdateTaskRequest(task=task)
        request.update_mask.paths.extend(mask)
        return (person or self.owner).stubs.tasks.UpdateTask(request).task

    def put_task(self, task: task_pb2.Task, after: task_pb2.Task | None = None) -> task_pb2.Task:
        """Put a task as it is now behind another one, or first."""
        request = tasks.MoveTaskRequest(name=task.name, etag=self.get_task(task).etag)
        request.after = after.name if after is not None else ""
        return self.owner.stubs.tasks.MoveTask(request).task

    def move_task(
        self, task: task_pb2.Task, to_state: str, person: Person | None = None, comment: str = ""
    ) -> tasks.TransitionTaskResponse:
        """Move a task as it is now to another state."""
        etag = self.get_task(task).etag
        request = tasks.TransitionTaskRequest(name=task.name, to_state=to_state, etag=etag, comment=comment)
        return (person or self.owner).stubs.tasks.TransitionTask(request)

    def delete_task(self, task: task_pb2.Task) -> None:
        """Delete a task as it is now."""
        self.owner.stubs.tasks.DeleteTask(tasks.DeleteTaskRequest(name=task.name, etag=self.get_task(task).etag))

    def get_approval(self, approval: approval_pb2.Approval) -> approval_pb2.Approval:
        """The approval as it is now."""
        request = approvals.GetApprovalRequest(name=approval.name)
        return self.owner.stubs.approvals.GetApproval(request).approval

    def decide(
        self,
        approval: approval_pb2.Approval,
        person: Person,
        decision: approval_pb2.Decision.ValueType = APPROVE,
        *,
        etag: str = "",
        comment: str = "",
        request_id: str = "",
    ) -> approval_pb2.Approval:
        """Decide about an approval as it is now."""
        request = approvals.DecideApprovalRequest(
            name=approval.name,
            decision=decision,
            etag=etag or self.get_approval(approval).etag,
            comment=comment,
            request_id=request_id,
        )
        return person.stubs.approvals.DecideApproval(request).approval

    def event(self, type: str) -> Event:
        """The newest event of this type (without package and version) in the log, once it has come there."""
        cursor = self.team.database.cursor(row_factory=class_row(_Logged))
        find = "select * from kernel.event_log where workspace_id = %s and type = %s order by position desc limit 1"
        found: list[_Logged] = []

        def come() -> bool:
            found[:] = cursor.execute(find, [self.workspace_id, f"plinth.projects.{type}.v1"]).fetchall()
            return bool(found)

        until(come, f"{type} in the log")
        return Event(**{name: getattr(found[0], name) for name in Event.__slots__})

    def told(self) -> list[str]:
        """What was emitted about projects, oldest first, without package and version."""
        found = self.team.database.execute(
            "select action from kernel.audit where workspace_id = %s and action like 'plinth.projects.%%' order by id",
            [self.workspace_id],
        ).fetchall()
        return [action.removeprefix("plinth.projects.").removesuffix(".v1") for (action,) in found]
