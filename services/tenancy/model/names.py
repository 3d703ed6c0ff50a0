"""Resource names of tenancy."""

from services.kernel.names import ResourceName

MEMBER = ResourceName("workspaces/{workspace}/members/{member}")
INVITE = ResourceName("workspaces/{workspace}/invites/{invite}")
ROLE = ResourceName("workspaces/{workspace}/roles/{role}", words=frozenset({"role"}))
AUDIT_EVENT = ResourceName("workspaces/{workspace}/auditEvents/{audit_event}")
