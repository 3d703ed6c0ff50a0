"""Resource names of documents."""

from services.kernel.names import ResourceName

DOCUMENT = ResourceName("workspaces/{workspace}/documents/{document}")
UPLOAD = ResourceName("workspaces/{workspace}/uploads/{upload}")
INGESTION = ResourceName("workspaces/{workspace}/ingestions/{ingestion}")
DOCUMENT_USAGE = ResourceName("workspaces/{workspace}/documentUsage")
# Roles are tenancy's; who may see a document is told by them.
ROLE = ResourceName("workspaces/{workspace}/roles/{role}", words=frozenset({"role"}))
