"""Resource names of events."""

from services.kernel.names import ResourceName

EVENT = ResourceName("workspaces/{workspace}/events/{event}")
ENDPOINT = ResourceName("workspaces/{workspace}/webhookEndpoints/{webhook_endpoint}")
DELIVERY = ResourceName("workspaces/{workspace}/webhookEndpoints/{webhook_endpoint}/deliveries/{delivery}")
JOB = ResourceName("workspaces/{workspace}/jobs/{job}")
