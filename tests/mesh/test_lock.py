from pathlib import Path

import pytest

from services.mesh.errors import DataDirInUse
from services.mesh.lock import DirectoryLock


class TestDirectoryLock:
    def test_it_ends_with_its_holder(self, tmp_path: Path) -> None:
        lock = DirectoryLock(tmp_path)
        lock.acquire()
        other = DirectoryLock(tmp_path)
        with pytest.raises(DataDirInUse):
            other.acquire()
        lock.release()
        other.acquire()
        other.release()
