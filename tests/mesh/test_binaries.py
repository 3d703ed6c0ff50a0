import os
import subprocess
from pathlib import Path

import pytest

from services.mesh import binaries

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about running as root")


class TestUnreachablePrograms:
    @needs_root
    def test_a_virtual_environment_closed_to_the_unprivileged_user_is_copied(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        real = binaries.find_installation()
        (closed / real.parent.name).symlink_to(real.parent)
        installation = closed / real.parent.name / real.name
        copies = Path("/tmp") / f"plinth-copies-{os.getpid()}"
        monkeypatch.setattr(binaries, "COPIES", copies)
        monkeypatch.setattr(binaries, "_reachable", lambda program, user: False)
        user = binaries.system_user(tmp_path / "none")
        try:
            copy = binaries.usable_installation(installation, user)
            assert copy.is_relative_to(copies)
            done = subprocess.run(
                [copy / "bin" / "postgres", "--version"], user="nobody", capture_output=True, check=True
            )
            assert b"PostgreSQL" in done.stdout
            assert binaries.usable_installation(installation, user) == copy
        finally:
            subprocess.run(["rm", "-rf", str(copies)], check=True)

    @needs_root
    def test_reachable_means_every_directory_on_the_way(self, tmp_path: Path) -> None:
        user = binaries.system_user(tmp_path / "none")
        assert user is not None
        program = tmp_path / "program"
        program.write_text("")
        program.chmod(0o755)
        assert not binaries._reachable(program, user)
