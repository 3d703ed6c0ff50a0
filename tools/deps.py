"""Gathers the third-party protos that the contract imports into `.deps/proto`, which buf.yaml lists as a module.

Google's come out of the installed wheel googleapis-common-protos; `validate.proto` comes out of one pinned source
distribution, fetched with pip, checked against its SHA-256 and kept in `.deps/cache`. What is there already stays.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEPS = ROOT / ".deps"
PROTO = DEPS / "proto"

GOOGLE = (
    "google/api/annotations.proto",
    "google/api/field_behavior.proto",
    "google/api/field_info.proto",
    "google/api/http.proto",
    "google/api/httpbody.proto",
    "google/api/resource.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "google/type/date.proto",
    "google/type/interval.proto",
    "google/type/money.proto",
)

SDIST = "protovalidate-1.2.0.tar.gz"
SDIST_REQUIREMENT = "protovalidate==1.2.0"
SDIST_SHA256 = "4cb9a5065f32abc9baf2cf25c5bd09a139f7dffb7b8692f636a8e3e6883bb9a2"
SDIST_MEMBER = "protovalidate-1.2.0/upstream/proto/buf/validate/validate.proto"


def write_if_changed(path: Path, content: bytes) -> bool:
    """Puts `content` at `path` in one step, so that a reader in another process never sees half a file.

    Answers whether anything changed; an unchanged file keeps its time stamp.
    """
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    # mkstemp makes files private; generated ones are as readable as any other of the tree.
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
    return True


def google_protos() -> dict[str, bytes]:
    """The needed protos of Google by import path, from the installed googleapis-common-protos."""
    spec = importlib.util.find_spec("google.api")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("googleapis-common-protos is not installed: run `make deps`.")
    site = Path(spec.submodule_search_locations[0]).parent.parent
    return {name: (site / name).read_bytes() for name in GOOGLE}


def validate_proto() -> bytes:
    """`buf/validate/validate.proto` from the pinned source distribution. Raises SystemExit when its hash differs."""
    archive = DEPS / "cache" / SDIST
    if not archive.is_file():
        with tempfile.TemporaryDirectory() as folder:
            # Only this one from source: its build tools may come as wheels, or pip compiles them first.
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
            command += ["--no-binary", "protovalidate", "--dest", folder, SDIST_REQUIREMENT]
            subprocess.run(command, check=True)
            write_if_changed(archive, (Path(folder) / SDIST).read_bytes())
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SDIST_SHA256:
        archive.unlink()
        raise SystemExit(f"{SDIST} has SHA-256 {found}, not the pinned {SDIST_SHA256}; it was removed.")
    with tarfile.open(archive) as tar:
        member = tar.extractfile(SDIST_MEMBER)
        if member is None:
            raise SystemExit(f"{SDIST} has no file {SDIST_MEMBER}.")
        return member.read()


def gather() -> None:
    """Brings `.deps/proto` to exactly the listed files."""
    wanted = google_protos()
    wanted["buf/validate/validate.proto"] = validate_proto()
    for name, content in wanted.items():
        write_if_changed(PROTO / name, content)
    for path in PROTO.rglob("*.proto"):
        if path.relative_to(PROTO).as_posix() not in wanted:
            path.unlink()


if __name__ == "__main__":
    gather()
