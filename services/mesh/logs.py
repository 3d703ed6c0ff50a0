"""Log files of children."""

import os
import shutil
from pathlib import Path
from typing import IO

MAX_BYTES = 64 * 1024 * 1024
TAIL_BYTES = 4000


class LogFile:
    """The file that a child writes its stdout and stderr to, by itself: no pipe that could fill up or break.

    One older generation is kept as `<name>.1`; a lone generation is at most about MAX_BYTES long.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin = 0
        self._read = 0

    def open(self) -> IO[bytes]:
        """The file, to append to; `tail` and `new_lines` look at what comes from here on."""
        self.rotate()
        output = self.path.open("ab")
        self._begin = self._read = output.tell()
        return output

    def rotate(self) -> None:
        """Copy a file that has grown too long aside and empty it.

        Not renamed: the child holds it open, and goes on at its new end since it appends.
        """
        if not self.path.exists() or self.path.stat().st_size <= MAX_BYTES:
            return
        shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
        os.truncate(self.path, 0)
        self._begin = self._read = 0

    def tail(self) -> str:
        """The end of what was written since `open`."""
        with self.path.open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(self._begin, size - TAIL_BYTES))
            return source.read().decode(errors="replace")

    def new_lines(self) -> list[str]:
        """The whole lines written since the last call, or since `open`."""
        with self.path.open("rb") as source:
            source.seek(self._read)
            whole, newline, _ = source.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines()
