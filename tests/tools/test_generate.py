"""Generated files: put in place, found stale, and those of this tree fresh."""

import subprocess
import sys
from pathlib import Path

from tools import deps
from tools.generate import generated, put, stale

WANTED = {"gen/plinth/a_pb2.py": b"a", "gen/plinth/b_pb2.pyi": b"b", "docs/openapi.json": b"{}"}


class TestPut:
    def test_what_is_wanted_is_there_and_what_is_left_over_is_gone(self, tmp_path: Path) -> None:
        (tmp_path / "gen/plinth").mkdir(parents=True)
        (tmp_path / "gen/plinth/old_pb2.py").write_text("old")
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs/page.md").write_text("by hand")
        changed = put(WANTED, tmp_path)
        assert changed == sorted([*WANTED, "gen/plinth/old_pb2.py"])
        assert generated(tmp_path) == WANTED
        assert (tmp_path / "docs/page.md").read_text() == "by hand"

    def test_a_file_that_is_right_already_is_not_touched(self, tmp_path: Path) -> None:
        put(WANTED, tmp_path)
        before = (tmp_path / "docs/openapi.json").stat().st_mtime_ns
        assert put(WANTED | {"gen/plinth/a_pb2.py": b"new"}, tmp_path) == ["gen/plinth/a_pb2.py"]
        assert (tmp_path / "docs/openapi.json").stat().st_mtime_ns == before


class TestStale:
    def test_absent_changed_and_left_over_files_are_named(self) -> None:
        present = {"docs/openapi.json": b"{}", "gen/plinth/a_pb2.py": b"other", "gen/plinth/c_pb2.py": b"c"}
        assert stale(WANTED, present) == ["gen/plinth/a_pb2.py", "gen/plinth/b_pb2.pyi", "gen/plinth/c_pb2.py"]

    def test_nothing_in_this_tree_is_stale(self) -> None:
        command = [sys.executable, "-m", "tools.generate", "--check"]
        done = subprocess.run(command, cwd=deps.ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_nothing_of_google_s_is_generated(self) -> None:
        assert not (deps.ROOT / "gen/google").exists()
