"""The processes that parse documents for a worker."""

from contextlib import suppress
from pathlib import Path

from tests.support.waiting import descendants


def parsers_of(worker: int) -> list[int]:
    """Those that parse at this moment: children of the nurseries, which are the worker's children."""
    nurseries = [pid for pid in descendants(worker) if b"parsing.nursery" in _command(pid)]
    return [child for pid in nurseries for child in descendants(pid)]


def _command(pid: int) -> bytes:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
