"""Resource names of projects."""

from services.kernel.names import ResourceName

WORKFLOW = ResourceName("workspaces/{workspace}/workflows/{workflow}")
PROJECT = ResourceName("workspaces/{workspace}/projects/{project}")
TASK = ResourceName("workspaces/{workspace}/projects/{project}/tasks/{task}")
APPROVAL = ResourceName("workspaces/{workspace}/approvals/{approval}")
ACTIVITY = ResourceName("workspaces/{workspace}/activity/{activity}")
# Roles are tenancy's; a workflow names them.
ROLE = ResourceName("workspaces/{workspace}/roles/{role}", words=frozenset({"role"}))
