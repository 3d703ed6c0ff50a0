"""Programs that the tests need and no wheel brings: Debian's own, installed where they are missing and we may."""

import os
import shutil
import subprocess

_INSTALL_SECONDS = 600.0


class ProgramMissing(Exception):
    """A program is not there; the message says how to get it."""


def require(program: str, package: str) -> str:
    """Where the program lies. Raises ProgramMissing where it is missing and stays so."""
    found = shutil.which(program)
    if found is None:
        _install(program, package)
        found = shutil.which(program)
    if found is None:
        raise ProgramMissing(f"{package} is installed, and has brought no {program}")
    return found


def _install(program: str, package: str) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ProgramMissing(f"{program} is not there: apt-get install {package}")
    print(f"{program} is not there: installing {package} …", flush=True)
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", package]
    # A machine that has never fetched Debian's lists knows no package.
    if not (_succeeds(install) or (_succeeds(["apt-get", "update", "--quiet"]) and _succeeds(install))):
        raise ProgramMissing(f"{package} could not be installed; try: {' '.join(install)}")


def _succeeds(command: list[str]) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, check=False, capture_output=True, timeout=_INSTALL_SECONDS, env=environment)
    return done.returncode == 0
