"""What webhooks are made of: signatures, filters, schedules, health. Pure Python, no I/O."""
