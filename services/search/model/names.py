"""Resource names of search."""

from services.kernel.names import ResourceName

INDEX = ResourceName("workspaces/{workspace}/index")
# Documents' and tenancy's: search refers to them.
DOCUMENT = ResourceName("workspaces/{workspace}/documents/{document}")
ROLE = ResourceName("workspaces/{workspace}/roles/{role}", words=frozenset({"role"}))
