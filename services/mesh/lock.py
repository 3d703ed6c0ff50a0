"""One owner per data directory."""

import fcntl
import os
from pathlib import Path

from services.mesh.errors import DataDirInUse, DataDirUnusable


class DirectoryLock:
    """An exclusive flock on `<directory>/lock`; the kernel drops it when its holder dies, however it dies.

    Children do not inherit it. The file holds the pid of the last holder, for the message only.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock at once, or raise DataDirInUse / DataDirUnusable."""
        try:
            descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise DataDirUnusable(self._directory, error.strerror or str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise DataDirInUse(self._directory, int(holder) if holder.isdigit() else None) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. The file stays: to unlink it would let two holders lock two inodes."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
