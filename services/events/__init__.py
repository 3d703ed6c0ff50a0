"""The event log as its readers see it, durable jobs, and webhooks."""
