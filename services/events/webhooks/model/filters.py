"""Which events an endpoint asked for: exact types, and groups of them by a trailing `*`."""

from collections.abc import Sequence


def matches(patterns: Sequence[str], event_type: str) -> bool:
    """Whether the type is among those asked for; no patterns at all ask for every type."""
    return not patterns or any(
        event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern for pattern in patterns
    )
