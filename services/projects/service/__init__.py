"""The use cases of projects, one module a service of the contract, and how they are put together."""

from dataclasses import dataclass

from plinth.tenancy.v1 import access_service_pb2_grpc
from services.kernel.paging import Pager
from services.kernel.unit_of_work import Resources, Units
from services.projects.repository import ProjectsRepositories
from services.projects.service.activity import ActivityService
from services.projects.service.approvals import ApprovalService
from services.projects.service.assignees import Assignees
from services.projects.service.housekeeping import Housekeeping
from services.projects.service.moving import RuleBook
from services.projects.service.projects import ProjectService
from services.projects.service.tasks import TaskService
from services.projects.service.units import ProjectsUnits
from services.projects.service.workflows import WorkflowService

__all__ = [
    "ActivityService",
    "ApprovalService",
    "Housekeeping",
    "ProjectService",
    "ProjectsServices",
    "TaskService",
    "WorkflowService",
    "build_projects",
]


@dataclass(frozen=True, slots=True)
class ProjectsServices:
    """Every use case of projects."""

    workflows: WorkflowService
    projects: ProjectService
    tasks: TaskService
    approvals: ApprovalService
    activity: ActivityService
    housekeeping: Housekeeping
    units: ProjectsUnits


def build_projects(
    resources: Resources, pager: Pager, access: access_service_pb2_grpc.AccessServiceStub
) -> ProjectsServices:
    """Put the use cases together; `access` is the stub of tenancy."""
    clock = resources.clock
    units = Units(resources, "projects", ProjectsRepositories)
    rule_book, assignees = RuleBook(), Assignees(access)
    projects = ProjectService(units, clock, pager, rule_book, assignees)
    tasks = TaskService(units, clock, pager, rule_book, assignees)
    return ProjectsServices(
        workflows=WorkflowService(units, clock, pager),
        projects=projects,
        tasks=tasks,
        approvals=ApprovalService(units, clock, pager, projects, tasks),
        activity=ActivityService(units, clock, pager),
        housekeeping=Housekeeping(units, clock),
        units=units,
    )
