"""Projects and tasks, the workflows that they move through, approvals, and activity: the domain `projects`."""
