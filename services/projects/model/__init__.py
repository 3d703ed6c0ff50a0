"""The rules of projects: workflows and their engine, projects, tasks, approvals, activity. Pure Python."""
