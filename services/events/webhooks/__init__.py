"""Webhooks: every event of a workspace, signed and sent to the endpoints that asked for it."""
