"""The gRPC adapters of projects, one module a service of the contract."""

from services.projects.servicer.activity import ActivityServicer
from services.projects.servicer.approvals import ApprovalServicer
from services.projects.servicer.projects import ProjectServicer
from services.projects.servicer.tasks import TaskServicer
from services.projects.servicer.workflows import WorkflowServicer

__all__ = ["ActivityServicer", "ApprovalServicer", "ProjectServicer", "TaskServicer", "WorkflowServicer"]
